"""Resolves the marks ``needs`` of a job: functions and names become jobs of deploy files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rpd.collect.failures import at_function
from rpd.collect.jobs import takes_results
from rpd.collect.source_lines import real_function, relative
from rpd.collect.visible_fixtures import attached
from rpd.errors import CollectionError
from rpd.values.frozen import frozen
from rpd.values.job import JOB_ATTRIBUTE
from rpd.values.mark import NEEDS
from rpd.values.node import Definition, Node
from rpd.values.suggestions import closest

Jobs = Mapping[str, Any]
"""The job functions of a file, by name."""


@frozen(kw_only=False)
class Need:
    """A job that another one needs: its file, as in node ids, and its name. ``every``: all cases that match."""

    file: str
    name: str
    every: bool = False

    def __str__(self) -> str:
        return f"{self.file}::{self.name}"


@frozen
class Links:
    """Dependencies between jobs. ``more`` are nodes of needed jobs that were not requested."""

    needs: Mapping[Definition, tuple[Need, ...]]
    more: tuple[Node, ...] = ()
    broken: frozenset[Definition] = frozenset()
    """Jobs that name something that is no job, each with an error."""
    errors: tuple[CollectionError, ...] = ()


class Linker:
    """Finds the jobs named by marks, collecting their files if necessary.

    ``jobs_in`` returns the jobs of a file, None if the file is not usable, which is reported elsewhere;
    ``nodes_of`` returns the nodes of one job. ``place_of`` returns the path of a file from its name in ids.
    """

    def __init__(
        self,
        rootdir: Path,
        *,
        jobs_in: Callable[[Path], Jobs | None],
        nodes_of: Callable[[Path, str], tuple[Node, ...]],
        place_of: Callable[[str], Path],
    ) -> None:
        self._rootdir = rootdir
        self._jobs_in = jobs_in
        self._nodes_of = nodes_of
        self._place_of = place_of

    def link(self, definitions: list[Definition]) -> Links:
        """Return the needs of ``definitions``, and the needs of those in turn."""
        needs: dict[Definition, tuple[Need, ...]] = {}
        nodes: dict[str, Node] = {}
        errors: dict[Definition, CollectionError] = {}
        waiting = definitions[::-1]
        while waiting:
            definition = waiting.pop()
            if definition in needs:
                continue
            jobs: list[Need] = []
            for need, made in self._linked(definition, partial(errors.setdefault, definition)):
                jobs.append(need)
                nodes.update((node.id, node) for node in made)
                waiting += [made[0].definition] if made else []
            needs[definition] = tuple(dict.fromkeys(jobs))
        return Links(
            needs=needs, more=tuple(nodes.values()), broken=frozenset(errors), errors=tuple(errors.values())
        )

    def _linked(
        self, definition: Definition, mistake: Callable[[CollectionError], object]
    ) -> Iterator[tuple[Need, tuple[Node, ...]]]:
        """Yield each job named by the marks of one job, with its nodes."""
        marks = [mark for mark in definition.marks if mark.name == NEEDS]
        if not marks and takes_results(definition):
            text = "it asks for the fixture needs, but does not say which jobs it needs: write @rpd.mark.needs(train)"
            mistake(self._error(definition, text))
        for mark in reversed(marks):  # in the order of the source, top down
            for job in mark.args:
                try:
                    place = self._find(definition, job)
                    made = () if place is None else self._nodes_of(*place)
                except CollectionError as error:
                    mistake(error)
                    continue
                if place is not None:
                    file = relative(place[0], self._rootdir)
                    yield Need(file, place[1], mark.kwargs.get("all", False)), made

    def _find(self, definition: Definition, job: Any) -> tuple[Path, str] | None:
        """Return the path and name of a job; None if its file is not usable. Raise CollectionError."""
        if isinstance(job, str):
            return self._named(definition, job)
        own = self._place_of(definition.file)
        name = getattr(job, "__name__", "")
        if attached(job, JOB_ATTRIBUTE) is None:
            text = f"needs({name or repr(job)}): not a job; decorate it with @rpd.job"
            raise self._error(definition, text)
        for path in dict.fromkeys((own, Path(str(real_function(job).__code__.co_filename)))):
            jobs = self._jobs_in(path) if path == own or path.is_file() else {}
            if jobs is None:
                return None
            # A file that another file imports may be a second module, with other function objects under the
            # same names.
            own_name = next((each for each, function in jobs.items() if function is job), None)
            if own_name is None and path != own and name in jobs:
                own_name = name
            if own_name is not None:
                return path, own_name
        raise self._error(definition, f"needs({name}): no file has this job at its top level")

    def _named(self, definition: Definition, text: str) -> tuple[Path, str] | None:
        file, _, name = text.rpartition("::")
        own = self._place_of(definition.file)
        paths = [self._rootdir / file, own.parent / file] if file else [own]
        path = next((each for each in paths if each.is_file() or not file), None)
        if path is None:
            raise self._error(definition, f"needs({text!r}): no such file: {file}")
        jobs = self._jobs_in(path)
        if jobs is None:
            return None
        if name in jobs:
            return path, name
        close = closest(name, jobs)
        meant = f"; did you mean {close!r}?" if close else ""
        where = "" if file else ' (a job of another file: "deploy_x.py::job", or the function itself)'
        raise self._error(
            definition, f"needs({text!r}): {relative(path, self._rootdir)} has no job {name!r}{meant}{where}"
        )

    def _error(self, definition: Definition, text: str) -> CollectionError:
        return at_function(
            f"In {definition.name}: {text}", definition.function, rootdir=self._rootdir, name=definition.name
        )

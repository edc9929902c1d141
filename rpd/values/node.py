"""A node: one job function with one set of parameters, the unit that is selected, run and reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rpd.values.fixture import Closure
from rpd.values.frozen import EMPTY, frozen
from rpd.values.job import Job
from rpd.values.mark import Location, Mark

LINES_ATTRIBUTE = "__rpd_lines__"
"""Of a module that was made of a file in another format: name to the line of that file where it is assigned."""
SOURCE_ATTRIBUTE = "__rpd_source__"
"""Where a function that was made from another file format keeps its text, for ``--changed`` to compare."""


@frozen(eq=False)
class Definition:
    """A job function as collected; shared by all its nodes."""

    name: str
    file: str
    """Relative to the root folder, POSIX."""
    line: int
    function: Callable[..., Any]
    job: Job
    argnames: tuple[str, ...]
    closure: Closure
    keywords: frozenset[str]
    """Lower-cased names that ``-k`` matches besides the case id and marks of the single node."""
    module: Any = None
    """The imported module."""
    marks: tuple[Mark, ...] = ()
    """Nearest first: of the function, of the module; those of single cases are at the nodes."""
    doc: str = ""

    @property
    def location(self) -> Location:
        """Where the function begins."""
        return Location(self.file, self.line)

    def mark(self, name: str) -> Mark | None:
        """Return the nearest mark of that name."""
        return next((mark for mark in self.marks if mark.name == name), None)


@frozen(eq=False)
class FixtureParam:
    """The parameter of one parametrized (or indirectly parametrized) fixture for one node.

    ``key`` identifies the parameter among those of the fixture: equal keys may share one live value.
    """

    key: object
    value: Any


@frozen(eq=False)
class Node:
    """One case of a definition. ``id`` is ``path/deploy_x.py::job[case]``, without the brackets if there is no case."""

    definition: Definition
    id: str
    case: str = ""
    params: Mapping[str, Any] = EMPTY
    """Arguments parametrized directly: name to value."""
    fixture_params: Mapping[str, FixtureParam] = EMPTY
    """Fixture name to the parameter its ``request.param`` holds."""
    marks: tuple[Mark, ...] = ()
    """Nearest first: of the case, of the function, of the module."""
    own_job: Job | None = None
    """The job as the marks ``gpu`` and ``budget`` changed it for this node; None if none did."""
    needs: tuple[str, ...] = ()
    """The ids of the nodes that have to pass before this one can run (mark ``needs``)."""

    @property
    def name(self) -> str:
        """``job[case]``."""
        return self.id.rpartition("::")[2] if not self.case else f"{self.definition.name}[{self.case}]"

    @property
    def job(self) -> Job:
        """The job that the node runs.

        Always the same object, since data computed for a job is cached by its identity.
        """
        return self.definition.job if self.own_job is None else self.own_job

    @property
    def file(self) -> str:
        """The deploy file, relative to the root folder."""
        return self.definition.file

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter of the node, direct and through fixtures, for people and manifests."""
        return {**self.params, **{name: param.value for name, param in self.fixture_params.items()}}

    def marks_named(self, name: str) -> list[Mark]:
        """Return the marks of that name, nearest first."""
        return [mark for mark in self.marks if mark.name == name]

    def mark(self, name: str) -> Mark | None:
        """Return the nearest mark of that name."""
        for mark in self.marks:
            if mark.name == name:
                return mark
        return None

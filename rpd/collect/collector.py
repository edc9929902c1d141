"""Collecting: from arguments to every node and every error, in the order in which they will run."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.collect.arguments import Target, absolute, read_targets, widest
from rpd.collect.conftests import Conftests, is_conftest_plugin
from rpd.collect.failures import from_exception
from rpd.collect.imports import importer_of
from rpd.collect.jobs import FileContext, Hooks, asks_for_others, job_functions, misplaced_hooks, nodes_of
from rpd.collect.marks import PLUGINS, check_marks, marks_of, marks_of_module, registered_marks
from rpd.collect.source_lines import relative
from rpd.collect.visible_fixtures import Registry
from rpd.config import Config
from rpd.errors import CollectionError, UsageError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.values.fixture import FixtureDef
from rpd.values.frozen import frozen
from rpd.values.mark import Location, Mark
from rpd.values.node import Node
from rpd.values.skip_and_fail import Skipped
from rpd.values.suggestions import closest

if TYPE_CHECKING:
    from rpd.collect.needs import Links


@frozen
class Collection:
    """The result of collecting: nodes in the order of execution, errors as found, all fixtures seen."""

    nodes: tuple[Node, ...]
    errors: tuple[CollectionError, ...] = ()
    fixtures: tuple[FixtureDef, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    """Files that skip themselves as a whole, each with its reason."""
    files: int = 0
    """The number of deploy files that were read."""
    links: Links | None = None
    """Dependencies between jobs; None if there are none."""


def collect(config: Config, manager: PluginManager) -> Collection:
    """Return every node of the arguments in ``config``; register conftests on ``manager`` on the way.

    Errors in files are part of the result. Raise UsageError for an argument that does not exist.
    """
    with importer_of(manager, config.rootdir).output():
        return _Collector(config, manager).run()


class _Collector:
    """One pass over the arguments of one configuration."""

    def __init__(self, config: Config, manager: PluginManager) -> None:
        self._config = config
        self._manager = manager
        self._importer = importer_of(manager, config.rootdir)
        self._given = self._importer.given
        self._conftests = Conftests(
            manager,
            self._importer,
            config.rootdir,
            name=config.collect.conftest,
            full_trace=config.output.full_trace,
        )
        self._registry = Registry(config)
        self._scanned: set[str] = set()
        self._registered = registered_marks(config.collect.markers)
        self._ignored = _ignored_paths(
            config.collect.ignore, (config.invocation_dir, config.rootdir), config.runs_path
        )
        self._globs = _ignored_globs(config.collect.ignore_glob, (config.invocation_dir, config.rootdir))
        self._errors: list[CollectionError] = []
        self._contexts: dict[Path, tuple[FileContext, dict[str, Any]] | None] = {}
        self._skipped: dict[str, str] = {}
        self._made: dict[Path, Any] = {}
        self._problems: dict[Path, list[tuple[str, CollectionError]]] = {}
        self._nodes: dict[tuple[Path, str], tuple[Node, ...]] = {}

    def run(self) -> Collection:
        """Collect the arguments, or the configured paths, in order. Errors of files are part of the result."""
        config = self._config
        targets = tuple(Target(path=path) for path in self._given)
        if config.args or not targets:
            targets += read_targets(
                config.args,
                deploypaths=config.collect.deploypaths,
                rootdir=config.rootdir,
                invocation_dir=config.invocation_dir,
            )
        for name, plugin in self._manager.list_name_plugin():
            if plugin is not None and not is_conftest_plugin(name):
                self._errors += self._registry.add(plugin, "")
        nodes = self._all_nodes(targets)
        if any(node.fixture_params for node in nodes):
            from rpd.collect.order import regroup  # without parametrized fixtures there is nothing to group

            nodes = regroup(nodes)
        links = self._links()
        mistakes = (*self._conftests.errors.values(), *self._errors)
        errors = {(error.file, error.line, error.message): error for error in mistakes}
        return Collection(
            nodes=nodes,
            errors=tuple(errors.values()),
            fixtures=self._registry.all(),
            skipped=tuple(self._skipped.items()),
            files=len(self._contexts),
            links=links,
        )

    def _links(self) -> Links | None:
        """Return the dependencies between jobs, None if there are none. Files of needed jobs are collected too."""
        jobs = [nodes[0].definition for nodes in self._nodes.values() if nodes]
        if not any(asks_for_others(each) for each in jobs):
            return None
        from rpd.collect.needs import Linker  # imported here because most jobs need no other

        places = {read[0].file: path for path, read in self._contexts.items() if read is not None}
        linker = Linker(
            self._config.rootdir,
            jobs_in=lambda path: (read := self._context(path)) and read[1],
            nodes_of=self._nodes_of,
            place_of=lambda file: places.get(file, self._config.rootdir / file),
        )
        links = linker.link(jobs)
        self._errors += links.errors
        return links

    def _nodes_of(self, path: Path, name: str) -> tuple[Node, ...]:
        """Return the nodes of a job, whether it was requested or not."""
        read = self._context(path)
        return () if read is None else self._job_nodes(name, read[1][name], read[0])

    def _all_nodes(self, targets: Sequence[Target]) -> tuple[Node, ...]:
        """Return the nodes of all targets, each once. Raise UsageError that names every unknown id."""
        kept: dict[str, Node] = {}
        missing = []
        # A wider target comes first, so its nodes stay in its order. A narrower one may add nodes that the
        # wider one leaves out, such as those of an ignored file.
        for target in dict.fromkeys((*widest(targets), *targets)):
            nodes: list[Node] = []
            for path in self._files(target):
                if self._is_over():
                    break
                nodes += self._file_nodes(path, target)
            for node in nodes:
                kept.setdefault(node.id, node)
            if self._is_over():
                return tuple(kept.values())
            if target.name and not nodes and not self._has_error(target):
                missing.append(self._no_such_node(target))
        if missing:
            raise UsageError("\n".join(missing))
        return tuple(kept.values())

    def _is_over(self) -> bool:
        """Return whether there are so many errors that ``-x`` or ``--maxfail`` ends the collection."""
        limit = self._config.error_limit
        return limit is not None and len(self._conftests.errors) + len(self._errors) >= limit

    # --- files ------------------------------------------------------------------------------------------------------

    def _files(self, target: Target) -> Iterator[Path]:
        if target.path in self._given:
            yield target.path
        elif target.path.is_dir():
            from rpd.collect.folders import is_in_run_folder, walk  # not at the top: a file needs no search

            if not target.text and is_in_run_folder(target.path):
                return  # starting rpd inside one is no request to run files that a pod sent back
            paths = walk(target.path, self._config.collect.deploy_files, self._is_ignored)
            yield from (path for path in paths if self._is_known(path))
        elif self._is_known(target.path):
            yield target.path
        else:
            raise UsageError(f"not a Python file, and no plugin reads it: {target.text or target.path}")

    def _is_known(self, path: Path) -> bool:
        """Return whether a file is Python, or a plugin reads it, even if it has errors."""
        try:
            return path.suffix == ".py" or self._module_of(path) is not None
        except CollectionError:
            return True

    def _module_of(self, path: Path) -> Any:
        """Return the module that a plugin makes of a file, None if no plugin knows its format.

        Raise CollectionError.
        """
        if path not in self._made:
            try:
                self._made[path] = Events(self._manager).collect_file(path=path, config=self._config)
            except CollectionError as error:
                self._made[path] = error
        made = self._made[path]
        if isinstance(made, CollectionError):
            raise made
        return made

    def _is_ignored(self, path: Path) -> bool:
        if path in self._ignored or any(fnmatch.fnmatch(str(path), each) for each in self._globs):
            return True
        return self._conftests.is_ignored(path)

    def _context(self, path: Path) -> tuple[FileContext, dict[str, Any]] | None:
        """Return the file, imported, with its job functions; None if it is not usable, which has been reported."""
        if path not in self._contexts:
            try:
                self._contexts[path] = self._read(path)
            except KeyboardInterrupt:
                raise
            except CollectionError as error:
                self._errors.append(error)
                self._contexts[path] = None
        return self._contexts[path]

    def _read(self, path: Path) -> tuple[FileContext, dict[str, Any]] | None:
        file = relative(path, self._config.rootdir)
        for conftest in self._conftests.above(path.parent):
            self._scan(conftest, _folder_base(conftest, self._config.rootdir))
        if self._conftests.broken_above(path.parent):
            return None
        try:
            module = self._import(path, file)
        except Skipped as skipped:
            self._skipped[file] = str(skipped)
            return None
        if path.name != self._config.collect.conftest:
            self._scan(module, file)
        context = FileContext(
            config=self._config,
            module=module,
            path=path,
            file=file,
            view=self._registry.view(file),
            registry=self._registry,
            registered=self._registered,
            module_marks=self._module_marks(module, file),
        )
        jobs, problems = job_functions(module, self._config.rootdir, is_given=path in self._given)
        self._problems[path] = problems
        self._errors += misplaced_hooks(module, self._config.rootdir, self._config.collect.conftest)
        return context, jobs

    def _import(self, path: Path, file: str) -> Any:
        try:
            made = None if path in self._given else self._module_of(path)
            return self._importer.load(path) if made is None else made
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A deploy file may raise anything, SystemExit too.
            if isinstance(error, Skipped) and error.allow_module_level:
                raise
            if (
                isinstance(error, CollectionError) and error.file
            ):  # a plugin that reads the format knows where it is
                raise
            raise from_exception(
                error,
                rootdir=self._config.rootdir,
                full_trace=self._config.output.full_trace,
                otherwise=Location(file, 0),
            ) from None

    def _module_marks(self, module: Any, file: str) -> tuple[Any, ...]:
        try:
            marks = marks_of_module(module)
            check_marks(marks, self._registered, strict=self._config.collect.strict_markers)
        except CollectionError as error:
            raise CollectionError(f"{file}: {error}", file=file, line=1) from None
        return marks

    def _scan(self, holder: Any, baseid: str) -> None:
        path = str(holder.__file__)
        if path not in self._scanned:
            self._scanned.add(path)
            self._errors += self._registry.add(holder, baseid)

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _file_nodes(self, path: Path, target: Target) -> list[Node]:
        read = self._context(path)
        if read is None:
            return []
        context, jobs = read
        job_name = target.name.partition("[")[0]
        self._errors += [error for name, error in self._problems[path] if job_name in ("", name)]
        nodes: list[Node] = []
        for name in jobs:
            if not target.name:
                nodes += self._job_nodes(name, jobs[name], context)
            elif name == job_name:
                made = self._job_nodes(name, jobs[name], context)
                nodes += (node for node in made if target.wants(name, node.name))
        return nodes

    def _job_nodes(self, name: str, function: Any, context: FileContext) -> tuple[Node, ...]:
        key = (context.path, name)
        if key not in self._nodes:
            self._load_plugins((*marks_of(function), *context.module_marks))
            try:
                self._nodes[key] = tuple(nodes_of(name, function, context, self._hooks(context.path.parent)))
            except CollectionError as error:
                self._errors.append(error)
                self._nodes[key] = ()
        return self._nodes[key]

    def _load_plugins(self, marks: Sequence[Mark]) -> None:
        """Load the plugins behind marks with the first job that has them: most projects use none."""
        for mark in marks:
            name = PLUGINS.get(mark.name)
            if name is not None and not self._manager.is_blocked(name) and not self._manager.has_plugin(name):
                self._manager.register(import_module(name).plugin(self._manager), name)

    def _hooks(self, folder: Path) -> Hooks:
        """Return the hooks of the plugins and of the conftests above ``folder``."""
        hidden = self._conftests.hidden_from(folder)
        return Hooks(
            config=self._config,
            generate=self._manager.subset_hook_caller("rpd_generate_nodes", hidden),
            make_id=self._manager.subset_hook_caller("rpd_make_parametrize_id", hidden),
        )

    def _no_such_node(self, target: Target) -> str:
        read = self._contexts[target.path]
        names = [
            node.name for (path, _), nodes in self._nodes.items() if path == target.path for node in nodes
        ]
        close = closest(target.name, [*(read[1] if read else ()), *names])
        file = target.text.partition("::")[0]
        meant = f"; did you mean {file}::{close}?" if close else f"; `rpd collect {file}` lists its nodes"
        return f"not found: {target.text}\n(no match in any of [<File {target.path.name}>]){meant}"

    def _has_error(self, target: Target) -> bool:
        """Return whether the target exists but is broken, which has been reported already."""
        read = self._contexts[target.path]
        job = target.name.partition("[")[0]
        if read is None:
            return True
        broken = job in read[1] and not self._nodes[(target.path, job)]
        return broken or any(name == job for name, _ in self._problems[target.path])


def _ignored_paths(ignore: Iterable[str], bases: Sequence[Path], runs_path: Path) -> frozenset[Path]:
    """Return the paths that are never collected: the run folders and ``ignore``, relative to each of ``bases``."""
    named = {absolute(each, base) for each in ignore for base in bases}
    return frozenset({*named, runs_path})


def _ignored_globs(globs: Iterable[str], bases: Iterable[Path]) -> tuple[str, ...]:
    folders = dict.fromkeys(bases)
    return tuple(str(absolute(each, folder)) for each in globs for folder in folders)


def _folder_base(conftest: Any, rootdir: Path) -> str:
    folder = relative(Path(str(conftest.__file__)).parent, rootdir)
    return "" if folder == "." else f"{folder}/"

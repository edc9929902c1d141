"""Files to nodes: collecting and selecting, as every command does it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.collect import Collection, collect, load_conftests, registered_marks
from rpd.collect.arguments import read_targets
from rpd.collect.conftests import is_conftest_plugin
from rpd.collect.source_lines import relative
from rpd.config import Config
from rpd.config.config import CollectSettings
from rpd.errors import CollectionError, DefinitionError, UsageError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.pipeline.secrets_in_ids import api_key, split_exposed
from rpd.select import select, untypable
from rpd.values.frozen import frozen, replace
from rpd.values.job import allow_gpu_ids, use_job_defaults
from rpd.values.node import Node

if TYPE_CHECKING:
    from rpd.graph.graph import Graph


@frozen
class Gathered:
    """The selected nodes, the number of deselected ones, and the errors of collecting."""

    nodes: tuple[Node, ...]
    deselected: int
    errors: tuple[CollectionError, ...]
    collection: Collection
    graph: Graph | None = None
    """Dependencies between nodes; None if there are none."""


def gather(
    config: Config, manager: PluginManager, done: Callable[[], Container[str]] = frozenset
) -> Gathered:
    """Collect and select the nodes of an invocation. Raise UsageError for wrong arguments and expressions.

    ``done`` gives the ids of nodes that selecting left out since their results are there.
    """
    early = _conftests(manager)
    config, collection, nodes = _collected(config, manager)
    events = Events(manager)
    graph = _graph(config, manager, collection, nodes)
    chosen = _selected(config, events, nodes, graph, done)
    kept, missing = _without_missing_paths(
        chosen.nodes, config.collect, config.rootdir, config.invocation_dir
    )
    if config.pods.lifecycle == "rest":
        from rpd.pipeline.check_interface import lacking  # not at the top: it is not the usual one

        for text in lacking(kept):
            events.notice(text)
    errors = (
        *collection.errors,
        *(graph.errors if graph else ()),
        *chosen.exposed,
        *missing,
        *_late_options(config.rootdir, manager, early),
    )
    gathered = Gathered(
        nodes=kept,
        deselected=chosen.deselected,
        errors=_masked(errors, collection.nodes),
        collection=collection,
        graph=graph,
    )
    events.collected(nodes=gathered.nodes, deselected=gathered.deselected, errors=gathered.errors)
    if config.command in ("collect", "run"):
        _tell_untypable(gathered.nodes, manager)
    return gathered


def _collected(config: Config, manager: PluginManager) -> tuple[Config, Collection, list[Node]]:
    """Collect; return the settings with what plugins add, the collection, and its nodes as plugins want them."""
    prepare_jobs(
        config.collect.extra_gpu_ids, config.collect.job_defaults, config.sources.get("job_defaults", "job")
    )
    if config.command == "run" or config.select.asks_memory:
        # Imported here: listing nodes must not pay for loading the modules of reports.
        from rpd.pipeline.reruns import add_reruns

        add_reruns(config, manager)
    load_first_conftests(config, manager)
    config = with_plugin_markers(config, manager)
    events = Events(manager)
    events.configure(config=config)
    collection = collect(config, manager)
    if config.collect.sweep or config.collect.var:
        # Not at the top: most invocations give none.
        from rpd.pipeline.variables import check_names

        check_names(config.collect, collection, events, runs=config.command == "run")
    for file, reason in collection.skipped:
        events.notice(f"{file} is skipped: {reason}")
    nodes = list(collection.nodes)
    events.modify_nodes(config=config, nodes=nodes)
    check_nodes(nodes, "rpd_modify_nodes")
    return config, collection, nodes


@frozen
class _Chosen:
    """The selected nodes, how many were not, and the errors of nodes whose ids would show a secret."""

    nodes: list[Node]
    deselected: int
    exposed: Sequence[CollectionError]


def _selected(
    config: Config,
    events: Events,
    nodes: Sequence[Node],
    graph: Graph | None,
    done: Callable[[], Container[str]],
) -> _Chosen:
    """Select as the command line and plugins want it, and what the selected nodes need. Raise UsageError."""
    safe, exposed = split_exposed((*graph.nodes, *graph.others) if graph else nodes)
    if graph:
        safe = graph.collected(safe)
    selected = select(
        safe,
        keyword=config.select.keyword,
        markexpr=config.select.markexpr,
        deselect=config.select.deselect,
        known_marks=registered_marks(config.collect.markers) if config.collect.strict_markers else None,
    ).selected
    chosen = graph.with_needs(list(selected)) if graph else list(selected)
    events.select_nodes(config=config, nodes=chosen)
    check_nodes(chosen, "rpd_select_nodes")
    if graph:
        chosen = graph.complete(chosen, done())
    asked_for = sum(map(graph.was_asked_for, chosen)) if graph else len(chosen)
    return _Chosen(nodes=chosen, deselected=len(safe) - asked_for, exposed=exposed)


def _without_missing_paths(
    nodes: Sequence[Node], settings: CollectSettings, rootdir: Path, invocation_dir: Path
) -> tuple[tuple[Node, ...], Sequence[CollectionError]]:
    """Return the nodes whose required paths are there, and an error for each path that is not."""
    if not any(node.job.required_paths for node in nodes):
        return tuple(nodes), ()
    # Not at the top: most jobs require none.
    from rpd.pipeline.required_paths import split_missing
    from rpd.pipeline.variables import read_variables

    whole, missing = split_missing(nodes, rootdir, read_variables(settings, invocation_dir))
    return tuple(whole), missing


def _graph(
    config: Config, manager: PluginManager, collection: Collection, nodes: Sequence[Node]
) -> Graph | None:
    """Return the dependencies between nodes, None if there are none. Raise UsageError."""
    if collection.links is None:
        return None
    from rpd.pipeline.make_graph import make_graph  # imported here because most jobs need no other

    return make_graph(config, nodes, collection.links, Events(manager))


def _masked(errors: Sequence[CollectionError], nodes: Iterable[Node]) -> tuple[CollectionError, ...]:
    if not errors:
        return ()
    from rpd.pipeline.secrets import masked  # not at the top: most projects can be collected

    return masked(errors, nodes, api_key())


def check_nodes(nodes: Sequence[Node], hook: str) -> None:
    """Raise UsageError if a hook has put something other than a node among the nodes, or the same node twice."""
    ids: set[str] = set()
    for node in nodes:
        if not isinstance(node, Node):
            raise UsageError(
                f"{hook}: expected nodes only, got {node!r}: dataclasses.replace(node, …) makes one"
            )
        if node.id in ids:
            raise UsageError(f"{hook}: {node.id} appears twice: an added node needs its own id")
        ids.add(node.id)


def _tell_untypable(nodes: Sequence[Node], manager: PluginManager) -> None:
    """Tell which nodes ``-k`` can find by parts of their names only."""
    odd = list(untypable(nodes))
    if odd:
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        Events(manager).notice(
            text=f"-k cannot match the whole id {odd[0].id}{more} (it contains a blank, a comma or the like): "
            "give it another id with ids=[…] or rpd.param(…, id=…)"
        )


def load_first_conftests(config: Config, manager: PluginManager) -> None:
    """Load the conftests for the paths on the command line, and of the folders above, so that they see every hook.

    Collecting reports their errors. Raise UsageError for an argument that does not exist.
    """
    targets = read_targets(
        config.args,
        deploypaths=config.collect.deploypaths,
        rootdir=config.rootdir,
        invocation_dir=config.invocation_dir,
    )
    folders = dict.fromkeys(target.path for target in targets)
    load_conftests(
        manager, config.rootdir, folders, name=config.collect.conftest, full_trace=config.output.full_trace
    )


def _conftests(manager: PluginManager) -> frozenset[str]:
    """Return the names of the conftests that are loaded by now."""
    return frozenset(name for name, _ in manager.list_name_plugin() if is_conftest_plugin(name))


def _late_options(rootdir: Path, manager: PluginManager, early: frozenset[str]) -> Iterator[CollectionError]:
    """Yield an error for each conftest that means to add options and was not ``asked``: it was loaded too late."""
    for name in sorted(_conftests(manager) - early):
        if hasattr(manager.get_plugin(name), "rpd_addoption"):
            yield CollectionError(
                "this conftest was loaded too late to add options: only those of the folders and files that the "
                "command line names, and of the folders above, can. Name its folder, or move rpd_addoption into the "
                "conftest of the root folder or into a plugin (-p, the key `plugins`)",
                file=relative(name, rootdir),
            )


def with_plugin_markers(config: Config, manager: PluginManager) -> Config:
    """Return ``config`` with the marks that plugins register added to its ``markers``. Raise UsageError."""
    markers: list[str] = []
    for lines in Events(manager).markers(config=config):
        if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
            raise UsageError(f'rpd_markers: expected a list such as ["slow: takes hours"], got {lines!r}')
        markers += lines
    if not markers:
        return config
    return replace(config, collect=replace(config.collect, markers=(*config.collect.markers, *markers)))


def prepare_jobs(gpu_ids: Iterable[str], defaults: Mapping[str, Any], source: str) -> None:
    """Let jobs that are made from now on know the GPU ids and defaults of the project. Raise UsageError.

    ``source`` is where the defaults come from.
    """
    allow_gpu_ids(gpu_ids)
    try:
        use_job_defaults(defaults)
    except DefinitionError as error:
        raise UsageError(f"{source}, table job: {error.message}") from None

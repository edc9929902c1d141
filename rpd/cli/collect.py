"""``rpd collect``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rpd.cli.output import note, say, say_parts
from rpd.cli.stderr_notices import Notices
from rpd.collect.tree import collect_json, count_lines, tree_lines
from rpd.config import Config
from rpd.errors import CollectionError, ExitCode, UsageError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.pipeline.collect_and_select import Gathered, gather
from rpd.values.frozen import replace
from rpd.values.node import Node

if TYPE_CHECKING:
    from rpd.pipeline.worst_case import Prices


def main(config: Config, manager: PluginManager) -> int:
    """Print the selected nodes: a tree, ids (``-q``), counts per file (``-qq``) or JSON."""
    if config.output.graph and (config.output.as_json or config.output.quiet):
        raise UsageError("--graph, --json and -q cannot be combined: give one of them")
    manager.register(Notices(), "notices")
    gathered = gather(config, manager)
    if config.output.graph:
        _print_graph(config, gathered)
    elif config.output.as_json:
        from rpd.pipeline.secrets import redactor_for  # a tree shows no values
        from rpd.pipeline.secrets_in_ids import api_key

        chosen = replace(gathered.collection, nodes=gathered.nodes)
        prices = _shipped_prices(config, gathered.nodes)
        redactor = redactor_for(gathered.nodes, api_key())
        say_parts(collect_json(chosen, prices.worst_case, prices.gpu, mask=redactor.data))
        prices.tell_unforeseen(Events(manager))
    elif config.output.quiet >= 2:
        _print_lines(count_lines(gathered.nodes))
    elif config.output.quiet:
        _print_lines([node.id for node in gathered.nodes])
    else:
        shipped = _shipped_prices(config, gathered.nodes) if config.output.verbose else None
        lines = (
            tree_lines(
                gathered.nodes, verbose=config.output.verbose, price=shipped.worst_case, gpu=shipped.gpu
            )
            if shipped
            else tree_lines(gathered.nodes)
        )
        _print_lines([*lines, "", summary_line(gathered)])
        if shipped is not None:
            shipped.tell_unforeseen(Events(manager))
    print_errors(gathered.errors)
    if gathered.errors:
        return ExitCode.INTERRUPTED
    if gathered.nodes:
        return ExitCode.OK
    tell_nothing(config, gathered)
    return ExitCode.NOTHING_COLLECTED


def _print_graph(config: Config, gathered: Gathered) -> None:
    from rpd.graph.drawing import mermaid, tree  # few ask for it

    if config.output.graph == "mermaid":
        _print_lines(list(mermaid(gathered.nodes)))
        return
    price = _shipped_prices(config, gathered.nodes).worst_case if config.output.verbose else None
    _print_lines([*tree(gathered.nodes, price), "", summary_line(gathered)])


def tell_nothing(config: Config, gathered: Gathered, so: str = "") -> None:
    """Print to stderr why nothing is selected, after the consequence (``so``)."""
    from rpd.cli.nothing_collected import why_nothing

    note(f"rpd: {so}{why_nothing(config, gathered)}")


def _print_lines(lines: Sequence[str]) -> None:
    if lines:
        say("\n".join(lines))


def summary_line(gathered: Gathered) -> str:
    """Return how many nodes were collected and deselected, and how many errors there were."""
    others = sum(not gathered.graph.was_asked_for(node) for node in gathered.nodes) if gathered.graph else 0
    count = len(gathered.nodes) - others + gathered.deselected
    text = f"{count} node{'' if count == 1 else 's'} collected"
    if gathered.deselected:
        text += f", {gathered.deselected} deselected, {len(gathered.nodes) or 'none'} selected"
    if gathered.graph and (brought := len(gathered.graph.brought) - others):
        text += f" ({brought} because others need {'it' if brought == 1 else 'them'})"
    if others:
        text += f", and {others} more because others need {'it' if others == 1 else 'them'}"
    if gathered.errors:
        text += f", {len(gathered.errors)} error{'' if len(gathered.errors) == 1 else 's'}"
    return text


def _shipped_prices(config: Config, nodes: Sequence[Node]) -> Prices:
    """Return the worst cases of nodes at the prices shipped with rpd."""
    # Imported here: only -v and --json need prices, and a plain list must not pay for loading them.
    from rpd.pipeline.expected_pods import Foresight
    from rpd.pipeline.worst_case import Prices, make_overrides
    from rpd.runpod.dry.provider import OfflineProvider

    provider = OfflineProvider()
    return Prices(lambda: provider, make_overrides(config), Foresight(config, nodes))


def print_errors(errors: Sequence[CollectionError]) -> None:
    """Print collection errors to stderr, so that stdout stays ids or JSON."""
    for error in errors:
        note(f"ERROR collecting {error.file or 'arguments'}\n{error.message}")

"""``rpd collect``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rpd.cli.notices import Notices
from rpd.collect.tree import Price, collect_json, count_lines, tree_lines
from rpd.config import Config
from rpd.errors import CollectionError, ExitCode
from rpd.hooks import PluginManager
from rpd.pipeline.gather import Gathered, gather
from rpd.values.frozen import replace


def main(config: Config, manager: PluginManager) -> int:
    """Print what would run: a tree, ids (``-q``), counts a file (``-qq``) or JSON."""
    manager.register(Notices(), "notices")
    gathered = gather(config, manager)
    if config.as_json:
        import json

        chosen = replace(gathered.collection, nodes=gathered.nodes)
        print(json.dumps(collect_json(chosen, shipped_price(config)), indent=2))
    elif config.quiet >= 2:
        _print_lines(count_lines(gathered.nodes))
    elif config.quiet:
        _print_lines([node.id for node in gathered.nodes])
    else:
        price = shipped_price(config) if config.verbose else None
        _print_lines(
            [*tree_lines(gathered.nodes, verbose=config.verbose, price=price), "", summary_line(gathered)]
        )
    print_errors(gathered.errors)
    if gathered.errors:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if gathered.nodes else ExitCode.NOTHING_COLLECTED


def _print_lines(lines: Sequence[str]) -> None:
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")


def summary_line(gathered: Gathered) -> str:
    """Return how many nodes were collected and deselected, and how many errors there were."""
    count = len(gathered.nodes) + gathered.deselected
    text = f"{count} node{'' if count == 1 else 's'} collected"
    if gathered.deselected:
        left = f"{len(gathered.nodes)} selected" if gathered.nodes else "none selected"
        text += f", {gathered.deselected} deselected, {left}"
    if gathered.errors:
        text += f", {len(gathered.errors)} error{'' if len(gathered.errors) == 1 else 's'}"
    return text


def shipped_price(config: Config) -> Price:
    """Return the worst case of a node at the prices shipped with rpd."""
    # Only asked for with -v or --json: a plain list must not pay for loading what knows prices.
    from rpd.pipeline.money import Prices, make_overrides
    from rpd.plan import uses_pod
    from rpd.runpod.offline import OfflineProvider

    provider = OfflineProvider()
    prices = Prices(lambda: provider, make_overrides(config))
    return lambda node: prices.worst_case(node) if uses_pod(node) else 0.0


def print_errors(errors: Sequence[CollectionError]) -> None:
    """Print collection errors to stderr, so that stdout stays ids or JSON."""
    for error in errors:
        print(f"ERROR collecting {error.file or 'arguments'}\n{error.message}", file=sys.stderr)

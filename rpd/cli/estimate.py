"""``rpd estimate``: the worst case of nodes, and the expected cost if they take as long as last time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rpd.cli.collect import print_errors, tell_nothing
from rpd.cli.command_options import EstimateOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.cli.stderr_notices import Notices, tell
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.pipeline.collect_and_select import gather
from rpd.pipeline.estimate import Estimate, estimate, place_of
from rpd.pipeline.price_source import SHIPPED, price_source
from rpd.plan import uses_pod
from rpd.values.duration import format_duration

_HEAD = ("NODE", "FIRST OFFER", "$/H", "TIME", "EXPECTED", "WORST")


def main(config: Config, manager: PluginManager) -> int:
    """Print the expected and the worst cost of each node and of all."""
    manager.register(Notices(), "notices")
    gathered = gather(config, manager)
    print_errors(gathered.errors)
    if gathered.errors:
        return ExitCode.INTERRUPTED
    if not gathered.nodes:
        tell_nothing(config, gathered)
        return ExitCode.NOTHING_COLLECTED
    own: EstimateOptions = config.own
    if own.steps is not None and own.measure is None:
        raise UsageError("--steps needs --measure: without it, an estimate goes by how long past nodes took")
    if own.measure is not None:
        from rpd.cli.measure import measure  # it rents pods; most estimates do not

        return measure(config, gathered.nodes, own.measure, own.steps)
    with price_source(config, tell) as source:
        estimates = estimate(config, gathered.nodes, source, Events(manager))
    if config.output.as_json:
        say_document(_document(estimates, source.name))
    else:
        if source.live is None:
            note(f"rpd: {SHIPPED}")
        _print(estimates, place_of(source.name), quiet=config.output.quiet > 0)
    sold_out = [row.node.id for row in estimates if row.is_sold_out]
    if not sold_out:
        return ExitCode.OK
    more = f" and {len(sold_out) - 1} more" if len(sold_out) > 1 else ""
    note(f"rpd: {sold_out[0]}{more} requests pods that are sold out now (see `rpd gpus`)")
    return ExitCode.SOLD_OUT


def _totals(estimates: Sequence[Estimate]) -> tuple[float, int, float]:
    """Return the expected USD, of how many nodes it is, and the worst USD."""
    priced = [row for row in estimates if row.expected_usd is not None]
    expected = [row.expected_usd or 0.0 for row in priced]
    return (
        sum(expected),
        sum(row.times for row in priced),
        sum(row.worst_case_usd or 0.0 for row in estimates),
    )


def _document(estimates: Sequence[Estimate], source: str) -> dict[str, Any]:
    expected, priced_nodes, worst = _totals(estimates)
    return {
        "source": source,
        "nodes": [row.table() for row in estimates],
        "expected_usd": expected,
        "expected_for_nodes": priced_nodes,
        "worst_case_usd": worst,
    }


def _print(estimates: Sequence[Estimate], place: str, *, quiet: bool) -> None:
    if not quiet:
        rows = [_HEAD, *map(_cells, estimates)]
        say(
            "\n".join(table(rows, right=range(2, len(_HEAD)), cut={0: 24, 1: 16}, leave_out=(3, 1))),
            end="\n\n",
        )
    say(_summary(estimates, place))


def _summary(estimates: Sequence[Estimate], place: str) -> str:
    expected, priced_nodes, worst = _totals(estimates)
    nodes = sum(row.times for row in estimates)
    unknown = nodes - priced_nodes
    text = f"expected {_usd(expected)}"
    if unknown and expected == 0:
        text = f"expected unknown (none of the jobs has passed on {place} yet)"
    elif unknown:
        text += f" without {unknown} whose jobs have not passed on {place} yet"
    count = f"{nodes} node{'' if nodes == 1 else 's'}"
    return f"{count}: {text}, at worst {_usd(worst)}"


def _cells(row: Estimate) -> tuple[str, ...]:
    name = f"{row.node.id} x {row.times}" if row.times > 1 else row.node.id
    if not uses_pod(row.node):
        return name, "no pod", "", "", _usd(0.0), _usd(0.0)
    rate = row.offer.usd_per_hr if row.offer else None
    return (
        name,
        str(row.offer) if row.offer else row.trouble,
        "?" if rate is None else f"{rate:.2f}",
        "?" if row.seconds is None else format_duration(row.seconds),
        "?" if row.expected_usd is None else _usd(row.expected_usd),
        "?" if row.worst_case_usd is None else _usd(row.worst_case_usd),
    )


def _usd(amount: float) -> str:
    return f"${amount:.2f}" if amount == 0 or amount >= 0.01 else f"${amount:.4f}"

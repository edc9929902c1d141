"""``rpd estimate --measure``: runs each job for a minute on the two cheapest GPUs that fit, and forecasts its cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.cli.commands import configure
from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.cli.run import carry_out
from rpd.cli.stderr_notices import tell
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, ProviderError, UsageError
from rpd.measure.plugin import Card, Measured, Measuring
from rpd.measure.speed import Forecast, Speed, forecast, longest, speed_of
from rpd.pipeline.estimate import past_reports
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.price_source import price_source
from rpd.pipeline.worst_case import Prices, make_overrides
from rpd.plan import uses_pod
from rpd.runpod.address import EMULATOR
from rpd.values.duration import format_duration
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.pod import Offer
from rpd.values.report import NodeReport, Outcome

CARDS = 2
_OWN_FLAGS = {"--measure": True, "--steps": True, "--json": False, "--refresh": False}
"""Flags of the estimate that a run does not have, and whether a value follows."""
_STEPS = ("steps", "max_steps", "num_steps", "total_steps", "iterations", "max_iters")
"""What a parameter is called that says how many steps a job takes."""


def measure(config: Config, nodes: Sequence[Node], seconds: float, steps: int | None) -> int:
    """Measure each job, print the forecast, and return the exit code of the run that measured. Raise UsageError."""
    jobs = _jobs(nodes)
    with price_source(config, tell) as source:
        if source.live is None:
            raise UsageError("--measure rents pods: it needs an API key (RUNPOD_API_KEY)")
        is_local = source.name.startswith(EMULATOR)
        provider = source.provider
        prices = Prices(lambda: provider, make_overrides(config), Foresight(config, nodes))
        cards = {first.id: chosen for first, *_ in jobs if (chosen := _cheapest(first, prices))}
    if not cards:
        raise UsageError("--measure: RunPod offers nothing now that these jobs may run on")
    past = list(past_reports(config.runs_path, local=is_local))
    measuring = Measuring(cards, seconds)
    code = _run(config.argv, config.invocation_dir, measuring, quiet=config.output.as_json)
    rows = [
        _Row(first, len(each), measured, steps or _known_steps(first, past))
        for each in jobs
        for first in each[:1]
        for measured in measuring.measured.values()
        if measured.node == first.id
    ]
    if config.output.as_json:
        say_document({"measured_seconds": seconds, "jobs": [row.table() for row in rows]})
    elif any(row.measured.report for row in rows):
        say("\n".join(_lines(rows)))
    return ExitCode.OK if all(row.speed for row in rows) and rows else code or ExitCode.FAILED


def _jobs(nodes: Sequence[Node]) -> list[list[Node]]:
    """Return the nodes of each job that rents a pod; those that stand on others' results cannot be run alone."""
    jobs: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        if uses_pod(node):
            jobs.setdefault((node.file, node.definition.name), []).append(node)
    alone = [each for each in jobs.values() if not each[0].needs and each[0].mark("search") is None]
    if len(alone) < len(jobs):
        note(f"rpd: {len(jobs) - len(alone)} jobs need other nodes or are studies; they are not measured")
    if not alone:
        raise UsageError("--measure: none of these jobs rents a pod and runs alone")
    return alone


def _cheapest(node: Node, prices: Prices) -> list[Card]:
    """Return the cheapest GPU types that a node may rent."""
    try:
        offers: Iterable[Offer] = prices.offers(node)
    except ProviderError as error:
        if error.stops_run:
            raise
        return []
    cards: dict[str, Card] = {}
    for offer in offers:
        if offer.gpu_id is None or offer.usd_per_hr is None or offer.stock == "none":
            continue
        cheaper = cards.get(offer.gpu_id)
        if cheaper is None or offer.usd_per_hr < cheaper.usd_per_hr:
            cards[offer.gpu_id] = Card(gpu_id=offer.gpu_id, count=offer.count, usd_per_hr=offer.usd_per_hr)
    return sorted(cards.values(), key=lambda card: (card.usd_per_hr, card.gpu_id))[:CARDS]


def _run(argv: Sequence[str], here: Path, measuring: Measuring, *, quiet: bool) -> int:
    """Run the nodes to measure; the run shows its worst case, asks, and never costs more."""
    words = [*_without_own(argv[1:]), "-n", str(max(1, measuring.count))]
    run_config, manager = configure("run", words, here)
    # No result of a measurement is worth a pod that stays.
    pods = replace(run_config.pods, keep_unverified=0.0, keep_failed=None)
    run_config = replace(run_config, pods=pods)
    if quiet:
        manager.set_blocked("terminal")
    manager.register(measuring, "measuring")
    return carry_out(run_config, manager, None)


def _without_own(argv: Sequence[str]) -> Iterator[str]:
    skips = False
    for word in argv:
        if skips:
            skips = False
        elif word.partition("=")[0] in _OWN_FLAGS:
            skips = _OWN_FLAGS[word.partition("=")[0]] and "=" not in word
        else:
            yield word


def _known_steps(node: Node, past: Iterable[NodeReport]) -> int | None:
    """Return how many steps a job takes: by a parameter of that name, else as when it passed last."""
    for name in _STEPS:
        value = node.parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    for report in past:
        is_of_job = (report.node.file, report.node.job) == (node.file, node.definition.name)
        if is_of_job and report.result.outcome is Outcome.PASSED and report.series:
            return max(int(each.last_step) for each in report.series.values()) or None
    return None


class _Row:
    """One job measured on one GPU type, and the forecast from that."""

    def __init__(self, node: Node, nodes: int, measured: Measured, steps: int | None) -> None:
        self.job = f"{node.file}::{node.definition.name}"
        self.nodes = nodes
        self.measured = measured
        self.steps = steps
        points = longest(measured.points)
        self.speed: Speed | None = speed_of(points)
        self.overhead = _overhead(measured)
        self.forecast: Forecast | None = None
        if self.speed is not None and steps:
            rate = measured.card.usd_per_hr
            self.forecast = forecast(self.speed, steps=steps, overhead=self.overhead, usd_per_hr=rate)

    @property
    def trouble(self) -> str:
        """Why there is no speed."""
        report = self.measured.report
        if self.speed is not None:
            return ""
        if report is None:
            return "did not run"
        if report.result.outcome in (Outcome.FAILED, Outcome.ERROR) and not self.measured.series:
            return report.result.reason or str(report.result.outcome)
        return "it reported too few metrics ($RPD_METRICS) to measure its speed"

    def table(self) -> dict[str, Any]:
        """Return it for JSON."""
        card, speed, forecast = self.measured.card, self.speed, self.forecast
        report = self.measured.report
        return {
            "job": self.job,
            "nodes": self.nodes,
            "gpu": card.gpu_id,
            "count": card.count,
            "usd_per_hr": card.usd_per_hr,
            "steps": self.steps,
            "steps_per_second": speed and _interval((speed.mean, speed.low, speed.high)),
            "overhead_seconds": round(self.overhead, 3),
            "seconds": forecast and _interval(forecast.seconds),
            "usd": forecast and _interval(forecast.usd),
            "measuring_usd": round(report.cost.estimated_usd, 6) if report else 0.0,
            "trouble": self.trouble or None,
        }


def _interval(values: tuple[float, float, float]) -> Mapping[str, float]:
    likely, low, high = values
    return {"likely": round(likely, 6), "low": round(low, 6), "high": round(high, 6)}


def _overhead(measured: Measured) -> float:
    """Return a node's overhead besides its steps (s): booting, staging, and the job until its first number."""
    report = measured.report
    if report is None:
        return 0.0
    around = sum(seconds for name, seconds in report.result.phases.items() if name != "job")
    firsts = [points[0][0] for points in measured.series.values() if points]
    starting = min(firsts) - measured.began if firsts and measured.began is not None else 0.0
    return around + max(0.0, starting)


_HEAD = ("JOB", "GPU", "$/H", "STEPS/S", "TIME", "$/NODE", "NODES", "$ TOTAL")


def _lines(rows: Sequence[_Row]) -> Iterator[str]:
    yield ""
    yield from table([_HEAD, *map(_cells, rows)], right=range(2, 8), cut={0: 20, 1: 12}, leave_out=(0,))
    spent = sum(row.measured.report.cost.estimated_usd for row in rows if row.measured.report)
    for row in rows:
        if row.trouble:
            yield f"{row.job} on {row.measured.card.gpu_id}: {row.trouble}"
    if any(row.speed and not row.steps for row in rows):
        yield "the number of steps of a job is unknown: pass --steps N"
    for job in dict.fromkeys(row.job for row in rows):
        forecasts = [row for row in rows if row.job == job and row.forecast]
        if len(forecasts) > 1:
            best = min(forecasts, key=lambda row: row.forecast.usd[0] if row.forecast else 0.0)
            yield f"{job}: cheapest on {best.measured.card.gpu_id}"
    yield f"intervals hold in 9 of 10 cases if a job keeps its speed; measuring cost ${spent:.4f}"


def _cells(row: _Row) -> tuple[str, ...]:
    card, forecast, speed = row.measured.card, row.forecast, row.speed
    return (
        row.job,
        f"{card.count}x {card.gpu_id}" if card.count > 1 else card.gpu_id,
        f"{card.usd_per_hr:.2f}",
        "?" if speed is None else f"{speed.mean:.3g} ({speed.low:.3g}-{speed.high:.3g})",
        "?" if forecast is None else _range(forecast.seconds, format_duration),
        "?"
        if forecast is None
        else _range(forecast.usd, lambda usd: f"{usd:.4f}" if usd < 0.01 else f"{usd:.2f}"),
        str(row.nodes),
        "?" if forecast is None else f"{forecast.usd[0] * row.nodes:.2f}",
    )


def _range(values: tuple[float, float, float], shown: Any) -> str:
    likely, low, high = map(shown, values)
    return f"{likely} ({low}-{high})" if low != high else str(likely)

"""Lists at the end of a run that flags ask for: which outcomes, the slowest phases, the nodes that cost most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rpd.terminal.styles import Ink, counted, money, rule, short_gpu
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport, Outcome

_OUTCOMES = {
    "f": Outcome.FAILED,
    "E": Outcome.ERROR,
    "s": Outcome.SKIPPED,
    "x": Outcome.XFAILED,
    "X": Outcome.XPASSED,
    "u": Outcome.PRUNED,
    "p": Outcome.PASSED,
}
_ALL_BUT_PASSED = frozenset(Outcome) - {Outcome.PASSED}


def outcomes_of(chars: str) -> frozenset[Outcome]:
    """Return the outcomes that the letters of ``-r`` stand for; ``N`` takes back those before it."""
    outcomes: frozenset[Outcome] = frozenset()
    for char in chars:
        match char:
            case "N":
                outcomes = frozenset()
            case "A":
                outcomes = frozenset(Outcome)
            case "a":
                outcomes |= _ALL_BUT_PASSED
            case _ if char in _OUTCOMES:
                outcomes |= {_OUTCOMES[char]}
    return outcomes


def wants_notices(chars: str) -> bool:
    """Return whether the letters of ``-r`` ask for the notices of the run again."""
    return "w" in chars.rpartition("N")[2]


def wants_passes(chars: str) -> bool:
    """Return whether the letters of ``-r`` ask for the output of nodes that passed."""
    return bool({"P", "A"} & set(chars.rpartition("N")[2]))


def notices(texts: Sequence[str], *, width: int, ink: Ink) -> Iterator[str]:
    """Yield the notices of the run, each once."""
    if texts:
        yield ""
        yield ink(rule("notices", "=", width), "yellow")
        yield from (ink(text) for text in dict.fromkeys(texts))


def durations(
    reports: Sequence[NodeReport], *, number: int, least: float, verbose: bool, width: int, ink: Ink
) -> Iterator[str]:
    """Yield the ``number`` slowest phases (0: all); those below ``least`` seconds only with ``verbose``."""
    every = [
        (seconds, phase, report.node.id)
        for report in reports
        for phase, seconds in report.result.phases.items()
    ]
    if not every:
        return
    every.sort(key=lambda each: -each[0])
    slowest = every[:number] if number else every
    shown = slowest if verbose else [each for each in slowest if each[0] >= least]
    yield ""
    title = f"slowest {counted(number, 'duration')}" if number else "slowest durations"
    yield ink(rule(title, "=", width))
    phase_width = max((len(phase) for _, phase, _ in shown), default=0)
    for seconds, phase, node_id in shown:
        yield ink(f"{format_duration(seconds):>7}  {phase:<{phase_width}}  {node_id}")
    if len(shown) < len(slowest):
        hidden = counted(len(slowest) - len(shown), "duration")
        yield ink(f"({hidden} below {least:g} s: -vv shows all)", "dim")


def costs(reports: Sequence[NodeReport], *, number: int, width: int, ink: Ink) -> Iterator[str]:
    """Yield the ``number`` nodes (0: all) that cost most; those without a pod cost nothing and are left out."""
    paid = [report for report in reports if report.pod is not None]
    if not paid:
        return
    paid.sort(key=lambda report: -report.cost.estimated_usd)
    costliest = paid[:number] if number else paid
    yield ""
    yield ink(rule("most expensive nodes", "=", width))
    amounts = [money(report.cost.estimated_usd) for report in costliest]
    amount_width = max(map(len, amounts))
    for report, amount in zip(costliest, amounts, strict=True):
        yield ink(f"{amount:>{amount_width}}  {report.node.id}  {_why(report)}".rstrip())


def _why(report: NodeReport) -> str:
    """Return the reason of an expense: the kind of pod, its hours and its price."""
    pod = report.pod
    gpu = short_gpu(pod.gpu or "CPU") if pod else ""
    many = f"{pod.count}x " if pod and pod.count > 1 else ""
    if pod and pod.nodes > 1:
        many = f"{pod.nodes} nodes of {many}"
    rate = f" at ${report.cost.rate_usd_per_hr:.2f}/h" if report.cost.rate_usd_per_hr else ""
    return f"{many}{gpu} {format_duration(report.cost.billed_seconds)}{rate}"

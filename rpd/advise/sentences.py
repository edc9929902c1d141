"""Sentences of advice on the cost of a run, each with the dollars it could save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rpd.advise.activity import Doing
from rpd.advise.advice import Card, Use, idle_share, idle_usd
from rpd.values.duration import format_duration

CPU_POD_USD_PER_HR = 0.06
"""What a small CPU pod costs about, where the catalogue does not tell."""
WORTH_USD = 0.01
WORTH_SHARE = 0.05
_REMEDIES: Mapping[Doing, str] = {
    Doing.BOOTING: "nodes that share a pod boot once (a fixture of scope worker)",
    Doing.STAGING: "send less (.rpdignore), or put data on a network volume once",
    Doing.INSTALLING: "an image that has the packages, or an environment on a network volume, needs no installing",
    Doing.COMPILING: "keep the compiler's cache on a network volume, or compile when the image is built",
    Doing.PULLING: "pull less, or while the job works (every=)",
    Doing.NOTHING: "the job function itself takes this time between its commands",
}


def idle_line(of: Sequence[Use]) -> str:
    """Return a line about the idle time of the GPUs; empty if it was not measured, or was zero."""
    share, by = idle_share(of), idle_usd(of)
    if share is None or not by:
        return ""
    total = sum(by.values())
    parts = [f"{what} {usd(amount)}" for what, amount in by.items() if amount >= total * WORTH_SHARE]
    return f"GPUs were idle for {share:.0%} of the measured time ({usd(total)}): {', '.join(parts)}"


def remedies(of: Sequence[Use], cpu_usd_per_hr: float | None) -> Iterator[str]:
    """Yield advice on activities that cost much while no GPU worked, the most expensive first."""
    total = sum(use.usd for use in of)
    spent: dict[Doing, float] = {}
    for use in of:
        for what in use.usd_by:
            # Where nothing was measured, all of it is taken for idle but the work itself.
            lost = use.idle_by.get(what, 0.0) if use.measured_seconds else use.usd_by[what]
            spent[what] = spent.get(what, 0.0) + lost
    for what, amount in sorted(spent.items(), key=lambda item: -item[1]):
        if what is Doing.WORKING or amount < max(WORTH_USD, total * WORTH_SHARE):
            continue
        if what is Doing.DOWNLOADING:
            yield _download(of, amount, cpu_usd_per_hr)
        else:
            yield f"{what}: {usd(amount)}; {_REMEDIES[what]}"


def _download(of: Sequence[Use], amount: float, cpu_usd_per_hr: float | None) -> str:
    seconds = sum(use.seconds * use.usd_by.get(Doing.DOWNLOADING, 0.0) / use.usd for use in of if use.usd)
    most = max(of, key=lambda use: use.usd_by.get(Doing.DOWNLOADING, 0.0))
    instead = seconds / 3600 * (cpu_usd_per_hr or CPU_POD_USD_PER_HR)
    return (
        f"downloading: {format_duration(seconds)} of {most.gpu or 'a pod'}, {usd(amount)}; a network volume that a CPU "
        f"pod fills would have cost {usd(instead)} for the same time, once for all nodes"
    )


def card_lines(use: Use) -> Iterator[str]:
    """Yield the cheaper GPU types that are large enough for a job."""
    if use.is_unused:
        yield f"{use.job}: the job never used {_times(use.count, use.gpu)}; a CPU pod (gpu=None) may be enough"
        return
    if not use.cheaper or use.peak_mb is None:
        return
    card, *others = use.cheaper
    yield (
        f"{use.job}: {_times(use.count, use.gpu)} at {use.rate:.2f} $/h, peak memory {gigabytes(use.peak_mb)} of "
        f"{gigabytes(use.total_mb or 0.0)}; {_times(use.count, card.gpu_id)} would have held it at "
        f"{card.usd_per_hr:.2f} $/h{_where(card)}, and costs less unless it is {use.rate / card.usd_per_hr:.1f}x slower"
    )
    if others:
        yield "  also " + "; ".join(
            f"{each.gpu_id} at {each.usd_per_hr:.2f} $/h{_where(each)}" for each in others
        )


def _where(card: Card) -> str:
    if card.stock == "unknown":
        return ""
    places = ", ".join(card.places[:2]) + (
        f" and {len(card.places) - 2} more" if len(card.places) > 2 else ""
    )
    return f" (stock {card.stock}: {places})"


def _times(count: int, gpu: str) -> str:
    return f"{count}x {gpu}" if count > 1 else gpu


def gigabytes(mib: float) -> str:
    """Return MiB as GB for people."""
    return f"{mib * 1024 * 1024 / 1e9:.1f} GB"


def usd(amount: float) -> str:
    """Return dollars for people."""
    return f"${amount:.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.4f}"

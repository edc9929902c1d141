"""``rpd advise``: where the money of runs went, when GPUs were idle, and which cheaper GPUs would have been enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rpd.advise.activity import Doing, of_node
from rpd.advise.advice import Use, cheaper_cards, idle_share, idle_usd, uses
from rpd.advise.boots import Experience, experiences, read_tries
from rpd.advise.sentences import card_lines, gigabytes, idle_line, remedies, usd
from rpd.cli.command_options import AdviseOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.cli.query import tell_damage
from rpd.cli.stderr_notices import tell
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.past_runs import PastRun, past_run, run_named
from rpd.pipeline.price_source import SHIPPED, price_source
from rpd.runpod.address import EMULATOR
from rpd.runpod.catalogue.model import Catalogue, shipped_catalogue
from rpd.values.duration import format_duration
from rpd.values.frozen import frozen

_EXPERIENCES_SHOWN = 10


@frozen
class _Advice:
    runs: Sequence[PastRun]
    uses: Sequence[Use]
    cpu_usd_per_hr: float | None
    source: str


def main(config: Config, manager: PluginManager) -> int:
    """Print the advice; with ``--fail-idle`` the exit code is 1 where GPUs did nothing for longer."""
    own: AdviseOptions = config.own
    del manager
    if own.boots:
        if config.args:
            raise UsageError("--boots covers all past runs: it takes no argument")
        return _boots(config.runs_path, as_json=config.output.as_json)
    runs = [
        past_run(run_named(config.invocation_dir, config.runs_path, name)) for name in config.args or ("",)
    ]
    for run in runs:
        tell_damage(run.damaged)
    advice = _advice(config, runs)
    share = idle_share(advice.uses)
    if config.output.as_json:
        say_document(_document(advice, share))
    else:
        say("\n".join(_lines(advice)))
    if own.fail_idle is None:
        return ExitCode.OK
    if share is None:
        note("rpd: --fail-idle: GPU use was not measured")
        return ExitCode.OK
    if share > own.fail_idle:
        note(f"rpd: GPUs were idle for {share:.0%} of the time, more than --fail-idle {own.fail_idle:.0%}")
        return ExitCode.FAILED
    return ExitCode.OK


def _advice(config: Config, runs: Sequence[PastRun]) -> _Advice:
    used = uses((report, of_node(report)) for run in runs for report in run.reports)
    counts = sorted({use.count for use in used if use.gpu})
    with price_source(config, tell) as source:
        if source.live is None and counts:
            note(f"rpd: {SHIPPED}")
        catalogues = {
            count: source.live.catalogue(count) if source.live else shipped_catalogue() for count in counts
        }
    for use in used:
        if use.count in catalogues:
            use.cheaper = cheaper_cards(use, catalogues[use.count])
    return _Advice(
        runs=runs,
        uses=used,
        cpu_usd_per_hr=_cpu_price(next(iter(catalogues.values()), shipped_catalogue())),
        source=source.name,
    )


def _cpu_price(catalogue: Catalogue) -> float | None:
    """Return the price of a pod with two vCPUs per hour, None if unknown."""
    return min((2 * price for price in catalogue.cpu_usd_per_vcpu_hr.values()), default=None)


def _lines(advice: _Advice) -> Iterator[str]:
    names = ", ".join(run.info.id for run in advice.runs)
    if not advice.uses:
        yield f"run {names}: no pods, so there is nothing to advise"
        return
    total = sum(use.usd for use in advice.uses)
    yield f"run {names}: {usd(total)} for {sum(use.nodes for use in advice.uses)} nodes with pods"
    yield ""
    yield from _table(advice.uses)
    yield ""
    yield (idle_line(advice.uses) or "GPU use was not measured (the nodes were too short, or had no GPU)")
    for line in remedies(advice.uses, advice.cpu_usd_per_hr):
        yield f"  {line}"
    for use in advice.uses:
        cards = list(card_lines(use))
        yield from ["", *cards] if cards else []


def _table(of: Sequence[Use]) -> Iterator[str]:
    shown = [what for what in Doing if any(use.usd_by.get(what) for use in of)]
    head = ("JOB", "GPU", "NODES", "$", *(what.upper() for what in shown), "GPU BUSY", "PEAK MEMORY")
    rows = [
        (
            use.job,
            (f"{use.count}x " if use.count > 1 else "") + (use.gpu or "CPU"),
            str(use.nodes),
            usd(use.usd).removeprefix("$"),
            *(usd(use.usd_by[what]).removeprefix("$") if what in use.usd_by else "" for what in shown),
            "" if use.mean_busy is None else f"{use.mean_busy:.0f} %",
            "" if use.peak_mb is None else f"{gigabytes(use.peak_mb)} of {gigabytes(use.total_mb or 0.0)}",
        )
        for use in of
    ]
    numbers = range(2, 4 + len(shown) + 1)
    yield from table([head, *rows], right=numbers, cut={0: 16, 1: 14}, leave_out=(4 + len(shown) + 1, 1))


def _document(advice: _Advice, share: float | None) -> dict[str, Any]:
    return {
        "runs": [run.info.id for run in advice.runs],
        "source": advice.source,
        "usd": round(sum(use.usd for use in advice.uses), 6),
        "idle_share": None if share is None else round(share, 4),
        "idle_usd": {what.name.lower(): round(amount, 6) for what, amount in idle_usd(advice.uses).items()},
        "jobs": [_use(use) for use in advice.uses],
        "advice": [
            *remedies(advice.uses, advice.cpu_usd_per_hr),
            *(line for use in advice.uses for line in list(card_lines(use))[:1]),
        ],
    }


def _use(use: Use) -> dict[str, Any]:
    return {
        "job": use.job,
        "gpu": use.gpu or None,
        "count": use.count,
        "cloud": use.cloud,
        "nodes": use.nodes,
        "usd": round(use.usd, 6),
        "usd_per_hr": use.rate,
        "usd_by_activity": {what.name.lower(): round(amount, 6) for what, amount in use.usd_by.items()},
        "idle_usd_by_activity": {
            what.name.lower(): round(amount, 6) for what, amount in use.idle_by.items() if amount
        },
        "gpu_busy_percent": None if use.mean_busy is None else round(use.mean_busy, 1),
        "peak_memory_mib": use.peak_mb,
        "memory_mib": use.total_mb,
        "cheaper": [{**asdict(card), "cloud": card.cloud.value} for card in use.cheaper],
    }


# --- boots ----------------------------------------------------------------------------------------------------------


def _boots(runs_path: Path, *, as_json: bool) -> int:
    local = _is_emulated()
    tries = read_tries(runs_path, local=local)
    kinds = {by: experiences(tries, *by) for by in (("gpu", "place"), ("image",))}
    if as_json:
        say_document(
            {
                "tries": len(tries),
                **{
                    f"by_{'_'.join(by)}": [_experience(each, by) for each in kind]
                    for by, kind in kinds.items()
                },
            }
        )
        return ExitCode.OK
    if not tries:
        where = "on an emulator" if local else "on RunPod (an emulator's do not count)"
        say(f"the runs in {runs_path} requested no pods {where}")
        return ExitCode.OK
    for number, (by, kind) in enumerate(kinds.items()):
        shown = [each for each in kind if any(each.name)][:_EXPERIENCES_SHOWN]
        if not shown:
            continue
        if number:
            say("")
        head = (*(part.upper() for part in by), "READY", "SOLD OUT", "FAILED", "USUALLY", "LONGEST")
        rows = [
            (
                *(part or "anywhere" for part in each.name),
                str(each.ready),
                str(each.refused or ""),
                str(each.failed or ""),
                "" if each.median is None else format_duration(each.median),
                "" if each.longest is None else format_duration(each.longest),
            )
            for each in shown
        ]
        width = len(by)
        say("\n".join(table([head, *rows], right=range(width, width + 5), cut={0: 20})))
        if len(kind) > len(shown):
            say(f"… and {len(kind) - len(shown)} more (--json has them all)")
    return ExitCode.OK


def _is_emulated() -> bool:
    from rpd.runpod.address import api_name, api_url

    return api_name(api_url()).startswith(EMULATOR)


def _experience(each: Experience, by: Sequence[str]) -> dict[str, Any]:
    return {
        **dict(zip(by, each.name, strict=True)),
        "ready": each.ready,
        "sold_out": each.refused,
        "failed": each.failed,
        "median_seconds": each.median,
        "longest_seconds": each.longest,
    }

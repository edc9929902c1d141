"""Summaries of a run: means over seeds, and the nodes with the lowest and highest value of each metric."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rpd.record.toml_records import toml_value
from rpd.values.frozen import frozen
from rpd.values.report import NodeReport, Outcome


@frozen
class Spread:
    """The values of one metric: ``std`` is that of a sample, None for one value."""

    count: int
    mean: float
    std: float | None
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the statistics of ``values``, at least one."""
        import statistics  # slow to import, and a list of runs has no means

        return cls(
            count=len(values),
            mean=statistics.fmean(values),
            std=statistics.stdev(values) if len(values) > 1 else None,
            lowest=min(values),
            highest=max(values),
        )


@frozen
class Group:
    """Nodes of one job that have the same parameters, but for those their means are over."""

    file: str
    job: str
    parameters: Mapping[str, Any]
    nodes: int
    passed: int
    metrics: Mapping[str, Spread]
    seconds: float
    usd: float


@frozen
class Extremes:
    """The nodes of one job with the lowest and the highest value of a metric."""

    file: str
    job: str
    metric: str
    lowest: NodeReport
    highest: NodeReport


def is_seed(name: str) -> bool:
    """Return whether a parameter of that name is one whose values are repetitions."""
    return name == "seed" or name.endswith("_seed")


def groups(reports: Sequence[NodeReport], over: Collection[str]) -> list[Group]:
    """Return the groups of each job that has one of the parameters ``over``, in the order of their first nodes."""
    by_group: dict[tuple[str, str, str], list[NodeReport]] = {}
    for report in reports:
        node = report.node
        if any(name in over for name in node.parameters):
            key = json.dumps(toml_value(_others(report, over)), default=str, sort_keys=True)
            by_group.setdefault((node.file, node.job, key), []).append(report)
    return [_group(members, over) for members in by_group.values()]


def _others(report: NodeReport, over: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in report.node.parameters.items() if name not in over}


def _group(members: Sequence[NodeReport], over: Collection[str]) -> Group:
    node = members[0].node
    names = dict.fromkeys(name for report in members for name in report.metrics)
    values = {name: _numbers(members, name) for name in names}
    return Group(
        file=node.file,
        job=node.job,
        parameters=_others(members[0], over),
        nodes=len(members),
        passed=sum(report.result.outcome is Outcome.PASSED for report in members),
        metrics={name: Spread.of(numbers) for name, numbers in values.items() if numbers},
        seconds=math.fsum(report.result.seconds for report in members),
        usd=math.fsum(report.cost.estimated_usd for report in members),
    )


def extremes(reports: Sequence[NodeReport]) -> list[Extremes]:
    """Return the extremes of each metric of each job that was measured at two nodes at least, and differs."""
    by_job: dict[tuple[str, str, str], list[NodeReport]] = {}
    for report in reports:
        for name, value in report.metrics.items():
            if is_number(value):
                by_job.setdefault((report.node.file, report.node.job, name), []).append(report)
    rows = []
    for (file, job, metric), members in by_job.items():
        lowest = min(members, key=lambda report: report.metrics[metric])
        highest = max(members, key=lambda report: report.metrics[metric])
        if lowest.metrics[metric] != highest.metrics[metric]:
            rows.append(Extremes(file=file, job=job, metric=metric, lowest=lowest, highest=highest))
    return rows


def _numbers(members: Sequence[NodeReport], metric: str) -> list[float]:
    return [float(report.metrics[metric]) for report in members if is_number(report.metrics.get(metric))]


def is_number(value: Any) -> bool:
    """Return whether a metric is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

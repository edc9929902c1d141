"""The bill over REST: the ledger in buckets, with the shapes of RunPod's OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rpd.emulator.billing import Ledger, Line
from rpd.emulator.rest_body import Problem
from rpd.emulator.rest_pods import iso

_BUCKETS = {"hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400, "year": 365 * 86400}
_POD_AMOUNTS = {"gpuAmount": "gpu", "cpuAmount": "cpu", "diskAmount": "disk"}
_VOLUME_AMOUNTS = {"standardAmount": "standard", "highPerformanceAmount": "high_performance"}
_CLUSTER_AMOUNTS = {
    "gpuAmount": "cluster_gpu",
    "diskAmount": "cluster_disk",
    "networkingAmount": "cluster_networking",
}
_ACCOUNT_AMOUNTS = {
    "podGpuAmount": "gpu",
    "podCpuAmount": "cpu",
    "podDiskAmount": "disk",
    "serverlessGpuAmount": "serverless_gpu",
    "serverlessCpuAmount": "serverless_cpu",
    "serverlessDiskAmount": "serverless_disk",
    "serverlessFeeAmount": "serverless_fee",
    "storageStandardAmount": "standard",
    "storageHighPerformanceAmount": "high_performance",
    "endpointAmount": "endpoint",
    "clusterGpuAmount": "cluster_gpu",
    "clusterDiskAmount": "cluster_disk",
    "clusterNetworkingAmount": "cluster_networking",
}


def pod_bill(ledger: Ledger, query: Mapping[str, str], now: float) -> dict[str, Any]:
    """Return the answer of ``GET /billing/pods``. Raise Problem."""
    return _by_subject(ledger, query, now, "pod", "podId", "uniquePodCount", _POD_AMOUNTS)


def volume_bill(ledger: Ledger, query: Mapping[str, str], now: float) -> dict[str, Any]:
    """Return the answer of ``GET /billing/network-volumes``. Raise Problem."""
    return _by_subject(
        ledger, query, now, "volume", "networkVolumeId", "uniqueNetworkVolumeCount", _VOLUME_AMOUNTS
    )


def cluster_bill(ledger: Ledger, query: Mapping[str, str], now: float) -> dict[str, Any]:
    """Return the answer of ``GET /billing/clusters``. Raise Problem."""
    return _by_subject(ledger, query, now, "cluster", "clusterId", "uniqueClusterCount", _CLUSTER_AMOUNTS)


def account_bill(ledger: Ledger, query: Mapping[str, str], now: float) -> dict[str, Any]:
    """Return the answer of ``GET /billing``. Raise Problem."""
    start, end, size = _window(query, now)
    lines = ledger.lines(start, end, now)
    buckets = _grouped(lines, size, lambda _line: "")
    records = [
        {"startTime": iso(at), "endTime": iso(at + _BUCKETS[size]), **_amounts(group, _ACCOUNT_AMOUNTS)}
        for (at, _), group in buckets
    ]
    echo = {"startTime": iso(start), "endTime": iso(end), "bucketSize": size}
    totals = _amounts(lines, _ACCOUNT_AMOUNTS)
    return {
        "records": records,
        "metadata": {"query": echo, "recordCount": len(records), "totals": totals},
    }


def _by_subject(
    ledger: Ledger,
    query: Mapping[str, str],
    now: float,
    kind: str,
    id_field: str,
    count_field: str,
    amounts: Mapping[str, str],
) -> dict[str, Any]:
    start, end, size = _window(query, now)
    wanted_id = query.get(id_field)
    lines = [
        line
        for line in ledger.lines(start, end, now)
        if line.kind == kind and wanted_id in (None, line.subject)
    ]
    records = [
        {
            "startTime": iso(at),
            "endTime": iso(at + _BUCKETS[size]),
            id_field: subject,
            **_amounts(group, amounts),
        }
        for (at, subject), group in _grouped(lines, size, lambda line: line.subject)
    ]
    echo = {"startTime": iso(start), "endTime": iso(end), "bucketSize": size, id_field: wanted_id}
    metadata = {
        "query": echo,
        "recordCount": len(records),
        count_field: len({line.subject for line in lines}),
        "totals": _amounts(lines, amounts),
    }
    return {"records": records, "metadata": metadata}


def _grouped(lines: Iterable[Line], size: str, subject: Any) -> list[tuple[tuple[int, str], list[Line]]]:
    """Return the lines of each bucket and subject, in order of time."""
    buckets: dict[tuple[int, str], list[Line]] = {}
    for line in lines:
        buckets.setdefault((line.start // _BUCKETS[size] * _BUCKETS[size], subject(line)), []).append(line)
    return sorted(buckets.items())


def _amounts(lines: Iterable[Line], amounts: Mapping[str, str]) -> dict[str, float]:
    group = list(lines)
    values = {field: sum(line.usd for line in group if line.part == part) for field, part in amounts.items()}
    return {"totalAmount": sum(values.values()), **values}


def _window(query: Mapping[str, str], now: float) -> tuple[float, float, str]:
    """Return the window asked for, widened to whole buckets, and the size of these. Raise Problem."""
    size = query.get("bucketSize", "day")
    if size not in _BUCKETS:
        names = ", ".join(_BUCKETS)
        raise Problem(422, "validation failed", (f"query.bucketSize: expected one of {names}",))
    seconds = _BUCKETS[size]
    last, bounds = query.get("lastN"), ("startTime" in query or "endTime" in query)
    if last and bounds:
        raise Problem(400, "lastN and startTime/endTime are mutually exclusive")
    end = -(-(_moment(query["endTime"]) if "endTime" in query else now) // seconds) * seconds
    if last:
        if not last.isdigit() or int(last) < 1:
            raise Problem(422, "validation failed", ("query.lastN: expected integer >= 1",))
        return end - int(last) * seconds, end, size
    begin = _moment(query["startTime"]) if "startTime" in query else now - 30 * 86400
    return begin // seconds * seconds, end, size


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise Problem(422, "validation failed", (f"query: expected date-time, got {text}",)) from None

"""The bill in REST v2: one request each for pods, clusters and network volumes, and one for everything else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rpd.errors import BillingDenied, NotPermitted
from rpd.runpod.response import Misshapen, identifier, needed_table, needed_tables, number, table, understood
from rpd.runpod.rest.client import NotThere, Rest
from rpd.values.billing import HOUR, Billing, PodBill, VolumeBill

_OTHERS: Mapping[str, tuple[str, ...]] = {
    "serverless": (
        "serverlessGpuAmount",
        "serverlessCpuAmount",
        "serverlessDiskAmount",
        "serverlessFeeAmount",
    ),
    "public endpoints": ("endpointAmount",),
}
"""What the account may use besides pods, clusters and volumes, and the fields that tell it."""


def read_billing(rest: Rest, since: float, until: float) -> Billing:
    """Return the bill of a window, widened to whole hours.

    Raise BillingDenied; TransientError if it is incomplete.
    """
    begin, end = math.floor(since / HOUR) * HOUR, math.ceil(until / HOUR) * HOUR
    window = {"startTime": _iso(begin), "endTime": _iso(end), "bucketSize": "hour"}
    try:
        pods = understood(_pods, rest.get("/billing/pods", window))
        pods += _clusters_of(rest, window)
        volumes = understood(_volumes, rest.get("/billing/network-volumes", window))
        others = understood(_others, rest.get("/billing", window))
    except NotPermitted as error:
        raise BillingDenied(
            f"this API key may not read the bill ({error.words}): RunPod shows it to the roles Admin and Billing, and "
            "to keys with that permission. Ask an admin of the account for one"
        ) from None
    return Billing(since=begin, until=end, pods=pods, volumes=volumes, others=others)


def _pods(answer: Any) -> tuple[PodBill, ...]:
    return tuple(
        PodBill(
            pod_id=identifier(row.get("podId")),
            start=_moment(row.get("startTime")),
            compute_usd=_usd(row.get("gpuAmount")) + _usd(row.get("cpuAmount")),
            disk_usd=_usd(row.get("diskAmount")),
        )
        for row in _records(answer)
    )


def _clusters_of(rest: Rest, window: Mapping[str, str]) -> tuple[PodBill, ...]:
    try:
        return understood(_clusters, rest.get("/billing/clusters", window))
    except NotThere:  # this API has no clusters
        return ()


def _clusters(answer: Any) -> tuple[PodBill, ...]:
    """Return the cost of clusters; rpd rents each of them as one pod."""
    return tuple(
        PodBill(
            pod_id=identifier(row.get("clusterId")),
            start=_moment(row.get("startTime")),
            compute_usd=_usd(row.get("gpuAmount")) + _usd(row.get("networkingAmount", 0)),
            disk_usd=_usd(row.get("diskAmount")),
        )
        for row in _records(answer)
    )


def _volumes(answer: Any) -> tuple[VolumeBill, ...]:
    return tuple(
        VolumeBill(
            volume_id=identifier(row.get("networkVolumeId")),
            start=_moment(row.get("startTime")),
            usd=_usd(row.get("totalAmount")),
        )
        for row in _records(answer)
    )


def _others(answer: Any) -> dict[str, float]:
    rows = _records(answer)
    amounts = {
        name: math.fsum(_usd(row.get(field, 0)) for row in rows for field in fields)
        for name, fields in _OTHERS.items()
    }
    return {name: usd for name, usd in amounts.items() if usd}


def _records(answer: Any) -> list[Mapping[str, Any]]:
    rows = needed_tables(needed_table(answer).get("records"))
    count = table(table(answer).get("metadata")).get("recordCount")
    # An incomplete bill must not be read as "nothing was charged".
    if isinstance(count, int) and count > len(rows):
        raise Misshapen("records are missing")
    return rows


def _usd(value: object) -> float:
    amount = number(value)
    if amount is None:
        raise Misshapen("no amount")
    return amount


def _moment(value: object) -> float:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    if moment is None or moment.tzinfo is None:
        raise Misshapen("no time")
    return moment.timestamp()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

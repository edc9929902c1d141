"""The bill as REST v2 tells it: whole, or an error; without clusters where the API has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rpd.errors import BillingDenied, NotPermitted, TransientError
from rpd.runpod.rest.billing import read_billing
from rpd.runpod.rest.client import NotThere

HOUR = {"startTime": "2026-01-02T03:00:00Z", "endTime": "2026-01-02T04:00:00Z"}
POD = {**HOUR, "podId": "p", "totalAmount": 1.5, "gpuAmount": 1.0, "cpuAmount": 0, "diskAmount": 0.5}
CLUSTER = {
    **HOUR,
    "clusterId": "c",
    "totalAmount": 3.0,
    "gpuAmount": 2.0,
    "diskAmount": 0.75,
    "networkingAmount": 0.25,
}
VOLUME = {
    **HOUR,
    "networkVolumeId": "v",
    "totalAmount": 0.2,
    "standardAmount": 0.2,
    "highPerformanceAmount": 0,
}


class Api:
    """Answers by the end of the path: records, or an exception to raise."""

    def __init__(self, **answers: Any) -> None:
        self._answers: Mapping[str, Any] = {
            "pods": [POD], "clusters": [CLUSTER], "network-volumes": [VOLUME], "billing": [{**HOUR, "endpointAmount": 0.1}],
            **answers,
        }  # fmt: skip

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        assert params["bucketSize"] == "hour"
        answer = self._answers[path.rpartition("/")[2]]
        if isinstance(answer, Exception):
            raise answer
        return (
            answer
            if isinstance(answer, dict)
            else {"records": answer, "metadata": {"recordCount": len(answer)}}
        )


def bill(**answers: Any) -> Any:
    api: Any = Api(**answers)
    return read_billing(api, 1_767_322_800.0 + 60, 1_767_322_800.0 + 3700)


def test_pods_clusters_volumes_and_the_rest() -> None:
    found = bill()
    assert (found.since, found.until) == (1_767_322_800.0, 1_767_322_800.0 + 7200)
    assert [(each.pod_id, each.compute_usd, each.disk_usd) for each in found.pods] == [
        ("p", 1.0, 0.5),
        ("c", 2.25, 0.75),
    ]
    assert [(each.volume_id, each.usd) for each in found.volumes] == [("v", 0.2)]
    assert found.others == {"public endpoints": 0.1}


def test_an_api_without_clusters_has_a_bill_all_the_same() -> None:
    assert [each.pod_id for each in bill(clusters=NotThere("no route")).pods] == ["p"]


@pytest.mark.parametrize(
    "pods",
    [
        [{**POD, "gpuAmount": "much"}],
        [{**POD, "startTime": "yesterday"}],
        [{**POD, "startTime": "2026-01-02T03:00:00"}],
        [{key: value for key, value in POD.items() if key != "podId"}],
        {"records": [POD], "metadata": {"recordCount": 2}},
        {"metadata": {}},
    ],
)
def test_a_bill_with_holes_is_no_bill(pods: Any) -> None:
    with pytest.raises(TransientError):
        bill(pods=pods)


def test_a_key_that_may_not_read_it() -> None:
    with pytest.raises(BillingDenied, match="may not read the bill"):
        bill(pods=NotPermitted("RunPod denied access"))

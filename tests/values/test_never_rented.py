"""Requests that RunPod never serves; those for clusters are in ``tests/cluster``."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rpd.errors import DefinitionError
from rpd.values.job import Gpu, Job, Storage
from rpd.values.never_rented import check_kind, check_place

L4 = "NVIDIA L4"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"gpu": Gpu(L4), "cuda": "12.8", "min_cuda": "12.4"}, "min_cuda: expected none with cuda"),
        (
            {"gpu": Gpu(L4), "cloud": "community", "compliance": "GDPR"},
            "compliance: expected none with cloud",
        ),
        (
            {"gpu": Gpu(L4), "cloud": "community", "global_network": True},
            "global_network: expected none with cloud",
        ),
        ({"gpu": Gpu(L4), "cpu": "cpu5c"}, "cpu: expected none with a gpu"),
        ({"global_network": True}, "global_network: expected False for this pod, got 'a CPU pod'"),
        ({"storage": Storage(volume_gb=9)}, "expected no volume_gb without a gpu"),
    ],
)
def test_fields_that_contradict_each_other_are_told(fields: dict[str, Any], told: str) -> None:
    """A pod that RunPod never has needs no call."""

    def check(job: Job) -> None:
        check_place(job)
        check_kind(job)

    with pytest.raises(DefinitionError, match=re.escape(told)):
        check(Job(**fields))

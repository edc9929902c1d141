"""Retry policies: the arguments of a mark, and when another attempt is due."""

from __future__ import annotations

from collections import Counter

import pytest

from rpd.errors import Cause
from rpd.values.job import Gpu
from rpd.values.mark import Mark
from rpd.values.retry import INFRA_RETRIES, RetryPolicy

TWO = Gpu("NVIDIA L4", "NVIDIA RTX A4000")


def test_what_is_not_given_keeps_its_default():
    """Infrastructure is worth three attempts unless the mark says otherwise, the job's own failure none."""
    policy = RetryPolicy.of_mark(Mark("retry", (), {"code": 1}))
    assert policy == RetryPolicy(infra=INFRA_RETRIES, code=1, oom=0, timeout=0)


@pytest.mark.parametrize(
    ("gpu", "further"), [(TWO, 1), (Gpu("NVIDIA L4"), 0), (Gpu(min_vram_gb=24), 0), (None, 0)]
)
def test_next_gpu_is_worth_as_many_attempts_as_gpus_are_left(gpu, further):
    """``oom="next-gpu"`` goes once through the list of the job."""
    policy = RetryPolicy.of_mark(Mark("retry", (), {"oom": "next-gpu"}), gpu)
    assert (policy.oom, policy.oom_next_gpu) == (further, True)


@pytest.mark.parametrize(
    ("cause", "used", "due"),
    [
        (Cause.INFRA, 1, True),
        (Cause.INFRA, 2, False),
        (Cause.CODE, 0, True),
        (Cause.CODE, 1, False),
        (Cause.OOM, 0, False),
        (Cause.BUDGET, 0, False),
        (None, 0, False),
    ],
)
def test_each_cause_has_attempts_of_its_own(cause, used, due):
    """An attempt is due while its cause has some left; budget and success never have any."""
    policy = RetryPolicy(infra=2, code=1)
    assert policy.allows(cause, Counter({str(cause): used})) is due


def test_a_lost_pod_is_infrastructure():
    """Losses and other infrastructure use up the same attempts."""
    policy = RetryPolicy(infra=1)
    assert policy.allows(Cause.LOST, Counter())
    assert not policy.allows(Cause.LOST, Counter(infra=1))

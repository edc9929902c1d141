"""Which failures are worth another attempt, and on what."""

from __future__ import annotations

from rpd.errors import Cause, PodNotReady
from rpd.execute.node.attempts import Attempts
from rpd.values.job import Gpu
from rpd.values.retry import RetryPolicy


def test_a_lost_pod_counts_as_the_platforms_fault() -> None:
    """Both use up the same retries; the first attempt is number one."""
    attempts = Attempts(policy=RetryPolicy(infra=2))
    assert [attempts.another(cause) for cause in (Cause.LOST, Cause.INFRA, Cause.LOST)] == [True, True, False]
    assert attempts.number == 3


def test_a_pod_that_never_came_up_gets_one_more_try() -> None:
    """Host or image: the second one tells, whatever else the policy allows."""
    attempts = Attempts(policy=RetryPolicy(infra=5))
    late = PodNotReady("never ready")
    assert [attempts.another(Cause.INFRA, late) for _ in range(2)] == [True, False]
    assert attempts.number == 2


def test_what_no_policy_names_ends_the_node() -> None:
    """A failure of the job by default, and what is nobody's: no cause, an interrupt, a budget."""
    for cause in (Cause.CODE, Cause.TIMEOUT, Cause.OOM, Cause.INTERRUPTED, Cause.BUDGET, Cause.STOCK, None):
        assert not Attempts(policy=RetryPolicy()).another(cause)


def test_out_of_memory_moves_on_in_the_list_of_gpus() -> None:
    """One GPU further each time, with the rest of the request; other causes do not move, and nothing is left in the end."""
    gpu = Gpu("NVIDIA L4", "NVIDIA A40", "NVIDIA H100 80GB HBM3", count=2, max_price_usd=4)
    attempts = Attempts(policy=RetryPolicy(infra=1, oom=2, oom_next_gpu=True))
    assert attempts.gpu(gpu) is gpu
    tried = []
    for cause in (Cause.OOM, Cause.INFRA, Cause.OOM):
        assert attempts.another(cause)
        left = attempts.gpu(gpu)
        assert left is not None
        tried.append(left.ids)
        assert (left.count, left.max_price_usd) == (2, 4)
    assert tried == [gpu.ids[1:], gpu.ids[1:], gpu.ids[2:]]
    assert not attempts.another(Cause.OOM)
    assert attempts.gpu(None) is None

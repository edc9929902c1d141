"""Retries: the attempts of one node, and the changes each new attempt makes."""

from __future__ import annotations

from collections import Counter

from rpd.errors import Cause, PodNotReady
from rpd.values.job import Gpu
from rpd.values.mutable import fresh, mutable
from rpd.values.retry import RetryPolicy

NOT_READY_RETRIES = 1


@mutable
class Attempts:
    """The attempts of one node so far: the retries used up, and the changes for the next one."""

    policy: RetryPolicy
    used: Counter[str] = fresh(factory=Counter)
    number: int = 1
    skip_gpus: int = 0
    """How many GPUs at the front of the job's list to skip."""

    def another(self, cause: Cause | None, error: BaseException | None = None) -> bool:
        """Count one more attempt and return True, or return False if the policy allows none.

        A pod that never came up may be a bad host or a bad image; one more try on another offer tells them
        apart.
        """
        if not self.policy.allows(cause, self.used):
            return False
        assert cause is not None
        if isinstance(error, PodNotReady):
            self.used["not ready"] += 1
            if self.used["not ready"] > NOT_READY_RETRIES:
                return False
        self.used["infra" if cause is Cause.LOST else str(cause)] += 1
        self.number += 1
        if cause is Cause.OOM and self.policy.oom_next_gpu:
            self.skip_gpus += 1
        return True

    def gpu(self, gpu: Gpu | None) -> Gpu | None:
        """Return the part of a GPU preference that remains after attempts that ran out of memory."""
        if gpu is None or not self.skip_gpus or len(gpu.ids) <= self.skip_gpus:
            return gpu
        return Gpu(
            *gpu.ids[self.skip_gpus :],
            count=gpu.count,
            min_vram_gb=gpu.min_vram_gb,
            max_price_usd=gpu.max_price_usd,
            prefer=gpu.prefer,
        )

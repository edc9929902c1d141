"""Retries: the attempts of one node, and what to do differently in the next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rpd.errors import Cause, PodNotReady
from rpd.values.job import Gpu
from rpd.values.retry import RetryPolicy

NOT_READY_RETRIES = 1


@dataclass(kw_only=True)
class Attempts:
    """The attempts of one node so far: what retries were used up, and what to do differently now."""

    policy: RetryPolicy
    used: Counter[str] = field(default_factory=Counter)
    number: int = 1
    skip_gpus: int = 0
    """How many GPUs at the front of the job's list are passed over."""

    def another(self, cause: Cause | None, error: BaseException | None = None) -> bool:
        """Count and allow one more attempt, or say no.

        A pod that never came up may be a bad host or a bad image: one more try on another offer tells them apart.
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
        """Return what is left of a GPU preference after an out-of-memory attempt."""
        if gpu is None or not self.skip_gpus or len(gpu.ids) <= self.skip_gpus:
            return gpu
        return Gpu(
            *gpu.ids[self.skip_gpus :],
            count=gpu.count,
            min_vram_gb=gpu.min_vram_gb,
            max_price_usd=gpu.max_price_usd,
            prefer=gpu.prefer,
        )

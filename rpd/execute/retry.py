"""Retries by cause: what is worth another attempt, and how many. Infrastructure is; a job's own failure is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rpd.errors import Cause, DefinitionError, PodNotReady
from rpd.values.job import Gpu
from rpd.values.node import Node

NEXT_GPU = "next-gpu"
INFRA_RETRIES = 3
"""How often a node is tried again, on another offer, where the platform was to blame."""

NOT_READY_RETRIES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How many further attempts each cause is worth; ``oom_next_gpu`` takes the next GPU of the job each time."""

    infra: int = INFRA_RETRIES
    timeout: int = 0
    oom: int = 0
    code: int = 0
    oom_next_gpu: bool = False

    @classmethod
    def of(cls, node: Node) -> RetryPolicy:
        """Return the policy of a node's nearest ``retry`` mark, else the default. Raises DefinitionError."""
        mark = node.mark("retry") if node.marks else None
        if mark is None:
            return DEFAULT
        if mark.args:
            raise DefinitionError("mark retry", "", "expected keywords: infra, oom, timeout, code", mark.args)
        wanted = dict(mark.kwargs)
        next_gpu = wanted.get("oom") == NEXT_GPU
        if next_gpu:
            gpu = node.job.gpu
            wanted["oom"] = max(0, len(gpu.ids) - 1) if gpu else 0
        for name, value in wanted.items():
            if name not in ("infra", "oom", "timeout", "code"):
                raise DefinitionError("mark retry", name, "expected one of infra, oom, timeout, code", value)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise DefinitionError(
                    "mark retry", name, "expected a whole number >= 0 (oom also 'next-gpu')", value
                )
        return cls(**wanted, oom_next_gpu=next_gpu)

    def allows(self, cause: Cause | None, before: Counter[str]) -> bool:
        """Whether one more attempt is due after ``cause``, with ``before`` counting the retries each cause had."""
        match cause:
            case Cause.INFRA | Cause.LOST:
                return before["infra"] < self.infra
            case Cause.OOM | Cause.TIMEOUT | Cause.CODE:
                return before[cause] < int(getattr(self, cause))
            case _:
                return False


DEFAULT = RetryPolicy()


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

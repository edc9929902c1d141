"""Retry policies: how many further attempts each cause is worth. Infrastructure is; a job's own failure is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from rpd.errors import Cause, DefinitionError
from rpd.values.frozen import frozen
from rpd.values.job import Gpu
from rpd.values.mark import Mark
from rpd.values.node import Node
from rpd.values.number_bounds import MOST_RETRIES, check_whole

NEXT_GPU = "next-gpu"
INFRA_RETRIES = 3
"""How often a node is tried again, on another offer, where the platform was to blame."""
CAUSES = ("infra", "oom", "timeout", "code")
"""What the mark ``retry`` has a keyword for."""


@frozen
class RetryPolicy:
    """How many further attempts each cause is worth; ``oom_next_gpu`` takes the next GPU of the job each time."""

    infra: int = INFRA_RETRIES
    timeout: int = 0
    oom: int = 0
    code: int = 0
    oom_next_gpu: bool = False

    @classmethod
    def of(cls, node: Node) -> RetryPolicy:
        """Return the policy of a node's nearest ``retry`` mark, else the default. Raise DefinitionError."""
        mark = node.mark("retry") if node.marks else None
        return DEFAULT if mark is None else cls.of_mark(mark, node.job.gpu)

    @classmethod
    def of_mark(cls, mark: Mark, gpu: Gpu | None = None) -> RetryPolicy:
        """Return the policy of a ``retry`` mark for a job on ``gpu``. Raise DefinitionError."""
        if mark.args:
            raise DefinitionError(
                "rpd.mark.retry",
                "",
                f"expected keywords: {', '.join(CAUSES)}",
                mark.args,
                hint="Write infra=2",
            )
        next_gpu = mark.kwargs.get("oom") == NEXT_GPU
        counts: dict[str, int] = {
            name: _count(name, value)
            for name, value in mark.kwargs.items()
            if not (next_gpu and name == "oom")
        }
        if next_gpu:
            counts["oom"] = max(0, len(gpu.ids) - 1) if gpu else 0
        return cls(**counts, oom_next_gpu=next_gpu)

    def allows(self, cause: Cause | None, before: Mapping[str, int]) -> bool:
        """Return whether another attempt is due after ``cause``; ``before`` counts the retries for each cause."""
        match cause:
            case Cause.INFRA | Cause.LOST:
                return before.get("infra", 0) < self.infra
            case Cause.OOM | Cause.TIMEOUT | Cause.CODE:
                return before.get(cause, 0) < int(getattr(self, cause))
            case _:
                return False


def _count(name: str, value: object) -> int:
    if name not in CAUSES:
        raise DefinitionError("rpd.mark.retry", "", f"expected any of {', '.join(CAUSES)}", name)
    try:
        check_whole(value, least=0, most=MOST_RETRIES)
    except ValueError as error:
        also = f" or {NEXT_GPU!r}" if name == "oom" else ""
        raise DefinitionError("rpd.mark.retry", name, f"{error}{also}", value) from None
    return cast("int", value)


DEFAULT = RetryPolicy()

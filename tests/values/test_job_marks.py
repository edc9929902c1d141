"""The effect of the marks ``gpu`` and ``budget`` on a job."""

from __future__ import annotations

import pytest

from rpd.errors import DefinitionError
from rpd.values.job import Budget, Gpu, Job
from rpd.values.job_marks import marked_job
from rpd.values.mark import Mark

JOB = Job(gpu=Gpu("NVIDIA L4"), budget=Budget(cost_cap_usd=3, max_runtime="1h"))


def mark(name: str, *args: object, **kwargs: object) -> Mark:
    return Mark(name=name, args=args, kwargs=kwargs)


@pytest.mark.parametrize(
    ("given", "gpu"),
    [
        (mark("gpu", "NVIDIA A40", count=2), Gpu("NVIDIA A40", count=2)),
        (mark("gpu", min_vram_gb=48), Gpu(min_vram_gb=48)),
        (mark("gpu", Gpu("NVIDIA A40")), Gpu("NVIDIA A40")),
        (mark("gpu", None), None),
    ],
    ids=str,
)
def test_the_gpu_is_replaced(given: Mark, gpu: Gpu | None) -> None:
    """Nothing of the job's own request is left; its budget is."""
    made = marked_job(JOB, given, None)
    assert (made.gpu, made.budget) == (gpu, JOB.budget)


def test_limits_that_are_not_named_stay() -> None:
    """``budget`` changes only the limits it names."""
    made = marked_job(JOB, None, mark("budget", cost_cap_usd=20))
    assert made.budget == Budget(cost_cap_usd=20, max_runtime="1h")
    assert made.gpu == JOB.gpu


def test_without_marks_it_is_the_same_job() -> None:
    """Nothing is copied where nothing is changed."""
    assert marked_job(JOB, None, None) is JOB


def test_limits_go_by_name() -> None:
    """A number alone could be dollars or minutes."""
    with pytest.raises(DefinitionError, match="expected limits by name"):
        marked_job(JOB, None, mark("budget", 20))

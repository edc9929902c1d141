"""The marks ``gpu`` and ``budget``, applied to the job of one node."""

from __future__ import annotations

from rpd.errors import DefinitionError
from rpd.values.frozen import replace
from rpd.values.job import Budget, Gpu, Job
from rpd.values.mark import Mark


def marked_job(job: Job, gpu: Mark | None, budget: Mark | None) -> Job:
    """Return ``job`` with the GPU of one mark and the limits of another. Raise DefinitionError."""
    if gpu is not None:
        job = job.derive(gpu=gpu_of_mark(gpu))
    return job if budget is None else job.derive(budget=budget_of_mark(budget, job.budget))


def gpu_of_mark(mark: Mark) -> Gpu | None:
    """Return the request in ``rpd.mark.gpu(…)``: the arguments of Gpu, or one Gpu; None is a CPU pod."""
    if len(mark.args) == 1 and not mark.kwargs and (mark.args[0] is None or isinstance(mark.args[0], Gpu)):
        return mark.args[0]
    return Gpu(*mark.args, **mark.kwargs)


def budget_of_mark(mark: Mark, budget: Budget) -> Budget:
    """Return ``budget`` with the changes of ``rpd.mark.budget(…)``."""
    if mark.args:
        raise DefinitionError("rpd.mark.budget", "", "expected limits by name (cost_cap_usd=…)", mark.args)
    return replace(budget, **mark.kwargs)

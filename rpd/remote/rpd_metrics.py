"""Write numbers that rpd shows while a job runs. Copy this file freely: it needs nothing but Python 3.8.

    import rpd_metrics

    rpd_metrics.log(loss=0.31, accuracy=0.9, step=40)
    rpd_metrics.log({"eval/loss": 0.42}, step=40)

    rpd_metrics.from_tensorboard()  # what a SummaryWriter writes, too

Where no rpd listens (on your own machine) it does nothing.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import os
from typing import Any, Mapping  # noqa: UP035 - as Python 3.8 has it


def log(values: Mapping[str, Any] | None = None, /, *, step: Any = None, **more: Any) -> None:
    """Write numbers, or values that ``float`` accepts (a tensor of one element), with the step they belong to.

    Any number of processes and threads may do so. A full disk loses the line and nothing else. Raise
    TypeError and ValueError for a value that is not a number.
    """
    path = os.environ.get("RPD_METRICS")
    if not path:
        return
    line = {} if step is None else {"step": step if isinstance(step, int) else float(step)}
    line.update((str(name), float(value)) for name, value in {**(values or {}), **more}.items())
    data = json.dumps(line).encode() + b"\n"
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, data)  # in one write: lines of several processes do not mix
        finally:
            os.close(descriptor)


def from_tensorboard() -> None:
    """Log each scalar that a SummaryWriter of PyTorch or tensorboardX writes from now on, as it is written.

    Lightning and Transformers use one of the two. If neither is installed, do nothing.
    """
    for name in ("torch.utils.tensorboard.writer", "tensorboardX.writer"):
        try:
            writer = importlib.import_module(name).SummaryWriter
        except ImportError:
            continue
        if not hasattr(writer.add_scalar, "_rpd"):
            writer.add_scalar = _logged(writer.add_scalar, lambda tag, value: {tag: value})
            writer.add_scalars = _logged(
                writer.add_scalars,
                lambda tag, values: {f"{tag}/{name}": value for name, value in values.items()},
            )


def _logged(write: Any, named: Any) -> Any:
    """Return a writer's method that logs its arguments, too; ``named`` turns tag and value into names and values."""
    parameters = inspect.signature(write)

    @functools.wraps(write)
    def add(*arguments: Any, **more: Any) -> Any:
        bound = parameters.bind(*arguments, **more).arguments
        with contextlib.suppress(TypeError, ValueError):  # not a number: leave it to the writer
            log(named(*list(bound.values())[1:3]), step=bound.get("global_step"))
        return write(*arguments, **more)

    add._rpd = True  # type: ignore[attr-defined]  # noqa: SLF001
    return add

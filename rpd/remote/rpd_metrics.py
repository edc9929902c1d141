"""Write numbers that rpd shows while a job runs. Copy this file freely: it needs nothing but Python 3.8.

    import rpd_metrics

    rpd_metrics.log(loss=0.31, accuracy=0.9, step=40)
    rpd_metrics.log({"eval/loss": 0.42}, step=40)

Where no rpd listens (on your own machine) it does nothing.
"""

from __future__ import annotations

import json
import os
from typing import Any, Mapping  # noqa: UP035 - as Python 3.8 has it


def log(values: Mapping[str, Any] | None = None, /, *, step: Any = None, **more: Any) -> None:
    """Write numbers, or what ``float`` makes one of (a tensor of one element), with the step they belong to.

    Any number of processes and threads may do so. A full disk loses the line and nothing else. Raises TypeError and
    ValueError for what is no number.
    """
    path = os.environ.get("RPD_METRICS")
    if not path:
        return
    line = {} if step is None else {"step": step if isinstance(step, int) else float(step)}
    line.update((str(name), float(value)) for name, value in {**(values or {}), **more}.items())
    data = json.dumps(line).encode() + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, data)  # at once: lines of several processes do not mix
        finally:
            os.close(descriptor)
    except OSError:
        pass

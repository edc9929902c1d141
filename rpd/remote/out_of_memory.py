"""Signs of a command that ran out of memory, in its output or in the words of its supervisor."""

from __future__ import annotations

import re
from functools import cache

from rpd.values.step import Completed

NOTE = "rpd: the kernel ended a process of this command: out of memory"
"""Written into the log of a command by its supervisor on the pod."""


def is_out_of_memory(completed: Completed) -> bool:
    """Return whether the kernel's OOM killer ended the command, or CUDA ran out of memory."""
    return not completed.ok and any(map(is_sign, completed.tail))


def is_sign(line: str) -> bool:
    """Return whether a line of output says that memory ran out."""
    return _signs().search(line) is not None


@cache
def _signs() -> re.Pattern[str]:
    # Compiled when a command has failed: a dry run never needs it.
    return re.compile(
        r"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"
        r"|(?:torch|cuda)\.OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED: [Oo]ut of memory"
        r"|^[\w.]*MemoryError(?::|$)|'std::bad_alloc'|" + re.escape(NOTE)
    )

"""Open files: a wide sweep needs more of them than many systems allow a process at first."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

FILES_A_NODE = 5
"""Of a node that runs: its connection, journal and log, and what is sent or fetched."""
SPARE = 150
"""For everything else, the files that job functions open among it."""


def allow_files(width: int) -> str | None:
    """Raise this process's limit of open files to the need of ``width`` parallel nodes.

    Return a sentence for the user if the system does not allow that many, else None.
    """
    if sys.platform == "win32":
        return None
    import resource

    needed = SPARE + FILES_A_NODE * width
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, needed):
        return None
    with suppress(OSError, ValueError):
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    if _is_enough(soft, needed):
        return None
    possible = max(1, (soft - SPARE) // FILES_A_NODE)
    user = os.environ.get("USER", "this user")
    return (
        f"{width} nodes at once may need {needed} open files, but the system allows {user} {soft}: nodes may fail with "
        f'"Too many open files". Use -n {possible}, or have the hard limit raised (ulimit -Hn)'
    )


def _is_enough(limit: int, needed: int) -> bool:
    return limit < 0 or limit >= needed  # -1: no limit

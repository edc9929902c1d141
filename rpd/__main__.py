"""``python -m rpd``, and the command ``rpd``."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

with suppress(FileNotFoundError):
    # ``python -m`` looks into the current folder first; what the user keeps there must not replace a library.
    if not sys.flags.safe_path and sys.path[:1] == [str(Path.cwd())]:
        del sys.path[0]

from rpd.cli import main

_READING = frozenset(
    ("collect", "diff", "events", "fixtures", "markers", "query", "report", "runs", "show", "verify")
)
"""Commands that change nothing: when they have printed, all is done."""


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    code = main()
    words = sys.argv[1:]
    if words and (words[0] in _READING or "--dry-run" in words):
        with suppress(Exception):
            _leave(int(code))
    sys.exit(code)


def _leave(code: int) -> None:
    """End the process at once: Python would take a fifth of the time of a short command to forget all it has loaded.

    What the user's code counts on is done before: functions registered with ``atexit`` are called, open files are
    flushed. Returns where that is not enough, because threads go on.
    """
    import atexit
    import gc
    import io
    import os
    import threading

    if threading.active_count() > 1:
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - as Python itself does at its end
    for each in gc.get_objects():
        if isinstance(each, io.IOBase) and not each.closed and each.writable():
            each.flush()
    os._exit(code)


if __name__ == "__main__":
    run()

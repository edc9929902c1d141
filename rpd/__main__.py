"""``python -m rpd``, and the command ``rpd``."""

# ruff: noqa: E402 - first of all memory is set up, then the path, and only then the rest is loaded
from __future__ import annotations

import gc

# Ten thousand nodes are mostly live objects without cycles; walking them again and again is a fifth of a dry run. So
# are the modules that are loaded from here on.
gc.set_threshold(50_000, 20, 100)

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import IOBase

with suppress(FileNotFoundError):
    # ``python -m`` searches the current folder first; a file of the user's there must not replace a library.
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
    # At its end Python walks over all there is, twice, for cycles to collect: a quarter of a second after a run.
    gc.freeze()
    sys.exit(code)


def _leave(code: int) -> None:
    """End the process at once: Python would spend a fifth of a short command's time on freeing memory.

    Obligations to the user's code are met first: functions registered with ``atexit`` are called, open files
    are flushed. Return if that is not enough, because other threads are running.
    """
    import atexit
    import os

    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - as Python itself does at its end
    for each in _open_files() if _may_have_files() else (sys.stdout, sys.stderr):
        if each is not None and not each.closed and each.writable():
            each.flush()
    os._exit(code)


def _may_have_files() -> bool:
    """Return whether any file except the standard ones may be open; True if the system does not tell."""
    import os

    try:
        others = sum(1 for name in os.listdir("/proc/self/fd") if int(name) > 2)  # noqa: PTH208 - no pathlib
    except (OSError, ValueError):
        return True
    return others > 1  # one of them was open to list them


def _open_files() -> Iterator[IOBase]:
    from io import IOBase

    gc.unfreeze()  # frozen objects are not among those that get_objects lists
    kinds: dict[type, bool] = {}
    for each in gc.get_objects():
        kind = type(each)
        if kind not in kinds:
            kinds[kind] = issubclass(kind, IOBase)
        if kinds[kind]:
            yield each


if __name__ == "__main__":
    run()

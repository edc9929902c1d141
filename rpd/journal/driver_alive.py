"""The writer of a journal: whether the process of a run is still there."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rpd.journal import journal

_PROC = Path("/proc")


def identity() -> dict[str, Any]:
    """Return by what the event ``run_started`` tells which process writes a journal."""
    return {"pid": os.getpid(), "host": _host(), "process": birth(os.getpid()) or ""}


def is_running(event: Mapping[str, Any]) -> bool:
    """Whether the process that wrote ``event`` still runs; one on another machine is taken to, this one is not."""
    if event.get("host") != _host():
        return True
    pid = event.get("pid")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    born = birth(pid)
    if born is None:
        return False
    # Ids of processes are used again, after a restart of the machine soon.
    process = event.get("process")
    return not process or not born or process == born


def _host() -> str:
    import socket  # a command that only reads has no other use for it

    return socket.gethostname()


def is_driven(run_folder: Path) -> bool:
    """Whether the process of a run is still there."""
    path = run_folder / journal.FILE_NAME
    started = [event for event in journal.read(path) if event["event"] == "run_started"]
    return bool(started) and is_running(started[-1])


def birth(pid: int) -> str | None:
    """Return when a process began, in words that no other process of that id ever has.

    Empty where the system does not tell, None where no such process runs. No clock that can be set is in it.
    """
    if sys.platform == "win32":
        return _birth_on_windows(pid)
    if (_PROC / "self" / "stat").exists():
        return _birth_on_linux(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def _birth_on_linux(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    # From the third field of proc(5) on: its state, ..., and as the 22nd its start, in ticks since the boot.
    state, *fields = stat.rpartition(")")[2].split()
    # One that has ended, but was never waited for, is listed all the same.
    return None if state in ("Z", "X") else f"{boot} {fields[18]}"


if sys.platform == "win32":  # pragma: no cover - os.kill with signal 0 is Ctrl-C there

    def _birth_on_windows(pid: int) -> str | None:
        import ctypes
        from ctypes import wintypes

        query, access_denied, still_active = 0x1000, 5, 259
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
        handle = kernel.OpenProcess(query, False, pid)
        if not handle:
            return "" if ctypes.get_last_error() == access_denied else None
        process = wintypes.HANDLE(handle)
        try:
            code = wintypes.DWORD()
            if kernel.GetExitCodeProcess(process, ctypes.byref(code)) and code.value != still_active:
                return None
            times = [wintypes.FILETIME() for _ in range(4)]
            if not kernel.GetProcessTimes(process, *map(ctypes.byref, times)):
                return ""
            return f"{times[0].dwHighDateTime} {times[0].dwLowDateTime}"
        finally:
            kernel.CloseHandle(process)

"""The process that writes a journal: its identity, and whether it is still alive."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rpd.journal import journal
from rpd.project.owner import host_name

_PROC = Path("/proc")


def identity() -> dict[str, Any]:
    """Return the fields of the event ``run_started`` that identify the process writing a journal."""
    return {"pid": os.getpid(), "host": host_name(), "process": birth(os.getpid()) or ""}


def is_running(event: Mapping[str, Any]) -> bool:
    """Return whether the process that wrote ``event`` is alive; assume so on another machine.

    False for this very process: its own event may come from an earlier run in it.
    """
    if event.get("host") != host_name():
        return True
    pid = event.get("pid")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    born = birth(pid)
    if born is None:
        return False
    # Process ids are reused, soon after a restart of the machine.
    process = event.get("process")
    return not process or not born or process == born


def is_driven(run_folder: Path) -> bool:
    """Return whether the process of a run is still alive."""
    path = run_folder / journal.FILE_NAME
    started = [event for event in journal.read(path) if event["event"] == "run_started"]
    return bool(started) and is_running(started[-1])


def birth(pid: int) -> str | None:
    """Return the start of a process in a form that no other process with that id ever has.

    Empty if the system does not tell, None if no such process is running. It does not depend on any clock
    that can be set.
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
        # The process exists but belongs to another user, so it cannot be signalled.
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
    # From the third field of proc(5) on: its state, …, and as the 22nd its start, in ticks since the boot.
    state, *fields = stat.rpartition(")")[2].split()
    # An ended process that was never waited for is still listed.
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

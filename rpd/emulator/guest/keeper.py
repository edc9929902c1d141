"""The keeper of a pod's limits: a process in the pod that kills greedy ones, as the kernel of a host would.

It needs no control groups, which few laptops let a user make. Memory is the sum of unshared memory of the
processes and the files in the pod's ``/dev/shm``. Above the limit, the largest process is killed and counted
in the file where a real container counts its kills.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NoReturn

FOLDER = "sys/fs/cgroup"
_SECONDS = 0.1
_SPARED = 2
"""PID 1 and the SSH server, without which a pod is none."""
_MB = 1 << 20


def prepare(root: Path, memory_mb: int | None, processes: int | None) -> None:
    """Write the files in which programs look for the limits of their container."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{memory_mb * _MB}\n" if memory_mb else "max\n")
    (folder / "pids.max").write_text(f"{processes}\n" if processes else "max\n")
    (folder / "memory.current").write_text("0\n")
    _count(folder, 0)


def keep(root: Path, memory_mb: int | None, processes: int | None, spared: frozenset[int]) -> NoReturn:
    """Watch the processes of the pod until it ends; ``spared`` are never killed."""
    folder, kills = root / FOLDER, 0
    spared |= {1, os.getpid()}
    while True:
        time.sleep(_SECONDS)
        sizes = _sizes(spared)
        total = sum(sizes.values()) + _shared_memory(root)
        if processes:
            for pid in sorted(sizes)[max(0, processes - _SPARED) :]:
                _kill(pid)
        if not memory_mb:
            continue
        with contextlib.suppress(OSError):
            (folder / "memory.current").write_text(f"{total}\n")
        if total > memory_mb * _MB and sizes:
            kills += 1
            _count(folder, kills)  # before it ends: who waits for it looks there
            _kill(max(sizes, key=lambda pid: (sizes[pid], pid)))


def _count(folder: Path, kills: int) -> None:
    with contextlib.suppress(OSError):
        (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax {kills}\noom {kills}\noom_kill {kills}\n")


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _sizes(spared: frozenset[int]) -> dict[int, int]:
    """Return the bytes of memory of each process of the pod that it does not share."""
    page = os.sysconf("SC_PAGE_SIZE")
    sizes = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in spared:
            with contextlib.suppress(OSError, ValueError, IndexError):
                words = (entry / "statm").read_text().split()
                sizes[int(entry.name)] = max(0, int(words[1]) - int(words[2])) * page
    return sizes


def _shared_memory(root: Path) -> int:
    with contextlib.suppress(OSError):
        disk = os.statvfs(root / "dev/shm")
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    return 0

"""Which code runs: commit, uncommitted changes and lock file of a project folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rpd.values.report import SourceRecord

LOCK_FILES = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt")
GIT_SECONDS = 20.0


class Sources:
    """Source records of a run, one for each project folder; diffs are saved in the run folder. Thread-safe."""

    def __init__(self, run_folder: Path, mask: Callable[[bytes], bytes]) -> None:
        self._folder = run_folder
        self._mask = mask
        self._lock = threading.Lock()
        self._known: dict[Path, SourceRecord] = {}

    def of(self, project: Path) -> SourceRecord:
        """Return what is known of the code in ``project``; fields are empty where it is not under git."""
        with self._lock:
            if project not in self._known:
                self._known[project] = self._read(project)
            return self._known[project]

    def _read(self, project: Path) -> SourceRecord:
        diff = _git(project, "diff", "HEAD", "--binary", "--", ".") if shutil.which("git") else None
        status = _git(project, "status", "--porcelain", "--", ".") if diff is not None else None
        sha = _git(project, "rev-parse", "HEAD") if diff is not None else None
        return SourceRecord(
            git_sha=sha.decode().strip() if sha else "",
            dirty=bool(status and status.strip()),
            diff_file=self._save(diff) if diff else "",
            lock_file_sha256=lock_file_sha256(project),
        )

    def _save(self, diff: bytes) -> str:
        name = f"source-{hashlib.sha256(diff).hexdigest()[:12]}.diff"
        (self._folder / name).write_bytes(self._mask(diff))
        return name


def state(project: Path) -> tuple[str, bool]:
    """Return the commit of a project folder and whether it has changes; empty where it is not under git."""
    sha = _git(project, "rev-parse", "HEAD")
    status = _git(project, "status", "--porcelain", "--", ".") if sha else None
    return (sha or b"").decode().strip(), bool(status and status.strip())


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def lock_file_sha256(project: Path) -> str:
    """Return the sha256 of the project's lock file (the first of LOCK_FILES), empty without one."""
    for name in LOCK_FILES:
        path = project / name
        with suppress(OSError):  # it may be unreadable, or vanish meanwhile
            if path.is_file():
                return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""

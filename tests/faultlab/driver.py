"""``rpd`` in a process of its own, forked from one that has loaded it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path

import rpd
from tests.waiting import DEADLINE

_MAIN = """
import os, sys
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
for number, path in ((0, os.devnull), (1, screen), (2, screen)):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), number)
sys.argv = ["rpd", *words]
from rpd.cli import main
sys.exit(main())
"""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["pytest", "rpd.cli.run", "rpd.pipeline.run", "rpd.remote.ssh", "runpod", "rich"]
)


def load_once() -> None:
    """Start the process that drivers are forked from; it imports from where this process does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(rpd.__file__).parents[1]), before]))
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


class Driver:
    """``rpd`` in a process of its own, forked from one that has loaded what it needs: that is most of a short run."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *words: str) -> None:
        self.screen_file = folder / f"screen-{words[0]}-{time.monotonic_ns()}.txt"
        given = {
            "folder": str(folder), "environment": dict(environment), "screen": str(self.screen_file), "words": words,
        }  # fmt: skip
        self.process = _CONTEXT.Process(target=exec, args=(_MAIN, given), daemon=True)
        self.process.start()

    @property
    def screen(self) -> str:
        """What it has printed until now."""
        return self.screen_file.read_text(encoding="utf-8") if self.screen_file.exists() else ""

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def finish(self, deadline: float = DEADLINE) -> int:
        """Return its exit code (minus the signal that killed it) once it has ended."""
        self.process.join(deadline)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"rpd was still running after {deadline:g} s\n{self.screen}")
        return self.process.exitcode

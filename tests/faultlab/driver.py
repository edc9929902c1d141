"""``rpd`` in a separate process, with one screen for all its output."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from signal import Signals

from rpd.testing import RpdRun
from tests.waiting import DEADLINE


class Driver:
    """``rpd`` with these words, in a folder and an environment."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *words: str) -> None:
        self._screen = folder / f"screen-{words[0]}-{time.monotonic_ns()}.txt"
        with self._screen.open("ab") as screen:
            self._process = RpdRun.start_process(words, folder, environment, screen, screen)

    @property
    def screen(self) -> str:
        """The output so far."""
        return self._screen.read_text(encoding="utf-8")

    def send_signal(self, number: Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def finish(self, deadline: float = DEADLINE) -> int:
        """Return its exit code (minus the signal that killed it) once it has ended."""
        try:
            return self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"rpd was still running after {deadline:g} s\n{self.screen}") from None

"""The command line as a user has it: a project in a separate folder, and ``rpd`` in a separate process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched, launch
from rpd.testing import RpdRun, Running, RunResult
from tests.files import write_files

SWITCHED = '''
import os
import rpd
from pathlib import Path

HERE = Path(__file__).parent

def failing() -> set[str]:
    """The nodes that are to fail now, by the file the test writes."""
    file = HERE / "failing.txt"
    return set(file.read_text().split()) if file.exists() else set()

@rpd.job
@rpd.mark.parametrize("name", ["a", "b", "c", "d"])
def step(name):
    with open(HERE / "ran.txt", "a") as log:
        log.write(name + "\\n")
    assert name not in failing(), f"{name} was to fail"
'''


def wait_for(text: str, running: Running) -> None:
    """Wait until a line that ends with ``text`` has been printed, at most 60 seconds."""
    tick = threading.Event()
    for _ in range(3000):
        if any(line.endswith(text) for line in running.out.splitlines()):
            return
        if running.process.poll() is not None:
            break
        tick.wait(0.02)
    raise AssertionError(f"{text!r} was not printed\n{running.out}{running.err}")


@dataclass(frozen=True)
class Project:
    """A root folder. ``rpd`` runs there; ``failing`` says which nodes of SWITCHED fail, ``ran`` which ran, in order."""

    folder: Path
    rpd: RpdRun = field(default_factory=RpdRun)

    def write(self, files: Mapping[str, str]) -> None:
        write_files(self.folder, files)

    def run(self, *args: str, env: Mapping[str, str | None] | None = None) -> RunResult:
        return self.rpd(self.folder, *args, env=env)

    def command(self, name: str, *args: str, env: Mapping[str, str | None] | None = None) -> RunResult:
        return self.rpd(self.folder, *args, command=name, env=env)

    def on_terminal(self, *words: str, columns: int = 120, env: Mapping[str, str] | None = None) -> str:
        """Run ``rpd words`` on a terminal of that width and return all that was written to it."""
        here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        hidden = {"CI", "NO_COLOR", "COLUMNS", "LINES"}
        plain = {name: value for name, value in os.environ.items() if name not in hidden}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rpd", *words],
            cwd=self.folder,
            env={**plain, "TERM": "xterm-256color", **(env or {})},
            stdin=there,
            stdout=there,
            stderr=there,
        )
        os.close(there)
        written = b""
        with contextlib.suppress(OSError):  # how Linux tells that nobody holds the other end
            while data := os.read(here, 65536):
                written += data
        os.close(here)
        process.wait(60)
        return written.decode(errors="replace")

    def failing(self, *names: str) -> None:
        (self.folder / "failing.txt").write_text(" ".join(names), encoding="utf-8")

    def ran(self) -> str:
        """Return the names of the nodes that ran since this was asked last, one letter each."""
        log = self.folder / "ran.txt"
        names = log.read_text(encoding="utf-8").split() if log.exists() else []
        log.unlink(missing_ok=True)
        return "".join(names)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.write({"rpd.toml": ""})
    return made


@pytest.fixture
def switched(project: Project) -> Project:
    """A project with the nodes ``step[a]`` to ``step[d]``, which need no pod."""
    project.write({"deploy_step.py": SWITCHED})
    return project


@pytest.fixture
def emulator(clean_emulator: Launched) -> Launched:
    """One emulator for all tests; each must leave it without a pod."""
    return clean_emulator


@contextlib.contextmanager
def own_emulator() -> Iterator[Launched]:
    """Start an emulator that the environment points at, for the tests of one module."""
    with launch(boot_seconds=0.05) as launched, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNPOD_API_BASE_URL", launched.base_url)
        patch.setenv("RUNPOD_API_KEY", launched.api_key)
        yield launched


@pytest.fixture(scope="module")
def module_emulator() -> Iterator[Launched]:
    """One emulator for all tests of a module, which leave alone what is on it."""
    with own_emulator() as launched:
        yield launched

"""Testing deploy files: a pytest plugin that drives the real command line against an emulator.

Load it with ``pytest_plugins = ["rpd.testing"]`` in the ``conftest.py`` at the root of your tests. It brings the
fixtures ``emulator`` and ``rpd_run``. Needs pytest, which rpd itself does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Protocol

import rpd
from rpd.emulator.launch import Launched, launch
from rpd.record import history
from rpd.values.frozen import frozen
from rpd.values.report import NodeReport

try:
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rpd.testing is a plugin for pytest, which is not installed: pip install pytest", name="pytest"
    ) from error

NOWHERE = "http://127.0.0.1:9"
"""Where the API is looked for without the fixture ``emulator``: a test never reaches RunPod itself."""
_PRINT_RUN_DIR = "--print-run-dir"
_TELLS_FOLDER = ("run",)


@frozen
class RunResult:
    """The end of one invocation of ``rpd``.

    ``out`` and ``err`` are its output, ``run_dir`` is its run folder (None if it made none) and ``reports``
    are the reports of the nodes that ran, in the order they started.
    """

    exit_code: int
    out: str
    err: str
    run_dir: Path | None = None
    reports: tuple[NodeReport, ...] = ()

    def report(self, name: str) -> NodeReport:
        """Return the report of the node of that id, or name after ``::``. Raise LookupError."""
        for report in self.reports:
            if name in (report.node.id, report.node.id.rpartition("::")[2]):
                return report
        raise LookupError(
            f"no node {name!r} among {[report.node.id for report in self.reports]}\n{self.out}{self.err}"
        )


class Process(Protocol):
    """The part of ``subprocess.Popen`` that a started ``rpd`` has."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...
    def kill(self) -> None: ...


StartProcess = Callable[[Sequence[str], Path, Mapping[str, str], IO[bytes], IO[bytes]], Process]
"""Starts ``rpd`` with these arguments, in this folder and environment; what it prints goes to the two files."""


def start_interpreter(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], out: IO[bytes], err: IO[bytes]
) -> Process:
    """Start ``rpd`` in a new interpreter."""
    command = [sys.executable, "-P", "-m", "rpd", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
    )


class Running:
    """A running ``rpd``; ``process`` takes signals."""

    def __init__(
        self,
        start: StartProcess,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        tells_folder: bool,
    ) -> None:
        self._tells_folder = tells_folder
        # Files, not pipes: nothing blocks, however much is printed, and you can read it at any time.
        self._out, self._err = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - finish closes them
        self.process = start(arguments, folder, environment, self._out, self._err)

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    @property
    def out(self) -> str:
        """Its standard output so far."""
        return _whole(self._out)

    @property
    def err(self) -> str:
        """Its standard error so far."""
        return _whole(self._err)

    def finish(self, timeout: float = 300.0) -> RunResult:
        """Wait until it ends and return the result. The test fails after ``timeout`` seconds."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            printed = self.out + self.err
            self._close()
            pytest.fail(f"rpd was still running after {timeout:g} s\n{printed}")
        run_dir, out = _run_dir(self.out) if self._tells_folder else (None, self.out)
        result = RunResult(
            exit_code=self.process.wait(),
            out=out,
            err=self.err,
            run_dir=run_dir,
            reports=tuple(history.reports(run_dir)) if run_dir else (),
        )
        self._close()
        return result

    def _close(self) -> None:
        self._out.close()
        self._err.close()


def _whole(file: IO[bytes]) -> str:
    size = os.fstat(file.fileno()).st_size
    # At a separate offset: the child writes through the same open file.
    return os.pread(file.fileno(), size, 0).decode(errors="replace")


class RpdRun:
    """Runs ``rpd`` in a separate process, as a user does: signals, environment and imports are the real ones."""

    start_process: StartProcess = staticmethod(start_interpreter)

    def __call__(
        self,
        folder: str | Path,
        *args: str,
        command: str = "run",
        env: Mapping[str, str | None] | None = None,
        timeout: float = 300.0,
    ) -> RunResult:
        """Run ``rpd COMMAND args`` in ``folder`` and wait until it ends, at most ``timeout`` seconds.

        ``env`` changes the environment; None removes a variable. The test fails when the time is over.
        """
        return self.start(folder, *args, command=command, env=env).finish(timeout)

    def start(
        self,
        folder: str | Path,
        *args: str,
        command: str = "run",
        env: Mapping[str, str | None] | None = None,
    ) -> Running:
        """Start ``rpd COMMAND args`` in ``folder`` and return at once: for tests that interrupt it."""
        tells_folder = command in _TELLS_FOLDER
        words = [*filter(None, [command]), *args, *([_PRINT_RUN_DIR] if tells_folder else [])]
        return Running(
            self.start_process,
            words,
            Path(folder),
            _environment(env or {}),
            tells_folder=tells_folder,
        )


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment of this process without settings of rpd, with an address that is not RunPod's."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RPD_")}
    plain |= {"NO_COLOR": "1", "COLUMNS": "120", "PYTHONPATH": _import_path()}
    plain.setdefault("RUNPOD_API_BASE_URL", NOWHERE)
    merged = {**plain, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _import_path() -> str:
    """Return a search path on which the child finds the rpd of this process, also where it is not installed."""
    here = str(Path(rpd.__file__).parents[1])
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))


def _run_dir(out: str) -> tuple[Path | None, str]:
    """Return the run folder that ``--print-run-dir`` printed, and ``out`` without that line."""
    body, _, last = out.rstrip("\n").rpartition("\n")
    folder = Path(last)
    if not last or not folder.is_absolute() or not folder.is_dir():
        return None, out
    return folder, f"{body}\n".replace(f"{last}\n", "", 1)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Launched]:
    """A RunPod of the test's own on this machine; ``RUNPOD_API_BASE_URL`` and ``RUNPOD_API_KEY`` lead to it.

    It takes faults (``inject``), tells its ``pods()``, and ends with the test.
    """
    with launch() as launched:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", launched.base_url)
        monkeypatch.setenv("RUNPOD_API_KEY", launched.api_key)
        yield launched


@pytest.fixture
def rpd_run() -> RpdRun:
    """``rpd_run(folder, "-n", "2")`` runs ``rpd run -n 2`` in a folder and returns a RunResult.

    Ask for ``emulator`` as well to give it pods; without it only ``--local`` and ``--dry-run`` have any.
    """
    return RpdRun()

"""Stages: emulators on which cases are played, and the theatre that plays them side by side."""

from __future__ import annotations

import json
import os
import queue
import re
import textwrap
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rpd.emulator.launch import launch
from rpd.journal import journal
from tests.delayed_line import DelayedLine
from tests.faultlab.case import BLOB, CUT, Case, Ending, Line
from tests.faultlab.driver import Driver
from tests.waiting import DEADLINE, wait_until

STAGES = 4
STAGES_FOR_LONG = 16
"""How many cases are played at once: they wait more than they compute."""
LONG = 600.0
"""Seconds until a run that waits for long has to be over."""


class Stage:
    """One emulator, on which one case at a time is played."""

    def __init__(self, folder: Path) -> None:
        self.emulator = launch(boot_seconds=0.05)
        self._folder = folder
        self._lines: dict[Line | None, str] = {None: self.emulator.base_url}
        """The address of RunPod's API at the near end of each line."""
        self._open = ExitStack()

    def project(self, name: str, job: str) -> Path:
        """Write a project with one deploy file."""
        folder = self._folder / re.sub(r"\W+", "-", name)
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "blob").write_bytes(BLOB)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        (folder / ".rpdignore").write_text("rpd-runs/\nscreen-*\n", encoding="utf-8")
        (folder / "deploy_a.py").write_text(textwrap.dedent(job), encoding="utf-8")
        (folder / "conftest.py").write_text(CUT, encoding="utf-8")
        return folder

    def start(self, folder: Path, *words: str, line: Line | None = None, **more: str) -> Driver:
        """Start ``rpd`` with those words in a project, with ``more`` in its environment."""
        plain = {
            name: value for name, value in os.environ.items() if not name.startswith(("RPD_", "RUNPOD_"))
        }
        plain |= {"NO_COLOR": "1", "COLUMNS": "120", "RPD_CACHE_DIR": str(self._folder / "cache")}
        backend = {"RUNPOD_API_BASE_URL": self._over(line), "RUNPOD_API_KEY": self.emulator.api_key}
        return Driver(folder, {**plain, **backend, **more}, *words)

    def play(self, case: Case) -> Ending:
        """Play a case to its end; the account is empty again afterwards."""
        folder = self.project(case.id, case.job)
        before = self.bills()
        for fault in case.faults:
            self.emulator.inject(fault)
        cut = (
            {"CUT_AT": f"{case.cut_at} {case.cut_count}", "CUT_WITH": str(int(case.cut_with))}
            if case.cut_at
            else {}
        )
        driver = self.start(folder, "run", *case.args, line=case.line, **cut)
        if case.meanwhile is not None:
            wait_until(lambda: self.has_begun(folder), what="the job's first output")
            case.meanwhile(self.emulator, driver)
        ending = self.ending(folder, driver, LONG if case.long else DEADLINE)
        ending.struck = self.emulator.faults()
        self.emulator.clear_faults()
        if case.then and ending.exit_code < 0:
            ending.after = self.ending(folder, self.start(folder, *case.then, line=case.line))
        self.sweep()
        spent = {pod: usd - before.get(pod, 0.0) for pod, usd in self.bills().items()}
        ending.billed = sum(spent.values())
        ending.rate = max((event["usd_per_hr"] or 0.0 for event in _intents(folder)), default=0.0)
        return ending

    def close(self) -> None:
        """End the emulator, and all lines to it."""
        self._open.close()
        self.emulator.close()

    def _over(self, line: Line | None) -> str:
        if line not in self._lines:
            made = self._open.enter_context(DelayedLine(line.round_trip, line.rate))
            port = urlsplit(self.emulator.base_url).port
            assert port is not None
            self._lines[line] = f"http://127.0.0.1:{made.to(port, leads_to_pods=True)}"
        return self._lines[line]

    def ending(self, folder: Path, driver: Driver, deadline: float = DEADLINE) -> Ending:
        """Wait for a driver and return how it ended."""
        code = driver.finish(deadline)
        left = self.emulator.pods()
        return Ending(project=folder, exit_code=code, screen=driver.screen, left=left)

    def has_begun(self, folder: Path, nodes: int = 1) -> bool:
        """Whether so many nodes work on their pods."""
        logs = folder.glob("rpd-runs/2*/*/output.log")
        return sum("begun" in path.read_text(encoding="utf-8") for path in logs) >= nodes

    def sweep(self) -> None:
        """Restore the account to its first state."""
        for cluster in self.emulator.state()["clusters"]:
            self.ask("DELETE", f"v2/clusters/{cluster['id']}")
        for pod in self.emulator.pods():
            self.ask("DELETE", f"v2/pods/{pod['id']}")
        self.emulator.set_balance(100.0)
        self.emulator.settle()
        assert self.emulator.pods() == []

    def bills(self) -> dict[str, float]:
        """Return the cost of each pod, and each cluster, so far, in USD."""
        total: Counter[str] = Counter()
        for path, name in (("pods", "podId"), ("clusters", "clusterId")):
            for row in json.loads(self.ask("GET", f"v2/billing/{path}"))["records"]:
                total[row[name]] += row["totalAmount"]
        return total

    def ask(self, method: str, path: str) -> bytes:
        """Call REST v2 as the owner of the account."""
        request = urllib.request.Request(
            f"{self.emulator.base_url}/{path}",
            method=method,
            headers={"Authorization": f"Bearer {self.emulator.api_key}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            answer: bytes = response.read()
            return answer


def _intents(folder: Path) -> list[dict[str, Any]]:
    paths = folder.glob(f"rpd-runs/2*/{journal.FILE_NAME}")
    return [event for path in paths for event in journal.read(path) if event["event"] == "intent"]


class Theatre:
    """Stages, and the cases of this session: those of a file begin at once, as far as there are stages.

    ``files`` has the cases of each file. A file begins with its first test, since other processes may run the others.
    """

    def __init__(self, folder: Path, files: Mapping[str, Sequence[Case]]) -> None:
        # Cases that wait for long take nothing but a stage.
        long = max((sum(case.long for case in cases) for cases in files.values()), default=0)
        width = STAGES + min(STAGES_FOR_LONG, long)
        self._files = dict(files)
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="stage")
        self._free: queue.SimpleQueue[Stage | None] = queue.SimpleQueue()
        self._stages: list[Stage] = []
        self._folder = folder
        for _ in range(width):
            self._free.put(None)
        self._played: dict[str, Future[Ending]] = {}

    def played(self, file: str, case: Case) -> Ending:
        """Return how a case of a file ended."""
        for each in sorted(self._files.pop(file, ()), key=lambda case: not case.long):
            if each.id not in self._played:
                self._played[each.id] = self._pool.submit(self._play, each)
        return self._played[case.id].result()

    def _play(self, case: Case) -> Ending:
        stage = self._free.get()
        after: Stage | None = None
        try:
            if stage is None:
                stage = Stage(self._folder)
                self._stages.append(stage)
            ending = stage.play(case)
            after = stage
            return ending
        finally:
            if after is None and stage is not None:
                stage.close()  # its state is unknown: the next case gets another
            self._free.put(after)

    def close(self) -> None:
        """End the cases that still run, and every emulator."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for stage in self._stages:
            stage.close()
        self._pool.shutdown()

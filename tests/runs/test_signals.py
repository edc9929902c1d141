"""One SIGINT or SIGTERM at every moment of a pod's life: the run reacts there and then, and nothing is left.

Whatever holds a run up lasts longer than any test waits, so that a run that misses the signal fails the test.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.testing import RpdRun, RunResult
from tests.runs.conftest import events, run_dir_of, write_project
from tests.waiting import DEADLINE, wait_until

A4000 = "NVIDIA RTX A4000"
LONG = 900.0

FIT = """
import time
from pathlib import Path
import rpd

def say(word):
    (Path(__file__).parent / word).touch()

@rpd.fixture
def local():
    say("local")
    for _ in range(9000):
        time.sleep(0.1)

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
def fit(BEFORE pod):
    say("begun")
    BODY

@rpd.job
def never():
    say("never")
"""
HANGS_PROBING = "import rpd.remote.detached as c\nc._PROBE = 'sleep 900'\n"
HANGS_ARMING = "import rpd.remote.watchdog as w\nw._ARM = 'sleep 900\\n'\n"
RUNS = 'pod.run("echo started; sleep 900")'
PUTS = """\
def rpd_transfer_progress(node, done, total):
    # The link is slow: what is sent takes its time, whatever this machine can do.
    import time
    time.sleep(0.3)
"""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment of a run for the signal: the obstacle that keeps the run there, and the sign that it is there."""

    faults: tuple[Mapping[str, Any], ...] = ()
    args: tuple[str, ...] = ()
    before: str = ""
    body: str = RUNS
    conftest: str = ""
    megabytes: int = 0
    event: str = ""
    step: str = ""
    file: str = ""
    has_pod: bool = True
    begins: bool | None = False
    """Whether the job has begun by then; None where a slow machine may be that far."""
    sure_to_end_it: bool = True
    """Whether the node cannot have come to its end before the signal is heard."""


def _is_sent(folder: Path, kind: str) -> bool:
    run_dir = run_dir_of(folder)
    journals = list(run_dir.glob("*/events.jsonl")) if run_dir else []
    return any(f'"kind":"{kind}"' in journal.read_text(encoding="utf-8") for journal in journals)


def _has_event(folder: Path, event: str) -> bool:
    run_dir = run_dir_of(folder)
    return run_dir is not None and bool(events(run_dir, event))


MOMENTS = {
    "in a fixture of this machine": Moment(before="local,", file="local", has_pod=False),
    "waiting for stock": Moment(
        faults=({"kind": "stock-out"},), args=("--wait-for-stock", "30m"), event="waiting", has_pod=False
    ),
    "creating": Moment(
        faults=({"kind": "slow", "seconds": 2.0, "when": "after", "match": {"operation": "create"}},),
        event="intent",
        begins=None,
    ),
    "booting": Moment(faults=({"kind": "slow-boot", "seconds": LONG},), event="created"),
    "no sshd": Moment(faults=({"kind": "no-sshd"},), event="created"),
    "late sshd": Moment(faults=({"kind": "late-sshd", "seconds": LONG},), event="created"),
    "key refused": Moment(faults=({"kind": "refuse-key"},), event="created"),
    "probing": Moment(conftest=HANGS_PROBING, event="created"),
    "arming": Moment(conftest=HANGS_ARMING, event="ready"),
    "staging": Moment(before="staged_dir,", conftest=PUTS, megabytes=48, step="put", sure_to_end_it=False),
    "running": Moment(step="run", begins=True),
    "pulling": Moment(
        body='pod.run("head -c 64000000 /dev/urandom > big"); pod.pull("big"); pod.run("sleep 900")',
        step="pull",
        begins=True,
    ),
    "releasing": Moment(
        faults=({"kind": "slow", "seconds": 2.0, "when": "before", "match": {"operation": "terminate"}},),
        body='pod.run("true")',
        step="run",
        begins=True,
        sure_to_end_it=False,
    ),
}


def _written(folder: Path, moment: Moment) -> Path:
    text = FIT.replace("BEFORE", moment.before).replace("BODY", moment.body)
    write_project(folder, {"deploy_a.py": text, "conftest.py": moment.conftest})
    if moment.megabytes:
        (folder / "data.bin").write_bytes(bytes(range(256)) * (moment.megabytes << 12))
    return folder


def _is_there(folder: Path, moment: Moment) -> bool:
    return bool(
        (not moment.event or _has_event(folder, moment.event))
        and (not moment.step or _is_sent(folder, moment.step))
        and (not moment.file or (folder / moment.file).exists())
    )


@pytest.mark.parametrize("name", MOMENTS)
def test_one_signal_at_any_moment(name: str, rpd: RpdRun, tmp_path: Path, clean_emulator: Launched) -> None:
    """The run ends at once and in order: exit 2, no pod, nothing new begun, and the node is reported as interrupted.

    Both signals are sent at the same moment, each to a different run.
    """
    moment = MOMENTS[name]
    for fault in moment.faults:
        clean_emulator.inject(fault)
    folders = {number: _written(tmp_path / number.name, moment) for number in (signal.SIGINT, signal.SIGTERM)}
    running = {number: rpd.start(folder, *moment.args) for number, folder in folders.items()}
    for number, folder in folders.items():
        process = running[number]
        wait_until(
            lambda f=folder, p=process: _is_there(f, moment) or p.process.poll() is not None, what=name
        )
        process.send_signal(number)
    for number, folder in folders.items():
        result = running[number].finish(timeout=DEADLINE)
        _assert_ended(result, number, folder, moment)
    clean_emulator.settle()
    assert clean_emulator.pods() == []


def _assert_ended(result: RunResult, number: signal.Signals, folder: Path, moment: Moment) -> None:
    text = result.out + result.err
    assert result.exit_code == 2, text
    name = "Ctrl-C" if number is signal.SIGINT else number.name
    assert f"{name}: starting nothing new" in text
    assert "Traceback" not in text
    assert not (folder / "never").exists(), "the next node began"
    assert moment.begins in (None, (folder / "begun").exists()) or not moment.sure_to_end_it
    assert result.run_dir is not None
    assert number.name in (result.run_dir / "run.toml").read_text(encoding="utf-8")
    [report] = result.reports
    if moment.sure_to_end_it:
        assert report.result.cause is Cause.INTERRUPTED, report.result
    released = events(result.run_dir, "released")
    assert bool(released) == moment.has_pod or not moment.has_pod

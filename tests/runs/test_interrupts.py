"""Ctrl-C, SIGTERM, SIGHUP and SIGKILL at every stage: no pod left, artifacts intact, a manifest, exit code 2."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.testing import RpdRun, Running, RunResult
from rpd.values.report import Outcome
from tests.runs.conftest import events, run_dir_of
from tests.waiting import DEADLINE, wait_until

Project = Callable[[dict[str, str]], Path]

WORKS = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2])
def fit(pod, n):
    pod.run("mkdir out; echo whole > out/checkpoint; echo started; sleep 300")
    pod.pull("out/")
"""


def node_dir(folder: Path, name: str) -> Path:
    run_dir = run_dir_of(folder)
    return run_dir / name if run_dir else folder / "none-yet"


def has_output(folder: Path, name: str, text: str) -> bool:
    log = node_dir(folder, name) / "output.log"
    return log.exists() and text in log.read_text(encoding="utf-8")


def has_event(folder: Path, event: str) -> bool:
    run_dir = run_dir_of(folder)
    return run_dir is not None and bool(events(run_dir, event))


def assert_interrupted(result: RunResult, emulator: Launched, signal_name: str) -> None:
    """Assert that no pod is left, the code is 2, and screen and run file give the reason."""
    assert result.exit_code == 2, result.out + result.err
    assert emulator.pods() == []
    assert f"{signal_name}: starting nothing new" in result.out + result.err
    assert "Traceback" not in result.out + result.err
    assert result.run_dir is not None
    assert "exit_code = 2" in (result.run_dir / "run.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_a_command_runs(
    number: signal.Signals, rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The command is ended, its files are pulled, the pod released; the next node never starts."""
    folder = project({"deploy_a.py": WORKS})
    process = rpd.start(folder)
    wait_until(lambda: has_output(folder, "deploy_a.fit-n1", "started"), what="the command's output")
    process.send_signal(number)
    result = process.finish()
    assert_interrupted(result, emulator, "Ctrl-C" if number is signal.SIGINT else number.name)
    [report] = result.reports
    assert (report.result.outcome, report.result.cause) == (Outcome.ERROR, Cause.INTERRUPTED)
    assert report.pod is not None
    assert report.pod.final_state == "deleted"
    assert [artifact.verified for artifact in report.artifacts] == [True]
    pulled = Path(report.folder) / "artifacts" / "out" / "checkpoint"
    assert pulled.read_text(encoding="utf-8") == "whole\n"
    assert not node_dir(folder, "deploy_a.fit-n2").exists()
    assert "not_run = 1" in (node_dir(folder, "run.toml")).read_text(encoding="utf-8")


FINALIZED = """
from pathlib import Path
import rpd

def say(word):
    with (Path(__file__).parent / "log").open("a") as log:
        log.write(word + "\\n")

@rpd.fixture(scope="session")
def wide():
    yield
    say("-wide")

@rpd.fixture(scope="module")
def narrower(wide, request):
    request.addfinalizer(lambda: say("-finalizer"))
    yield
    say("-narrower")
    raise RuntimeError("in spite of this")

@rpd.fixture
def own(narrower, pod):
    yield
    say("-own")

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
def fit(own, pod):
    pod.run("echo started; sleep 300")
"""


def test_every_finalizer_runs(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """After Ctrl-C fixtures of every scope are torn down, last in first out, though one of them raises."""
    folder = project({"deploy_a.py": FINALIZED})
    process = rpd.start(folder)
    wait_until(lambda: has_output(folder, "deploy_a.fit", "started"), what="the command's output")
    process.send_signal(signal.SIGINT)
    assert_interrupted(process.finish(), emulator, "Ctrl-C")
    log = (folder / "log").read_text(encoding="utf-8").split()
    assert log == ["-own", "-narrower", "-finalizer", "-wide"]


def test_a_keyboard_interrupt_in_a_fixture(rpd: RpdRun, project: Project) -> None:
    """Raised by a fixture it ends the run like Ctrl-C: earlier set-ups are torn down, and nothing else starts."""
    text = FINALIZED.replace(
        "def own(narrower, pod):\n    yield", "def own(narrower):\n    raise KeyboardInterrupt"
    )
    text = text.replace("def fit(own, pod)", "def fit(own)") + "\n@rpd.job\ndef next_one(own): ...\n"
    folder = project({"deploy_a.py": text})
    result = rpd(folder)
    assert result.exit_code == 2, result.out + result.err
    assert [(report.node.job, report.result.cause) for report in result.reports] == [
        ("fit", Cause.INTERRUPTED)
    ]
    assert (folder / "log").read_text(encoding="utf-8").split() == ["-narrower", "-finalizer", "-wide"]


def test_under_nohup_a_run_outlives_its_terminal(
    cold: None, rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """If SIGHUP is ignored from the start, the run continues to its end."""
    folder = project({"deploy_a.py": WORKS.replace("sleep 300", "sleep 1")})
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = rpd.start(folder)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_until(lambda: has_output(folder, "deploy_a.fit-n1", "started"), what="the command's output")
    process.send_signal(signal.SIGHUP)
    result = process.finish()
    assert result.exit_code == 0, result.out + result.err
    assert len(result.reports) == 2


def test_ctrl_c_while_a_run_drains(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """A failure under -x starts nothing new and says so at once.

    Ctrl-C then ends running nodes, and is the reason.
    """
    text = WORKS.replace('"mkdir out;', '("exit 3;" if n == 1 else "") + "mkdir out;')
    folder = project({"deploy_a.py": text})
    process = rpd.start(folder, "-x", "-n", "2")
    wait_until(lambda: has_output(folder, "deploy_a.fit-n2", "started"), what="the command's output")
    wait_until(lambda: "stopping after 1 failures" in process.out, what="the stop")
    process.send_signal(signal.SIGINT)
    result = process.finish()
    assert_interrupted(result, emulator, "Ctrl-C")
    assert "rpd: stopping after 1 failures: starting nothing new; running nodes may finish" in result.out
    assert "stopped: stopping after 1 failures; interrupted by SIGINT" in result.out


def test_while_pods_boot(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Pods that are still booting are given back at once."""
    emulator.inject({"kind": "slow-boot", "seconds": 60.0})
    folder = project({"deploy_a.py": WORKS})
    process = rpd.start(folder, "-n", "2")
    wait_until(lambda: len(emulator.pods()) == 2, what="both pods")
    process.send_signal(signal.SIGINT)
    result = process.finish(timeout=DEADLINE)
    assert_interrupted(result, emulator, "Ctrl-C")
    assert [report.result.cause for report in result.reports] == [Cause.INTERRUPTED] * 2
    assert {report.pod.final_state for report in result.reports if report.pod} == {"deleted"}


def test_while_files_are_pulled(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """A pull under way is finished and verified before the pod goes."""
    folder = project(
        {
            "deploy_a.py": """
            import rpd
            @rpd.job(gpu=None, budget=rpd.Budget(cost_cap_usd=1))
            def fit(pod):
                pod.run("mkdir out; for i in 1 2 3 4 5 6 7 8; do head -c 8000000 /dev/urandom > out/$i; done")
                pod.run("cd out; sha256sum * > ../sums; cat ../sums")
                pod.pull("out/")
                pod.run("sleep 900")
            """
        }
    )
    process = rpd.start(folder)
    journal = node_dir(folder, "deploy_a.fit") / "events.jsonl"
    wait_until(lambda: has_event(folder, "ready"), what="the pod")
    journal = node_dir(folder, "deploy_a.fit") / "events.jsonl"
    wait_until(lambda: '"kind":"pull"' in journal.read_text(encoding="utf-8"), what="the pull")
    process.send_signal(signal.SIGINT)
    result = process.finish()
    assert_interrupted(result, emulator, "Ctrl-C")
    [report] = result.reports
    assert report.result.cause is Cause.INTERRUPTED
    assert [(artifact.verified, artifact.files) for artifact in report.artifacts] == [(True, 8)]
    sums = dict(
        reversed(line.split()) for line in (Path(report.folder) / "output.log").read_text().splitlines()
    )
    for name, digest in sums.items():
        pulled = Path(report.folder) / "artifacts" / "out" / name
        assert hashlib.sha256(pulled.read_bytes()).hexdigest() == digest


def test_twice(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """A second Ctrl-C releases every pod at once, even where a job function hangs on this side; its node is reported."""
    folder = project(
        {
            "deploy_a.py": """
            import time
            import rpd

            @rpd.job(gpu=None, budget=rpd.Budget(cost_cap_usd=1))
            @rpd.mark.parametrize("hangs", [True, False])
            def fit(pod, hangs):
                pod.run("mkdir out; echo started")
                if hangs:
                    time.sleep(600)
                pod.run("trap '' TERM; echo deaf; while true; do sleep 0.1; done")
                pod.pull("out/", required=False)
            """
        }
    )
    process = rpd.start(folder, "-n", "2")
    for hangs, said in (("True", "started"), ("False", "deaf")):
        wait_until(partial(has_output, folder, f"deploy_a.fit-hangs{hangs}", said), what="the output")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "starting nothing new" in process.out, what="the first notice")
    assert len(emulator.pods()) == 2
    process.send_signal(signal.SIGINT)
    result = process.finish(timeout=DEADLINE)
    assert_interrupted(result, emulator, "Ctrl-C")
    assert "Ctrl-C again: releasing every pod now, without pulling." in result.out
    assert "2 errors" in result.out
    for report in result.reports:
        assert report.result.cause is Cause.INTERRUPTED
        assert report.pod is not None
        assert report.pod.final_state == "deleted"
        assert report.artifacts == ()
        assert report.cost.estimated_usd > 0
    assert len(result.reports) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_collecting(number: signal.Signals, rpd: RpdRun, project: Project) -> None:
    """A signal before anything runs says so and leaves nothing behind."""
    folder = project(
        {
            # In short naps: a signal that comes just before a sleep is heard when that is over.
            "deploy_a.py": """
            import time
            from pathlib import Path
            Path("begun").touch()
            for _ in range(60_000):
                time.sleep(0.01)
            """
        }
    )
    process = rpd.start(folder)
    wait_until((folder / "begun").exists, what="the collection")
    process.send_signal(number)
    result = process.finish(timeout=DEADLINE)
    assert result.exit_code == 2
    assert "interrupted" in result.err
    assert "Traceback" not in result.err
    assert not (folder / "rpd-runs").exists()


def kill(process: Running) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.finish().exit_code == -signal.SIGKILL


def test_killed_then_reaped(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Pods left by a SIGKILL are deleted by ``rpd gc --yes``.

    Those of others, and of living runs, are not touched.
    """
    folder = project({"deploy_a.py": WORKS})
    process = rpd.start(folder, "-n", "2")
    for name in ("deploy_a.fit-n1", "deploy_a.fit-n2"):
        wait_until(lambda name=name: has_output(folder, name, "started"), what="the command's output")
    mine = {pod["id"] for pod in emulator.pods()}
    assert len(mine) == 2
    alive = rpd(folder, "--yes", command="gc")
    assert "nothing to delete" in alive.out
    assert {pod["id"] for pod in emulator.pods()} == mine
    kill(process)
    shown = rpd(folder, command="gc")
    assert shown.exit_code == 0
    assert all(pod_id in shown.out for pod_id in mine)
    assert {pod["id"] for pod in emulator.pods()} == mine
    reaped = rpd(folder, "--yes", command="gc")
    assert reaped.exit_code == 0, reaped.err
    assert emulator.pods() == []


def test_killed_while_a_create_is_under_way(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The intent is on the disk before the create: a pod whose answer never came is reaped by its name."""
    emulator.inject({"kind": "slow", "seconds": 15.0, "when": "after", "match": {"operation": "create"}})
    folder = project({"deploy_a.py": WORKS})
    process = rpd.start(folder)
    wait_until(emulator.pods, what="the pod")
    kill(process)
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    assert events(run_dir, "created") == []
    reaped = rpd(folder, "--yes", command="gc")
    assert reaped.exit_code == 0, reaped.out + reaped.err
    assert emulator.pods() == []

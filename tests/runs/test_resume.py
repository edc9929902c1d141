"""Resuming: a run whose driver was killed ends like an undisturbed one."""

from __future__ import annotations

import re
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.record import history
from rpd.testing import RpdRun
from rpd.values.report import Outcome
from tests.runs.conftest import run_dir_of
from tests.waiting import DEADLINE, wait_until

Project = Callable[[dict[str, str]], Path]

STEPS = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2])
def fit(pod, staged_dir, n, record_metric):
    said = pod.run(f"echo first {n} | tee -a log.txt", cwd=staged_dir).stdout
    read = pod.read("log.txt", cwd=staged_dir)
    pod.pull("log.txt", "early.txt", cwd=staged_dir)
    pod.run("echo begun; while [ ! -e go ]; do sleep 0.1; done; echo ended; wc -l < log.txt > lines", cwd=staged_dir)
    pod.write(f"{staged_dir}/late", "written once")
    pod.run("echo '{\\"accuracy\\": 0.5}' > metrics.json", cwd=staged_dir)
    pod.pull("*.json", cwd=staged_dir)
    pod.pull("lines", cwd=staged_dir)
    pod.pull("log.txt", "early.txt", cwd=staged_dir)
    record_metric("n", n)
    record_metric("said", f"{said.strip()}, {read.strip()}")
"""
AWAITED = "begun"


DIES = """
import os, signal

def at(moment):
    if os.environ.get("DIES_AT") == moment:
        os.kill(os.getpid(), signal.SIGKILL)

def rpd_pod_event(event):
    at(event)

def rpd_step_output(data):
    if b"begun" in data:
        at("begun")

def rpd_step_finished():
    at("step_finished")
"""
"""A conftest by which a driver dies at a moment: at once, so that the run can be no further, whatever the machine does."""


def run_and_die(rpd: RpdRun, folder: Path, moment: str, *args: str) -> None:
    """Run until the driver, which has the conftest DIES, dies at this moment."""
    assert rpd(folder, *args, env={"DIES_AT": moment}).exit_code == -signal.SIGKILL


def start_and_kill(rpd: RpdRun, folder: Path, emulator: Launched, ready: Callable[[], bool]) -> None:
    """Start a run of two nodes at once and SIGKILL its driver when ``ready`` says so."""
    process = rpd.start(folder, "-n", "2")
    try:
        wait_until(ready, what="the moment to kill the driver")
    finally:
        process.send_signal(signal.SIGKILL)
        process.finish()


def logs_hold(folder: Path, text: str) -> bool:
    run_dir = run_dir_of(folder)
    logs = list(run_dir.glob("*/output.log")) if run_dir else []
    return len(logs) == 2 and all(text in log.read_text(encoding="utf-8") for log in logs)


MAY_DIFFER = re.compile(
    r"result\.(started|finished|phases\.\w+)|(pod|pods\.\d+)\.(id|name|datacenter|final_state)"
    r"|cost\.(billed_seconds|estimated_usd)|steps\.\d+\.seconds|node\.run"
)
"""What depends on when a run was, and on which pods it got."""
FROM_TELEMETRY = re.compile(r"environment\.(packages|nvidia_smi)|result\.files\.\d+")
"""What comes with telemetry while a job runs, and its files; a short job may end before."""


def leaves(value: object, name: str = "") -> dict[str, object]:
    """Return all values of a manifest by dotted names; of those that may differ, only their presence."""
    pairs = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if pairs is None:
        return {name: "there" if MAY_DIFFER.fullmatch(name) else value}
    by_name: dict[str, object] = {name: "there"} if name else {}
    for key, inner in pairs:
        by_name.update(leaves(inner, f"{name}.{key}".lstrip(".")))
    return {key: leaf for key, leaf in by_name.items() if not FROM_TELEMETRY.fullmatch(key)}


def stories(run_dir: Path) -> list[dict[str, object]]:
    """Return the contents of each node's manifest, in the order of their ids."""
    manifests = [tomllib.loads(path.read_text(encoding="utf-8")) for path in run_dir.glob("*/manifest.toml")]
    return sorted(map(leaves, manifests), key=lambda story: str(story["node.id"]))


def free_the_commands(emulator: Launched, folder: Path) -> None:
    """Let the waiting commands on the pods continue, through the pods' own SSH."""
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    from rpd.remote.ssh import connect
    from rpd.values.pod import SshEndpoint

    for pod in emulator.pods():
        port = next(p["publicPort"] for p in pod["ports"] if p["privatePort"] == 22)
        remote = connect(
            SshEndpoint(host="127.0.0.1", port=port),
            private_key=run_dir / ".ssh" / "id_ed25519",
            known_hosts=run_dir / ".ssh" / "other_known_hosts",
            pod_id=pod["id"],
            timeout=DEADLINE,
            is_alive=lambda: True,
        )
        remote.write(f"/workspace/{folder.name}/go", b"")
        remote.close()


def test_a_killed_run_is_carried_on_to_the_manifest_an_undisturbed_one_writes(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The pods are taken over, finished steps are not done again, the running command is attached to."""
    folder = project({"deploy_a.py": STEPS})
    start_and_kill(rpd, folder, emulator, lambda: logs_hold(folder, AWAITED))
    pods = {pod["id"] for pod in emulator.pods()}
    free_the_commands(emulator, folder)

    result = rpd(folder, command="resume")

    assert result.exit_code == 0, result.out + result.err
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    reports = history.reports(run_dir)
    assert {report.pod.id for report in reports if report.pod} == pods
    assert emulator.pods() == []
    for report in reports:
        assert report.result.outcome is Outcome.PASSED
        n = report.node.parameters["n"]
        assert report.metrics == {"accuracy": 0.5, "n": n, "said": f"first {n}, first {n}"}
        # The first command appended once: it was not run a second time.
        assert (Path(report.folder) / "artifacts" / "lines").read_text(encoding="utf-8").strip() == "1"
        assert (Path(report.folder) / "output.log").read_text(
            encoding="utf-8"
        ) == f"first {n}\nbegun\nended\n"
        assert len(report.steps) == 10


def test_steps_of_an_undisturbed_run_are_the_same(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The manifest of a killed run equals, field by field, that of an undisturbed one, apart from times and money."""
    body = STEPS.replace("while [ ! -e go ]; do sleep 0.1; done; ", "")
    folder = project({"deploy_a.py": body, "conftest.py": DIES})
    alone = rpd(folder, "-n", "2")
    assert alone.exit_code == 0, alone.out + alone.err
    assert alone.run_dir is not None
    expected = stories(alone.run_dir)
    (folder / "rpd-runs").rename(folder.parent / "before")

    run_and_die(rpd, folder, "step_finished", "-n", "2")
    result = rpd(folder, command="resume")

    assert result.exit_code == 0, result.out + result.err
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    actual = stories(run_dir)
    assert len(actual) == len(expected) == 2
    for one, other in zip(actual, expected, strict=True):
        assert one == other
    assert emulator.pods() == []


@pytest.mark.parametrize("moment", ["intent", "created", "ready"])
def test_killed_while_a_pod_is_had(rpd: RpdRun, project: Project, emulator: Launched, moment: str) -> None:
    """Whatever line of the lease was the last one written, resuming ends with every node passed and no pod left."""
    body = STEPS.replace("while [ ! -e go ]; do sleep 0.1; done; ", "")
    folder = project({"deploy_a.py": body, "conftest.py": DIES})
    run_and_die(rpd, folder, moment, "-n", "2")

    result = rpd(folder, command="resume")

    assert result.exit_code == 0, result.out + result.err
    assert "2 passed" in result.out
    assert emulator.pods() == []


def test_a_pod_that_died_meanwhile_starts_its_node_afresh(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The steps done on a pod that is gone are done again on a new one."""
    body = STEPS.replace(
        "while [ ! -e go ]; do sleep 0.1; done; ", "sleep $(cat wait 2>/dev/null || echo 0); "
    )
    folder = project({"deploy_a.py": body, "wait": "60"})
    start_and_kill(rpd, folder, emulator, lambda: logs_hold(folder, AWAITED))
    before = {pod["id"] for pod in emulator.pods()}
    for pod_id in before:
        assert rpd(folder, pod_id, command="stop").exit_code == 0
    (folder / "wait").write_text("0", encoding="utf-8")

    result = rpd(folder, command="resume")

    assert result.exit_code == 0, result.out + result.err
    assert "starting over" in result.out + result.err
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    assert before.isdisjoint({report.pod.id for report in history.reports(run_dir) if report.pod})
    assert emulator.pods() == []


def test_a_job_whose_steps_changed_is_told_so(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Another command in the place of a finished one is an error with advice, and the pod is released.

    A job that may cost more now is not resumed at all: nobody agreed to that.
    """
    folder = project({"deploy_a.py": STEPS})
    start_and_kill(rpd, folder, emulator, lambda: logs_hold(folder, AWAITED))
    pods = len(emulator.pods())
    dearer = STEPS.replace("cost_cap_usd=1", "cost_cap_usd=500")
    (folder / "deploy_a.py").write_text(dearer, encoding="utf-8")
    result = rpd(folder, command="resume")
    assert result.exit_code == 4
    assert (
        "the rest of this run may cost up to $1000.00, more than the whole run when you started it"
        in result.err
    )
    assert len(emulator.pods()) == pods

    (folder / "deploy_a.py").write_text(STEPS.replace("echo first", "echo another"), encoding="utf-8")

    result = rpd(folder, command="resume")

    assert result.exit_code == 1
    assert "changed since the run was interrupted" in result.out
    assert "start a new run" in result.out
    assert emulator.pods() == []


def test_nothing_to_resume(rpd: RpdRun, project: Project) -> None:
    """Without an unfinished run there is one clear line, and exit code 4."""
    folder = project({"deploy_a.py": STEPS})

    result = rpd(folder, command="resume")

    assert result.exit_code == 4
    assert "there is nothing to resume" in result.err


DIES_ONCE = """
import os, signal
from pathlib import Path
import rpd

@rpd.job
@rpd.mark.parametrize("n", [1, 2])
def fit(n):
    if n == 2 and not Path("died").exists():
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_without_pods_needs_no_key(
    rpd: RpdRun, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of it is at RunPod, so RunPod is not asked: the run needed no key, nor does its resuming."""
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = project({"deploy_a.py": DIES_ONCE})
    assert rpd(folder).exit_code == -signal.SIGKILL
    resumed = rpd(folder, command="resume")
    assert (resumed.exit_code, "2 passed" in resumed.out) == (0, True), resumed.out + resumed.err


HANGS_ONCE = """
from pathlib import Path
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2])
def fit(pod, n):
    pod.run("echo begun")
    pod.run("true" if Path(__file__).with_name("go").exists() else "sleep 300")
"""


def test_damaged_journals_do_not_end_a_resume(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The files are named; nodes with a damaged story begin again on a new pod, and the old pods go."""
    folder = project({"deploy_a.py": HANGS_ONCE})
    start_and_kill(rpd, folder, emulator, lambda: logs_hold(folder, AWAITED))
    pods = {pod["id"] for pod in emulator.pods()}
    (folder / "go").touch()
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    spoil(run_dir / "events.jsonl", "intent")
    damaged, empty = sorted(run_dir.glob("*/events.jsonl"))
    spoil(damaged, "step_started")
    empty.write_bytes(b"")
    result = rpd(folder, command="resume")
    assert result.exit_code == 0, result.out + result.err
    reports = history.reports(run_dir)
    assert [report.result.outcome for report in reports] == [Outcome.PASSED] * 2
    assert not {report.pod.id for report in reports if report.pod} & pods
    for path in (run_dir / "events.jsonl", damaged):
        assert f"{path}: line" in result.out.replace("\n", "")
    assert emulator.pods() == []


def spoil(path: Path, event: str) -> None:
    """Write over a part of the first line of a journal that tells of ``event``."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if f'"event":"{event}"'.encode() in line)
    lines[at] = lines[at][:10] + b"\0" * 20 + lines[at][30:]
    path.write_bytes(b"".join(lines))


WIDE = """
import rpd

@rpd.fixture(scope="session")
def counter():
    return {"calls": 0}

@rpd.fixture(scope="session")
def unused_before():
    return 1

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2])
def fit(pod, counter, n, request):
    pod.run("echo begun; while [ ! -e project/go ]; do sleep 0.1; done")
    request.getfixturevalue("unused_before")
"""


def test_a_wide_fixture_that_had_a_value_is_told_to_be_set_up_again(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """Its state died with the process: one line says so, once, and none for a fixture that had no value yet."""
    folder = project({"deploy_a.py": WIDE})
    start_and_kill(rpd, folder, emulator, lambda: logs_hold(folder, AWAITED))
    free_the_commands(emulator, folder)

    result = rpd(folder, command="resume")

    assert result.exit_code == 0, result.out + result.err
    text = " ".join((result.out + result.err).split())
    assert text.count("is set up again") == 1
    assert "fixture 'counter' (deploy_a.py:4, scope session) is set up again" in text

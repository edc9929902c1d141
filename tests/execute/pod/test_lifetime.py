"""Whole runs whose pods are left alone: each ends itself, or stays exactly as long as asked for."""

from __future__ import annotations

import contextlib
import json
import signal
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause, ExitCode
from rpd.journal import journal
from rpd.testing import RpdRun, RunResult
from rpd.values.report import Outcome
from tests.waiting import wait_until

HEADER = """
import os
import signal
import threading
from pathlib import Path
import rpd
from rpd import Budget, Gpu, Lifecycle

HERE = Path(__file__).parent
job = rpd.job(gpu=Gpu("NVIDIA RTX A4000"), image="runpod/base:1")
"""


@pytest.fixture
def cloud(clean_emulator: Launched) -> Launched:
    """An account that must be without a pod at the end."""
    return clean_emulator


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """``project(text, key=value)`` writes a deploy file and settings, and returns the folder."""

    def write(text: str, **settings: float) -> Path:
        lines = (f"{name} = {value}" for name, value in settings.items())
        (tmp_path / "rpd.toml").write_text("\n".join(lines))
        (tmp_path / "deploy_a.py").write_text(HEADER + textwrap.dedent(text))
        return tmp_path

    return write


def events(result: RunResult, name: str) -> list[dict[str, object]]:
    assert result.run_dir is not None
    return [event for event in journal.read(result.run_dir / journal.FILE_NAME) if event["event"] == name]


def watchdogs(cloud: Launched) -> list[Path]:
    """Return the folders of the watchdogs of all pods."""
    disks = [path for pod in cloud.pods() for path in Path(cloud.state()["folder"]).glob(f"{pod['id']}.*")]
    return [path for disk in disks for path in disk.glob("**/.rpd/watchdog")]


def let_pass(cloud: Launched, seconds: int) -> None:
    """Let the watchdogs of all pods believe that it is later: for a test it makes no difference, and nobody waits."""
    for folder in watchdogs(cloud):
        for name in ("deadline", "heartbeat"):
            with contextlib.suppress(FileNotFoundError):  # without a driver there is no heartbeat
                (folder / name).write_text(f"{int((folder / name).read_text()) - seconds}\n")


def ended(cloud: Launched) -> bool:
    """Wait until the account is without a pod."""
    return wait_until(lambda: cloud.pods() == [], what="the end of all pods")


DIES = """
import os, signal

def rpd_step_output(data):
    if b"begun" in data:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_once_begun(folder: Path, rpd_run: RpdRun) -> set[object]:
    """Run until a command says that it has begun; the driver dies there and then. Return the pods that it leaves."""
    (folder / "conftest.py").write_text(DIES)
    assert rpd_run(folder).exit_code == -signal.SIGKILL
    (path,) = folder.glob("rpd-runs/2*/events.jsonl")
    events = list(journal.read(path))
    assert "released" not in [event["event"] for event in events]
    return {event["pod_name"] for event in events if event["event"] == "armed"}


def test_idle_pod_outlives_its_linger_with_a_driver_and_not_without(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """A driver that does nothing keeps its pod; once it is killed the pod deletes itself."""
    folder = project(
        """
        @job
        def idles(pod):
            threading.Event().wait(12)
            (HERE / "idle").touch()
            threading.Event().wait()
        """,
        watchdog_linger=9,
    )
    run = rpd_run.start(folder)
    wait_until(lambda: (folder / "idle").exists(), what="idle time")
    assert len(cloud.pods()) == 1
    run.send_signal(signal.SIGKILL)
    run.finish()
    assert ended(cloud)


def test_runtime_holds_without_a_driver(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """With the driver killed, an endless command ends with its pod at the node's longest runtime."""
    folder = project(
        """
        @job(budget=Budget(max_runtime="10m"))
        def runs(pod):
            pod.run("echo begun; sleep 300")
        """,
        watchdog_grace=1,
    )
    assert len(kill_once_begun(folder, rpd_run)) == 1
    let_pass(cloud, 600)
    assert ended(cloud)


def test_deadline_is_the_cap_at_the_real_rate(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """The pod's deadline is the time that its money buys at its own rate."""
    folder = project(
        """
        @job(budget=Budget(cost_cap_usd=1))
        def short(pod):
            pod.run("cat ~/.rpd/watchdog.log")
        """
    )
    result = rpd_run(folder)
    report = result.report("short")
    (armed,) = events(result, "armed")
    seconds = armed["seconds"]
    assert isinstance(seconds, int)
    assert report.cost.rate_usd_per_hr > 0
    assert 0.9 < seconds / (3600 / report.cost.rate_usd_per_hr) <= 1.1
    assert "guards pod" in (Path(report.folder) / "output.log").read_text()


def test_what_the_watchdog_does_is_kept_with_the_node(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """Its trace is in the node's folder without being pulled, and rpd show ends with it."""
    folder = project(
        """
        import time

        @job
        def told(pod, run_dir):
            pod.run("true")
            until = time.monotonic() + 60
            while not (run_dir / "watchdog.log").exists() and time.monotonic() < until:
                time.sleep(0.05)
        """
    )
    result = rpd_run(folder)
    assert result.exit_code == 0
    assert "guards pod" in (Path(result.report("told").folder) / "watchdog.log").read_text()
    assert "guards pod" in rpd_run(folder, "told", command="show").out


def test_pods_that_serve_several_nodes_get_more_time(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """A pod whose deadline is too near for the next node is given a later one."""
    folder = project(
        """
        @rpd.fixture(scope="session")
        def shared(provision):
            with provision() as pod:
                yield pod

        @job(budget=Budget(cost_cap_usd=0.01))
        def cheap(shared):
            shared.run("true")

        @job(budget=Budget(cost_cap_usd=5))
        def dear(shared):
            shared.run("true")
        """
    )
    result = rpd_run(folder)
    assert result.exit_code == ExitCode.OK
    first, second = (event["seconds"] for event in events(result, "armed"))
    assert isinstance(first, int)
    assert isinstance(second, int)
    assert second > 10 * first


WORKER = """
@rpd.fixture(scope="worker")
def pod(provision):
    with provision() as made:
        yield made
"""


def test_runtime_holds_on_a_shared_pod_without_a_driver(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """A pod of wider scope knows the longest time of the node that runs on it, the second one as well."""
    folder = project(
        WORKER
        + textwrap.dedent(
            """
            @job(budget=Budget(cost_cap_usd=1, max_runtime="1h"))
            def before(pod):
                pod.run("true")

            @job(budget=Budget(cost_cap_usd=1, max_runtime="10m"))
            def runs(pod):
                pod.run("echo begun; sleep 300")
            """
        )
    )
    assert len(kill_once_begun(folder, rpd_run)) == 1
    # The grace of five minutes is for a driver that is heard.
    let_pass(cloud, 600)
    assert ended(cloud)


def test_timeout_holds_for_both_pods_of_a_job(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """A second pod that a job rents ends with it, and both know by when; so does the job."""
    folder = project(
        """
        @job(budget=Budget(cost_cap_usd=1))
        @rpd.mark.timeout("10m")
        def runs(pod, provision):
            with provision(gpu=None) as other:
                other.run("echo begun; sleep 300")
        """,
        watchdog_grace=1,
    )
    assert len(kill_once_begun(folder, rpd_run)) == 2
    let_pass(cloud, 600)
    assert ended(cloud)


def test_two_pods_use_up_the_money_together(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """With a second pod the cap of the job is nearer, and once that one is given back it is farther again."""
    folder = project(
        """
        @job(budget=Budget(cost_cap_usd=1))
        def runs(pod, provision, run_dir):
            with provision() as other:
                other.run("true")
            pod.run("true")
        """
    )
    result = rpd_run(folder)
    assert result.exit_code == ExitCode.OK, result.out
    own = result.report("runs").pods[0]
    alone, shared, again = (
        event["seconds"] for event in events(result, "armed") if event["pod_name"] == own.name
    )
    assert isinstance(alone, int)
    assert shared == pytest.approx(alone / 2, rel=0.05)
    assert again == pytest.approx(alone, rel=0.05)


def test_a_shared_pod_outlasts_the_time_between_its_nodes(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """While the driver is there a pod that no node uses just now does not end with the time of the one before."""
    folder = project(
        WORKER
        + textwrap.dedent(
            """
            @job(budget=Budget(cost_cap_usd=1, max_runtime="1m"))
            def before(pod):
                pod.run("true")

            @rpd.fixture
            def slow():
                (HERE / "between").touch()
                while not (HERE / "go").exists():
                    threading.Event().wait(0.05)

            @job
            def without(slow):
                pass

            @job(budget=Budget(cost_cap_usd=1, max_runtime="5m"))
            def after(pod):
                pod.run("true")
            """
        ),
        watchdog_grace=1,
        telemetry_interval=1,
    )
    run = rpd_run.start(folder)
    wait_until(lambda: (folder / "between").exists(), what="the time between")
    (watchdog,) = watchdogs(cloud)
    wait_until(lambda: int((watchdog / "deadline").read_text()) > time.time() + 120, what="a later deadline")
    trace = watchdog.parent / "watchdog.log"
    looked = trace.read_text().count("the deadline is")
    let_pass(cloud, 70)
    wait_until(lambda: trace.read_text().count("the deadline is") > looked, what="a look at the deadline")
    assert "this pod ends" not in trace.read_text()
    (folder / "go").touch()
    result = run.finish()
    assert result.exit_code == ExitCode.OK, result.out
    assert result.report("before").pod == result.report("after").pod


def test_a_pod_with_another_gpu_is_told(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """The GPU that nvidia-smi reports is held against the one that is paid for; a difference is kept, too."""
    folder = project(
        """
        from rpd.remote import detached

        facts = detached.facts
        detached.facts = lambda said: {**facts(said), "gpu_name": "NVIDIA RTX A2000"}

        @job
        def runs(pod):
            pod.run("true")
        """
    )
    result = rpd_run(folder)
    text = "reports 'NVIDIA RTX A2000', but 'NVIDIA RTX A4000' is paid for"
    assert text in result.out
    environment = result.report("runs").environment
    assert environment.gpu_name == "NVIDIA RTX A2000"
    assert text in environment.warning
    assert text in rpd_run(folder, "runs", command="show").out


def test_a_pod_that_cannot_guard_itself_is_not_used(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """Where the watchdog cannot be armed the pod is given back at once and the node is an error of the infrastructure."""
    folder = project(
        """
        in_the_way = "touch /root/.rpd /tmp/.rpd-0; /start.sh"

        @job(docker_args=f"bash -c '{in_the_way}'", lifecycle=Lifecycle(on_failure="preserve"))
        def unguarded(pod):
            pod.run("true")
        """
    )
    report = rpd_run(folder).report("unguarded")
    assert (report.result.outcome, report.result.cause) == (Outcome.ERROR, Cause.INFRA)
    assert "cannot run its watchdog" in report.result.reason
    assert report.steps == ()
    assert cloud.pods() == []


# --- pods that stay -----------------------------------------------------------------------------------------------------


def test_keep_failed(cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun) -> None:
    """--keep-failed leaves the pod of a failed node, with a way in, until it deletes itself."""
    folder = project(
        """
        @job
        def bad(pod):
            pod.run("exit 3")

        @job
        def good(pod):
            pod.run("true")
        """
    )
    result = rpd_run(folder, "--yes", "--keep-failed", "10m")
    pod = result.report("bad").pod
    assert pod is not None
    assert pod.final_state == "running"
    assert f"pod {pod.id} is kept (--keep-failed)" in result.out + result.err
    assert f"{result.run_dir}/.ssh/id_ed25519" in result.out + result.err
    assert result.run_dir is not None
    assert (result.run_dir / ".ssh/id_ed25519").exists()
    assert [each["id"] for each in cloud.pods()] == [pod.id]
    let_pass(cloud, 600)
    assert ended(cloud)


def test_unverified_results_keep_the_pod(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """A pod with results that could not be fetched whole stays for a while, with the command that rescues them."""
    folder = project(
        """
        @job
        def made(pod):
            pod.run("mkdir results && echo precious >results/a")
            for program in ("openssl", "sha256sum"):
                pod.write(f"/opt/bin/{program}", "#!/bin/sh\\nexit 1\\n", 0o755)
            pod.pull("results/")
        """,
        keep_unverified=600,
    )
    result = rpd_run(folder)
    report = result.report("made")
    assert (report.result.outcome, report.result.cause) == (Outcome.FAILED, Cause.CODE)
    assert report.pod is not None
    assert report.pod.final_state == "running"
    assert "root@127.0.0.1:/workspace/results" in result.out + result.err
    assert report.result.attempts == 1, "another attempt would have left one more pod"
    assert [each["id"] for each in cloud.pods()] == [report.pod.id]
    let_pass(cloud, 600)
    assert ended(cloud)


def test_preserved_pods_are_guarded_too(
    cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun
) -> None:
    """A pod that its job preserves stays beyond the linger time, but not beyond the time its cap pays for."""
    folder = project(
        """
        @job(budget=Budget(cost_cap_usd=0.07), lifecycle=Lifecycle(on_success="preserve"))
        def stays(pod):
            pod.run("true")
        """,
        watchdog_grace=1,
        watchdog_linger=1,
    )
    result = rpd_run(folder)
    assert len(cloud.pods()) == 1
    (*_, armed) = events(result, "armed")
    seconds = armed["seconds"]
    assert isinstance(seconds, int)
    assert armed["linger"] == seconds > 1
    let_pass(cloud, seconds)
    assert ended(cloud)


# --- the mark timeout, and telemetry ------------------------------------------------------------------------------------


def test_timeouts_and_telemetry(cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun) -> None:
    """The mark ends a job that takes too long, or hangs, with the cause timeout; samples go to the node's own file."""
    folder = project(
        """
        @job
        @rpd.mark.timeout("1s")
        def slow(pod):
            pod.run("echo begun; sleep 300")

        @job
        @rpd.mark.timeout(job="5m", silent="4s")
        def hangs(pod):
            pod.run("echo begun; sleep 300")
            pod.run("echo never")

        @job
        @rpd.mark.timeout(silent="5s")
        def talks(pod, run_dir):
            pod.run("for i in 1 2 3 4 5 6; do echo $i; sleep 1; done")
            while len(samples(run_dir)) < 3:
                threading.Event().wait(0.05)

        def samples(folder):
            file = folder / "metrics.jsonl"
            return file.read_text().splitlines() if file.exists() else []
        """,
        telemetry_interval=0.5,
    )
    result = rpd_run(folder, "--yes", "-n", "3")
    slow, hangs, talks = (result.report(name) for name in ("slow", "hangs", "talks"))
    for report in (slow, hangs):
        assert (report.result.outcome, report.result.cause) == (Outcome.FAILED, Cause.TIMEOUT)
    assert "the job exceeded its timeout of 1.00s" in slow.result.reason
    assert "no output and idle GPUs for 4.00s" in hangs.result.reason
    content = (Path(hangs.folder) / "diagnosis.log").read_text()
    assert "--- nvidia-smi" in content
    assert "sleep 300" in content
    assert talks.result.outcome is Outcome.PASSED
    lines = (Path(talks.folder) / "metrics.jsonl").read_text().splitlines()
    assert len(lines) >= 3
    assert json.loads(lines[0])["gpus"][0]["memory_total_mb"] > 1000


def test_hook_hears_telemetry(cloud: Launched, project: Callable[..., Path], rpd_run: RpdRun) -> None:
    """A plugin gets each sample with the node that uses the pod."""
    folder = project(
        """
        @job
        def runs(pod):
            while not (HERE / "heard").exists():
                pod.run("sleep 0.5")
        """,
        telemetry_interval=0.5,
    )
    (folder / "conftest.py").write_text(
        textwrap.dedent(
            """
            from pathlib import Path

            def rpd_telemetry(node, sample):
                with (Path(__file__).parent / "heard").open("a") as file:
                    file.write(f"{node.id} {sample.utilization}\\n")
            """
        )
    )
    assert rpd_run(folder).exit_code == ExitCode.OK
    assert "deploy_a.py::runs 0.0\n" in (folder / "heard").read_text()

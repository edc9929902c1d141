"""Jobs whose time is up in something that is no command."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from rpd.values.report import Cause, Outcome
from tests.runs.conftest import run_dir_of
from tests.waiting import DEADLINE, wait_until

Project = Callable[[dict[str, str]], Path]

JOBS = """
import time
from pathlib import Path
import rpd
from rpd.execute.node.current import current_run
from rpd.uptime import uptime

job = rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))

def make_big(folder: Path) -> Path:
    '''Return a file that takes seconds to be sent, and none to be made.'''
    with open(folder / "big", "wb") as file:
        file.truncate(2 << 30)
    return folder / "big"

@job
@rpd.mark.timeout("1h")
def looping(pod, run_dir):
    pod.run("echo kept > result")
    if (run_dir / "once").exists():
        return pod.pull("result")
    (run_dir / "once").touch()
    current_run().deadlines.clock.move(uptime())  # its hour is over
    while True:
        time.sleep(0.01)

@job
@rpd.mark.timeout("1s")
def sending(pod, run_dir):
    pod.put(make_big(run_dir), "big")

@job
def thinking(pod, run_dir):
    (run_dir / "begun").touch()
    while True:
        time.sleep(0.01)

@job
def sending_on(pod, run_dir):
    pod.put(make_big(run_dir), "big")
"""


def test_a_job_is_ended_in_its_own_code_and_in_a_transfer(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The cause is the timeout, the remaining pulls are made, and no pod stays."""
    folder = project({"deploy_a.py": JOBS})
    result = rpd(folder, "-n", "2", "-k", "looping or sending and not sending_on")
    assert result.exit_code == 1, result.out + result.err
    for name, limit in (("looping", "1h00m"), ("sending", "1.00s")):
        ended = result.report(name).result
        assert (ended.outcome, ended.cause) == (Outcome.FAILED, Cause.TIMEOUT)
        assert f"the job exceeded its timeout of {limit}" in ended.reason
    looping = result.report("looping")
    assert (Path(looping.folder) / "artifacts/result").read_text() == "kept\n"
    assert emulator.pods() == []


def test_a_jobs_own_code_is_ended_when_the_run_is_interrupted(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """One Ctrl-C is enough for a job that is not on its pod."""
    folder = project({"deploy_a.py": JOBS})
    process = rpd.start(folder, "-k", "thinking")
    wait_until(lambda: any(folder.glob("rpd-runs/2*/*/begun")), what="the job")
    process.send_signal(signal.SIGINT)
    result = process.finish(timeout=DEADLINE)
    assert result.exit_code == 2, result.out + result.err
    assert result.report("thinking").result.cause is Cause.INTERRUPTED
    assert emulator.pods() == []


def test_a_transfer_is_given_up_when_the_run_is_interrupted(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The end of an upload is not waited for."""
    folder = project({"deploy_a.py": JOBS})
    process = rpd.start(folder, "-k", "sending_on")

    def is_sending() -> bool:
        run_dir = run_dir_of(folder)
        journals = run_dir.glob("*/events.jsonl") if run_dir else ()
        return any('"step_started"' in path.read_text(encoding="utf-8") for path in journals)

    wait_until(is_sending, what="the transfer")
    process.send_signal(signal.SIGINT)
    result = process.finish(timeout=DEADLINE)
    assert result.exit_code == 2, result.out + result.err
    assert result.report("sending_on").result.cause is Cause.INTERRUPTED
    assert emulator.pods() == []


def test_what_a_silent_job_said_last_is_shown(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The log ends with the job's own words; the pod's processes are listed in a file, without rpd's own."""
    folder = project(
        {
            "deploy_a.py": """
            import rpd

            @rpd.mark.timeout(silent="3s")
            @rpd.job
            def hangs(pod):
                pod.run("echo last words; sleep 1000")
            """
        }
    )
    result = rpd(folder)
    report = result.report("hangs")
    assert report.result.cause is Cause.TIMEOUT
    assert "deploy_a.hangs/diagnosis.log" in report.result.reason
    assert (Path(report.folder) / "output.log").read_text().splitlines() == ["last words"]
    content = (Path(report.folder) / "diagnosis.log").read_text()
    assert "sleep 1000" in content
    for own in (
        "watchdog.sh",
        "supervise",
        "end of script",
        "ps -eo sid,pid,ppid,stat,wchan:24,etime,time,args\n",
    ):
        assert own not in content, own


def test_both_pods_of_a_job_are_recorded(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The pod of a job is that of its fixture, whatever it rents besides; all of them are in the manifest and in show."""
    folder = project(
        {
            "deploy_a.py": """
            import rpd
            from rpd import Gpu

            @rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
            def pair(pod, provision):
                with provision(gpu=None) as other:
                    other.run("true")
            """
        }
    )
    report = rpd(folder).report("pair")
    assert report.pod is not None
    assert [pod.gpu for pod in report.pods] == ["NVIDIA RTX A4000", ""]
    assert report.pod == report.pods[0]
    assert report.environment.gpu_name == "NVIDIA RTX A4000"
    shown = rpd(folder, "pair", command="show").out
    for pod in report.pods:
        assert f"{pod.id} ({pod.name})" in shown

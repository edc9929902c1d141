"""Several runs in one folder, and endings that take more than one step."""

from __future__ import annotations

import signal
from pathlib import Path

from rpd.errors import Cause, ExitCode
from rpd.record import history
from rpd.values.report import NodeReport, Outcome
from tests.faultlab.case import BLOB, JOB, TWO, WAITS, Ending
from tests.faultlab.driver import Driver
from tests.faultlab.stage import Stage
from tests.waiting import wait_until

RECYCLES = JOB.replace("budget=", 'lifecycle=Lifecycle(on_success="recycle"), budget=')


def kill(driver: Driver) -> None:
    driver.send_signal(signal.SIGKILL)
    assert driver.finish() == -signal.SIGKILL


def reports(ending: Ending) -> list[NodeReport]:
    return [report for folder in ending.run_dirs for report in history.reports(folder)]


def test_two_runs_at_once_do_not_disturb_each_other(stage: Stage) -> None:
    """Two runs begun together in one folder have a run folder each, pass, and release their own pods."""
    folder = stage.project("together", TWO)
    drivers = [stage.start(folder, "run", "-n", "2") for _ in range(2)]

    endings = [stage.ending(folder, driver) for driver in drivers]

    assert [ending.exit_code for ending in endings] == [0, 0], "".join(ending.screen for ending in endings)
    assert len(endings[0].run_dirs) == 2
    assert stage.emulator.pods() == []
    first = reports(endings[0])
    assert [report.result.outcome for report in first] == [Outcome.PASSED] * 4
    assert len({report.pod.id for report in first if report.pod}) == 4
    for report in first:
        assert (Path(report.folder) / "artifacts" / "out" / "model").read_bytes() == BLOB + BLOB


def test_gc_reaps_the_dead_and_leaves_the_living(stage: Stage) -> None:
    """During another run, ``rpd gc --yes`` deletes only the pods of the killed one."""
    folder = stage.project("gc", WAITS)
    dead = stage.start(folder, "run")
    wait_until(lambda: stage.has_begun(folder, 1), what="the first run's job")
    (mine,) = stage.emulator.pods()
    alive = stage.start(folder, "run")
    wait_until(lambda: stage.has_begun(folder, 2), what="the second run's job")
    kill(dead)

    reaped = stage.ending(folder, stage.start(folder, "gc", "--yes"))

    assert reaped.exit_code == 0, reaped.screen
    assert mine["id"] not in {pod["id"] for pod in reaped.left}
    assert len(reaped.left) == 1
    alive.send_signal(signal.SIGINT)
    ended = stage.ending(folder, alive)
    assert (ended.exit_code, ended.left) == (ExitCode.INTERRUPTED, [])
    (report,) = reports(ended)
    assert report.result.cause is Cause.INTERRUPTED


def test_a_second_ctrl_c_waits_for_the_create(stage: Stage) -> None:
    """A create that is under way comes back before everything is released: its pod is deleted, not forgotten."""
    stage.emulator.inject(
        {"kind": "slow", "seconds": 4.0, "when": "after", "match": {"operation": "create"}, "times": 1}
    )
    folder = stage.project("create", WAITS)
    driver = stage.start(folder, "run")
    wait_until(stage.emulator.pods, what="the pod")
    driver.send_signal(signal.SIGINT)
    wait_until(lambda: "starting nothing new" in driver.screen, what="the first notice")
    driver.send_signal(signal.SIGINT)
    wait_until(lambda: "releasing every pod now" in driver.screen, what="the second notice")
    assert len(stage.emulator.pods()) == 1

    ended = stage.ending(folder, driver)

    assert (ended.exit_code, ended.left) == (ExitCode.INTERRUPTED, []), ended.screen
    (report,) = reports(ended)
    assert (report.result.outcome, report.result.cause) == (Outcome.ERROR, Cause.INTERRUPTED)
    assert [event["event"] for event in ended.events("created", "released")][-2:] == ["created", "released"]


def test_the_pod_of_a_killed_driver_ends_itself(stage: Stage) -> None:
    """If ``rpd gc`` is never run, the watchdog on the pod deletes it once the job has ended."""
    folder = stage.project("watchdog", JOB.replace("echo ended", "echo ended; touch over"))
    (folder / "rpd.toml").write_text("watchdog_linger = 1\n", encoding="utf-8")
    driver = stage.start(folder, "run", CUT_AT="run_started 1", CUT_WITH=str(int(signal.SIGKILL)))
    assert driver.finish() == -signal.SIGKILL
    assert len(stage.emulator.pods()) == 1

    wait_until(lambda: stage.emulator.pods() == [], what="the end of the pod")

    resumed = stage.ending(folder, stage.start(folder, "resume"))
    assert (resumed.exit_code, resumed.left) == (0, []), resumed.screen


def test_a_recycled_pod_whose_host_is_full_gives_way(stage: Stage) -> None:
    """A stopped pod that cannot start for want of GPUs costs no run: a fresh pod is rented in its place."""
    folder = stage.project("recycled", RECYCLES)
    first = stage.ending(folder, stage.start(folder, "run"))
    assert first.exit_code == 0, first.screen
    assert [pod["desired_status"] for pod in first.left] == ["EXITED"]
    stage.emulator.inject({"kind": "host-full"})

    second = stage.ending(folder, stage.start(folder, "run"))

    assert second.exit_code == 0, second.screen
    assert "cannot be used again" in second.screen
    assert {pod["desired_status"] for pod in second.left} == {"EXITED"}
    assert len(second.left) == 2


def test_what_a_resumed_run_cannot_release_is_named(stage: Stage) -> None:
    """A pod of the killed run that no node needs any more, while pods cannot be listed: exit code 6, and its name."""
    folder = stage.project("unlisted", JOB)
    driver = stage.start(folder, "run", CUT_AT="created 1", CUT_WITH=str(int(signal.SIGKILL)))
    assert driver.finish() == -signal.SIGKILL
    (left,) = stage.emulator.pods()
    # Its node asks for no pod any more, and the first answer is whose account it is.
    (folder / "deploy_a.py").write_text("import rpd\n\n@rpd.job()\ndef fit():\n    pass\n", encoding="utf-8")
    stage.emulator.inject({"kind": "server-error", "match": {"operation": "list"}, "after": 1})

    resumed = stage.ending(folder, stage.start(folder, "resume"))

    assert resumed.exit_code == ExitCode.POD_NOT_RELEASED, resumed.screen
    assert f"rpd stop {left['id']}" in resumed.screen
    assert "Traceback" not in resumed.screen

"""Stopping early: ``-x``, ``--maxfail`` and ``--maxfail-action``, on this machine and on pods."""

from __future__ import annotations

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RunResult
from tests.cli.conftest import Project


def outcomes(result: RunResult) -> dict[str, str]:
    return {report.node.id.rpartition("::")[2]: report.result.outcome.value for report in result.reports}


def test_x_stops_at_the_first_failure(switched: Project) -> None:
    """``-x`` starts nothing after a failure, says so, and exits 1."""
    switched.failing("b")
    result = switched.run("-x")
    assert (switched.ran(), result.exit_code) == ("ab", 1)
    assert "stopping after 1 failures" in result.out
    assert "2 not run" in result.out


@pytest.mark.parametrize(("flags", "ran"), [(("--maxfail", "2"), "abc"), (("--maxfail=3",), "abcd")])
def test_maxfail_stops_after_so_many(switched: Project, flags: tuple[str, ...], ran: str) -> None:
    """``--maxfail N`` lets N-1 failures pass; fewer failures than N stop nothing."""
    switched.failing("a", "c")
    result = switched.run(*flags)
    assert (switched.ran(), result.exit_code) == (ran, 1)
    assert ("stopping after 2 failures" in result.out) == (ran == "abc")


@pytest.mark.parametrize(
    ("flags", "ran"), [(("-x", "--maxfail", "2"), "ab"), (("--maxfail", "2", "-x"), "a")]
)
def test_the_later_limit_counts(switched: Project, flags: tuple[str, ...], ran: str) -> None:
    """``-x`` is ``--maxfail=1``: of the two the one that is typed last counts."""
    switched.failing("a", "b")
    switched.run(*flags)
    assert switched.ran() == ran


def test_what_passes_stops_nothing(switched: Project) -> None:
    """Without a failure ``-x`` changes nothing."""
    result = switched.run("-x")
    assert (switched.ran(), result.exit_code) == ("abcd", 0)
    assert "stopping" not in result.out


def test_skipped_and_xfailed_nodes_do_not_count(project: Project) -> None:
    """Only failed and errored nodes count for ``-x``."""
    project.write(
        {
            "deploy_a.py": """
            import rpd

            @rpd.job
            @rpd.mark.skip
            def skipped(): ...

            @rpd.job
            @rpd.mark.xfail
            def expected(): assert False

            @rpd.job
            def last(): ...
            """
        }
    )
    result = project.run("-x")
    assert outcomes(result) == {"skipped": "skipped", "expected": "xfailed", "last": "passed"}
    assert result.exit_code == 0


def test_an_error_in_set_up_counts(project: Project) -> None:
    """A fixture that cannot be set up is a failure for ``-x``."""
    project.write(
        {
            "deploy_a.py": """
            import rpd

            @rpd.fixture
            def broken(): raise RuntimeError("no")

            @rpd.job
            def first(broken): ...

            @rpd.job
            def second(): ...
            """
        }
    )
    result = project.run("-x")
    assert outcomes(result) == {"first": "error"}
    assert result.exit_code == 1


@pytest.mark.parametrize("flag", ["--maxfail=0", "--maxfail=x", "--maxfail-action=stop"])
def test_wrong_limits_are_usage_errors(switched: Project, flag: str) -> None:
    """A limit that is no number above 0, or an unknown action, is an error before anything runs."""
    result = switched.run(flag)
    assert (switched.ran(), result.exit_code) == ("", 4)
    assert flag.partition("=")[0] in result.err


def test_a_dry_run_stops_as_well(switched: Project) -> None:
    """A node without a pod really runs in a dry run, so its failure stops it."""
    switched.failing("a")
    result = switched.run("--dry-run", "-x")
    assert (switched.ran(), result.exit_code) == ("a", 1)
    assert "stopping after 1 failures" in result.out


WAITS = """
import time
import rpd
from pathlib import Path
from rpd.execute.node.current import current_run

def wait(condition):
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

def wait_for_stop():
    stop = current_run().context.stop
    wait(lambda: stop.level > 0)
"""
DRAINED = f"""{WAITS}
@rpd.job
def slow():
    Path("slow.started").touch()
    wait_for_stop()

@rpd.job
def failing():
    wait(Path("slow.started").exists)
    assert False

@rpd.job
def never(): ...
"""


def test_drain_lets_running_nodes_finish(project: Project) -> None:
    """By default nodes that run when the limit is reached finish and pass; nothing new is started."""
    project.write({"deploy_a.py": DRAINED})
    result = project.run("-x", "-n", "2")
    assert outcomes(result) == {"slow": "passed", "failing": "failed"}
    assert result.exit_code == 1
    assert "1 not run" in result.out


ON_PODS = f"""{WAITS}
pods = rpd.job(budget=rpd.Budget(cost_cap_usd=1))

@pods
def long(pod):
    WORKS

@pods
def failing(pod):
    pod.run("exit 3")

@pods
def never(pod): ...
"""


def test_kill_ends_running_nodes(project: Project, emulator: Launched) -> None:
    """``--maxfail-action=kill`` ends running commands and releases every pod; those nodes were interrupted."""
    project.write({"deploy_a.py": ON_PODS.replace("WORKS", 'pod.run("sleep 3000")')})
    result = project.run("-x", "--maxfail-action", "kill", "-n", "2", "--yes")
    assert outcomes(result) == {"long": "error", "failing": "failed"}
    assert result.report("long").result.cause == "interrupted"
    assert result.exit_code == 1
    assert "stopping after 1 failures" in result.out
    assert emulator.pods() == []


def test_drain_on_pods(project: Project, emulator: Launched) -> None:
    """Without it the other pod works to its end."""
    project.write({"deploy_a.py": ON_PODS.replace("WORKS", "wait_for_stop(); pod.run('true')")})
    result = project.run("-x", "-n", "2", "--yes")
    assert outcomes(result) == {"long": "passed", "failing": "failed"}
    assert result.exit_code == 1
    assert emulator.pods() == []

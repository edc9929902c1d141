"""Beginning with failures: ``--lf``, ``--ff``, ``--nf`` and ``--sw`` on the command line."""

from __future__ import annotations

import os
import signal

import pytest

from rpd.emulator.launch import Launched
from tests.cli.conftest import Project, wait_for

# --- --lf -----------------------------------------------------------------------------------------------------------


def test_lf_runs_what_failed(switched: Project) -> None:
    """``--lf`` runs the last failures, shows their number, and counts the rest as deselected."""
    switched.failing("b", "d")
    assert switched.run().exit_code == 1
    assert switched.ran() == "abcd"
    result = switched.run("--lf")
    assert (switched.ran(), result.exit_code) == ("bd", 1)
    assert "run-last-failure: rerun previous 2 failures" in result.out
    assert "2 deselected" in result.out


def test_lf_with_nothing_failed_runs_nothing(switched: Project) -> None:
    """After a run that passed ``--lf`` runs nothing, says why, and exits 5."""
    switched.run()
    switched.ran()
    result = switched.run("--lf")
    assert (switched.ran(), result.exit_code) == ("", 5)
    assert "no previously failed nodes, running nothing" in result.out


def test_lf_before_any_run_runs_nothing(switched: Project) -> None:
    """Where nothing ever ran, nothing failed."""
    assert switched.run("--lf").exit_code == 5
    assert switched.ran() == ""


def test_lfnf_all_runs_everything(switched: Project) -> None:
    """``--lfnf all`` runs all nodes when nothing failed, or when nothing that failed is selected."""
    result = switched.run("--lf", "--lfnf", "all")
    assert (switched.ran(), result.exit_code) == ("abcd", 0)
    assert "no previously failed nodes, not deselecting nodes" in result.out
    switched.failing("a")
    switched.run()
    switched.ran()
    result = switched.run("--lf", "--lfnf=all", "-k", "[c] or [d]")
    assert switched.ran() == "cd"
    assert "1 known failure not in selected nodes" in result.out


def test_lf_with_known_failures_elsewhere_runs_nothing(switched: Project) -> None:
    """Failures that are not selected make ``--lf`` run nothing rather than everything."""
    switched.failing("a")
    switched.run()
    switched.ran()
    result = switched.run("--lf", "-k", "[c] or [d]")
    assert (switched.ran(), result.exit_code) == ("", 5)
    assert "1 known failure not in selected nodes, running nothing" in result.out


def test_failures_add_up_over_runs(switched: Project) -> None:
    """A failure is remembered through runs that leave its node out, until it passes."""
    switched.failing("a")
    switched.run("-k", "[a]")
    switched.failing("c")
    switched.run("-k", "[c]")
    switched.failing()
    switched.ran()
    switched.run("--lf")
    assert switched.ran() == "ac"
    assert switched.run("--lf").exit_code == 5


def test_lf_does_not_take_the_next_argument(switched: Project) -> None:
    """A path after a bare ``--lf`` is a path."""
    switched.failing("a")
    switched.run()
    switched.ran()
    switched.run("--lf", "deploy_step.py")
    assert switched.ran() == "a"


def test_lf_takes_part_in_addopts(switched: Project) -> None:
    """``addopts`` of the configuration may hold ``--lf``."""
    switched.failing("b")
    switched.run()
    switched.ran()
    switched.write({"rpd.toml": 'addopts = ["--lf"]'})
    switched.run()
    assert switched.ran() == "b"


CAUSES = """
import rpd
from rpd.errors import BudgetExceeded, CommandTimeout, OutOfMemory

ERRORS = {
    "code": ValueError(), "timeout": CommandTimeout("x", 1.0), "oom": OutOfMemory("x", 137), "budget": BudgetExceeded("x"),
}

@rpd.job
@rpd.mark.parametrize("kind", list(ERRORS))
def fail(kind):
    with open("ran.txt", "a") as log:
        log.write(kind[0] + "\\n")
    raise ERRORS[kind]
"""


def test_lf_by_cause(project: Project) -> None:
    """``--lf=timeout,oom`` runs only failures with one of these causes."""
    project.write({"deploy_causes.py": CAUSES})
    project.run()
    assert project.ran() == "ctob"
    project.run("--lf=timeout,oom")
    assert project.ran() == "to"
    result = project.run("--lf=stock")
    assert (project.ran(), result.exit_code) == ("", 5)
    assert "no previously failed nodes of cause stock (4 of others)" in result.out


def test_a_wrong_cause_is_a_usage_error(switched: Project) -> None:
    """An unknown cause is reported with the known ones, before anything runs."""
    result = switched.run("--lf=infrastructure")
    assert result.exit_code == 4
    assert "any of code, timeout, oom" in result.err


MARKED = """
import rpd

@rpd.fixture
def broken():
    raise RuntimeError("set-up")

@rpd.job
@rpd.mark.xfail
def expected(): assert False

@rpd.job
@rpd.mark.xfail(strict=True)
def unexpected(): pass

@rpd.job
@rpd.mark.skip
def skipped(): ...

@rpd.job
def errored(broken): ...
"""


def test_errors_count_and_xfail_does_not(project: Project) -> None:
    """An error in set-up and a strict xpass are failures; xfailed and skipped nodes are not."""
    project.write({"deploy_marked.py": MARKED})
    assert project.run().exit_code == 1
    again = project.run("--lf")
    assert [report.node.job for report in again.reports] == ["unexpected", "errored"]


def test_collect_lists_what_lf_would_run(switched: Project) -> None:
    """``rpd collect --lf -q`` prints just those ids on stdout; why goes to stderr."""
    switched.failing("c")
    switched.run()
    result = switched.command("collect", "--lf", "-q")
    assert result.out == "deploy_step.py::step[c]\n"
    assert "rerun previous 1 failure" in result.err


def test_the_plugin_can_be_switched_off(switched: Project) -> None:
    """With ``-p no:reruns`` nothing is remembered and flags change nothing."""
    switched.failing("a")
    switched.run("-p", "no:reruns")
    assert not (switched.folder / ".rpd_cache").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_folder_that_cannot_be_written_costs_only_the_memory(switched: Project) -> None:
    """If the memory cannot be kept, the run continues, with one notice."""
    (switched.folder / ".rpd_cache").write_text("in the way", encoding="utf-8")
    result = switched.run()
    assert (switched.ran(), result.exit_code) == ("abcd", 0)
    assert result.out.count("cannot record outcomes") == 1


# --- a kill ---------------------------------------------------------------------------------------------------------

KILLED = """
import os
import signal
import rpd
from pathlib import Path

@rpd.job
@rpd.mark.parametrize("name", ["a", "b", "c", "d"])
def step(name):
    with open("ran.txt", "a") as log:
        log.write(name + "\\n")
    if name == "a":
        raise ValueError
    if name == "c" and not Path("calm").exists():
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("flags", [(), ("-p", "no:terminal")])
def test_a_kill_loses_no_outcome(project: Project, flags: tuple[str, ...]) -> None:
    """After a SIGKILL earlier failures are rerun, and so is the running node: its cause is ``lost``."""
    project.write({"deploy_step.py": KILLED})
    assert project.run(*flags).exit_code == -signal.SIGKILL
    assert project.ran() == "abc"
    (project.folder / "calm").touch()
    project.run("--lf=lost")
    assert project.ran() == "c"
    project.run("--lf")
    assert project.ran() == "a"


# --- dry runs -------------------------------------------------------------------------------------------------------

MIXED = """
import rpd

@rpd.job
def local():
    assert False

@rpd.job
def remote(pod):
    pod.run("false")
"""


def test_a_dry_run_remembers_only_what_really_ran(project: Project) -> None:
    """A dry run writes down how nodes without a pod ended, and nothing of the others, which did not run."""
    project.write({"deploy_mixed.py": MIXED})
    project.run("--dry-run")
    memory = (project.folder / ".rpd_cache" / "nodes.jsonl").read_text(encoding="utf-8")
    assert "::local" in memory
    assert "::remote" not in memory


def test_a_dry_run_reads_the_memory(project: Project, emulator: Launched) -> None:
    """``--dry-run --lf`` shows the nodes to rerun, and does not take its own success for one."""
    project.write({"deploy_mixed.py": MIXED})
    project.run("--yes", "-k", "remote")
    for _ in range(2):
        result = project.run("--dry-run", "--lf")
        assert "deploy_mixed.py::remote" in result.out
        assert "::local" not in result.out


# --- --ff and --nf --------------------------------------------------------------------------------------------------


def test_ff_runs_failures_first(switched: Project) -> None:
    """``--ff`` runs all nodes, those that failed first, in their order."""
    switched.failing("b", "d")
    switched.run()
    switched.ran()
    result = switched.run("--ff")
    assert switched.ran() == "bdac"
    assert "rerun previous 2 failures first" in result.out


def test_ff_without_failures_changes_nothing(switched: Project) -> None:
    """Without failures ``--ff`` keeps the order and runs everything."""
    assert switched.run("--ff").exit_code == 0
    assert switched.ran() == "abcd"


def test_nf_runs_new_nodes_first(switched: Project) -> None:
    """``--nf`` runs nodes that never ran before the others; the files changed last come first."""
    switched.run("-k", "[a] or [c]")
    switched.ran()
    switched.run("--nf")
    assert switched.ran() == "bdac"
    switched.write(
        {"deploy_abc.py": 'import rpd\n\n@rpd.job\ndef x():\n    open("ran.txt", "a").write("x\\n")\n'}
    )
    os.utime(switched.folder / "deploy_abc.py", (1, 1))
    switched.run("--nf")
    assert switched.ran() == "xabcd"
    switched.run("--nf")
    assert switched.ran() == "abcdx"


# --- --sw -----------------------------------------------------------------------------------------------------------


def test_sw_stops_and_goes_on_there(switched: Project) -> None:
    """``--sw`` stops at the first failure with exit 1 and begins there the next time, until all passed."""
    switched.failing("b", "c")
    result = switched.run("--sw")
    assert (switched.ran(), result.exit_code) == ("ab", 1)
    assert "no previously failed nodes, not skipping" in result.out
    switched.failing("c")
    result = switched.run("--sw")
    assert (switched.ran(), result.exit_code) == ("bc", 1)
    assert "stepwise: skipping 1 node" in result.out
    switched.failing()
    assert switched.run("--sw").exit_code == 0
    assert switched.ran() == "cd"
    switched.run("--sw")
    assert switched.ran() == "abcd"


def test_sw_stays_at_what_fails_again(switched: Project) -> None:
    """As long as the node fails, ``--sw`` begins and stops there."""
    switched.failing("c")
    switched.run("--sw")
    switched.ran()
    for _ in range(2):
        assert switched.run("--sw").exit_code == 1
        assert switched.ran() == "c"


def test_sw_skip_passes_over_one_failure(switched: Project) -> None:
    """``--sw-skip`` goes past the first failure and stops at the next."""
    switched.failing("b", "d")
    switched.run("--sw")
    switched.ran()
    switched.run("--sw-skip")
    assert switched.ran() == "bcd"
    switched.run("--sw")
    assert switched.ran() == "d"


def test_sw_reset_begins_at_the_first_node(switched: Project) -> None:
    """``--sw-reset`` forgets where it stopped."""
    switched.failing("c")
    switched.run("--sw")
    switched.ran()
    result = switched.run("--sw-reset")
    assert switched.ran() == "abc"
    assert "resetting state, not skipping" in result.out


def test_sw_does_not_trust_another_selection(switched: Project) -> None:
    """With another number of nodes ``--sw`` begins at the first and says why."""
    switched.failing("c")
    switched.run("--sw")
    switched.ran()
    result = switched.run("--sw", "-k", "[b] or [c]")
    assert switched.ran() == "bc"
    assert "node count changed, not skipping (now 2 nodes, previously 4)" in result.out


def test_sw_with_several_slots_stops_launching(switched: Project) -> None:
    """With ``-n 2`` nothing new is started after a failure, and nodes that passed are not run again."""
    switched.failing("a")
    result = switched.run("--sw", "-n", "2")
    ran = switched.ran()
    assert result.exit_code == 1
    assert "a" in ran
    assert "no new ones start" in result.out
    switched.failing()
    switched.run("--sw", "-n", "2")
    assert sorted(switched.ran()) == sorted(set("abcd") - set(ran) | {"a"})


def test_a_killed_sw_goes_on_at_the_lost_node(project: Project) -> None:
    """After a SIGKILL under ``--sw`` the next one begins at the node that was running."""
    project.write({"deploy_step.py": KILLED.replace("raise ValueError", "pass")})
    assert project.run("--sw").exit_code == -signal.SIGKILL
    assert project.ran() == "abc"
    (project.folder / "calm").touch()
    project.run("--sw")
    assert project.ran() == "cd"


def test_an_interrupted_node_is_rerun(project: Project, emulator: Launched) -> None:
    """After Ctrl-C the running node and those left out have the cause ``interrupted``, and --lf continues there."""
    project.write(
        {
            "deploy_a.py": """
            import rpd

            @rpd.job
            def long(pod):
                pod.run("echo waiting; sleep 300")

            @rpd.job
            def later(pod): ...
            """
        }
    )
    running = project.rpd.start(project.folder, "--yes", "-s")
    wait_for("| waiting", running)
    running.send_signal(signal.SIGINT)
    assert running.finish().exit_code == 2
    result = project.command("collect", "-q", "--lf=interrupted")
    assert result.out == "deploy_a.py::long\ndeploy_a.py::later\n"


def test_what_a_budget_left_out_is_picked_up(project: Project, emulator: Launched) -> None:
    """Nodes that did not begin since the budget was reached are run by --lf, as failures of that cause."""
    job = "import rpd\n@rpd.job(gpu=rpd.Gpu('NVIDIA L4'), budget=rpd.Budget(cost_cap_usd=1))\n"
    job += "@rpd.mark.parametrize('n', [1, 2])\ndef fit(pod, n):\n    pod.run('true')\n"
    project.write({"deploy_a.py": job})
    assert project.run("--budget", "0.9").exit_code == 1
    nothing = project.run("--lf=code")
    assert (nothing.exit_code, nothing.reports) == (5, ())
    again = project.run("--lf=budget")
    assert again.exit_code == 0, again.out + again.err
    assert len(again.reports) == 2


def test_what_x_left_out_is_not_picked_up(switched: Project) -> None:
    """After -x only failures are run again, as with pytest."""
    switched.failing("b")
    stopped = switched.run("-x")
    assert "not run" in stopped.out
    (failed,) = [report for report in stopped.reports if not report.result.outcome.is_ok]
    assert [report.node.id for report in switched.run("--lf").reports] == [failed.node.id]

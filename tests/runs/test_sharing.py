"""Sharing and sparing: several nodes on one pod's GPUs, stopped pods used again, unchanged nodes passed over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from rpd.values.report import Outcome
from tests.runs.conftest import outcomes

Project = Callable[[dict[str, str]], Path]

SLOTS = """
import rpd

@rpd.fixture(scope="module")
def pod(provision):
    with provision() as made:
        yield made

@rpd.job(gpu=rpd.Gpu("NVIDIA A40", count=4), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.slots(gpu=2)
@rpd.mark.parametrize("n", [0, 1, 2, 3])
def fit(pod, staged_dir, n):
    pod.run("echo gpus $CUDA_VISIBLE_DEVICES in $PWD; date +%s%N; sleep 0.5; date +%s%N", cwd=staged_dir)
"""


JOINED = """
from pathlib import Path

def rpd_pod_joined(node, pod, share):
    with (Path(__file__).parent / "joined").open("a") as file:
        file.write(f"{node.id} {pod.id} {share}\\n")
"""


def test_nodes_side_by_side_on_the_gpus_of_one_pod(
    rpd: RpdRun, project: Project, emulator: Launched, tmp_path: Path
) -> None:
    """Each node has GPUs and a tree of its own, never more at once than fit, and the pod's cost is split between them."""
    result = rpd(project({"deploy_a.py": SLOTS, "conftest.py": JOINED}))

    assert result.exit_code == 0, result.out + result.err
    joined = (tmp_path / "project" / "joined").read_text(encoding="utf-8").splitlines()
    (pod_id,) = {report.pod.id for report in result.reports if report.pod}
    assert sorted(joined) == [f"deploy_a.py::fit[n{n}] {pod_id} 0.5" for n in range(4)]
    logs = [
        Path(report.folder, "output.log").read_text(encoding="utf-8").split("\n") for report in result.reports
    ]
    assert {log[0] for log in logs} == {
        "gpus 0,1 in /workspace/project-gpu0",
        "gpus 2,3 in /workspace/project-gpu2",
    }
    spans = {
        place: sorted((int(a), int(b)) for said, a, b, *_ in logs if said == place)
        for place in {x[0] for x in logs}
    }
    for taken in spans.values():
        assert all(before[1] <= after[0] for before, after in pairwise(taken))
    assert len({report.pod.id for report in result.reports if report.pod}) == 1
    assert emulator.pods() == []
    seconds = [report.cost.billed_seconds for report in result.reports]
    assert all(second > 0 for second in seconds)
    # Two of them at a time: together they are charged what the one pod was there, not twice that.
    assert sum(seconds) < sum(report.result.seconds for report in result.reports)


RECYCLED = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), storage=rpd.Storage(volume_gb=5), lifecycle=rpd.Lifecycle(on_success="recycle"))
def warm(pod):
    pod.run("echo once more >> /workspace/kept; wc -l < /workspace/kept")
"""


def test_a_stopped_pod_is_used_again(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The second run finds the pod of the first, with its volume; --force-fresh does not look for one."""
    folder = project({"deploy_a.py": RECYCLED})
    try:
        first, second = rpd(folder), rpd(folder)
        assert [first.exit_code, second.exit_code] == [0, 0], first.out + second.out
        pods = [report.pod for result in (first, second) for report in result.reports]
        assert pods[0] is not None
        assert pods[1] is not None
        assert pods[0].id == pods[1].id
        assert pods[1].final_state == "stopped"
        assert Path(second.reports[0].folder, "output.log").read_text(encoding="utf-8").strip() == "2"

        fresh = rpd(folder, "--force-fresh")
        assert fresh.reports[0].pod is not None
        assert fresh.reports[0].pod.id != pods[0].id
    finally:
        for pod in emulator.pods():
            assert rpd(folder, pod["id"], command="stop").exit_code == 0


def test_a_stopped_pod_that_does_not_start_is_replaced(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """Where the host has no free GPU any more, a fresh pod is rented and the reason is said."""
    folder = project({"deploy_a.py": RECYCLED})
    try:
        assert rpd(folder).exit_code == 0
        (stopped,) = emulator.pods()
        emulator.inject({"kind": "host-full"})
        result = rpd(folder)
        assert result.exit_code == 0, result.out + result.err
        assert f"pod {stopped['id']} cannot be used again" in result.out + result.err
        assert result.reports[0].pod is not None
        assert result.reports[0].pod.id != stopped["id"]
    finally:
        emulator.clear_faults()
        for pod in emulator.pods():
            assert rpd(folder, pod["id"], command="stop").exit_code == 0


CACHED = """
import rpd

rate = rpd.variable(default=0.5)

@rpd.job
@rpd.mark.parametrize("n", [1, 2])
def count(n, rate, record_metric):
    record_metric("twice", 2 * n)
"""


def test_unchanged_nodes_are_passed_over(rpd: RpdRun, project: Project) -> None:
    """What passed is not run again until something it depends on changes, and --explain says what."""
    folder = project({"deploy_a.py": CACHED})
    assert rpd(folder).exit_code == 0

    again = rpd(folder, "--changed", "--explain")
    assert again.exit_code == 0
    assert "2 skipped" in again.out
    assert "cached, nothing changed since" in again.out + again.err

    other = rpd(folder, "--changed", "--explain", "--var", "rate=0.25")
    assert outcomes(other) == {"count[n1]": "passed", "count[n2]": "passed"}
    assert "its parameters changed" in other.out + other.err

    (folder / "deploy_a.py").write_text(CACHED.replace("2 * n", "n + n"), encoding="utf-8")
    edited = rpd(folder, "--changed", "--explain")
    assert outcomes(edited) == {"count[n1]": "passed", "count[n2]": "passed"}
    assert "its job changed" in edited.out + edited.err


def test_sweep_over_a_declared_variable(rpd: RpdRun, project: Project) -> None:
    """--sweep multiplies the nodes that use the variable, with ids like any parameter."""
    folder = project({"deploy_a.py": CACHED})

    listed = rpd(folder, "-q", "--sweep", "rate=0.1,0.2", command="collect")

    assert sorted(listed.out.split()) == [
        f"deploy_a.py::count[rate{rate}-n{n}]" for rate in (0.1, 0.2) for n in (1, 2)
    ]
    assert listed.out.split()[0] == "deploy_a.py::count[rate0.1-n1]"
    idle = rpd(
        project({"deploy_b.py": "import rpd\nlr = rpd.variable(default=1)\n@rpd.job\ndef check(): ...\n"}),
        "--var",
        "lr=2",
    )
    assert "rpd: --var lr: no node that runs uses this variable" in idle.out
    unknown = rpd(folder, "--sweep", "rat=1", command="collect")
    assert unknown.exit_code == 4
    assert "did you mean 'rate'" in unknown.err


BUDGET = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2, 3])
def fit(pod, n):
    pod.run("true")
"""


def test_the_budget_of_a_run_holds(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """A node that could break the budget does not start, at any width; what is left undone is said and fails the run."""
    folder = project({"deploy_a.py": BUDGET})

    enough = rpd(folder, "-n", "3", "--budget", "1.50")
    assert enough.exit_code == 0, enough.out
    assert "3 passed" in enough.out

    too_little = rpd(folder, "-n", "3", "--budget", "0.90")
    assert too_little.exit_code == 1
    assert too_little.reports == ()
    assert "budget: $0.00 of $0.90 is spent" in too_little.out
    assert emulator.pods() == []


RETRIED = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4", "NVIDIA A40"))
@rpd.mark.retry({how})
def fit(pod, staged_dir):
    pod.run({command!r})
"""


@pytest.mark.parametrize(
    ("how", "command", "outcome", "attempts"),
    [
        ("code=2", "test $RPD_ATTEMPT = 3", Outcome.PASSED, 3),
        ("code=1", "test $RPD_ATTEMPT = 3", Outcome.FAILED, 2),
        ("infra=1", "exit 3", Outcome.FAILED, 1),
        (
            "oom='next-gpu'",
            "nvidia-smi -L | grep -q A40 || { echo CUDA out of memory.; exit 1; }",
            Outcome.PASSED,
            2,
        ),
    ],
)
def test_retries_by_cause(
    rpd: RpdRun, project: Project, emulator: Launched, how: str, command: str, outcome: Outcome, attempts: int
) -> None:
    """Only causes the mark names are tried again, on a fresh pod, as often as it says; every attempt is on record."""
    result = rpd(project({"deploy_a.py": RETRIED.format(how=how, command=command)}))

    (report,) = result.reports
    assert (report.result.outcome, report.result.attempts) == (outcome, attempts), result.out
    assert [attempt.number for attempt in report.attempts] == list(range(1, attempts))
    assert emulator.pods() == []


def test_a_lost_host_is_tried_again_elsewhere(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """By default a node whose pod goes away is run on another one, and both attempts are in its manifest."""
    emulator.inject({"kind": "lose-host", "status": "EXITED", "on": "boot", "times": 1})

    result = rpd(project({"deploy_a.py": RETRIED.format(how="infra=3", command="sleep 0.2")}))

    (report,) = result.reports
    assert report.result.outcome is Outcome.PASSED, result.out
    assert report.result.attempts == 2
    assert report.attempts[0].cause in ("infra", "lost")
    assert emulator.pods() == []

"""Sharing and sparing: several nodes on one pod's GPUs, stopped pods used again, unchanged nodes passed over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from rpd.values.report import Outcome
from tests.runs.conftest import events, outcomes

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
def fit(pod, met, staged_dir, n):
    pod.run("echo gpus $CUDA_VISIBLE_DEVICES in $PWD; date +%s%N; sleep 0.5; date +%s%N", cwd=staged_dir)
"""


JOINED = """
import time
from pathlib import Path
import rpd

@rpd.fixture
def met(pod, request):
    request.getfixturevalue("pod")
    (Path(__file__).parent / f"met-{request.node.name}").touch()
    deadline = time.monotonic() + 60
    while len(list(Path(__file__).parent.glob("met-*"))) < 2:
        assert time.monotonic() < deadline, "the other node did not come"
        time.sleep(0.01)
    request.getfixturevalue("pod")

def rpd_pod_joined(node, pod, share):
    with (Path(__file__).parent / "joined").open("a") as file:
        file.write(f"{node.id} {pod.id} {share}\\n")
"""


def test_nodes_side_by_side_on_the_gpus_of_one_pod(
    rpd: RpdRun, project: Project, emulator: Launched, tmp_path: Path
) -> None:
    """Each node has its own GPUs and tree, never more at once than fit, and the pod's cost is split between them."""
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
    # Two of them at a time: together they are charged the time of the one pod, not twice that.
    assert sum(seconds) < sum(report.result.seconds for report in result.reports)


RECYCLED = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), storage=rpd.Storage(volume_gb=5), lifecycle=rpd.Lifecycle(on_success="recycle"))
def warm(pod):
    pod.run("echo once more >> /workspace/kept; wc -l < /workspace/kept")
"""


def test_a_stopped_pod_is_used_again(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The second run finds the pod of the first, with its volume, and says so; --force-fresh deletes it."""
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
        assert first.run_dir is not None
        assert second.run_dir is not None
        before = (f"{first.run_dir.name} deploy_a.py::warm",)
        assert [(pod.reused, pod.before) for pod in pods if pod] == [(False, ()), (True, before)]
        (recycled,) = events(second.run_dir, "recycled")
        assert (recycled["pod_id"], tuple(recycled["before"])) == (pods[0].id, before)
        assert f"recycled; before: {before[0]}" in rpd(folder, "warm", command="show").out

        fresh = rpd(folder, "--force-fresh")
        assert fresh.reports[0].pod is not None
        assert fresh.reports[0].pod.id != pods[0].id
        assert f"--force-fresh: deleted the stopped pod {pods[0].id}" in fresh.out.replace("\n", "")
        assert [pod["id"] for pod in emulator.pods()] == [fresh.reports[0].pod.id]
    finally:
        for pod in emulator.pods():
            assert rpd(folder, pod["id"], command="stop").exit_code == 0


TWICE = """
import rpd
from pathlib import Path

job = rpd.job(
    gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=1), storage=rpd.Storage(volume_gb=5),
    lifecycle=rpd.Lifecycle(on_success="recycle", on_failure={how!r}),
)

@job
@rpd.mark.parametrize("n", [1, 2])
def warm(pod, n):
    pod.run("false" if Path(__file__).with_name("fail").exists() else "true")
"""


def test_force_fresh_leaves_no_stopped_pod_of_an_earlier_run(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The pods of the run itself are used again, those of earlier ones are gone."""
    folder = project({"deploy_a.py": TWICE.format(how="delete")})
    try:
        assert rpd(folder, "-n", "2").exit_code == 0
        before = {pod["id"] for pod in emulator.pods()}
        assert len(before) == 2
        fresh = rpd(folder, "--force-fresh")
        assert fresh.exit_code == 0, fresh.out
        assert len(emulator.pods()) == 1, (
            before,
            emulator.pods(),
            fresh.out,
            [p.read_text() for p in fresh.run_dir.glob("events.jsonl")],
        )
        (left,) = emulator.pods()
        assert left["id"] not in before
        assert {report.pod.id for report in fresh.reports if report.pod} == {left["id"]}
    finally:
        for pod in emulator.pods():
            assert rpd(folder, pod["id"], command="stop").exit_code == 0


def test_a_pod_on_which_a_node_failed_is_never_used_again(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """A recycled pod that is stopped after a failure is passed over, whatever the run before that said of it."""
    source = TWICE.format(how="stop")
    folder = project({"deploy_a.py": source})
    try:
        assert rpd(folder, "-k", "n1").exit_code == 0
        (good,) = emulator.pods()
        (folder / "fail").touch()
        failed = rpd(folder, "-k", "n1")
        assert [report.pod.id for report in failed.reports if report.pod] == [good["id"]]
        (folder / "fail").unlink()
        again = rpd(folder, "-k", "n1")
        assert again.exit_code == 0, again.out
        assert [report.pod.id for report in again.reports if report.pod] != [good["id"]]
    finally:
        for pod in emulator.pods():
            assert rpd(folder, pod["id"], command="stop").exit_code == 0


def test_a_stopped_pod_of_another_kind_is_left_and_named(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """If the job now asks for something else, a fresh pod is rented, and the old one, which costs, is named once."""
    folder = project({"deploy_a.py": RECYCLED})
    try:
        first = rpd(folder)
        assert first.reports[0].pod is not None
        (folder / "deploy_a.py").write_text(RECYCLED.replace("NVIDIA L4", "NVIDIA A40"), encoding="utf-8")
        second = rpd(folder)
        assert second.exit_code == 0, second.out
        assert second.out.count(f"stopped pod {first.reports[0].pod.id} was made for another request") == 1
        assert second.reports[0].pod is not None
        assert second.reports[0].pod.gpu == "NVIDIA A40"
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


CACHED_CONFTEST = """
import rpd

@rpd.fixture(scope="session")
def prepared():
    return 1
"""

CACHED = """
import rpd

rate = rpd.variable(default=0.5)
other = rpd.variable(default=True)

@rpd.job(image='a', env={})
@rpd.mark.parametrize("n", [1, 2])
def count(n, rate, prepared, record_metric):
    record_metric("twice", 2 * n)
"""


def test_unchanged_nodes_are_passed_over(rpd: RpdRun, project: Project) -> None:
    """Nodes that passed are not run again until something they depend on changes, and --explain names it."""
    files = {
        "deploy_a.py": CACHED,
        "conftest.py": CACHED_CONFTEST,
        "requirements.txt": "torch==2.8\n",
        "notes.txt": "nothing that counts\n",
    }
    folder = project(files)
    first = rpd(folder)
    assert first.exit_code == 0
    assert first.run_dir is not None

    (folder / "notes.txt").write_text("something else", encoding="utf-8")
    again = rpd(folder, "--changed", "--explain", "--var", "other=7")
    assert again.exit_code == 0
    assert "0 nodes (2 cached)" in again.out
    assert again.out.count("cached, nothing changed since") == 2
    assert f"CACHED deploy_a.py::count[n1] - rpd-runs/{first.run_dir.name}/deploy_a.count-n1" in again.out
    assert "2 cached in" in again.out
    assert again.run_dir is not None
    assert "deploy_a.py::count[n2],count,cached,,2,4," in (again.run_dir / "results.csv").read_text(
        encoding="utf-8"
    )

    changes = {
        "its variables changed": ("deploy_a.py", "default=0.5", "default=0.25"),
        "the source of its job changed": ("deploy_a.py", "2 * n", "n + n"),
        "the source of its fixtures changed": ("conftest.py", "return 1", "return 2"),
        "the lock file changed": ("requirements.txt", "2.8", "2.9"),
        "its image changed": ("deploy_a.py", "image='a'", "image='b'"),
        "its pod changed": ("deploy_a.py", "env={}", "env={'A': '1'}"),
    }
    for why, (name, old, new) in changes.items():
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
        edited = rpd(folder, "--changed", "--explain")
        assert edited.out.count(f"runs, because {why}\n") == 2, edited.out
        assert outcomes(edited) == {"count[n1]": "passed", "count[n2]": "passed"}

    text = (folder / "deploy_a.py").read_text(encoding="utf-8")
    (folder / "deploy_a.py").write_text(text.replace("[1, 2]", "[1, 2, 3]"), encoding="utf-8")
    grown = rpd(folder, "--changed", "--explain")
    assert "deploy_a.py::count[n3]: runs, because it never passed before" in grown.out
    assert outcomes(grown) == {"count[n3]": "passed"}

    given = rpd(folder, "--changed", "--explain", "--var", "rate=0.75")
    assert given.out.count("runs, because its variables changed\n") == 3


SENDING = """
import pathlib
import rpd

@rpd.fixture(scope="worker")
def shared(provision):
    with provision() as made:
        made.put("train.py", "train.py")
        yield made

@rpd.fixture
def project_dir():
    return pathlib.Path(__file__).parent / "data"

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2])
def fit(shared, n):
    shared.run("python3 train.py")

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=1))
def score(pod, staged_dir):
    pod.run("cat x.csv", cwd=staged_dir)
"""


def test_what_was_sent_decides_what_has_changed(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Files that a job, its staging or a fixture it shares put on a pod count; others do not."""
    files = {"deploy_a.py": SENDING, "train.py": "print(1)\n", "data/x.csv": "1\n", "notes.txt": ""}
    folder = project(files)
    assert rpd(folder).exit_code == 0
    (folder / "notes.txt").write_text("more", encoding="utf-8")
    assert "3 cached in" in rpd(folder, "--changed").out

    (folder / "train.py").write_text("print(2)\n", encoding="utf-8")
    trained = rpd(folder, "--changed", "--explain")
    assert trained.out.count("runs, because the files it sends from train.py changed") == 2
    assert outcomes(trained) == {"fit[n1]": "passed", "fit[n2]": "passed"}

    (folder / "data" / "x.csv").write_text("2\n", encoding="utf-8")
    scored = rpd(folder, "--changed", "--explain")
    assert "deploy_a.py::score: runs, because the files it sends from data changed" in scored.out
    assert outcomes(scored) == {"score": "passed"}


def test_sweep_over_a_declared_variable(rpd: RpdRun, project: Project) -> None:
    """--sweep multiplies the nodes that use the variable, with ids like any parameter."""
    folder = project({"deploy_a.py": CACHED, "conftest.py": CACHED_CONFTEST})

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
    """A node that could break the budget does not start, at any width; undone nodes are reported and fail the run."""
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

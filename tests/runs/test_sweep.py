"""The main path: a sweep on the emulator, from the deploy file to the last number in the record."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rpd.emulator.launch import launch
from rpd.record import history, run_info
from rpd.testing import RpdRun, RunResult
from rpd.values.pod import PodRequest
from rpd.values.prices import disks_usd_per_hr
from rpd.values.report import NodeReport, Outcome
from rpd.values.step import StepKind
from tests.runs.conftest import events, write_project

DEPLOY = '''
import rpd
from rpd import Budget, Gpu

factor = rpd.variable(default=1.0)
train = rpd.job(gpu=Gpu("NVIDIA RTX A4000"), image="runpod/base:1", budget=Budget(cost_cap_usd=0.5))

@train
@rpd.mark.parametrize("seed", [1, 2])
@rpd.mark.parametrize("name", ["a", "b"])
def fit(pod, staged_dir, record_metric, factor, seed, name):
    """Train."""
    done = pod.run(f"python train.py {name} {seed} {factor}", cwd=staged_dir, name="train")
    record_metric("exit", done.exit_code)
    pod.write("note.txt", "a note")
    pod.pull("results/", cwd=staged_dir)
    pod.pull("note.txt")
    pod.pull("nothing-here", required=False)
'''

TRAIN = """
import json, os, sys
name, seed, factor = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
print("training", name, seed)
print("node", os.environ["RPD_NODE"], "attempt", os.environ["RPD_ATTEMPT"])
os.makedirs("results/deep", exist_ok=True)
open("results/deep/weights.bin", "wb").write(bytes(range(256)) * seed)
json.dump({"loss": seed * factor, "label": name, "nested": {"no": 1}}, open("results/metrics.json", "w"))
"""

IDS = ["deploy_fit.py::fit[a-seed1]", "deploy_fit.py::fit[a-seed2]", "deploy_fit.py::fit[b-seed1]",
       "deploy_fit.py::fit[b-seed2]"]  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    result: RunResult
    folder: Path
    sha: str
    pods_left: list[object]

    @property
    def reports(self) -> tuple[NodeReport, ...]:
        return self.result.reports

    @property
    def run_dir(self) -> Path:
        assert self.result.run_dir is not None
        return self.result.run_dir


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """Run four nodes two at once, in a git repository with an uncommitted change, on a separate emulator."""
    folder = write_project(
        tmp_path_factory.mktemp("sweep") / "project",
        {
            "deploy_fit.py": DEPLOY,
            "train.py": TRAIN,
            "requirements.txt": "numpy==2\n",
            ".gitignore": "rpd-runs/\n",
        },
    )
    sha = _commit(folder)
    (folder / "train.py").write_text(TRAIN + "# a change\n", encoding="utf-8")
    with launch(boot_seconds=0.1) as emulator:
        env = {"RUNPOD_API_BASE_URL": emulator.base_url, "RUNPOD_API_KEY": emulator.api_key}
        result = RpdRun()(folder, "-n", "2", "--var", "factor=0.5", env=env)
        yield Sweep(result, folder, sha, list(emulator.pods()))


def _commit(folder: Path) -> str:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        return subprocess.run(
            ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True, timeout=30
        ).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "m")
    return git("rev-parse", "HEAD")


def test_it_passes_and_leaves_no_pod(sweep: Sweep) -> None:
    """All four nodes pass, the exit code is 0, and no pod is left."""
    assert sweep.result.exit_code == 0, sweep.result.out + sweep.result.err
    assert sorted(report.node.id for report in sweep.reports) == IDS
    assert {report.result.outcome for report in sweep.reports} == {Outcome.PASSED}
    assert sweep.pods_left == []
    assert "4 passed" in sweep.result.out
    assert sweep.result.err == ""


def test_the_manifest_tells_node_and_result(sweep: Sweep) -> None:
    """The node's place, parameters with their types, phases and times are in its manifest."""
    report = sweep.result.report("fit[b-seed2]")
    assert (report.node.job, report.node.file) == ("fit", "deploy_fit.py")
    assert DEPLOY.splitlines()[report.node.line - 1].startswith(("@train", "def fit"))
    assert report.node.parameters == {"seed": 2, "name": "b"}
    assert report.node.marks == ("parametrize",)
    assert {"provision", "stage", "setup", "job", "pull", "release"} <= set(report.result.phases)
    assert all(seconds >= 0 for seconds in report.result.phases.values())
    assert report.result.started < report.result.finished
    assert report.result.cause is None
    assert report.result.attempts == 1
    assert report.variables == {"factor": "0.5"} or report.variables == {"factor": 0.5}


def test_the_manifest_tells_the_pod(sweep: Sweep) -> None:
    """Every node had a separate pod: its kind, place and hourly cost, and that it was deleted."""
    pods = [report.pod for report in sweep.reports]
    assert len({pod.id for pod in pods if pod}) == 4
    for pod in pods:
        assert pod is not None
        assert pod.name.startswith("rpd-")
        assert (pod.gpu, pod.count, pod.cloud, pod.image) == (
            "NVIDIA RTX A4000",
            1,
            "secure",
            "runpod/base:1",
        )
        assert pod.datacenter
        assert pod.rate > 0
        assert pod.final_state == "deleted"
        assert not pod.reused
        assert not pod.spot


def test_the_money_adds_up(sweep: Sweep) -> None:
    """A node's cost is its seconds at its pod's rate; the run's is the sum; nothing exceeds its cap."""
    for report in sweep.reports:
        cost = report.cost
        assert report.pod is not None
        assert cost.rate_usd_per_hr == report.pod.rate
        assert cost.rate_source == "pod"
        assert 0 < cost.billed_seconds < 60
        per_hour = cost.rate_usd_per_hr + disks_usd_per_hr(PodRequest(image="", gpu=None))
        assert cost.estimated_usd == pytest.approx(cost.billed_seconds * per_hour / 3600, abs=1e-6)
        assert cost.cap_usd == 0.5
        # Between the phases a machine may be busy with other things.
        assert cost.billed_seconds <= sum(report.result.phases.values()) + 10
    info = run_info.read(sweep.run_dir / run_info.FILE_NAME)
    assert info.usd == pytest.approx(sum(report.cost.estimated_usd for report in sweep.reports))
    assert info.worst_case_usd == pytest.approx(2.0)


def test_the_manifest_tells_the_source(sweep: Sweep) -> None:
    """The commit, the uncommitted change (saved) and the tree that was sent are in the manifest."""
    for report in sweep.reports:
        source = report.source
        assert source.git_sha == sweep.sha
        assert source.dirty
        assert "+# a change" in (sweep.run_dir / source.diff_file).read_text(encoding="utf-8")
        assert len(source.tree_sha256) == 64
        assert source.files >= 3
        assert source.bytes > len(TRAIN)
        assert source.lock_file_sha256 == hashlib.sha256(b"numpy==2\n").hexdigest()


def test_the_manifest_tells_the_environment(sweep: Sweep) -> None:
    """The pod's facts about itself are in the manifest."""
    environment = sweep.reports[0].environment
    assert "A4000" in environment.gpu_name
    assert environment.driver
    assert environment.cuda
    assert environment.python.startswith(("3.", "Python 3."))
    assert "Linux" in environment.uname


def test_the_manifest_tells_the_steps(sweep: Sweep) -> None:
    """Every step is there in order, with its command, exit code and seconds."""
    steps = sweep.result.report("fit[a-seed1]").steps
    assert [step.kind for step in steps] == [
        StepKind.PUT, StepKind.RUN, StepKind.WRITE, StepKind.PULL, StepKind.PULL, StepKind.PULL,
    ]  # fmt: skip
    assert [step.index for step in steps] == list(range(6))
    assert steps[1].name == "train"
    assert steps[1].command == "python train.py a 1 0.5"
    assert steps[1].exit_code == 0
    assert all(step.seconds > 0 for step in steps)


def test_artifacts_are_pulled_and_verified(sweep: Sweep) -> None:
    """Pulled files are here byte for byte, verified against the sums next to them."""
    report = sweep.result.report("fit[b-seed2]")
    folder = Path(report.folder)
    weights = folder / "artifacts" / "results" / "deep" / "weights.bin"
    assert weights.read_bytes() == bytes(range(256)) * 2
    assert (folder / "artifacts" / "note.txt").read_text(encoding="utf-8") == "a note"
    assert len(report.artifacts) == 2
    for artifact in report.artifacts:
        assert artifact.verified
        assert artifact.required
        assert (folder / artifact.local).exists()
    assert report.artifacts[0].files == 2
    sums = (folder / report.artifacts[0].sha256_file).read_text(encoding="utf-8")
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in sums


def test_metrics_are_recorded_and_read(sweep: Sweep) -> None:
    """Scalars of a pulled ``metrics.json`` and values that the job recorded are metrics, with their types."""
    assert sweep.result.report("fit[b-seed2]").metrics == {"exit": 0, "loss": 1.0, "label": "b"}


def test_output_is_kept(sweep: Sweep) -> None:
    """``output.log`` holds the output of the node's commands."""
    report = sweep.result.report("fit[a-seed2]")
    output = (Path(report.folder) / "output.log").read_text(encoding="utf-8")
    assert output == "training a 2\nnode deploy_fit.py::fit[a-seed2] attempt 1\n"


def test_results_are_tabled(sweep: Sweep) -> None:
    """``results.csv`` has one row a node with parameters and metrics."""
    with (sweep.run_dir / "results.csv").open(newline="", encoding="utf-8") as lines:
        rows = {row["node"]: row for row in csv.DictReader(lines)}
    assert sorted(rows) == IDS
    row = rows["deploy_fit.py::fit[b-seed2]"]
    assert row["outcome"] == "passed"
    assert "1.0" in row.values()


def test_the_run_file_is_complete(sweep: Sweep) -> None:
    """``run.toml`` tells the command line, the backend, the width, the counts and the exit code."""
    [info] = history.runs(sweep.folder / "rpd-runs")
    assert info.argv[:3] == ("run", "-n", "2")
    assert "emulator" in info.backend
    assert (info.width, info.nodes, info.not_run, info.exit_code) == (2, 4, 0, 0)
    assert info.outcomes == {"passed": 4}
    assert info.git_sha == sweep.sha
    assert info.finished >= info.started > ""
    assert info.unreleased == info.leftover == ()


def test_the_journal_tells_each_pods_life(sweep: Sweep) -> None:
    """Every pod's intent comes before its creation, and its release last; the run's key is gone."""
    for name in {event["pod_name"] for event in events(sweep.run_dir, "intent")}:
        life = [
            e["event"]
            for e in events(sweep.run_dir, "intent", "created", "ready", "released")
            if e["pod_name"] == name
        ]
        assert life == ["intent", "created", "ready", "released"]
    assert not (sweep.run_dir / ".ssh").exists()


def test_two_nodes_ran_at_once(sweep: Sweep) -> None:
    """With ``-n 2`` two pods were alive at one time, and never three."""
    alive, most = 0, 0
    for event in events(sweep.run_dir, "created", "released"):
        alive += 1 if event["event"] == "created" else -1
        most = max(most, alive)
    assert most == 2

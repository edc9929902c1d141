"""Destinations of pulls: in the node's artifacts, each path in its own place, and no files older than the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.testing import RpdRun
from rpd.values.report import NodeReport
from tests.runs.conftest import events

Project = Callable[[dict[str, str]], Path]

JOB = "@rpd.job(budget=rpd.Budget(cost_cap_usd=1))"


def artifacts(report: NodeReport) -> dict[str, str]:
    """Return the artifacts of a node: name to text."""
    root = Path(report.folder) / "artifacts"
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("flags", [("--dry-run",), ()])
def test_pulls_that_lead_out_or_meet_are_refused_at_the_call(
    rpd: RpdRun, project: Project, emulator: Launched, flags: tuple[str, ...]
) -> None:
    """A dry run reports it before money is spent; a live run rents one pod each and still keeps the results."""
    folder = project(
        {
            "deploy_a.py": f"""
            import rpd
            from pathlib import Path

            HERE = Path(__file__).parent

            {JOB}
            def out(pod):
                pod.run("mkdir out; echo 1 > out/metrics")
                pod.pull("out/", HERE / "results")

            {JOB}
            def up(pod):
                pod.run("mkdir out; echo 1 > out/metrics")
                pod.pull("out/", "../../results")

            {JOB}
            def folds(pod):
                for fold in ("a", "b"):
                    pod.run(f"mkdir -p {{fold}}/ckpt; echo {{fold}} > {{fold}}/ckpt/model")
                    pod.pull(f"{{fold}}/ckpt/")
            """,
            "results/precious": "mine",
        }
    )
    result = rpd(folder, *flags)
    assert "rpd report --export DIR" in result.out
    assert "/workspace/a/ckpt" in result.out
    assert "/workspace/b/ckpt" in result.out
    assert result.exit_code == 1
    assert [path.name for path in (folder / "results").iterdir()] == ["precious"]
    if flags:
        return
    for report in result.reports:
        assert (report.result.outcome, report.result.cause) == ("failed", Cause.CODE)
    out, up, folds = result.reports
    for report in (out, up):
        assert artifacts(report)["salvaged-1/metrics"] == "1\n"
    assert artifacts(folds)["ckpt/model"] == "a\n"
    assert artifacts(folds)["salvaged-2/ckpt/model"] == "b\n"
    assert result.run_dir is not None
    assert len(events(result.run_dir, "created")) == 3
    assert emulator.pods() == []


def test_a_local_name_means_what_cp_would_make_of_it(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """A file takes the name, or goes into a folder; globs keep their paths and are refused where they would meet."""
    folder = project(
        {
            "deploy_a.py": f"""
            import rpd
            from rpd.errors import UsageError

            {JOB}
            def fit(pod):
                pod.run("mkdir -p results f0 f1; for i in 0 1; do echo $i > f$i/m.json; done; echo x > x.txt; cp x.txt results")
                assert pod.pull("x.txt", "y.txt").local.name == "y.txt"
                pod.pull("x.txt", "y.txt")
                pod.pull("x.txt", "folder/")
                pod.pull("results", "folder")
                pod.pull("f0/m.json", "folder")
                pod.pull("f*/m.json")
                pod.pull("f1/*.json", "second")
                try:
                    pod.pull("f0/*.json", "second")
                except UsageError as error:
                    print("REFUSED", error)
            """,
        }
    )
    result = rpd(folder, "-s")
    (report,) = result.reports
    assert report.result.outcome == "passed", result.out
    assert "REFUSED pod.pull: /workspace/f0/m.json would go to artifacts/second/m.json" in result.out
    files = {name: text for name, text in artifacts(report).items() if not name.endswith(".sha256")}
    assert files == {
        "y.txt": "x\n",
        "folder/x.txt": "x\n",
        "folder/results/x.txt": "x\n",
        "folder/m.json": "0\n",
        "f0/m.json": "0\n",
        "f1/m.json": "1\n",
        "second/m.json": "1\n",
    }
    assert "problem" not in rpd(folder, command="verify").out
    assert rpd(folder, command="verify").exit_code == 0
    assert emulator.pods() == []


def test_metrics_of_the_node_before_are_not_taken(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """On a shared pod a node that wrote nothing has no metrics, whether it failed or not; its own values count."""
    folder = project(
        {
            "conftest.py": """
            import rpd

            @rpd.fixture(scope="worker")
            def pod(provision):
                with provision() as made:
                    yield made
            """,
            "deploy_a.py": f"""
            import rpd

            {JOB}
            @rpd.mark.parametrize("seed", [1, 2, 3, 4])
            def fit(pod, seed):
                pod.run("echo old > seen-before.txt")
                if seed in (1, 4):
                    pod.write("metrics.json", '{{"acc": %d}}' % seed)
                pod.run("exit 1" if seed == 2 else "true")
                pod.pull("metrics.json")
            """,
        }
    )
    result = rpd(folder)
    assert [dict(report.metrics) for report in result.reports] == [{"acc": 1}, {}, {}, {"acc": 4}], result.out
    assert [report.artifacts[0].older for report in result.reports] == [0, 1, 1, 0]
    assert result.out.count("rpd takes no metrics from it") == 2
    assert (
        "so not a result of that node: /workspace/metrics.json of deploy_a.py::fit[seed2] (1 file)"
        in result.out
    )
    assert "1 of them older than the node" in rpd(folder, "latest", "seed3", command="show").out
    assert emulator.pods() == []


def test_the_newest_run_and_copies_of_its_artifacts(
    rpd: RpdRun, project: Project, emulator: Launched, tmp_path: Path
) -> None:
    """``latest`` leads to the newest run and is no run itself; an export replaces nothing."""
    folder = project(
        {
            "deploy_a.py": f"""
            import rpd

            {JOB}
            @rpd.mark.parametrize("seed", [1, 2])
            def fit(pod, seed):
                pod.write("out/model", str(seed))
                pod.pull("out/")
            """,
        }
    )
    rpd(folder)
    newest = rpd(folder)
    assert newest.run_dir is not None
    latest = folder / "rpd-runs/latest"
    assert latest.resolve() == newest.run_dir.resolve()
    assert len(rpd(folder, "--json", command="runs").out.split('"id"')) == 3
    assert newest.run_dir.name in rpd(folder, "latest", command="show").out
    target = tmp_path / "copies"
    assert rpd(folder, "--export", str(target), command="report").exit_code == 0
    for seed in (1, 2):
        assert (target / f"deploy_a.fit-seed{seed}/out/model").read_text() == str(seed)
    (target / "deploy_a.fit-seed1/out/model").write_text("mine")
    again = rpd(folder, "--export", str(target), command="report")
    assert again.exit_code == 4
    assert "expected a new or empty folder" in again.err
    assert (target / "deploy_a.fit-seed1/out/model").read_text() == "mine"
    assert emulator.pods() == []


def test_jobs_that_read_what_commands_say_pass_a_dry_run(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """``stdout`` and ``read`` return the pod's data; in a dry run, and past a failure, the value of ``dry``."""
    folder = project(
        {
            "deploy_a.py": f"""
            import json, rpd

            {JOB}
            def fit(pod):
                completed = pod.run("echo $SEED $RATE $FLAG", env={{"SEED": 3, "RATE": 0.5, "FLAG": True}}, dry="1 2 3")
                seed, rate, flag = completed.stdout.split()
                assert pod.is_dry or (seed, rate, flag) == ("3", "0.5", "True")
                pod.write("m.json", '{{"acc": 0.5}}', name="the metrics")
                assert json.loads(pod.read("m.json", dry='{{"acc": 0}}'))["acc"] == (0 if pod.is_dry else 0.5)
                assert pod.read("m.json", binary=True, dry=b"{{}}").startswith(b"{{")
                pod.pull("m.json", name="fetch them")

            {JOB}
            def fails(pod):
                pod.run("echo kept > result.txt; echo 7")
                assert int(pod.run("exit 3", dry="5").stdout) == 5
                assert json.loads(pod.read("none.json", dry="[1]")) == [1]
                pod.pull("result.txt")

            {JOB}
            def wrong(pod):
                pod.run("true", env={{"SEED": None}})

            {JOB}
            def large(pod):
                pod.run("head -c 70000 /dev/zero | tr '\\\\0' x; echo")
                kept = len(pod.run("cat /etc/hostname >&2; yes 1234567 | head -c 70000").stdout)
                assert pod.is_dry or 65536 - 8 <= kept <= 65536  # it begins with a whole word
                pod.run("head -c 2000 /dev/zero > big")
                pod.read("big", max_bytes=1999)
            """,
        }
    )
    dry = rpd(folder, "--dry-run")
    assert "3 planned, 1 failed" in dry.out
    assert "env['SEED']: expected a string or a number, got None" in dry.out
    result = rpd(folder)
    fit, fails, wrong, large = result.reports
    assert fit.result.outcome == "passed", result.out
    assert [step.name for step in fit.steps] == [
        "echo $SEED $RATE $FLAG",
        "the metrics",
        "read m.json",
        "read m.json",
        "fetch them",
    ]
    assert "exited 3" in fails.result.reason
    assert artifacts(fails) == {"result.txt": "kept\n"}
    assert "env['SEED']" in wrong.result.reason
    assert "larger than 1,999 bytes" in large.result.reason
    assert large.result.cause is Cause.CODE
    assert emulator.pods() == []

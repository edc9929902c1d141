"""``rpd runs``, ``rpd report``, ``rpd verify``, and the reports for elsewhere."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import signal
from pathlib import Path

import pytest

from rpd.record import history
from rpd.testing import RunResult
from tests.cli.conftest import Project

SWEEP = """
import rpd

@rpd.job
@rpd.mark.parametrize("lr", [0.1, 0.3, 0.2])
def fit(lr, record_metric):
    record_metric("loss", 1 - lr)
    assert lr != 0.2, "diverged <b>&"
"""


@pytest.fixture
def swept(project: Project) -> RunResult:
    """A run of three nodes, of which one fails."""
    project.write({"deploy_a.py": SWEEP})
    return project.run()


def run_id(result: RunResult) -> str:
    assert result.run_dir is not None
    return result.run_dir.name


def test_runs_lists_the_newest_first(project: Project, swept: RunResult) -> None:
    """Each run has a line with its id, its nodes by outcome and whether it is over."""
    later = project.run("-k", "0.1")
    listed = project.command("runs")
    lines = listed.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["RUN", run_id(later), run_id(swept)]
    assert lines[3].startswith("2 runs, 4 nodes: 3 passed, 1 failed, ")
    assert "2 passed, 1 failed" in lines[2]
    assert lines[2].endswith("finished")
    assert listed.exit_code == 0


def test_runs_is_told_how_many(project: Project, swept: RunResult) -> None:
    """``-n 1`` lists one and says how many there are; ``--json`` is for programs."""
    project.run("-k", "0.1")
    assert "1 older ones" in project.command("runs", "-n", "1").out
    document = json.loads(project.command("runs", "--json").out)
    assert [run["outcomes"] for run in document["runs"]] == [{"passed": 1}, {"passed": 2, "failed": 1}]
    assert {run["state"] for run in document["runs"]} == {"finished"}
    assert document["totals"]["outcomes"] == {"passed": 3, "failed": 1}


def test_a_killed_run_is_unfinished(project: Project, swept: RunResult) -> None:
    """A run whose end was never written, and whose process is gone, is listed with the command that continues it."""
    assert swept.run_dir is not None
    file = swept.run_dir / "run.toml"
    file.write_text(
        re.sub(r"(?m)^(finished = ).*$", r'\1""', file.read_text(encoding="utf-8")), encoding="utf-8"
    )
    assert f"unfinished: rpd resume {run_id(swept)}" in project.command("runs").out


def test_no_runs(project: Project) -> None:
    """Where there are no runs one line says so; commands that need one end with exit code 4."""
    assert "no runs in" in project.command("runs").out
    shown = project.command("report")
    assert (shown.exit_code, "no runs here yet" in shown.err) == (4, True)


def test_report_as_csv_is_results_csv(project: Project, swept: RunResult) -> None:
    """``--csv`` prints the table that the run wrote."""
    assert swept.run_dir is not None
    written = (swept.run_dir / "results.csv").read_text(encoding="utf-8")
    assert project.command("report", "--csv").out == written


def losses(text: str) -> list[float]:
    return [float(row["loss"]) for row in csv.DictReader(io.StringIO(text))]


def test_report_sorts(project: Project, swept: RunResult) -> None:
    """``--sort`` takes a metric, with ``:desc`` the greatest first; an unknown name lists the recorded ones."""
    assert losses(project.command("report", "--csv", "--sort", "loss").out) == [0.7, 0.8, 0.9]
    assert losses(project.command("report", "--csv", "--sort=loss:desc").out) == [0.9, 0.8, 0.7]
    wrong = project.command("report", "--sort", "los")
    assert (wrong.exit_code, "loss" in wrong.err) == (4, True)


def test_run_sorts_its_tables(project: Project) -> None:
    """The table at the end of a run follows ``--sort``, also as a key of the configuration."""
    project.write({"deploy_a.py": SWEEP, "rpd.toml": 'sort = "loss"\n'})
    assert re.findall(r"(?m)^(0\.\d) +(?:passed|failed)", project.run().out) == ["0.3", "0.2", "0.1"]
    assert re.findall(r"(?m)^(0\.\d) +(?:passed|failed)", project.run("--sort=lr").out) == [
        "0.1",
        "0.2",
        "0.3",
    ]


def test_results_are_written_in_order(project: Project) -> None:
    """``results.csv`` has the order of ``--sort``, else that of the plan, whichever node ended first."""
    project.write({"deploy_a.py": SWEEP})
    planned, by_loss = project.run("-n", "3"), project.run("-n", "3", "--sort", "loss")
    assert planned.run_dir is not None
    assert by_loss.run_dir is not None
    rows = csv.DictReader(io.StringIO((planned.run_dir / "results.csv").read_text(encoding="utf-8")))
    assert [row["node"] for row in rows] == project.command("collect", "-q").out.split()
    written = losses((by_loss.run_dir / "results.csv").read_text(encoding="utf-8"))
    assert written == sorted(written)


IN_TURN = """
import os, signal, time
from pathlib import Path
import rpd

@rpd.job
@rpd.mark.parametrize("turn", ["first", "second", "third"])
def fit(turn):
    here = Path(__file__).with_name(turn)
    third = here.with_name("third")
    deadline = time.monotonic() + 60
    while turn == "first" and not third.exists():
        assert time.monotonic() < deadline, "the third did not come"
        time.sleep(0.01)
    if turn != "second" and not here.exists():
        here.touch()
        os.kill(os.getpid(), signal.SIGKILL) if turn == "first" else time.sleep(60)
"""


def test_a_resumed_run_has_the_order_of_its_plan(project: Project) -> None:
    """The first node began again long after the second had ended: each table and the manifests have their places."""
    project.write({"deploy_a.py": IN_TURN})
    assert project.run("-n", "2").exit_code == -signal.SIGKILL
    resumed = project.command("resume")
    assert (resumed.exit_code, resumed.out.count("PASSED")) == (0, 2)
    (folder,) = project.folder.glob("rpd-runs/2*")
    first, second, _ = history.reports(folder)
    assert [first.node.place, second.node.place] == [0, 1]
    assert first.result.started > second.result.finished
    turns = ["first", "second", "third"]
    for text in (
        project.command("report", "--csv").out,
        (folder / "results.csv").read_text(encoding="utf-8"),
    ):
        assert [row["turn"] for row in csv.DictReader(io.StringIO(text))] == turns
    for shown in (resumed.out, project.command("report").out):
        assert re.findall(r"(?m)^(first|second|third) ", shown) == turns


def test_a_run_says_what_it_cannot_be_sorted_by(project: Project) -> None:
    """Names are known only at the end of a run: then an unknown one is reported with those there are."""
    project.write({"deploy_a.py": SWEEP})
    result = project.run("--sort", "los:desc")
    assert (
        "rpd: --sort los:desc: no node has a metric or parameter 'los': there are outcome, seconds, usd, lr, loss"
        in result.out
    )
    assert "did you mean 'loss'?" in result.out
    assert "no node has" not in project.run("--sort", "loss").out


def test_report_as_json(project: Project, swept: RunResult) -> None:
    """``--json`` keeps the types of parameters and metrics."""
    document = json.loads(project.command("report", "--json", run_id(swept)[:20]).out)
    nodes = document["nodes"]
    assert [each["parameters"] for each in nodes] == [{"lr": 0.1}, {"lr": 0.3}, {"lr": 0.2}]
    assert nodes[2]["outcome"] == "failed"
    assert nodes[2]["reason"]
    assert document["extremes"][0]["lowest"] == {"node": "deploy_a.py::fit[lr0.3]", "value": 0.7}


def test_html_of_a_run_and_of_a_past_one(project: Project) -> None:
    """``--html`` writes one file that needs nothing else and in which user text is text."""
    project.write({"deploy_a.py": SWEEP})
    project.run("--html", "out/run.html")
    assert project.command("report", "--html", "past.html").exit_code == 0
    for name in ("out/run.html", "past.html"):
        page = (project.folder / name).read_text(encoding="utf-8")
        assert page.count('"id":"deploy_a.py::fit[') == 3
        assert "diverged \\u003cb\\u003e\\u0026" in page
        assert "<b>&" not in page
        assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,"]


def test_html_cannot_be_a_folder(project: Project) -> None:
    """A folder in the place of the file is reported before anything runs."""
    project.write({"deploy_a.py": SWEEP})
    refused = project.run("--html", ".")
    assert (refused.exit_code, refused.run_dir) == (4, None)
    assert "expected a file" in refused.err


def test_github_gets_a_step_summary(project: Project, tmp_path: Path) -> None:
    """Where GitHub Actions names a file, a table is added to it; a dry run adds nothing."""
    project.write({"deploy_a.py": SWEEP})
    file = tmp_path / "summary.md"
    file.write_text("before\n", encoding="utf-8")
    environment = {"GITHUB_STEP_SUMMARY": str(file)}
    project.run("--dry-run", env=environment)
    assert file.read_text(encoding="utf-8") == "before\n"
    project.run(env=environment)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("before\n### rpd: 2 passed, 1 failed in ")
    rows = [line for line in text.splitlines() if line.startswith("| deploy")]
    assert len(rows) == 3
    assert "failed (code)" in rows[0]
    assert "<b>" not in text


def add_artifact(run_dir: Path, files: dict[str, str]) -> Path:
    """Add to the first node of a run the files that a pull would have left."""
    manifest = min(run_dir.glob("*/manifest.toml"))
    folder = manifest.parent
    for name, text in files.items():
        (folder / "artifacts" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "artifacts" / name).write_text(text, encoding="utf-8")
    sums = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items())
    (folder / "artifacts.sha256").write_text(sums, encoding="utf-8")
    with manifest.open("a", encoding="utf-8") as file:
        file.write('\n[[artifacts]]\nremote = "/w/r"\nlocal = "artifacts/r"\nfiles = 2\nbytes = 2\n')
        file.write('sha256_file = "artifacts.sha256"\nverified = true\nrequired = true\n')
    return folder


def test_verify_finds_what_changed(project: Project, swept: RunResult) -> None:
    """``rpd verify`` exits 0 while nothing has changed, and 1 with the names of changed and missing files."""
    assert swept.run_dir is not None
    folder = add_artifact(swept.run_dir, {"r/a": "1", "r/b": "2", "r/c": "3"})
    good = project.command("verify")
    assert (good.exit_code, "3 of 3 files" in good.out) == (0, True)
    (folder / "artifacts/r/a").write_text("other", encoding="utf-8")
    (folder / "artifacts/r/b").unlink()
    bad = project.command("verify", run_id(swept))
    assert bad.exit_code == 1
    assert re.findall(r"(?m)^(\w+): \S+/(r/\w)", bad.out) == [("differs", "r/a"), ("missing", "r/b")]
    document = json.loads(project.command("verify", "--json").out)
    assert [each["problem"] for each in document["problems"]] == ["differs", "missing"]


def test_verify_misses_a_lost_list(project: Project, swept: RunResult) -> None:
    """Without the list of sums nothing is verified, and that is no success."""
    assert swept.run_dir is not None
    (add_artifact(swept.run_dir, {"r/a": "1"}) / "artifacts.sha256").unlink()
    result = project.command("verify")
    assert (result.exit_code, "list of sums is missing" in result.out) == (1, True)

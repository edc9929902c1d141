"""Looking back from Python: filters, data, reported damage, and texts that cannot act on a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import rpd
from rpd.errors import UsageError
from rpd.record import manifest, manifest_index, run_info
from rpd.record.run_info import RunInfo
from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, Result

EVIL = "<script>alert(1)</script>\x1b[2J"
OLD, NEW = "20260101T000000Z-aaaaaa", "20260201T000000Z-bbbbbb"


def report(seed: int, lr: float, outcome: Outcome) -> NodeReport:
    return NodeReport(
        node=NodeRecord(
            id=f"deploy_x.py::train[{seed}]",
            job="train",
            file="deploy_x.py",
            line=3,
            parameters={"seed": seed, "lr": lr, "note": EVIL},
        ),
        result=Result(
            outcome=outcome,
            reason="" if outcome.is_ok else EVIL,
            started=f"2026-01-01T00:00:{seed:02d}+00:00",
            phases={"job": 2.0},
        ),
        cost=CostRecord(estimated_usd=0.25),
        metrics={"loss": lr / 2},
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an old run on RunPod, and a new one on an emulator of which one manifest is broken."""
    root = tmp_path_factory.mktemp("project")
    (root / "rpd.toml").write_text('runs_dir = "past"\n', encoding="utf-8")
    for name, started, backend, seeds in (
        (OLD, "2026-01-01T00:00:00+00:00", "RunPod", (1, 2)),
        (NEW, "2026-02-01T00:00:00+00:00", "emulator at x", (3, 4)),
    ):
        folder = root / "past" / name
        for seed in seeds:
            place = folder / f"train-{seed}"
            place.mkdir(parents=True)
            outcome = Outcome.FAILED if seed == 2 else Outcome.PASSED
            manifest.write(place / manifest.FILE_NAME, report(seed, seed / 10, outcome))
        info = RunInfo(
            id=name,
            started=started,
            finished=started,
            backend=backend,
            nodes=2,
            usd=0.5,
            outcomes={"passed": 2},
        )
        run_info.write(folder / run_info.FILE_NAME, info)
        (folder / "events.jsonl").write_text(
            '{"at": "2026-01-01T00:00:00+00:00", "event": "planned", "ids": ["a"]}\n',
            encoding="utf-8",
        )
    (root / "past" / NEW / "train-4" / manifest.FILE_NAME).write_text("not toml", encoding="utf-8")
    return root


def seeds(result: object) -> list[int]:
    return [each.node.parameters["seed"] for each in result]  # type: ignore[attr-defined]


def test_reports_of_all_runs_are_chosen(project: Path) -> None:
    """By run, job, outcome, parameters, metrics, expressions and age.

    Damaged reports are named, not left out silently.
    """
    reports = rpd.reports(project)
    assert seeds(reports) == [3, 1, 2]
    (error,) = reports.damaged
    assert "train-4" in str(error)
    assert seeds(rpd.reports(project, run=OLD[:8])) == [1, 2]
    assert seeds(rpd.reports(project / "past" / OLD)) == [1, 2]
    assert seeds(rpd.reports(project / "past", outcome="failed")) == [2]
    assert seeds(rpd.reports(project, outcome=[Outcome.PASSED], lr=[0.1, 0.2])) == [1]
    assert seeds(rpd.reports(project, lr=lambda lr: lr > 0.15)) == [3, 2]
    assert seeds(rpd.reports(project, loss=0.05)) == [1]
    assert seeds(reports.where("seed >= 2 and usd < 1", job="train")) == [3, 2]
    assert seeds(rpd.reports(project, since=datetime(2026, 1, 15, tzinfo=UTC))) == [3]
    assert len(rpd.reports(project, since=timedelta(seconds=1))) == 0
    assert isinstance(reports[1:], type(reports))
    assert reports.report("train[2]").result.outcome is Outcome.FAILED
    with pytest.raises(LookupError, match="there is no node 'train"):
        reports.report("train[9]")


def test_reports_are_data(project: Path) -> None:
    """Flat rows, a DataFrame, sums; tables in which no text is markup or acts on a terminal."""
    reports = rpd.reports(project)
    row = reports.rows()[1]
    assert (row["run"], row["param.lr"], row["metric.loss"], row["seconds"]) == (OLD, 0.1, 0.05, 2.0)
    assert (reports.totals.nodes, reports.usd) == (3, 0.75)
    page = reports._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "1 that cannot be read" in page
    assert "\x1b" not in str(reports) + page
    assert "\\[" in reports.__rich__()
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = reports.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["param.seed"].tolist() == [3, 1, 2]


def test_runs(project: Path) -> None:
    """Newest first, each with its reports, events and files."""
    runs = rpd.runs(project)
    assert [run.id for run in runs] == [NEW, OLD]
    assert [run.id for run in rpd.runs(project, local=False)] == [OLD]
    assert [run.id for run in rpd.runs(project, since=datetime(2026, 1, 15, tzinfo=UTC))] == [NEW]
    old = runs.run(OLD[:6] + "01")
    assert (old.state, old.usd, len(old.reports)) == ("finished", 0.5, 2)
    (event,) = old.events()
    assert (event.event, event.at.year, dict(event.detail)) == ("planned", 2026, {"ids": ["a"]})
    assert list(old.events(event="released")) == []
    assert old.verify() == ()
    assert [row["run"] for row in runs.rows()] == [NEW, OLD]
    assert NEW in runs._repr_html_()
    assert len(runs[0].reports.damaged) == 1


WRONG = {
    "no folder": (lambda root: rpd.runs(root / "nowhere"), "no such folder"),
    "a foreign folder": (lambda root: rpd.reports(root.parent), "nor a project of rpd"),
    "no such run": (lambda root: rpd.reports(root, run="zzz"), "there is no run 'zzz'"),
    "no such parameter": (lambda root: rpd.reports(root, sed=1), "sed: no node has a parameter, metric or variable of this name; did you mean 'seed'"),
    "no outcome": (lambda root: rpd.reports(root, outcome="pased"), "outcome: expected one of passed, failed"),
    "no age": (lambda root: rpd.reports(root, since="yesterday"), "since: expected a duration"),
    "no expression": (lambda root: rpd.reports(root, where="lr <"), "expected comparisons"),
    "no such run by name": (lambda root: rpd.runs(root).run("zzz"), "there is no run 'zzz'"),
}  # fmt: skip


def files_in(project: Path) -> list[str]:
    return sorted(path.name for path in project.rglob("*") if path.name != manifest_index.FILE_NAME)


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named(case: str, project: Path) -> None:
    """As a UsageError, and nothing is created but the index, which is a cache."""
    before = files_in(project)
    act, message = WRONG[case]
    with pytest.raises(UsageError) as caught:
        act(project)
    assert message in str(caught.value)
    assert files_in(project) == before

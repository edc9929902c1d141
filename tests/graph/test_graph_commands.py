"""A graph's user interface: drawings, results of earlier runs, dry runs and mistakes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import rpd
from rpd.cli import main
from rpd.errors import ExitCode, UsageError
from rpd.graph.drawing import mermaid, tree
from rpd.graph.left import Left
from rpd.record import history
from rpd.testing import RpdRun
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.plan import Earlier
from tests.graph.test_meeting import job
from tests.waiting import wait_until

SWEEP = """
import rpd

@rpd.job
@rpd.mark.parametrize("n", [1, 2])
def train(n, record_metric):
    record_metric("loss", 1 / n)

@rpd.job
@rpd.mark.needs(train)
@rpd.mark.parametrize("n", [1, 2])
def check(n, needs):
    assert needs[train].parameters == {"n": n}
    assert needs[train].folder.parent.name == f"deploy_s.train-n{n}"

@rpd.job
@rpd.mark.needs(train, all=True)
def best(needs, record_metric):
    record_metric("n", min(needs.all(train), key=lambda each: each.metrics["loss"]).parameters["n"])
"""


def node(name: str, *needs: str) -> Node:
    return replace(
        Node(definition=job(name), id=f"f.py::{name}"), needs=tuple(f"f.py::{each}" for each in needs)
    )


def test_a_graph_is_drawn_from_its_ends() -> None:
    nodes = [node("a"), node("b", "a"), node("c", "a", "b"), node("d"), node('e["x"]', "b", "gone")]
    assert list(tree(nodes, lambda _node: 1.0)) == [
        "f.py::c  <= $1.00, with all that it needs <= $3.00",
        "├── f.py::a  <= $1.00",
        "└── f.py::b  <= $1.00",
        "    └── f.py::a  <= $1.00",
        "f.py::d  <= $1.00",
        'f.py::e["x"]  <= $1.00, with all that it needs <= $3.00',
        "├── f.py::b  (see above)",
        "└── f.py::gone  (not selected)",
    ]
    assert list(mermaid(nodes[:2] + nodes[4:])) == [
        "flowchart LR",
        '  n0["f.py::a"]',
        '  n1["f.py::b"]',
        '  n2["f.py::e[#34;x#34;]"]',
        "  n0 --> n1",
        "  n1 --> n2",
    ]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    (tmp_path / "deploy_s.py").write_text(SWEEP, encoding="utf-8")
    return tmp_path


def test_no_needs_takes_what_is_whole_or_refuses(sweep: Path) -> None:
    """Nothing there, then something, then a file that changed since: each time before anything ran."""
    with pytest.raises(UsageError, match="train\\[n1\\] passed in no run") as nothing:
        rpd.run(root=sweep, keyword="best", no_needs=True)
    assert "Leave --no-needs out" in str(nothing.value)
    assert rpd.run(root=sweep, keyword="check").ok
    second = rpd.run(root=sweep, keyword="best", no_needs=True)
    assert [(report.node.job, report.result.word) for report in second.reports] == [
        ("train", "cached"), ("train", "cached"), ("best", "passed"),
    ]  # fmt: skip
    assert second.report("best").metrics == {"n": 2}
    (folder,) = sweep.glob("rpd-runs/*/deploy_s.train-n1")
    manifest = folder / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    pulled = '\n[[artifacts]]\nremote = "/w/out"\nlocal = "artifacts/out"\nfiles = 1\nbytes = 4\n'
    pulled += 'sha256_file = "artifacts.sha256"\nverified = true\n'
    manifest.write_text(text + pulled, encoding="utf-8")
    (folder / "artifacts.sha256").write_text(f"{'0' * 64}  out\n", encoding="utf-8")
    (folder / "artifacts").mkdir(exist_ok=True)
    (folder / "artifacts" / "out").write_text("else", encoding="utf-8")
    before = len(history.runs(sweep / "rpd-runs"))
    with pytest.raises(UsageError, match=r"its files changed: .*out differs"):
        rpd.run(root=sweep, keyword="best", no_needs=True)
    assert len(history.runs(sweep / "rpd-runs")) == before


def test_what_runs_for_others_is_announced_with_its_price(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sweep)
    assert main(["collect", "-k", "best"]) == ExitCode.OK
    assert capsys.readouterr().out.endswith(
        "5 nodes collected, 2 deselected, 3 selected (2 because others need them)\n"
    )
    done = rpd.run("deploy_s.py::check[n1]", root=sweep, dry_run=True)
    assert done.ok
    assert done.notices[0].startswith("1 node runs because others need it, $0.00 of the worst case")
    assert done.report("check[n1]").result.outcome == "skipped", "it asks for files that a dry run has not"
    assert rpd.run(root=sweep, keyword="best", dry_run=True).report("best").result.outcome == "passed"


MISTAKES = {
    "a name": (
        "@rpd.mark.needs('trian')",
        "b: needs('trian'): deploy_m.py has no job 'trian'; did you mean 'train'?",
    ),
    "a file": ("@rpd.mark.needs('deploy_no.py::a')", "no such file: deploy_no.py"),
    "no job": ("@rpd.mark.needs(print)", "needs(print): not a job; decorate it with @rpd.job"),
    "nothing": ("@rpd.mark.needs", "needs takes the jobs that are needed: @rpd.mark.needs(train)"),
    "no jobs": ("@rpd.mark.needs(all=True)", "needs takes the jobs that are needed: @rpd.mark.needs(train)"),
    "itself": ("@rpd.mark.needs('b')", "b needs b: none of them could ever run"),
    "several": ("@rpd.mark.needs(train)", "b meets 2 cases of train"),
    "a keyword": ("@rpd.mark.needs(train, al=True)", "did you mean all=…?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_at_its_place_before_anything_runs(mistake: str, tmp_path: Path) -> None:
    mark, said = MISTAKES[mistake]
    train = SWEEP.partition("@rpd.job\n@rpd.mark.needs")[0]
    text = f"{train}\n@rpd.job\n{mark}\ndef b(): ...\n"
    (tmp_path / "deploy_m.py").write_text(text, encoding="utf-8")
    done = rpd.run(root=tmp_path, dry_run=True)
    assert done.exit_code == ExitCode.INTERRUPTED
    (error,) = done.errors
    assert said in str(error)
    assert error.place.startswith("deploy_m.py:")


def test_a_job_of_another_file_comes_along(tmp_path: Path) -> None:
    """By its function or its name; its nodes count as needed, not as collected."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "deploy_data.py").write_text(
        "import rpd\n@rpd.job\ndef load(): ...\n", encoding="utf-8"
    )
    (tmp_path / "deploy_use.py").write_text(
        "import rpd, deploy_more\n"
        "@rpd.job\n@rpd.mark.needs('data/deploy_data.py::load', deploy_more.more)\ndef use(needs): assert len(needs) == 2\n",
        encoding="utf-8",
    )
    (tmp_path / "deploy_more.py").write_text("import rpd\n@rpd.job\ndef more(): ...\n", encoding="utf-8")
    done = rpd.run("deploy_use.py", root=tmp_path)
    assert [report.node.id for report in done.reports] == [
        "data/deploy_data.py::load", "deploy_more.py::more", "deploy_use.py::use",
    ]  # fmt: skip
    assert done.ok


SEARCH = """
import rpd

@rpd.job
def prepare(record_metric):
    record_metric("size", 2)

@rpd.job
@rpd.mark.needs(prepare)
@rpd.mark.search(x=rpd.choice([1, 2, 3]), minimize="loss", trials=3)
def tune(x, needs, record_metric):
    x in WITHOUT and rpd.fail("no value")
    record_metric("loss", -x * needs[prepare].metrics["size"])

@rpd.job
@rpd.mark.needs(tune)
def final(needs, record_metric):
    record_metric("x", needs[tune].parameters["x"])
    record_metric("trials", [each.parameters["x"] for each in needs.all(tune)])
"""


@pytest.mark.parametrize(("without", "found"), [("[]", [3, 2, 1]), ("[3]", [2, 1]), ("[1, 2, 3]", [])])
def test_a_search_stands_between_what_it_needs_and_what_needs_it(
    without: str, found: list[int], tmp_path: Path
) -> None:
    """Trials wait for their data; who needs the search waits for all of them and gets the best first."""
    (tmp_path / "deploy_s.py").write_text(SEARCH.replace("WITHOUT", without), encoding="utf-8")
    done = rpd.run(root=tmp_path, width=2)
    final = done.report("final")
    assert len(done.reports) == 5
    assert [report.node.job for report in done.reports] == ["prepare", "final", *["tune"] * 3]
    prepare, _, *trials = done.reports
    assert prepare.result.finished <= min(trial.result.started for trial in trials)
    assert max(trial.result.finished for trial in trials) <= final.result.started
    if found:
        assert final.metrics == {"x": found[0], "trials": found}
    else:
        assert final.result.reason == "needs deploy_s.py::tune, which found nothing"


WAITING = """
    (pathlib.Path(__file__).parent / "begun").touch()
    while not (pathlib.Path(__file__).parent / "go").exists():
        time.sleep(0.02)
"""


@pytest.mark.usefixtures("clean_emulator")
def test_a_search_that_is_over_is_not_made_again(tmp_path: Path, rpd_run: RpdRun) -> None:
    """``--lf`` and ``--no-needs`` take its trials, the best first; so does a resumed run after a kill."""
    text = SEARCH.replace("WITHOUT", "[]").replace("import rpd\n", "import pathlib, time, rpd\n", 1)
    bad = text.replace(
        "def final(needs, record_metric):", "def final(needs, record_metric):\n    rpd.fail('bad')"
    )
    (tmp_path / "deploy_s.py").write_text(bad, encoding="utf-8")
    assert not rpd.run(root=tmp_path).ok
    (tmp_path / "deploy_s.py").write_text(text + WAITING, encoding="utf-8")
    running = rpd_run.start(tmp_path, "-k", "final", "--no-needs")
    wait_until((tmp_path / "begun").exists)
    running.send_signal(signal.SIGKILL)
    running.finish()
    (tmp_path / "go").touch()
    resumed = rpd_run(tmp_path, command="resume")
    assert resumed.exit_code == ExitCode.OK, resumed.out
    (final,) = history.reports(tmp_path / "rpd-runs" / "latest")
    assert final.metrics == {"x": 3, "trials": [3, 2, 1]}
    (tmp_path / "deploy_s.py").write_text(bad, encoding="utf-8")
    assert not rpd.run(root=tmp_path, keyword="final", no_needs=True).ok
    (tmp_path / "deploy_s.py").write_text(text, encoding="utf-8")
    again = rpd.run(root=tmp_path, last_failed="all")
    assert {report.node.id[13:]: report.result.word for report in again.reports} == {
        **dict.fromkeys(("tune[trial1]", "tune[trial2]", "tune[trial3]"), "cached"), "final": "passed",
    }  # fmt: skip
    assert again.report("final").metrics == {"x": 3, "trials": [3, 2, 1]}


def test_results_that_are_gone_when_a_run_goes_on_are_named() -> None:
    """Nothing waits for them, and no other trial is taken for the best."""
    use, final = node("use", "a"), node("final", "tune")
    left = Left()
    left.stand_for({"f.py::tune": ["f.py::tune[trial2]", "f.py::tune[trial1]"]})
    left.lack({"f.py::a": "is gone", "f.py::tune[trial2]": "is gone"})
    left.planned = frozenset({use.id, final.id})
    (source,) = left.rpd_make_sources(nodes=[use, final], earlier=Earlier())
    assert [lane and lane.nodes for lane in (source.next(), source.next())] == [(use,), (final,)]
    skips = [left.rpd_skip_node(node=each) for each in (use, final)]
    assert [skip and skip.reason for skip in skips] == [
        "needs f.py::a, which is gone",
        "needs f.py::tune, which rests on f.py::tune[trial2], which is gone",
    ]

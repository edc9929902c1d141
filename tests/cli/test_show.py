"""``rpd show``, ``rpd diff`` and ``rpd events``, and how runs and nodes are named."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from rpd.cli.show import story
from rpd.record.lookup import NodeEntry
from rpd.testing import RunResult
from tests.cli.conftest import Project

JOBS = """
import rpd

where = rpd.variable(default="here")

@rpd.job
@rpd.mark.parametrize("lr", [0.1, 0.2])
def fit(lr, where, record_metric):
    record_metric("loss", round(1 - lr, 2))
    assert lr != 0.2 or where != "here", "diverged"

@rpd.job
def evaluate(): ...
"""


@pytest.fixture
def ran(project: Project) -> RunResult:
    """A run of three nodes, of which one fails."""
    project.write({"deploy_a.py": JOBS})
    return project.run()


def run_id(result: RunResult) -> str:
    assert result.run_dir is not None
    return result.run_dir.name


def test_show_a_run(project: Project, ran: RunResult) -> None:
    """Without a node, the end of the run is shown again: tables, failures, counts."""
    shown = project.command("show", run_id(ran))
    assert shown.exit_code == 0
    assert "results of fit" in shown.out
    assert "FAILED deploy_a.py::fit[lr0.2]" in shown.out
    assert "1 failed" in shown.out.splitlines()[-1]


def test_show_a_node(project: Project, ran: RunResult) -> None:
    """A node's story has its outcome, parameters, metrics, variables and folder."""
    text = project.command("show", run_id(ran), "fit[lr0.2]").out
    for fact in ("failed (code)", "diverged", "lr=0.2", "loss=0.8", "where=here", "deploy_a.py:", "folder: "):
        assert fact in text


def test_show_tells_how_to_run_it_again(project: Project, ran: RunResult) -> None:
    """The command line that a node's story gives runs that node, with the variables it had."""
    text = project.command("show", run_id(ran), "fit[lr0.2]").out
    line = next(line for line in text.splitlines() if line.split()[:1] == ["again"])
    words = shlex.split(line)[3:]
    assert words == ["deploy_a.py::fit[lr0.2]", "--var", "where=here"]
    assert [report.node.id for report in project.run(*words).reports] == [words[0]]


@pytest.mark.parametrize("wanted", ["deploy_a.py::evaluate", "evaluate", "eval", "deploy_a.py::e", "valuat"])
def test_a_node_goes_by_several_names(project: Project, ran: RunResult, wanted: str) -> None:
    """An id, a name, the beginning of either, or a part that only one id has."""
    assert project.command("show", wanted).out.startswith("deploy_a.py::evaluate\n")


def test_an_ambiguous_node_lists_what_it_may_be(project: Project, ran: RunResult) -> None:
    """More than one candidate is a usage error that names them all."""
    shown = project.command("show", "fit")
    assert shown.exit_code == 4
    assert "deploy_a.py::fit[lr0.1]" in shown.err
    assert "deploy_a.py::fit[lr0.2]" in shown.err
    assert "evaluate" not in shown.err


def test_an_unknown_node_lists_those_there_are(project: Project, ran: RunResult) -> None:
    """No candidate is a usage error that lists the nodes of the run."""
    shown = project.command("show", run_id(ran), "nope")
    assert (shown.exit_code, "deploy_a.py::evaluate" in shown.err) == (4, True)


AT = {"at": "2026-01-01T00:00:00+00:00"}


def test_refused_offers_are_rows(tmp_path: Path) -> None:
    """An offer that was refused to a node has one row, however often it was; of many offers the first are shown."""
    events = [
        {**AT, "event": "refused", "pod_name": "rpd-1", "offer": f"offer {number}", "reason": "none is free"}
        for number in (0, *range(30), 0)
    ]
    (tmp_path / "events.jsonl").write_text(
        "".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8"
    )
    lines = list(story(NodeEntry(id="deploy_a.py::fit", folder=tmp_path)))
    rows = lines[lines.index("offers refused:") + 1 : lines.index("offers refused:") + 22]
    assert [" ".join(row.split()) for row in rows[:2]] == [
        "offer 0 3x none is free",
        "offer 1 1x none is free",
    ]
    assert rows[20] == "  and 10 more offers: rpd events deploy_a.py::fit"


def test_show_as_json(project: Project, ran: RunResult) -> None:
    """``--json`` prints the manifest, and the run with all of its reports."""
    node = json.loads(project.command("show", "lr0.1", "--json").out)
    assert (node["node"]["parameters"], node["metrics"]) == ({"lr": 0.1}, {"loss": 0.9})
    assert len(json.loads(project.command("show", "--json").out)["reports"]) == 3


def test_diff_of_two_nodes(project: Project, ran: RunResult) -> None:
    """Only differences are printed, side by side, with exit code 1."""
    result = project.command("diff", ":fit[lr0.1]", f"{run_id(ran)[:12]}:fit[lr0.2]")
    assert result.exit_code == 1
    rows = [line.split() for line in result.out.splitlines()[1:]]
    assert rows == [
        ["outcome", "passed", "failed"],
        ["cause", "-", "code"],
        ["parameter", "lr", "0.1", "0.2"],
        ["metric", "loss", "0.9", "0.8", "-0.1", "(-11.1%)"],
    ]


def test_diff_of_the_same(project: Project, ran: RunResult) -> None:
    """Where nothing differs the exit code is 0, however long each of them took."""
    again = project.run()
    same = project.command("diff", f"{run_id(ran)}:eval", f"{run_id(again)}:eval")
    assert (same.exit_code, same.out) == (0, "no differences\n")
    assert project.command("diff", run_id(ran), run_id(again)).exit_code == 0


def test_diff_of_two_runs(project: Project, ran: RunResult) -> None:
    """Runs are compared node by node."""
    other = project.run("--var", "where=there")
    document = json.loads(project.command("diff", run_id(ran), run_id(other), "--json").out)["differences"]
    assert document["deploy_a.py::fit[lr0.2] outcome"] == {"left": "failed", "right": "passed"}
    assert document["deploy_a.py::fit[lr0.1] variable where"] == {"left": "here", "right": "there"}


@pytest.mark.parametrize("args", [(), ("x",), (":fit[lr0.1]", "2")])
def test_diff_needs_two_of_a_kind(project: Project, ran: RunResult, args: tuple[str, ...]) -> None:
    """Anything but two runs or two nodes is a usage error."""
    assert project.command("diff", *args).exit_code == 4


def test_events_in_the_order_of_time(project: Project, ran: RunResult) -> None:
    """The journal of the run and those of its nodes are one story."""
    events = [json.loads(line) for line in project.command("events", "--json").out.splitlines()]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert events[0]["event"] == "run_started"
    assert sum(event["event"] == "node_finished" for event in events) == 3


def test_events_of_one_node(project: Project, ran: RunResult) -> None:
    """With a node only its own events are printed, one a line, with its outcome."""
    lines = project.command("events", "evaluate").out.splitlines()
    assert [line.split()[2] for line in lines] == ["node_started", "node_finished"]
    assert "outcome=passed" in lines[1]
    lines = project.command("events", "evaluate").out.splitlines()
    assert [line.split()[2] for line in lines] == ["node_started", "node_finished"]
    assert "outcome=passed" in lines[1]


def test_the_watchdogs_words(tmp_path: Path) -> None:
    """A node's story includes when the watchdog was to end its pod, and its later lines."""
    armed = {**AT, "event": "armed", "pod_id": "p1", "deadline": 1767225600, "linger": 900}
    (tmp_path / "events.jsonl").write_text(f"{json.dumps(armed)}\n", encoding="utf-8")
    (tmp_path / "watchdog.log").write_text("this pod ends: its deadline has passed\n", encoding="utf-8")
    lines = list(story(NodeEntry(id="deploy_a.py::fit", folder=tmp_path)))
    words = lines[lines.index("the pod's watchdog:") + 1 :][:2]
    assert words == [
        "  set to end pod p1 at 2026-01-01T00:00:00+00:00, or 15m00s after its last use",
        "  this pod ends: its deadline has passed",
    ]


UNLIKE = """
import os
import rpd

@rpd.job
@rpd.mark.parametrize("seed", [1, 2, 3])
def fit(seed, record_metric):
    record_metric("loss", seed * float(os.environ["SCALE"]))
    record_metric("label", "same")
    assert seed != 2 or os.environ["SCALE"] == "1"
"""


def test_diff_of_unlike_selections_fits_one_screen(project: Project) -> None:
    """Nodes that only one has, and changed results of common ones; the rest, with time and money, by ``--all``."""
    project.write({"deploy_u.py": UNLIKE})
    one = project.run("-k", "seed1 or seed2", "deploy_u.py", env={"SCALE": "1"})
    other = project.run("deploy_u.py", env={"SCALE": "1.5"})
    result = project.command("diff", run_id(one), run_id(other))
    assert result.exit_code == 1
    assert result.out.splitlines() == [
        f"A: {run_id(one)}",
        f"B: {run_id(other)}",
        "command line: run -k 'seed1 or seed2' deploy_u.py --print-run-dir | run deploy_u.py --print-run-dir",
        "only in B: 1 node (fit[seed3])",
        "",
        "NODE        METRIC        A       B         CHANGE",
        "fit[seed1]  loss        1.0     1.5  +0.5 (+50.0%)",
        "fit[seed2]  outcome  passed  failed",
        "fit[seed2]  loss        2.0     3.0    +1 (+50.0%)",
        "also different: cause (1); --all shows these, with time and cost",
    ]
    every = project.command("diff", run_id(one), run_id(other), "--all").out
    assert "deploy_u.py::fit[seed3] metric loss" in every
    assert "deploy_u.py::fit[seed3] seconds" in every
    assert all(
        len(line) < 80
        for line in project.on_terminal("diff", run_id(one), run_id(other), columns=80).splitlines()[4:]
    )

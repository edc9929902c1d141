"""The end of a run: failures, logs and the short summary."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rpd.config import Config
from rpd.errors import Cause
from rpd.terminal.end_summary import Style, failures, passes, short_summary
from rpd.terminal.styles import Ink
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.report import NodeReport, Outcome

MakeConfig = Callable[..., Config]
MakeNode = Callable[..., Node]
MakePlan = Callable[..., Plan]
MakeReport = Callable[..., NodeReport]


def test_a_place_is_not_told_twice(make_node: MakeNode, make_report: MakeReport) -> None:
    """The deepest frame is the place, shown last; the frames that led there come before it."""
    report = make_report(make_node(), Outcome.FAILED, reason="boom")
    assert report.failure is not None
    alone = replace(report, failure=replace(report.failure, traceback=report.failure.traceback[2:]))
    place = ["deploy_x.py:14", '>   pod.run(f"python train.py --seed {seed}", cwd=staged_dir)']
    for shown_report, before in ((report, ["deploy_x.py:21", "    run_all(pod)"]), (alone, [])):
        lines = list(failures([shown_report], width=80, verbose=False, ink=Ink(color=False)))
        assert lines[lines.index("boom") + 1 :][: len(before) + 3] == ["", *before, *place]
        assert lines.count("deploy_x.py:14") == 1


@pytest.mark.parametrize("style", [Style(full=True), Style("native"), Style("long")])
def test_a_whole_traceback_is_kept(make_node: MakeNode, make_report: MakeReport, style: Style) -> None:
    """Tracebacks that contain the place are shown unchanged, and it is not repeated."""
    report = make_report(make_node(), Outcome.FAILED, reason="boom")
    assert report.failure is not None
    whole = ("Traceback (most recent call last):", '  File "deploy_x.py", line 14, in f', "ValueError: boom")
    full = replace(report, failure=replace(report.failure, traceback=whole))
    lines = list(failures([full], width=80, verbose=False, ink=Ink(color=False), style=style))
    assert lines[5 : 5 + len(whole)] == list(whole)
    assert "deploy_x.py:14" not in lines


def test_other_ways_to_show_failures(make_node: MakeNode, make_report: MakeReport) -> None:
    """A line for each, nothing at all, or no log: as ``--tb`` and ``--show-capture`` say."""
    reports = [make_report(make_node(seed), Outcome.FAILED, reason="boom\nand more") for seed in (1, 2)]
    ink = Ink(color=False)
    one_line = list(failures(reports, width=80, verbose=False, ink=ink, style=Style("line")))
    assert one_line[2:] == ["deploy_x.py:14: boom"] * 2
    assert list(failures(reports, width=80, verbose=False, ink=ink, style=Style("no"))) == []
    for log, count in ((True, 2), (False, 0)):
        lines = list(failures(reports, width=80, verbose=False, ink=ink, style=Style(log=log)))
        assert lines.count("epoch 3") == count


def test_a_log_is_named_where_there_is_one(
    make_node: MakeNode, make_report: MakeReport, tmp_path: Path
) -> None:
    """A node whose commands wrote nothing, or that had none, has no log to look at."""
    report = replace(make_report(make_node(), Outcome.FAILED, reason="boom"), folder=str(tmp_path))

    def told() -> list[str]:
        lines = failures([report], width=80, verbose=False, ink=Ink(color=False))
        return [line for line in lines if line.startswith("log: ")]

    assert told() == []
    (tmp_path / "output.log").write_text("epoch 3\n")
    assert [Path(line.removeprefix("log: ")).resolve() for line in told()] == [tmp_path / "output.log"]


def test_the_output_of_what_passed(make_node: MakeNode, make_report: MakeReport, tmp_path: Path) -> None:
    """``-rP`` shows the end of the logs of nodes that passed, as a person would have seen them, and no others."""
    reports = []
    for seed, outcome in ((1, Outcome.PASSED), (2, Outcome.FAILED), (3, Outcome.PASSED)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        reports.append(replace(make_report(make_node(seed), outcome), folder=str(folder)))
    for seed in (1, 2):
        lines = b"".join(b"line %d\n" % number for number in range(30))
        (tmp_path / f"{seed}/output.log").write_bytes(lines + b"10%\r100%\x1b[0m")
    lines = list(passes(reports, width=60, ink=Ink(color=False)))
    assert lines[1].strip("=") == " PASSES "
    assert sum("finetune[" in line for line in lines) == 1
    assert lines[4:-1] == [*(f"line {number}" for number in range(11, 30)), "100%"]
    assert list(passes(reports[1:], width=60, ink=Ink(color=False))) == []


def test_many_failures_are_cut_unless_asked_for(make_node: MakeNode, make_report: MakeReport) -> None:
    """Ten at full length, and how many more there are; all with -v."""
    reports = [make_report(make_node(seed), Outcome.ERROR) for seed in range(13)]
    ink = Ink(color=False)
    short = list(failures(reports, width=80, verbose=False, ink=ink))
    assert sum("ERROR in" in line for line in short) == 10
    assert "… and 3 more" in short[-1]
    full = list(failures(reports, width=80, verbose=True, ink=ink))
    assert sum("ERROR in" in line for line in full) == 13


def test_many_interrupted_nodes_are_counted(make_node: MakeNode, make_report: MakeReport) -> None:
    """Ctrl-C in a large sweep ends with one line for all it cut short, and every failure; -v lists them all."""
    reports = [make_report(make_node(seed), Outcome.ERROR, cause=Cause.INTERRUPTED) for seed in range(12)]
    reports.append(make_report(make_node(99), Outcome.FAILED, cause=Cause.CODE, reason="boom"))
    ink = Ink(color=False)
    short = list(short_summary(reports, width=80, verbose=False, crop=False, ink=ink))
    assert short[2:] == [
        "12 nodes were interrupted: -v lists them, `rpd run --lf` reruns them",
        "FAILED deploy_x.py::finetune[deberta-seed99] - code: boom",
    ]
    full = list(short_summary(reports, width=80, verbose=True, crop=False, ink=ink))
    assert len(full[2:]) == 13


def test_interrupted_nodes_are_only_listed(make_node: MakeNode, make_report: MakeReport) -> None:
    """Ctrl-C does not fill the screen with failures there is nothing to mend in; the cause is not said twice."""
    reason = "interrupted: python train.py"
    report = make_report(make_node(), Outcome.ERROR, cause=Cause.INTERRUPTED, reason=reason)
    ink = Ink(color=False)
    assert list(failures([report], width=80, verbose=False, ink=ink)) == []
    assert list(failures([report], width=80, verbose=True, ink=ink)) != []
    *_, line = short_summary([report], width=80, verbose=False, crop=False, ink=ink)
    assert line == "ERROR deploy_x.py::finetune[deberta-seed42] - interrupted: python train.py"

"""The table of results fits the screen and names the columns it left out."""

from collections.abc import Callable
from dataclasses import replace

from rich.cells import cell_len

from rpd.terminal.results_table import tables
from rpd.terminal.styles import Ink
from rpd.values.node import Node
from rpd.values.report import NodeReport, Outcome

MakeNode = Callable[..., Node]
MakeReport = Callable[..., NodeReport]
INK = Ink(color=False)


def test_columns_that_do_not_fit_are_named(make_node: MakeNode, make_report: MakeReport) -> None:
    """Columns with equal rows go first, then metrics from the right; no line is wider than the screen."""
    reports = [
        make_report(make_node(seed), metrics={f"metric_{n}": n / seed for n in range(1, 13)})
        for seed in (1, 2, 3)
    ]
    lines = list(tables(reports, width=60, verbose=False, ink=INK))
    assert max(map(cell_len, lines[:-1])) < 60
    assert "seed" in lines[2]
    assert "metric_1" in lines[2]
    assert "backbone" not in lines[2]
    assert "backbone, " in lines[-1]
    assert "metric_12" in lines[-1]
    assert lines[-1].endswith("in results.csv")


def test_many_rows_are_cut_unless_asked_for(make_node: MakeNode, make_report: MakeReport) -> None:
    """Forty rows, and how many more there are; all with -v."""
    reports = [make_report(make_node(seed)) for seed in range(100, 150)]
    short = list(tables(reports, width=80, verbose=False, ink=INK))
    assert sum("passed" in line for line in short) == 40
    assert short[-1] == "… 10 more rows in results.csv"
    full = list(tables(reports, width=80, verbose=True, ink=INK))
    assert sum("passed" in line for line in full) == 50


def test_a_lone_node_without_metrics_needs_no_table(make_node: MakeNode, make_report: MakeReport) -> None:
    """Facts of the line above are not repeated."""
    report = make_report(make_node())
    assert list(tables([report], width=80, verbose=False, ink=INK)) == []
    assert list(tables([replace(report, metrics={"f1": 0.5})], width=80, verbose=False, ink=INK)) != []


def test_wide_characters_keep_the_columns_straight(make_node: MakeNode, make_report: MakeReport) -> None:
    """Characters of two columns count as two."""
    reports = [make_report(make_node(1, "日本語")), make_report(make_node(2, "x"), Outcome.SKIPPED)]
    lines = list(tables(reports, width=80, verbose=False, ink=INK))
    places = {
        cell_len(line[: line.index(word)])
        for line, word in zip(lines[3:5], ("passed", "skipped"), strict=True)
    }
    assert len(places) == 1


def test_a_parameter_and_a_metric_of_one_name_are_told_apart(
    make_node: MakeNode, make_report: MakeReport
) -> None:
    """The metric's column carries its kind, as in results.csv; so does one named like a column of rpd's own."""
    reports = [make_report(make_node(seed), metrics={"seed": seed / 10, "time": 1}) for seed in (1, 2)]
    titles = next(iter(list(tables(reports, width=120, verbose=False, ink=INK))[2:])).split()
    assert titles == ["backbone", "seed", "outcome", "metric.seed", "metric.time", "time", "$"]


def test_texts_use_the_room_there_is(make_node: MakeNode, make_report: MakeReport) -> None:
    """A long parameter is whole on a wide screen; on a narrow one its distinguishing part is left."""
    names = ["meta-llama/Llama-3.1-8B-Instruct-seed1", "meta-llama/Llama-3.1-8B-Instruct-seed2"]
    reports = [make_report(make_node(seed, name)) for seed, name in enumerate(names)]
    for width in (60, 80, 120, 200):
        lines = list(tables(reports, width=width, verbose=False, ink=INK))
        assert max(map(cell_len, lines)) < width
        assert all(f"seed{seed} " in line for seed, line in zip((1, 2), lines[3:5], strict=True))
        assert (names[0] in lines[3]) is (width > 60)

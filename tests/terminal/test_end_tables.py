"""The lists that ``-r``, ``--durations`` and ``--costs`` ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rpd.terminal import end_tables
from rpd.terminal.styles import Ink
from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, PodRecord, Result

INK = Ink(color=False)


def report(name: str, *, usd: float | None = None, **phases: float) -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=f"a.py::{name}", job=name, file="a.py", line=1),
        result=Result(outcome=Outcome.PASSED, phases=phases),
        pod=None if usd is None else PodRecord(id="p", name="rpd-p", gpu="NVIDIA L4", count=2),
        cost=CostRecord(estimated_usd=usd or 0.0, rate_usd_per_hr=0.78, billed_seconds=3700),
    )


@pytest.mark.parametrize(
    ("chars", "names"),
    [
        ("fE", {"failed", "error"}),
        ("", set()),
        ("sxXp", {"skipped", "xfailed", "xpassed", "passed"}),
        ("u", {"pruned"}),
        ("a", {"failed", "error", "skipped", "xfailed", "xpassed", "pruned"}),
        ("A", {outcome.value for outcome in Outcome}),
        ("AN", set()),
        ("ANf", {"failed"}),
        ("wf", {"failed"}),
    ],
)
def test_letters_stand_for_outcomes(chars: str, names: set[str]) -> None:
    """The letters are pytest's; ``N`` takes back those before it."""
    assert {outcome.value for outcome in end_tables.outcomes_of(chars)} == names


@pytest.mark.parametrize(
    ("chars", "wanted"), [("w", True), ("fw", True), ("wN", False), ("wNfw", True), ("A", False)]
)
def test_notices_have_a_letter(chars: str, wanted: bool) -> None:
    """``w`` asks for the notices."""
    assert end_tables.wants_notices(chars) is wanted


@pytest.mark.parametrize(
    ("chars", "wanted"), [("P", True), ("A", True), ("PN", False), ("p", False), ("NfP", True), ("a", False)]
)
def test_output_of_what_passed_has_a_letter(chars: str, wanted: bool) -> None:
    """``P`` asks for the output of nodes that passed, and ``A`` for everything."""
    assert end_tables.wants_passes(chars) is wanted
    assert end_tables.outcomes_of("P") == frozenset()


def durations(*reports: NodeReport, number: int = 0, verbose: bool = False) -> list[str]:
    return list(end_tables.durations(reports, number=number, least=1.0, verbose=verbose, width=60, ink=INK))[
        2:
    ]


def test_durations_are_those_of_all_phases() -> None:
    """All phases of all nodes are in one list, the slowest first."""
    result = durations(report("a", setup=2.5, job=75), report("b", job=9))
    assert result == ["  1m15s  job    a.py::a", "  9.00s  job    a.py::b", "  2.50s  setup  a.py::a"]


def test_quick_phases_are_counted_not_shown() -> None:
    """Phases below the least duration are only counted, unless all were asked for."""
    some = (report("a", setup=0.5, job=3), report("b", job=0.1))
    assert durations(*some) == ["  3.00s  job  a.py::a", "(2 durations below 1 s: -vv shows all)"]
    assert len(durations(*some, verbose=True)) == 3
    assert durations(*some, number=1) == ["  3.00s  job  a.py::a"]


def test_no_phases_no_section() -> None:
    """Where nothing was measured there is no section."""
    assert (
        list(end_tables.durations([report("a")], number=3, least=0, verbose=False, width=60, ink=INK)) == []
    )


def test_costs_are_those_of_nodes_on_pods() -> None:
    """The most expensive nodes come first, with pod, time and price; nodes without a pod are left out."""
    some = [report("a", usd=0.5), report("b"), report("c", usd=12.0)]
    lines = list(end_tables.costs(some, number=0, width=60, ink=INK))[2:]
    assert lines == ["$12.00  a.py::c  2x L4 1h01m at $0.78/h", " $0.50  a.py::a  2x L4 1h01m at $0.78/h"]
    assert len(list(end_tables.costs(some, number=1, width=60, ink=INK))) == 3
    assert list(end_tables.costs([report("b")], number=0, width=60, ink=INK)) == []


def test_a_pod_without_a_known_price_is_listed_without() -> None:
    """Where the price is not known none is made up."""
    free = replace(report("a", usd=0.0), cost=CostRecord(billed_seconds=5))
    assert list(end_tables.costs([free], number=0, width=60, ink=INK))[-1] == "$0.00  a.py::a  2x L4 5.00s"


def test_a_notice_is_listed_once() -> None:
    """The same sentence is not repeated; without any there is no section."""
    assert list(end_tables.notices(["x", "y", "x"], width=30, ink=INK))[2:] == ["x", "y"]
    assert list(end_tables.notices([], width=30, ink=INK)) == []

"""The rows of the board: their changes by events, and the cost of the nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rpd.terminal.board_rows import Rows
from rpd.terminal.styles import Ink
from rpd.values.pod import PodInfo


@pytest.fixture
def rows(clock: Callable[[], float]) -> Rows:
    made = Rows(Ink(color=False), clock)
    made.begin("a", "fit[1]")
    return made


def test_a_refused_offer_costs_nothing(rows: Rows, clock: Any) -> None:
    """A node pays from the moment its pod is asked for; a refusal takes that back."""
    rows.pod_event("a", "intent", {"offer": "A40", "usd_per_hr": 3.6})
    clock.now = 1000
    assert rows.usd == pytest.approx(1.0)
    rows.pod_event("a", "refused", {"offer": "A40", "reason": "no machine"})
    assert (rows.usd, rows.usd_per_hr) == (0.0, 0.0)
    [row] = rows.all()
    assert (row.state, row.last_line) == ("refused", "A40: no machine")


def test_another_attempt_adds_to_what_the_first_cost(rows: Rows, clock: Any, pod: PodInfo) -> None:
    rows.pod_event("a", "created", {"usd_per_hr": 3.6})
    clock.now = 1000
    rows.pod_event("a", "lost", {})
    clock.now = 2000
    assert rows.usd == pytest.approx(1.0)
    rows.pod_event("a", "intent", {"usd_per_hr": 7.2})
    clock.now = 2500
    assert rows.usd == pytest.approx(2.0)


def test_a_node_that_shares_a_pod_bears_its_part(rows: Rows, clock: Any, pod: PodInfo) -> None:
    clock.now = 500
    rows.pod_joined("a", pod, 0.5)
    assert rows.usd_per_hr == pytest.approx((pod.usd_per_hr or 0) / 2)
    assert rows.usd == pytest.approx(rows.usd_per_hr * 500 / 3600)


def test_the_newest_line_is_shown_and_whole_ones_are_returned(rows: Rows) -> None:
    assert rows.output("a", b"one\ntw") == ["one"]
    assert rows.all()[0].last_line == "tw"
    assert rows.step_finished("a") == ["tw"]


def test_events_of_a_node_that_is_over_are_passed_over(rows: Rows, pod: PodInfo) -> None:
    rows.end("a")
    rows.pod_event("a", "created", {})
    rows.utilization("a", 50.0)
    rows.sent("a", 1, 2)
    assert rows.pod_ready("a", pod) is None
    assert rows.all() == []

"""Ranking: the order of values."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.values.report import NodeRecord, NodeReport, Outcome, Result
from rpd.values.sort_order import Ranking, columns, ranked


def report(name: str, **metrics: Any) -> NodeReport:
    node = NodeRecord(id=name, job="j", file="f", line=1, parameters={"name": name})
    return NodeReport(node=node, result=Result(outcome=Outcome.PASSED), metrics=metrics)


@pytest.mark.parametrize(
    ("text", "column", "descending"),
    [("loss", "loss", False), ("acc:desc", "acc", True), ("acc:asc", "acc", False), ("a:b", "a:b", False)],
)
def test_parse(text: str, column: str, descending: bool) -> None:
    """A name, with ``:desc`` the greatest first; a colon that says neither belongs to the name."""
    assert Ranking.parse(text) == Ranking(column=column, descending=descending)


@pytest.mark.parametrize("text", ["", " ", ":desc"])
def test_a_ranking_needs_a_name(text: str) -> None:
    """Nothing to rank by is refused, with the rule."""
    with pytest.raises(ValueError, match="NAME:desc"):
        Ranking.parse(text)


@given(
    st.lists(st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=3), st.booleans())),
    st.booleans(),
)
def test_ranked_is_a_permutation_in_order(values: list[Any], descending: bool) -> None:
    """Nothing is lost, numbers are in order, and rows without a value (or with NaN) come last either way."""
    given_reports = [report(str(n), **({} if v is None else {"m": v})) for n, v in enumerate(values)]
    result = ranked(given_reports, Ranking(column="m", descending=descending))
    assert sorted(r.node.id for r in result) == sorted(r.node.id for r in given_reports)
    has_value = ["m" in r.metrics and r.metrics["m"] == r.metrics["m"] for r in result]
    assert has_value == sorted(has_value, reverse=True)
    numbers = [float(r.metrics["m"]) for r in result if isinstance(r.metrics.get("m"), int | float)]
    numbers = [n for n in numbers if not math.isnan(n)]
    assert numbers == sorted(numbers, reverse=descending)


def test_columns() -> None:
    """Parameters and metrics of any report can be ranked by, and time and money."""
    assert columns([report("a", x=1), report("b", y=2)]) == ("outcome", "seconds", "usd", "name", "x", "y")

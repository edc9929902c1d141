"""Lines of metrics: the accepted forms, and that no line of a pod does harm."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rpd.values.report import SeriesRecord
from rpd.values.series import LONGEST_NAME, LinePatterns, Point, points_of

NAMES = st.text(
    st.characters(categories=["L", "N"], include_characters="/_.-"), min_size=1, max_size=30
).filter(lambda name: name not in ("step", "time"))
VALUES = st.dictionaries(NAMES, st.floats(), min_size=1, max_size=5)
STEPS = st.none() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6)


def same(value: float, other: float) -> bool:
    return value == other or (math.isnan(value) and math.isnan(other))


@given(values=VALUES, step=STEPS)
def test_both_ways_to_write_a_line_say_the_same(values: dict[str, float], step: float | None) -> None:
    """A JSON object, and words with an equals sign: NaN and infinities too, with a step or without."""
    stepped = {} if step is None else {"step": step}
    as_object = json.dumps({**values, **stepped, "time": "now", "phase": "eval", "ok": True}).encode()
    as_words = " ".join(f"{name}={value!r}," for name, value in {**stepped, **values}.items()).encode()
    for line in (as_object, as_words):
        points = points_of(line + b"\r")
        assert [point.name for point in points] == list(values)
        assert all(same(point.value, values[point.name]) for point in points)
        assert all(point.step == step for point in points)


def understood(line: bytes) -> list[Point]:
    try:
        return points_of(line)
    except ValueError as error:
        if len(str(error)) > 400:
            raise
        return []


@given(
    line=st.binary(max_size=300)
    | st.text(st.sampled_from('{}[]":,=-.einfNa0123456789 \x1b\u202e\ud800'), max_size=200).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
)
@example(line=b'{"a\\ud800": 1}')
def test_no_line_does_harm(line: bytes) -> None:
    """A line is understood or refused in one sentence; names of series never act on a terminal."""
    for point in understood(line):
        assert point.name.isprintable()
        assert 0 < len(point.name) <= LONGEST_NAME
        assert point.step is None or math.isfinite(point.step)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"[" * 30_000, "expected"),
        (b'{"a":' * 10_000, "nested too deep|not a JSON object"),
        (b'{"a": 1' + b"0" * 70_000, "longer than 64 KiB"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "not a JSON object"),
        (b'{"a": 1' + b"0" * 400 + b"}", "no number"),
        (b'{"step": "x", "a": 1}', "as step"),
        (b'{"step": NaN, "a": 1}', "as step"),
        (b'{"step": 1}', "no number"),
        (b"loss=low", "expected a number: loss=low"),
        (b"hello", "expected {"),
        (b"{" + b",".join(b'"%d":1' % n for n in range(2000)) + b"}", "more than 1000"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: bytes, said: str) -> None:
    """Deep, long and odd lines are refused with the reason."""
    with pytest.raises(ValueError, match=said):
        points_of(line)


def test_patterns_find_values_in_output() -> None:
    """Groups are series, ``step`` the step; ``name`` and ``value`` find any number of them."""
    named = LinePatterns([r"epoch (?P<step>\d+).*? loss[ =](?P<loss>\S+?),? acc=(?P<acc>\S+)"])
    assert list(named.points_of("[1/9] epoch 3 loss 0.25, acc=nope")) == [Point("loss", 3, 0.25)]
    every = LinePatterns([r"\bstep=(?P<step>\d+)|(?P<name>\w+)=(?P<value>\S+)"])
    assert list(every.points_of("step=7 a=1 b=-inf c=x")) == [Point("a", 7, 1.0), Point("b", 7, -math.inf)]
    for wrong in (r"loss=(\S+)", r"(?P<step>\d+)", r"(?P<name>\w+)", "("):
        with pytest.raises(ValueError, match=r"named groups|not a regular expression"):
            LinePatterns([wrong])


def test_a_summary_passes_over_nan() -> None:
    """NaN is the last value where it came last, and never the least or greatest."""
    record = SeriesRecord()
    for step, value in enumerate([math.nan, 2.0, -1.0, math.inf, math.nan]):
        record = record.with_point(step, value)
    assert math.isnan(record.last)
    assert (record.points, record.last_step) == (5, 4)
    assert (record.min, record.min_step, record.max, record.max_step) == (-1.0, 2, math.inf, 3)

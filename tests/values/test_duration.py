"""Durations: the forms that people write, in seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.config.texts import duration, minutes
from rpd.values.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("60m", 3600), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400), (" 1 h 30 m ", 5400), ("90", 90),
     (0.5, 0.5), (7, 7), ("1H", 3600)],
)  # fmt: skip
def test_durations_are_seconds(text: str | float, seconds: float) -> None:
    """Days, hours, minutes and seconds add up; a bare number is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "1x",
        "m",
        "1h30",
        "-5m",
        "0",
        0,
        -1,
        True,
        None,
        "inf",
        "nan",
        float("nan"),
        float("inf"),
        [5],
    ],
)
def test_everything_else_is_refused(text: object) -> None:
    """Anything that is no duration above zero is a ValueError with the expected forms."""
    with pytest.raises(ValueError, match='expected a duration such as "90s", "60m" or "1h30m"'):
        parse_duration(text)  # type: ignore[arg-type]


def test_the_rule_names_the_unit_of_a_bare_number() -> None:
    """If a bare number means minutes, the error does not offer seconds."""
    assert minutes("90") == minutes("90m") == 5400
    with pytest.raises(ValueError, match="or a number of minutes"):
        minutes("x")
    with pytest.raises(ValueError, match="or a number of seconds"):
        duration("x")


@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from("dhms")), min_size=1, max_size=4))
def test_parts_add_up(parts: list[tuple[int, str]]) -> None:
    """Any sequence of numbers with units is their sum."""
    total = sum(number * {"d": 86400, "h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
    text = "".join(f"{number}{unit}" for number, unit in parts)
    if total:
        assert parse_duration(text) == total
    else:
        with pytest.raises(ValueError):
            parse_duration(text)


@given(st.floats(0.01, 1e6))
def test_shown_durations_are_close(seconds: float) -> None:
    """A shown duration can be read again, right to its last unit."""
    shown = parse_duration(format_duration(seconds)) if format_duration(seconds) != "0.00s" else 0.0
    unit = 0.005 if seconds < 10 else 0.5 if seconds < 3600 else 60 if seconds < 172_799 else 1800
    assert abs(shown - seconds) <= unit + 1e-6


def test_shown_durations_are_short() -> None:
    """Seconds, minutes and hours as one reads them on a screen."""
    assert [format_duration(s) for s in (0.416, 9.996, 12, 59.7, 192, 3599.6, 7500, 172_799, 172_800, 604_799)] == [
        "0.42s", "10.00s", "12s", "1m00s", "3m12s", "1h00m", "2h05m", "47h59m", "2d00h", "7d00h",
    ]  # fmt: skip

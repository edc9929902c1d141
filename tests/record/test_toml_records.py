"""Values and records survive the way into TOML and back."""

import datetime as dt
import enum
import pathlib
import tomllib
from dataclasses import dataclass

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import RpdError
from rpd.record.toml_records import from_table, to_table, toml_value
from rpd.values.report import Result


class Color(enum.Enum):
    RED = "red"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


class Scalar:
    """A scalar as array libraries have it: no shape, and ``item()``."""

    shape = ()

    def __init__(self, value: object) -> None:
        self._value = value

    def item(self) -> object:
        return self._value


def train() -> None: ...


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        (True, True),
        (2**70, str(2**70)),
        (-(2**63), -(2**63)),
        ((1, "a", None), [1, "a", "None"]),
        ({3, 1}, [1, 3]),
        ({1: "a", "b": {2.5: None}}, {"1": "a", "b": {"2.5": "None"}}),
        (Color.RED, "red"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (train, "train"),
        (Scalar, "Scalar"),
        (Scalar(0.5), 0.5),
        (Scalar(True), True),
        (b"\x00", repr(b"\x00")),
        (1 + 2j, "(1+2j)"),
        (dt.date(2026, 1, 2), dt.date(2026, 1, 2)),
        (dt.time(1, tzinfo=dt.UTC), "01:00:00+00:00"),
        (Broken(), "<Broken>"),
        ("\ud800", "\\ud800"),
    ],
)
def test_values_are_normalised(value: object, expected: object) -> None:
    """Each kind of value becomes the nearest thing TOML has, with the same type of number."""
    made = toml_value(value)
    assert made == expected
    assert type(made) is type(expected)


def test_a_container_that_holds_itself_is_written() -> None:
    """Endless nesting ends in text instead of an error."""
    loop: list[object] = []
    loop.append(loop)
    assert "v" in tomllib.loads(tomli_w.dumps({"v": toml_value(loop)}))


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(),
        st.binary(),
        st.dates(),
        st.times(),
        st.datetimes(timezones=st.none() | st.timezones()),
        st.complex_numbers(),
        st.decimals(),
        st.fractions(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text() | st.integers() | st.none(), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(value=ANYTHING)
def test_a_normalised_value_round_trips(value: object) -> None:
    """A value that toml_value returns is read back equal, and normalising it again changes nothing."""
    made = toml_value(value)
    assert tomllib.loads(tomli_w.dumps({"v": made}))["v"] == made
    assert toml_value(made) == made


@dataclass(frozen=True, kw_only=True)
class Sample:
    name: str
    size: float = 0.0
    tags: tuple[str, ...] = ()
    code: int | None = None


def test_a_record_is_read_back_and_unknown_keys_are_passed_over() -> None:
    """A newer rpd may have written more; a whole number serves where a number is expected."""
    table = {**to_table(Sample(name="a", tags=("x",))), "size": 3, "later": 1}
    assert from_table(Sample, table, "f: [s]") == Sample(name="a", size=3.0, tags=("x",))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"f: \[s\]: name is missing \(expected a string\)"),
        ({"name": 1}, r"f: \[s\] name: expected a string, got 1"),
        ({"name": "a", "code": True}, r"f: \[s\] code: expected a whole number, got True"),
        ({"name": "a", "tags": [1]}, r"f: \[s\] tags: expected a list of strings, got \[1\]"),
        (7, r"f: \[s\]: expected a table, got 7"),
    ],
)
def test_a_wrong_table_is_told_with_its_key(table: object, message: str) -> None:
    """The error names the place, the key, the expected and the actual value."""
    with pytest.raises(RpdError, match=message):
        from_table(Sample, table, "f: [s]")


def test_an_unknown_outcome_lists_the_known_ones() -> None:
    """A word that is no outcome is reported with those that are."""
    with pytest.raises(RpdError, match=r"outcome: expected one of passed, failed, .*, got 'fine'"):
        from_table(Result, {"outcome": "fine"}, "f: [result]")

"""Frozen classes: they behave as the frozen dataclasses they stand for."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.values.frozen import EMPTY, Declared, field_names, frozen, replace


@frozen
class Ours:
    """A class of ours."""

    name: str
    count: int = 1
    held: Mapping[str, Any] = EMPTY

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("expected a count >= 0")

    @property
    def twice(self) -> int:
        return 2 * self.count


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """The dataclass with the same fields."""

    name: str
    count: int = 1
    held: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@frozen(kw_only=False)
class Pair:
    left: Any
    right: Any = None


@frozen(eq=False, hidden=("secret",))
class Single:
    seen: int
    secret: int = 0


fields = st.fixed_dictionaries(
    {"name": st.text()},
    optional={"count": st.integers(min_value=0), "held": st.dictionaries(st.text(), st.text())},
)


@given(first=fields, second=fields)
def test_frozen_equals_dataclass(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Values, equality, ``asdict``, ``replace`` and copies are those of the dataclass with the same fields."""
    ours, theirs = Ours(**first), Theirs(**first)
    assert {name: getattr(ours, name) for name in field_names(Ours)} == {
        name: getattr(theirs, name) for name in field_names(Theirs)
    }
    assert (ours == Ours(**second)) == (theirs == Theirs(**second))
    assert dataclasses.asdict(replace(ours, **second), dict_factory=dict).items() >= second.items()
    assert replace(ours, **second) == dataclasses.replace(ours, **second)
    if "held" in first:
        assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
        assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
        assert pickle.loads(pickle.dumps(ours)) == copy.deepcopy(ours) == copy.copy(ours) == ours


def test_equal_values_have_one_hash() -> None:
    """Equal values are one key of a dict; values of another class are never equal to them."""
    assert len({Pair(1, "a"), Pair(1, "a"), Pair(1), Pair(left=1)}) == 2
    assert Pair(1, None) != (1, None)
    assert Pair("x") != Ours(name="x")


def test_identity_is_kept_where_it_is_asked_for() -> None:
    """With ``eq=False`` an instance equals itself only."""
    one = Single(seen=1)
    assert one == one
    assert one != Single(seen=1)
    assert len({one, Single(seen=1)}) == 2


def test_hidden_fields_are_not_shown() -> None:
    """Hidden fields are missing from the ``repr`` and nowhere else."""
    assert repr(Single(seen=1, secret=2)) == "Single(seen=1)"
    assert Single(seen=1, secret=2).secret == 2


def test_uncompared_fields_do_not_count() -> None:
    """Uncompared fields make no difference to equality or hash, and ``fields`` says so."""

    @frozen(uncompared=("place",))
    class Found:
        name: str
        place: str = ""

    assert Found(name="x", place="a") == Found(name="x", place="b") != Found(name="y")
    assert len({Found(name="x", place="a"), Found(name="x", place="b")}) == 1
    assert [f.compare for f in dataclasses.fields(Found)] == [True, False]


def test_nothing_can_be_changed() -> None:
    """Neither a field nor a new attribute can be set, nor a field deleted, nor the default mapping filled."""
    ours = Ours(name="x")
    with pytest.raises(dataclasses.FrozenInstanceError, match="count"):
        ours.count = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        ours.other = 2  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del ours.name
    with pytest.raises(TypeError):
        ours.held["x"] = 1  # type: ignore[index]
    assert not hasattr(ours, "__dict__")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ours(), "missing 1 required .*'name'"),
        (lambda: Ours(name="x", counts=1), "unexpected keyword argument 'counts'"),
        (lambda: Ours(counts=1), "unexpected keyword argument 'counts'"),
        (lambda: Ours("x"), "positional"),
        (lambda: Pair(), "missing 1 required .*'left'"),
        (lambda: Pair(1, 2, 3), "left, right once"),
        (lambda: Pair(1, left=1), "left, right once"),
        (lambda: replace(Ours(name="x"), counts=1), "unexpected keyword argument 'counts'"),
    ],
)
def test_wrong_fields_are_told(make: Any, message: str) -> None:
    """Fields that are unknown, missing, given twice or given by position where they have none are a TypeError."""
    with pytest.raises(TypeError, match=message):
        make()


def test_post_init_checks_every_instance() -> None:
    """``__post_init__`` is called for new instances and for replaced ones."""
    with pytest.raises(ValueError, match="count"):
        Ours(name="x", count=-1)
    with pytest.raises(ValueError, match="count"):
        replace(Ours(name="x"), count=-1)
    assert Ours(name="x", count=2).twice == 4


def test_readers_of_a_class_see_a_dataclass() -> None:
    """``fields``, ``is_dataclass``, ``inspect.signature`` and ``__doc__`` give the results of a dataclass."""
    assert dataclasses.is_dataclass(Ours)
    assert dataclasses.is_dataclass(Ours(name="x"))
    assert [(f.name, f.type) for f in dataclasses.fields(Ours)] == [
        (f.name, f.type) for f in dataclasses.fields(Theirs)
    ]
    assert dataclasses.fields(Ours)[1].default == 1
    assert str(inspect.signature(Pair)) == "(left: 'Any', right: 'Any' = None) -> None"
    assert Ours.__doc__ == "A class of ours."
    assert Ours.__qualname__ == "Ours"
    match Pair(1, 2):
        case Pair(left, right):
            assert (left, right) == (1, 2)


def test_declared_default_is_its_value() -> None:
    """A default that knows more than its value counts as the value."""

    class Setting(Declared):
        def __init__(self, default: Any, help: str) -> None:  # noqa: A002
            super().__init__(default)
            self.help = help

    def setting(default: Any, text: str) -> Any:
        return Setting(default, text)

    @frozen
    class Config:
        width: int = setting(3, "how wide")

    assert Config().width == 3


def test_a_class_with_its_own_init_has_the_signature_of_that() -> None:
    """Its signature shows that it is not made from its fields."""

    @frozen
    class Sum:
        total: int

        def __init__(self, *parts: int) -> None:
            object.__setattr__(self, "total", sum(parts))

    assert str(inspect.signature(Sum)) == "(*parts: 'int') -> 'None'"
    assert Sum(1, 2).total == 3


def test_a_class_that_is_made_often_behaves_as_before() -> None:
    """Its ``__init__`` is compiled meanwhile; values, defaults, checks and errors stay the same."""

    @frozen
    class Point:
        x: int
        y: int = 2
        values: Mapping[str, Any] = EMPTY

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("expected x >= 0")

    first = Point.__init__
    made = [Point(x=number) for number in range(100)]
    assert Point.__init__ is not first
    assert [(point.x, point.y, point.values) for point in made] == [(n, 2, EMPTY) for n in range(100)]
    assert replace(made[3], y=7) == Point(x=3, y=7) != made[3]
    with pytest.raises(ValueError, match="x >= 0"):
        Point(x=-1)
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) missing .*'x'"):
        Point(y=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) got an unexpected keyword argument 'z'"):
        Point(x=1, z=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Point(1)  # type: ignore[misc]


def test_so_does_one_whose_fields_go_by_position() -> None:
    """After as before, they may be given either way, each once."""

    @frozen(kw_only=False)
    class Point:
        x: int
        y: int = 2

    first = Point.__init__
    made = [Point(number) if number % 2 else Point(x=number) for number in range(100)]
    assert Point.__init__ is not first
    assert [(point.x, point.y) for point in made] == [(n, 2) for n in range(100)]
    assert Point(1, 3) == Point(x=1, y=3) == replace(made[1], y=3)
    for wrong in (lambda: Point(1, x=1), lambda: Point(1, 2, 3), lambda: Point()):  # type: ignore[call-arg, misc]
        with pytest.raises(TypeError, match=r"Point\.__init__\(\)"):
            wrong()


def test_a_class_may_have_no_fields() -> None:
    """All its instances are equal, however many there are."""

    @frozen
    class Nothing:
        pass

    made = [Nothing() for _ in range(100)]
    assert len(set(made)) == 1
    assert repr(made[0]).endswith("Nothing()")

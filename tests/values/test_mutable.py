"""Mutable classes: they behave as the dataclasses they stand for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rpd.values.frozen import FEW
from rpd.values.mutable import fresh, mutable


@mutable
class Basket:
    owner: str
    size: int = 3
    label: Callable[[str], str] = lambda name: name.upper()
    items: list[str] = fresh(factory=list)

    def __post_init__(self) -> None:
        self.title = self.label(self.owner)


@pytest.mark.parametrize("made_before", [0, 2 * FEW])
def test_fields_are_given_or_have_defaults_and_change(made_before: int) -> None:
    """Plain defaults are shared, fresh ones are made for each instance, and a function is no method.

    So it is for the first instances, and for those of a class whose ``__init__`` was compiled.
    """
    for _ in range(made_before):
        Basket(owner="early")
    assert Basket(owner="a", items=["given"]).items == ["given"]
    one, other = Basket(owner="a"), Basket(owner="b", size=4)
    one.items.append("apple")
    one.size += 1
    assert (one.title, one.size, one.items) == ("A", 4, ["apple"])
    assert (other.title, other.size, other.items) == ("B", 4, [])
    assert Basket(owner="a") != Basket(owner="a")
    assert len({one, other}) == 2


@pytest.mark.parametrize("made_before", [0, 2 * FEW])
def test_wrong_fields_are_refused(made_before: int) -> None:
    """A field that is missing or unknown is named."""
    for _ in range(made_before):
        Basket(owner="early")
    with pytest.raises(TypeError, match=r"Basket.*owner"):
        Basket()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Basket.*colour"):
        Basket(owner="a", colour="red")  # type: ignore[call-arg]

"""Mutable classes: named fields that change, whose definition costs next to nothing.

They are to ``dataclass(eq=False)`` what the classes of ``rpd.values.frozen`` are to ``dataclass(frozen=True)``: nothing
is compiled for a class before it has made many instances. To type checkers they are dataclasses (PEP 681).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast, dataclass_transform

from rpd.values.frozen import FEW, SELF

T = TypeVar("T")


class _Fresh:
    """A default of which every instance gets its own."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def fresh(*, factory: Callable[[], T]) -> T:
    """Give a field a default that ``factory`` makes for each instance."""
    return cast("T", _Fresh(factory))


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(fresh,))
def mutable(cls: type[T]) -> type[T]:
    """Make the annotated names of a class its fields: given by keyword, compared by identity, changed at will.

    Plain defaults are shared by all instances. ``__post_init__`` is called. Fields are not inherited.
    """
    made: Any = cls
    names = frozenset(cls.__annotations__)
    assigned = {name: vars(cls)[name] for name in names & vars(cls).keys()}
    makers = {name: value.make for name, value in assigned.items() if isinstance(value, _Fresh)}
    shared = {name: value for name, value in assigned.items() if name not in makers}
    check = getattr(cls, "__post_init__", None)
    uses = iter(range(FEW))

    def __init__(self: Any, /, **values: Any) -> None:  # noqa: N807
        # Into the instance: a function that is a default would be a method, if it were found in the class.
        fields = self.__dict__
        fields |= shared
        for name, make in makers.items():
            if name not in values:
                fields[name] = make()
        fields |= values
        if fields.keys() != names:
            wrong = ", ".join(sorted(fields.keys() ^ names))
            raise TypeError(f"{cls.__qualname__}.__init__() takes every required field and no other: {wrong}")
        if check is not None:
            check(self)
        if next(uses, None) is None:
            made.__init__ = _compiled_init(made, shared, makers)

    made.__init__ = __init__
    return cls


def _compiled_init(cls: Any, shared: Mapping[str, Any], makers: Mapping[str, Callable[[], Any]]) -> Any:
    """Return the ``__init__`` of a class that is made often: twice as fast, for the price of compiling it once."""
    space: dict[str, Any] = {f"default_{name}": value for name, value in shared.items()}
    space |= {f"default_{name}": _Fresh(make) for name, make in makers.items()}
    names = cls.__annotations__
    taken = ", ".join(f"{name}=default_{name}" if f"default_{name}" in space else name for name in names)
    body = [f"{SELF}.{name} = {name}" for name in names if name not in makers]
    body += [
        f"{SELF}.{name} = default_{name}.make() if {name} is default_{name} else {name}" for name in makers
    ]
    if hasattr(cls, "__post_init__"):
        body.append(f"{SELF}.__post_init__()")
    exec("\n    ".join([f"def __init__({SELF}, /, *, {taken}):", *body]), space)  # noqa: S102 - of identifiers alone
    made = space["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made

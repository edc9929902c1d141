"""Frozen classes: immutable values with named fields, whose definition costs next to nothing.

The standard library's ``dataclass`` writes and compiles eight functions for each class, whether they are
called or not; for the classes that collecting loads, that was a third of a cold ``rpd collect``. Here all
classes share their functions, and parts that only introspection needs (fields, signature) are made on
request. To everybody else these are frozen dataclasses with slots: to type checkers (PEP 681), and to
``dataclasses.replace``, ``fields``, ``asdict`` and ``is_dataclass``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, dataclass_transform, overload

if TYPE_CHECKING:
    from dataclasses import asdict as asdict
    from dataclasses import replace as replace
else:

    def replace(value, /, **changes):
        """Return ``value`` with some of its fields changed: ``dataclasses.replace``, without loading that."""
        if not hasattr(value, "__declared__"):
            return import_module("dataclasses").replace(value, **changes)
        return type(value)(**{name: getattr(value, name) for name in field_names(type(value))} | changes)

    def asdict(value):
        """Return the fields of ``value`` by name: ``dataclasses.asdict``, which is loaded when it is used."""
        return import_module("dataclasses").asdict(value)


T = TypeVar("T")
V = TypeVar("V")

FEW = 64
"""Instances that a class makes before its ``__init__`` is compiled."""
SELF = "_made_"
"""What a compiled ``__init__`` calls its instance: no name of a field."""


class FrozenDict(dict[str, V]):
    """A dict that cannot be changed, so that it can be shared.

    Unlike a mapping proxy it can be hashed (if its values can), copied, pickled, and walked by ``dataclasses.asdict``.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this mapping cannot be changed")

    __setitem__ = __delitem__ = setdefault = update = __ior__ = pop = popitem = clear = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __copy__(self) -> FrozenDict[V]:
        return self

    def __reduce__(self) -> tuple[type[FrozenDict[V]], tuple[dict[str, V]]]:
        return type(self), (dict(self),)


EMPTY: Mapping[str, Any] = FrozenDict()
"""The mapping to have as a default."""


class Declared:
    """A default that knows more about its field than the value; the class takes ``default`` from it.

    ``name`` is the name of the field, ``kind`` its type as written.
    """

    __slots__ = ("default", "kind", "name")

    def __init__(self, default: Any) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.kind: str = owner.__annotations__[name]


@overload
def frozen(cls: type[T], /) -> type[T]: ...
@overload
def frozen(
    *, kw_only: bool = ..., eq: bool = ..., hidden: tuple[str, ...] = ..., uncompared: tuple[str, ...] = ...
) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen(
    cls: Any = None,
    /,
    *,
    kw_only: bool = True,
    eq: bool = True,
    hidden: tuple[str, ...] = (),
    uncompared: tuple[str, ...] = (),
) -> Any:
    """Make the annotated names of a class its fields: given by keyword, set once, compared and shown by value.

    ``kw_only=False`` lets them be given by position, too; ``eq=False`` compares by identity; ``hidden``
    fields are left out of the ``repr``, ``uncompared`` ones of comparisons. Methods that the class defines
    itself take precedence, and ``__post_init__`` is called. Defaults are shared by all instances, so they
    must be immutable. Fields are not inherited.
    """
    make = partial(_made, kw_only=kw_only, eq=eq, hidden=hidden, uncompared=uncompared)
    return make if cls is None else make(cls)


def field_names(cls: type) -> tuple[str, ...]:
    """Return the names of the fields of a frozen class, in order."""
    names: tuple[str, ...] = cls.__slots__  # type: ignore[attr-defined]
    return names


def declared(cls: type) -> Mapping[str, Declared]:
    """Return the fields of a frozen class whose default is Declared, by name, in order."""
    fields: Mapping[str, Declared] = cls.__declared__  # type: ignore[attr-defined]
    return fields


def _made(
    cls: type, *, kw_only: bool, eq: bool, hidden: tuple[str, ...], uncompared: tuple[str, ...]
) -> type:
    """Return the class with slots and shared methods in the place of ``cls``; nothing is compiled for it."""
    body = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    names = tuple(body.get("__annotations__", ()))
    assigned = {name: body.pop(name) for name in names if name in body}
    declared = {name: value for name, value in assigned.items() if isinstance(value, Declared)}
    defaults = {**assigned, **{name: value.default for name, value in declared.items()}}
    compared = [name for name in names if name not in uncompared]
    values = attrgetter(*compared) if compared else lambda _: ()
    shared: dict[str, Any] = {
        "__qualname__": cls.__qualname__,
        "__slots__": names,
        "__declared__": declared,
        "__match_args__": () if kw_only else names,
        "__declaration__": (defaults, uncompared, kw_only),
        "__dataclass_fields__": _FIELDS,
        "__signature__": _SIGNATURE,
        "__setattr__": _refuse_to_set,
        "__delattr__": _refuse_to_delete,
        "__repr__": _repr_of(tuple(name for name in names if name not in hidden)),
        "__reduce__": _reduced,
        "__replace__": replace,
    }
    if "__init__" in body:  # its own ``__init__`` has the signature
        del shared["__signature__"]
    else:
        body["__init__"] = _init_of(lambda: made, names, defaults, kw_only=kw_only)
    if eq:
        shared["__eq__"] = _eq_of(values)
        if body.get("__hash__") is None:  # Python puts a None there if the class has an ``__eq__``
            body["__hash__"] = _hash_of(values)
    # Slots cannot be added to an existing class, so a new one is made, as ``dataclass(slots=True)`` does. It is made
    # whole: each method that is set on a class later costs as much as ten of these lines.
    made: type = type(cls)(cls.__name__, cls.__bases__, shared | body)
    return made


# --- methods of instances -------------------------------------------------------------------------------------------


def _init_of(
    owner: Callable[[], Any], names: tuple[str, ...], defaults: Mapping[str, Any], *, kw_only: bool
) -> Callable[..., None]:
    """Return an ``__init__`` that needs no compiling, for a class that is about to be made.

    One that is called often compiles a faster one.
    """
    count = len(names)
    setters: list[tuple[str, Callable[[Any, Any], None]]] | None = None
    uses = iter(range(FEW))

    def by_keyword(self: Any, /, **given: Any) -> None:
        nonlocal setters
        values = {**defaults, **given}
        cls = owner()
        if len(values) != count:
            raise _wrong_fields(cls, given, defaults)
        if setters is None:  # many classes never have an instance
            setters = [(name, getattr(cls, name).__set__) for name in names]
        try:
            for name, put in setters:
                put(self, values[name])
        except KeyError:
            raise _wrong_fields(cls, given, defaults) from None
        check = getattr(cls, "__post_init__", None)
        if check is not None:
            check(self)
        if names and next(uses, None) is None:
            cls.__init__ = _compiled_init(cls, names, defaults, kw_only=kw_only)

    def by_position(self: Any, /, *args: Any, **given: Any) -> None:
        if len(args) > count or given.keys() & names[: len(args)]:
            raise TypeError(f"{owner().__qualname__}.__init__() takes each of {', '.join(names)} once")
        by_keyword(self, **dict(zip(names, args, strict=False)), **given)

    return by_keyword if kw_only else by_position


def _compiled_init(cls: Any, names: tuple[str, ...], defaults: Mapping[str, Any], *, kw_only: bool) -> Any:
    """Return the ``__init__`` of a class that is made often: twice as fast, for the price of compiling it once."""
    space: dict[str, Any] = {f"default_{name}": value for name, value in defaults.items()}
    space |= {f"put_{name}": getattr(cls, name).__set__ for name in names}
    taken = ", ".join(f"{name}=default_{name}" if name in defaults else name for name in names)
    body = [f"put_{name}({SELF}, {name})" for name in names]
    if hasattr(cls, "__post_init__"):
        space["check"] = cls.__post_init__
        body.append(f"check({SELF})")
    begin = f"{SELF}, /, *," if kw_only else f"{SELF}, /,"
    exec("\n    ".join([f"def __init__({begin} {taken}):", *body]), space)  # noqa: S102 - of identifiers alone
    made = space["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _wrong_fields(cls: type, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> TypeError:
    """Return the error for fields that do not exist or are missing."""
    names = field_names(cls)
    unknown = [name for name in given if name not in names]
    if unknown:
        return TypeError(f"{cls.__qualname__}.__init__() got an unexpected keyword argument {unknown[0]!r}")
    missing = [name for name in names if name not in given and name not in defaults]
    text = f"missing {len(missing)} required argument{'' if len(missing) == 1 else 's'}"
    return TypeError(f"{cls.__qualname__}.__init__() {text}: {', '.join(map(repr, missing))}")


def _eq_of(values: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash_of(values: Callable[[Any], Any]) -> Callable[[Any], int]:
    return lambda self: hash(values(self))


def _repr_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:  # noqa: N807
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({shown})"

    return __repr__


def _refuse_to_set(_self: object, name: str, _value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_self: object, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _reduced(self: Any) -> Any:
    return _revived, (type(self), tuple(getattr(self, name) for name in field_names(type(self))))


def _revived(cls: type[T], values: tuple[Any, ...]) -> T:
    """Return the instance that was pickled or copied; its values were checked when it was made."""
    made = object.__new__(cls)
    for name, value in zip(field_names(cls), values, strict=True):
        object.__setattr__(made, name, value)
    return made


# --- introspection --------------------------------------------------------------------------------------------------


class _Fields:
    """The attribute ``__dataclass_fields__`` of every frozen class, worked out for those that are asked."""

    def __get__(self, instance: object, owner: type) -> Any:
        return _fields(owner)


class _Signature:
    """The attribute ``__signature__`` of every frozen class; their instances have none."""

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is not None:
            raise AttributeError(owner.__name__)
        from inspect import signature

        return signature(_twin(owner, init=True))


_FIELDS, _SIGNATURE = _Fields(), _Signature()


@cache
def _fields(cls: type) -> Any:
    return _twin(cls, init=False).__dataclass_fields__


def _twin(cls: Any, *, init: bool) -> Any:
    """Return a dataclass with the same fields, which answers questions about them.

    It compiles only its ``__init__``, and that only with ``init``.
    """
    from dataclasses import field, make_dataclass

    defaults, uncompared, kw_only = cls.__declaration__
    fields: list[Any] = []
    for name, kind in cls.__annotations__.items():
        made: dict[str, Any] = {"compare": name not in uncompared}
        if name in defaults and defaults[name].__class__.__hash__ is None:
            made["default_factory"] = partial(defaults.get, name)
        elif name in defaults:
            made["default"] = defaults[name]
        fields.append((name, kind, field(**made)))
    return make_dataclass(
        cls.__name__, fields, init=init, repr=False, eq=False, match_args=False, kw_only=kw_only
    )

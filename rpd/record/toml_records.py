"""Frozen records as TOML tables, and back."""

from __future__ import annotations

import datetime as dt
import functools
import math
import os
import reprlib
import types
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, Field, fields
from enum import Enum, StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from rpd.errors import RpdError

T = TypeVar("T")

_DEEPEST = 16
"""Nesting beyond this (or a container that holds itself) is written as text."""
_LARGEST = 2**63
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100


def toml_value(value: Any) -> Any:
    """Return ``value`` as TOML can hold it, so that writing and reading it gives an equal value. Never fails.

    Numbers of array libraries become plain ones, tuples and sets lists, paths and enumerations their text,
    functions and classes their name, all else, None included, its ``repr``. NaN stays NaN (equal to nothing).
    """
    return _toml_value(value, 0)


def _toml_value(value: Any, depth: int) -> Any:
    try:
        plain = _plain(value, depth)
    except Exception:  # noqa: BLE001 - foreign code (a broken __repr__ or .item()) must not cost a record
        return f"<{type(value).__name__}>"
    return _repr(value) if plain is _NOT_PLAIN else plain


_NOT_PLAIN = object()


def _plain(value: Any, depth: int) -> Any:
    match value:
        case Enum():
            return _plain(value.value, depth)
        case bool():
            return value
        case int():
            return int(value) if -_LARGEST <= value < _LARGEST else str(int(value))
        case float():
            return float(value)
        case str():
            return encodable(str(value))
        case dt.datetime() | dt.date() | dt.time():
            return _toml_time(value)
        case os.PathLike():
            return encodable(os.fsdecode(value))
        case Mapping() | list() | tuple() | AbstractSet() if depth < _DEEPEST:
            return _container(value, depth + 1)
        case type() | types.FunctionType() | types.BuiltinFunctionType():
            return value.__qualname__
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of NumPy, PyTorch …
        return _toml_value(value.item(), depth + 1) if depth < _DEEPEST else _NOT_PLAIN
    return _NOT_PLAIN


def _container(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _toml_value(item, depth) for key, item in value.items()}
    items = [_toml_value(item, depth) for item in value]
    return sorted(items, key=repr) if isinstance(value, AbstractSet) else items


def _key(key: Any) -> str:
    return encodable(key) if isinstance(key, str) else str(_toml_value(key, _DEEPEST))


def _toml_time(value: dt.datetime | dt.date | dt.time) -> Any:
    """Return what TOML knows of it: no offset on a time of day, no seconds in an offset, no names of zones."""
    if isinstance(value, dt.datetime):
        offset = value.utcoffset()
        if offset is None:
            return value.replace(fold=0)
        whole = not offset % dt.timedelta(minutes=1)
        return value.replace(tzinfo=dt.timezone(offset), fold=0) if whole else value.isoformat()
    if isinstance(value, dt.time):
        return value.replace(fold=0) if value.tzinfo is None else value.isoformat()
    return value


def encodable(text: str) -> str:
    """Return ``text`` with lone surrogates escaped: a TOML file is UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _repr(value: Any) -> str:
    try:
        return encodable(repr(value))
    except Exception:  # noqa: BLE001 - see above
        return f"<{type(value).__name__}>"


# --- records -----------------------------------------------------------------------------------------------


def to_table(record: Any) -> dict[str, Any]:
    """Return a record (a dataclass of scalars, mappings and tuples) as a table without what is None."""
    values = ((f.name, getattr(record, f.name)) for f in fields(record) if f.compare)
    return {name: toml_value(value) for name, value in values if value is not None}


def from_table(kind: type[T], table: Any, where: str) -> T:
    """Return ``kind`` made of ``table``; keys it does not know belong to a newer rpd and are passed over.

    Raises RpdError that begins with ``where`` for a missing key or a value of another type.
    """
    if not isinstance(table, Mapping):
        raise RpdError(f"{where}: expected a table, got {shown(table)}")
    values: dict[str, Any] = {}
    for declared, hint in _declared(cast("Any", kind)):
        name = declared.name
        if name in table:
            values[name] = _check(hint, table[name], f"{where} {name}")
        elif declared.default is MISSING and declared.default_factory is MISSING:
            raise RpdError(f"{where}: {name} is missing (expected {_describe(hint)})")
    return kind(**values)


def shown(value: Any) -> str:
    """Return a wrong value as an error shows it: short, however large it is."""
    return _SHORT.repr(value)


@functools.cache
def _declared(kind: type[Any]) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(kind)
    return tuple((f, hints[f.name]) for f in fields(kind) if f.compare)


def _check(hint: Any, value: Any, where: str) -> Any:
    for choice in _choices(hint):
        checked = _as(choice, value)
        if checked is not _NOT_PLAIN:
            return checked
    raise RpdError(f"{where}: expected {_describe(hint)}, got {shown(value)}")


def _choices(hint: Any) -> tuple[Any, ...]:
    union = get_origin(hint) in (Union, types.UnionType)
    return tuple(choice for choice in get_args(hint) if choice is not type(None)) if union else (hint,)


def _as(hint: Any, value: Any) -> Any:
    """Return ``value`` as ``hint`` says, or _NOT_PLAIN if it is something else."""
    base = get_origin(hint) or hint
    read = _READERS.get(base)
    if read is not None:
        return read(hint, value)
    if isinstance(base, type) and issubclass(base, StrEnum):
        return base(value) if value in list(base) else _NOT_PLAIN
    return value if type(value) is base else _NOT_PLAIN


def _as_float(_hint: Any, value: Any) -> Any:
    """Seconds and dollars: infinity and NaN are neither, and no number that is derived from them is one."""
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        return _NOT_PLAIN
    return number if math.isfinite(number) else _NOT_PLAIN


def _as_mapping(hint: Any, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _NOT_PLAIN
    items = _read_all(get_args(hint)[1], value.values())
    return _NOT_PLAIN if items is None else dict(zip(value, items, strict=True))


def _as_tuple(hint: Any, value: Any) -> Any:
    items = _read_all(get_args(hint)[0], value) if isinstance(value, list) else None
    return _NOT_PLAIN if items is None else tuple(items)


def _read_all(hint: Any, values: Iterable[Any]) -> list[Any] | None:
    items = list(values) if hint is Any else [_as(hint, item) for item in values]
    return None if any(item is _NOT_PLAIN for item in items) else items


_READERS: dict[Any, Callable[[Any, Any], Any]] = {float: _as_float, Mapping: _as_mapping, tuple: _as_tuple}


def _describe(hint: Any) -> str:
    choice = _choices(hint)[0]
    base = get_origin(choice) or choice
    if isinstance(base, type) and issubclass(base, StrEnum):
        return f"one of {', '.join(base)}"
    if base is Mapping:
        return f"a table{_MANY.get(get_args(choice)[1], '')}"
    if base is tuple:
        return f"a list{_MANY.get(get_args(choice)[0], '')}"
    return _ONE.get(base, str(base))


_ONE = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
_MANY = {str: " of strings", int: " of whole numbers", float: " of numbers"}

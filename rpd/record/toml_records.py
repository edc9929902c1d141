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
from dataclasses import MISSING, fields
from enum import Enum, StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from rpd.errors import RpdError
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.frozen import FrozenDict
from rpd.values.report import Measured

T = TypeVar("T")

_DEEPEST = 16
"""Nesting beyond this (or a container that holds itself) is written as text."""
_LARGEST = 2**63
_CONTAINERS = frozenset({dict, FrozenDict, list, tuple})
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100


def toml_value(value: Any) -> Any:
    """Return ``value`` as TOML can hold it, so that writing and reading it gives an equal value. Never fails.

    Numbers of array libraries become plain ones, tuples and sets lists, paths and enumerations their text,
    functions and classes their name, all else, None included, its ``repr``. NaN stays NaN (equal to nothing).
    """
    return _toml_value(value, 0)


def _toml_value(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return encodable(value)
    if kind is float or kind is bool or (kind is int and -_LARGEST <= value < _LARGEST):
        return value
    try:
        plain = _plain(value, depth)
    except Exception:  # noqa: BLE001 - foreign code (a broken __repr__ or .item()) must not cost a record
        return f"<{type(value).__name__}>"
    return _repr(value) if plain is _NOT_PLAIN else plain


_NOT_PLAIN = object()


def _plain(value: Any, depth: int) -> Any:
    """Return a value in types that TOML has, or ``_NOT_PLAIN``."""
    if type(value) in _CONTAINERS and depth < _DEEPEST:  # the usual ones, before slower questions
        return _container(value, depth + 1)
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
    """Return the time in a form that TOML has: no offset on a time of day, no seconds in an offset, no zone names."""
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
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _repr(value: Any) -> str:
    try:
        return encodable(repr(value))
    except Exception:  # noqa: BLE001 - see above
        return f"<{type(value).__name__}>"


# --- records -----------------------------------------------------------------------------------------------


def to_table(record: Any, redactor: Redactor = NO_SECRETS) -> dict[str, Any]:
    """Return a record (a dataclass of scalars, mappings and tuples) as a table without None values, secrets masked.

    Members of an enumeration are not masked, even if a secret happens to be the same word.
    """
    table = {}
    for name in _written(cast("Any", type(record))):
        value = getattr(record, name)
        kind = type(value)
        if kind is str:
            table[name] = encodable(redactor.text(value))
        elif kind is float or kind is bool:
            table[name] = value
        elif kind is tuple:
            # Secrets are masked before anything is escaped.
            table[name] = toml_value(redactor.data(value)) if value else []
        elif isinstance(value, Mapping):
            table[name] = redactor.data(toml_value(value)) if value else {}
        elif value is not None:
            table[name] = toml_value(value if isinstance(value, Enum) else redactor.data(value))
    return table


@functools.cache
def _written(kind: type) -> tuple[str, ...]:
    """Return the names of the fields of a record that are written."""
    return tuple(field.name for field in fields(kind) if field.compare)


def from_table(kind: type[T], table: Any, where: str) -> T:
    """Return ``kind`` made of ``table``; keys it does not know belong to a newer rpd and are passed over.

    Raise RpdError that begins with ``where`` for a missing key or a value of another type.
    """
    if not isinstance(table, dict):
        raise RpdError(f"{where}: expected a table, got {shown(table)}")
    values: dict[str, Any] = {}
    for name, hint, plain, read, is_needed in _declared(cast("Any", kind)):
        if name in table:
            value = table[name]
            values[name] = value = value if type(value) is plain else read(value)
            if value is _NOT_PLAIN:
                raise RpdError(f"{where} {name}: expected {_describe(hint)}, got {shown(table[name])}")
        elif is_needed:
            raise RpdError(f"{where}: {name} is missing (expected {_describe(hint)})")
    return kind(**values)


def shown(value: Any) -> str:
    """Return a wrong value as an error shows it: short, however large it is."""
    return _SHORT.repr(value)


_Read = Callable[[Any], Any]
"""Returns a value as a type says, or _NOT_PLAIN if it is something else."""


@functools.cache
def _declared(kind: type[Any]) -> tuple[tuple[str, Any, Any, _Read, bool], ...]:
    """Return of each field: name, type, the class whose values need no reader, reader, whether it must be there."""
    hints = get_type_hints(kind)
    return tuple(
        (
            f.name,
            hints[f.name],
            _choices(hints[f.name])[0] if _choices(hints[f.name])[0] in _AS_THEY_ARE else None,
            _reader(hints[f.name]),
            f.default is MISSING and f.default_factory is MISSING,
        )
        for f in fields(kind)
        if f.compare
    )


_AS_THEY_ARE = (str, int, bool)


def _choices(hint: Any) -> tuple[Any, ...]:
    union = get_origin(hint) in (Union, types.UnionType)
    return tuple(choice for choice in get_args(hint) if choice is not type(None)) if union else (hint,)


def _reader(hint: Any) -> _Read:
    readers = tuple(map(_reader_of, _choices(hint)))
    if len(readers) == 1:
        return readers[0]

    def first(value: Any) -> Any:
        read = (reader(value) for reader in readers)
        return next((each for each in read if each is not _NOT_PLAIN), _NOT_PLAIN)

    return first


def _reader_of(hint: Any) -> _Read:
    base = get_origin(hint) or hint
    if base is Measured:
        return _as_measured
    if base is float:
        return _as_float
    if base is Mapping:
        return _reader_of_mapping(get_args(hint)[1])
    if base is tuple:
        return _reader_of_tuple(get_args(hint)[0])
    if isinstance(base, type) and issubclass(base, StrEnum):
        words = {member.value: member for member in base}
        return lambda value: words.get(value, _NOT_PLAIN) if type(value) is str else _NOT_PLAIN
    return lambda value: value if type(value) is base else _NOT_PLAIN


def _as_float(value: Any) -> Any:
    """Seconds and dollars: infinity and NaN are neither, and no number that is derived from them is one."""
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        return _NOT_PLAIN
    return number if math.isfinite(number) else _NOT_PLAIN


def _as_measured(value: Any) -> Any:
    """Return a measurement as a float; a job's values may be infinite, or no numbers at all."""
    try:
        return float(value) if type(value) in (int, float) else _NOT_PLAIN
    except OverflowError:
        return _NOT_PLAIN


def _reader_of_mapping(hint: Any) -> _Read:
    read_all = _reader_of_items(hint)

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return _NOT_PLAIN
        if not value:
            return value
        items = read_all(value.values())
        return _NOT_PLAIN if items is None else dict(zip(value, items, strict=True))

    return read


def _reader_of_tuple(hint: Any) -> _Read:
    read_all = _reader_of_items(hint)

    def read(value: Any) -> Any:
        items = read_all(value) if isinstance(value, list) else None
        return _NOT_PLAIN if items is None else tuple(items)

    return read


def _reader_of_items(hint: Any) -> Callable[[Iterable[Any]], list[Any] | None]:
    if hint is Any:
        return list
    read = _reader(hint)

    def read_all(values: Iterable[Any]) -> list[Any] | None:
        items = []
        for value in values:
            item = read(value)
            if item is _NOT_PLAIN:
                return None
            items.append(item)
        return items

    return read_all


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


_ONE = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    Measured: "a number",
    bool: "true or false",
}
_MANY = {str: " of strings", int: " of whole numbers", float: " of numbers"}

"""Ids of parameter values: the text that a person types after ``-k`` and reads in every report."""

from __future__ import annotations

import enum
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rpd.errors import CollectionError
from rpd.values.mark import HIDDEN_PARAM, ParameterSet

MAX_LENGTH = 100
"""Longer texts appear as their SHA-256."""

MakeId = Callable[[Any, str], str | None]
"""The answer of plugins: (value, argument name) -> id or None."""
GivenIds = Iterable[Any] | Callable[[Any], Any] | None

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\\t", 10: "\\n", 13: "\\r"}


def make_ids(
    argnames: Sequence[str], cells: Sequence[ParameterSet], given: GivenIds, *, make_id: MakeId, strict: bool
) -> list[str | None]:
    """Return one id per cell; None hides the cell from the node id.

    In order of precedence: the id of ``rpd.param``, that in the list ``given``, the result of the function
    ``given`` for each value, the answer of a plugin, the value itself. Equal ids are an error if ``strict``,
    else they are numbered. Raise CollectionError.
    """
    function = given if callable(given) else None
    listed = None if given is None or callable(given) else _listed(given, len(cells))
    ids = [
        _cell_id(argnames, cell, index, listed[index] if listed else None, function, make_id)
        for index, cell in enumerate(cells)
    ]
    if ids.count(None) > 1:
        raise CollectionError("rpd.HIDDEN_PARAM can be the id of one parameter set only")
    return unique_ids(argnames, ids, strict=strict)


def _listed(given: Iterable[Any], count: int) -> list[Any]:
    if isinstance(given, str | bytes):
        raise CollectionError(f"ids: expected a sequence or a function, got {given!r}")
    try:
        total = len(given)  # type: ignore[arg-type]
    except TypeError:
        try:
            return list(itertools.islice(given, count))
        except TypeError:
            raise CollectionError(f"ids: expected a sequence or a function, got {given!r}") from None
    if total not in (count, 0):
        raise CollectionError(f"{count} parameter sets specified, with different number of ids: {total}")
    return list(given) if total else [None] * count


def _cell_id(
    argnames: Sequence[str],
    cell: ParameterSet,
    index: int,
    listed: Any,
    function: Callable[[Any], Any] | None,
    make_id: MakeId,
) -> str | None:
    chosen = listed if cell.id is None else cell.id
    if chosen is HIDDEN_PARAM:
        return None
    if chosen is not None:
        return _given_id(chosen, index)
    return "-".join(
        _value_id(value, argname, index, function, make_id)
        for value, argname in zip(cell.values, argnames, strict=True)
    )


def _given_id(value: Any, index: int) -> str:
    text = plain_id(value)
    if text is None:
        from rpd.values.printable import tellable  # only errors show values

        raise CollectionError(
            f"ids contains unsupported value {tellable(value)!r} (type: {type(value)!r}) at index {index}. "
            "Supported types are: str, bytes, int, float, complex, bool, enum, regex or anything with a __name__."
        )
    return text


def _value_id(
    value: Any, argname: str, index: int, function: Callable[[Any], Any] | None, make_id: MakeId
) -> str:
    """Return the id of one value: from the user's function, a plugin, or the value itself; else name and index."""
    if function is not None:
        try:
            said = function(value)
        except Exception as error:
            error.add_note(
                f"error raised while trying to determine id of parameter {argname!r} at position {index}"
            )
            raise
        text = None if said is None else plain_id(said)
        if text is not None:
            return text
    text = make_id(value, argname)
    if text is not None:
        return text
    if value is None or isinstance(value, int | float | complex):
        try:
            return f"{argname}{value}"
        except ValueError:  # more digits than Python converts
            return f"{argname}{index}"
    if isinstance(value, str | bytes) and len(value) > MAX_LENGTH:
        import hashlib  # few values are that long

        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        return hashlib.sha256(data).hexdigest()
    text = plain_id(value)
    return f"{argname}{index}" if text is None else text


def plain_id(value: Any) -> str | None:
    """Return the id of a value as written, None if it has none."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bytes):
        return value.decode("ascii", "backslashreplace").translate(_CONTROL)
    if value is None or isinstance(value, int | float | complex | bool):
        try:
            return str(value)
        except ValueError:  # more digits than Python converts
            return None
    if isinstance(value, re.Pattern):
        return plain_id(value.pattern)
    if isinstance(value, enum.Enum):
        return str(value)
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else None


def escape(text: str) -> str:
    """Return ``text`` in printable ASCII, other characters as Python escapes."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").translate(_CONTROL)


def unique_ids(argnames: Sequence[str], ids: list[str | None], *, strict: bool) -> list[str | None]:
    """Return ``ids`` with equal ones numbered. Raise CollectionError for equal ones if ``strict``."""
    if len(set(ids)) == len(ids):
        return ids
    if strict:
        raise _duplicate_ids(argnames, ids)
    counts = Counter(ids)
    taken = set(ids)
    numbers: Counter[str | None] = Counter()
    resolved: list[str | None] = []
    for each in ids:
        if each is None or counts[each] == 1:
            resolved.append(each)
            continue
        joint = "_" if each[-1:].isdigit() else ""
        while (candidate := f"{each}{joint}{numbers[each]}") in taken:
            numbers[each] += 1
        taken.add(candidate)
        resolved.append(candidate)
    return resolved


def _duplicate_ids(argnames: Sequence[str], ids: Sequence[str | None]) -> CollectionError:
    shown = ["" if each is None else each for each in ids]
    twice = [each for each, count in Counter(shown).items() if count > 1]
    return CollectionError(
        "Duplicate parametrization IDs detected, but strict_parametrization_ids is set.\n"
        f"Parameters:     {', '.join(argnames)}\n"
        f"Parameter sets: {_short(shown)}\n"
        f"Duplicates:     {_short(twice)}\n"
        "Give each set its own id: ids=[…] or rpd.param(…, id=…). "
        "With strict_parametrization_ids = false rpd numbers them."
    )


def _short(ids: Sequence[str], most: int = 20) -> str:
    more = f", … ({len(ids)} in all)" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more

"""Parameter sets from a file: ``params_from("grid.toml")``, also ``.json`` and ``.csv``."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rpd.errors import DefinitionError
from rpd.user_text import parse_toml, read_text
from rpd.values.mark import ParameterSet, param

SETS = "params"
"""Key of a file whose sets are listed one by one."""
ID = "id"
"""Key in such a set that is no argument but the set's id."""


def params_from(path: str | Path) -> tuple[tuple[str, ...], tuple[ParameterSet, ...]]:
    """Return the argument names and parameter sets in a file, for ``parametrize(*params_from("grid.toml"))``.

    ``path`` is relative to the calling file. Lists of values by name (TOML, JSON) multiply, the first varying
    slowest; ``[[params]]`` tables (TOML), a list of objects (JSON) and the rows of a CSV are one set each,
    with an ``id`` if they have one. In a CSV, numbers, ``true`` and ``false`` are read as in JSON, everything
    else is text. Raise DefinitionError that names the file and the key.
    """
    source = _Source(str(path), Path(_folder_of(sys._getframe(1).f_globals), path))  # noqa: SLF001 - as warnings do
    read = _READERS.get(source.path.suffix.lower())
    if read is None:
        source.refuse("", f"expected a file that ends in {', '.join(_READERS)}", source.path.name)
    names, sets = read(source)
    if not sets:
        source.refuse("", "expected at least one set of parameters", "none")
    for name in names:
        if not name.isidentifier():
            source.refuse("", "expected names of arguments", name)
    return names, sets


def _folder_of(caller: Mapping[str, Any]) -> Path:
    file = caller.get("__file__")
    return Path(file).parent if isinstance(file, str) else Path()


@dataclass(frozen=True)
class _Source:
    """The file being read, and its name in errors."""

    given: str
    path: Path

    def refuse(self, key: str, rule: str, got: object) -> NoReturn:
        """Raise DefinitionError."""
        raise DefinitionError(f'params_from("{self.given}")', key, rule, got) from None

    def text(self) -> str:
        """Return the text of the file."""
        try:
            return read_text(self.path)
        except OSError as error:
            self.refuse("", "expected a file that can be read", f"{self.path}: {error.strerror}")
        except UnicodeDecodeError as error:
            self.refuse("", "expected UTF-8", error.reason)


_Read = tuple[tuple[str, ...], tuple[ParameterSet, ...]]


def _read_toml(source: _Source) -> _Read:
    try:
        return _from_table(source, parse_toml(source.text()))
    except ValueError as error:
        source.refuse("", "expected TOML", str(error))


def _read_json(source: _Source) -> _Read:
    try:
        document = json.loads(source.text())
    except (ValueError, RecursionError) as error:
        source.refuse("", "expected JSON", str(error))
    if isinstance(document, list):
        return _one_by_one(source, document)
    if not isinstance(document, dict):
        source.refuse("", "expected an object of lists, or a list of objects", document)
    return _from_table(source, document)


def _read_csv(source: _Source) -> _Read:
    rows = csv.reader(io.StringIO(source.text(), newline=""))
    try:
        header = [name.strip() for name in next(rows, [])]
        if len({*header}) < len(header):
            source.refuse("", "expected each name once in the first row", ",".join(header))
        return _one_by_one(source, [_row(source, rows.line_num, header, row) for row in rows if row])
    except csv.Error as error:
        source.refuse(f"line {rows.line_num}", "expected CSV", str(error))


def _row(source: _Source, line: int, header: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    if len(row) != len(header):
        source.refuse(f"line {line}", f"expected {len(header)} cells", row)
    cells = zip(header, row, strict=True)
    return {name: (text or None) if name == ID else _cell(text) for name, text in cells}


def _cell(text: str) -> Any:
    """Return the number or boolean that ``text`` is in JSON, else the text."""
    try:
        value = json.loads(text, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int | float) else text


def _from_table(source: _Source, table: Mapping[str, Any]) -> _Read:
    if SETS in table:
        if len(table) > 1:
            others = ", ".join(name for name in table if name != SETS)
            source.refuse("", f"expected lists of values, or {SETS!r} and nothing else", others)
        return _one_by_one(source, table[SETS])
    for name, values in table.items():
        if not isinstance(values, list) or not values:
            source.refuse(name, "expected a list of values", values)
    if ID in table:
        source.refuse(
            ID, f"expected no ids with lists that multiply (sets under {SETS!r} may have one)", table[ID]
        )
    cells = itertools.product(*table.values()) if table else ()
    return tuple(table), tuple(param(*values) for values in cells)


def _one_by_one(source: _Source, sets: Any) -> _Read:
    if not isinstance(sets, list) or not all(isinstance(each, dict) for each in sets):
        source.refuse(SETS, "expected a list of tables, one for each set of parameters", sets)
    names = tuple(name for name in (sets[0] if sets else ()) if name != ID)
    if sets and not names:
        source.refuse(f"{SETS}[0]", "expected values by the names of arguments", sets[0])
    return names, tuple(_set(source, f"{SETS}[{number}]", each, names) for number, each in enumerate(sets))


def _set(source: _Source, where: str, values: Mapping[str, Any], names: Sequence[str]) -> ParameterSet:
    argnames = tuple(name for name in values if name != ID)
    if {*argnames} != {*names}:
        source.refuse(where, f"expected the names of the first set, {', '.join(names)}", ", ".join(argnames))
    chosen = values.get(ID)
    if chosen is not None and (not isinstance(chosen, str) or not chosen):
        source.refuse(f"{where}.{ID}", "expected a string", chosen)
    return param(*(values[name] for name in names), id=chosen)


_READERS: Mapping[str, Callable[[_Source], _Read]] = {
    ".toml": _read_toml,
    ".json": _read_json,
    ".csv": _read_csv,
}

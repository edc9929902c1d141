"""The manifest: one node's report as ``manifest.toml``."""

from __future__ import annotations

import operator
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from rpd.disk.nested import is_deeper
from rpd.disk.regular import read_regular
from rpd.errors import RpdError
from rpd.record import manifest_index, toml_text
from rpd.record.atomic_write import write_whole
from rpd.record.toml_records import encodable, from_table, shown, to_table, toml_value
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.frozen import replace
from rpd.values.report import (
    SCHEMA_VERSION,
    ArtifactRecord,
    AttemptRecord,
    CostRecord,
    EnvironmentRecord,
    Failure,
    NodeRecord,
    NodeReport,
    PodRecord,
    Result,
    SeriesRecord,
    SourceRecord,
)
from rpd.values.step import Step, StepMark

FILE_NAME = manifest_index.MANIFEST
MOST_BYTES = 32 << 20
"""A file of a run that is larger is not read."""
DEEPEST = 64
"""Tables and lists in a manifest may be nested so deep; what jobs record is written at most 16 deep."""

_TABLES: dict[str, type] = {
    "node": NodeRecord,
    "result": Result,
    "pod": PodRecord,
    "cost": CostRecord,
    "source": SourceRecord,
    "environment": EnvironmentRecord,
    "failure": Failure,
}
_LISTS: dict[str, type] = {
    "steps": Step,
    "marks": StepMark,
    "artifacts": ArtifactRecord,
    "attempts": AttemptRecord,
    "pods": PodRecord,
}
_NAMED: dict[str, type] = {"series": SeriesRecord}
_FREE = ("metrics", "variables")
_REQUIRED = ("node", "result")


def document_of(report: NodeReport, redactor: Redactor = NO_SECRETS) -> dict[str, Any]:
    """Return the masked content of the manifest. Never fail: ``toml_value`` normalises values that TOML cannot hold."""
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    for name in _TABLES:
        record = getattr(report, name)
        if record is not None:
            document[name] = to_table(record, redactor)
    for name in _LISTS:
        records = getattr(report, name)
        if records:
            document[name] = [to_table(record, redactor) for record in records]
    for name in _NAMED:
        named = getattr(report, name)
        if named:
            document[name] = {
                encodable(redactor.text(key)): to_table(each, redactor) for key, each in named.items()
            }
    for name in _FREE:
        document[name] = redactor.data(toml_value(getattr(report, name)))
    return document


def dumps(report: NodeReport) -> str:
    """Return the text of the manifest. Never fails."""
    return toml_text.dumps(document_of(report))


def loads(text: str, *, where: str = FILE_NAME) -> NodeReport:
    """Return the report a manifest holds, ``folder`` empty. Raise RpdError, as ``report_of`` does."""
    return report_of(parse(text, where), where)


def report_of(document: Mapping[str, Any], where: str, *, folder: str = "") -> NodeReport:
    """Return the report in a document. Ignore unknown keys.

    Raise RpdError that names ``where`` (the file) and the key for invalid content.
    """
    values: dict[str, Any] = {}
    for name, kind in _TABLES.items():
        if name in document:
            values[name] = from_table(kind, document[name], f"{where}: [{name}]")
        elif name in _REQUIRED:
            raise RpdError(f"{where}: the table [{name}] is missing")
    for name, kind in _LISTS.items():
        if name in document:
            values[name] = _records(kind, document[name], f"{where}: [[{name}]]")
    for name, kind in _NAMED.items():
        values[name] = _named(kind, document.get(name, {}), f"{where}: [{name}]")
    for name in _FREE:
        values[name] = document.get(name, {})
        if not isinstance(values[name], dict):
            raise RpdError(f"{where}: {name}: expected a table, got {shown(values[name])}")
    return NodeReport(**values, folder=folder)


def parse(text: str, where: str) -> dict[str, Any]:
    """Return a TOML document that says which schema version it has. Raise RpdError."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise RpdError(f"{where}: not valid TOML: {error}") from error
    if is_deeper(document, DEEPEST):
        raise RpdError(f"{where}: tables or lists are nested more than {DEEPEST} deep")
    version = document.get("schema_version")
    if type(version) is not int or version < 1:
        raise RpdError(f"{where}: schema_version: expected a whole number >= 1, got {shown(version)}")
    return document


def _records(kind: type, tables: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(tables, list):
        raise RpdError(f"{where}: expected a list of tables, got {shown(tables)}")
    return tuple(from_table(kind, table, f"{where} {index}") for index, table in enumerate(tables))


def _named(kind: type, tables: Any, where: str) -> dict[str, Any]:
    if not isinstance(tables, dict):
        raise RpdError(f"{where}: expected tables, got {shown(tables)}")
    return {name: from_table(kind, table, f"{where} {name}") for name, table in tables.items()}


def write(path: Path, report: NodeReport) -> None:
    """Write the manifest whole. Raise OSError."""
    write_document(path, document_of(report))


def write_document(path: str | Path, document: Mapping[str, Any], *, sync: bool = True) -> None:
    """Write the result of ``document_of`` atomically. Raise OSError."""
    write_whole(path, toml_text.dumps(document), sync=sync)


def read(path: Path) -> NodeReport:
    """Return the report in a manifest; ``folder`` is that of the manifest. Raise RpdError."""
    return report_of(read_document(path), str(path), folder=str(path.parent))


def read_document(path: Path) -> dict[str, Any]:
    """Return the TOML document in a manifest. Raise RpdError."""
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text of a file of a run, which may come from anywhere. Raise RpdError that names it."""
    try:
        return read_regular(path, MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise RpdError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RpdError(f"{path}: not UTF-8 text: {error}") from error


def redacted(report: NodeReport, redactor: Redactor) -> NodeReport:
    """Return the report with secrets masked in every text but ``folder``, which is a place on this machine.

    Outcomes, causes and kinds stay as they are even if a secret happens to be the same word, so that the
    manifest can be read back.
    """
    masked: NodeReport = _redacted(report, redactor)
    return replace(masked, folder=report.folder)


def _redacted(value: Any, redactor: Redactor) -> Any:
    """Return ``value`` with secrets masked: itself where nothing is to be masked, so that most is not copied."""
    kind: Any = type(value)
    if kind is str:
        return redactor.text(value)
    if kind is tuple:
        items = tuple([_redacted(item, redactor) for item in value])
        return value if all(map(operator.is_, items, value)) else items
    names = _names_of(kind)
    if names:
        masked = {name: _redacted(getattr(value, name), redactor) for name in names}
        changed = {name: new for name, new in masked.items() if new is not getattr(value, name)}
        return replace(value, **changed) if changed else value
    if isinstance(value, Mapping) and any(map(is_dataclass, value.values())):
        return {redactor.text(name): _redacted(item, redactor) for name, item in value.items()}
    if isinstance(value, Mapping):
        return redactor.data(toml_value(value)) if value else value
    return value if isinstance(value, Enum) else redactor.data(value)


@cache
def _names_of(kind: type) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass, none for other classes."""
    return tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()

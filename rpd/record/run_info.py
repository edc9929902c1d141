"""The run file: the content of ``run.toml`` about a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tomli_w

from rpd.record.atomic_write import write_whole
from rpd.record.manifest import parse, read_text
from rpd.record.toml_records import from_table, to_table
from rpd.values.frozen import EMPTY, frozen, replace
from rpd.values.report import SCHEMA_VERSION

FILE_NAME = "run.toml"


@frozen(uncompared=("folder", "damage"))
class RunInfo:
    """A run as its folder tells it.

    ``started`` and ``finished`` are UTC, ISO 8601; until it is over ``finished`` is empty
    and ``exit_code`` None. ``outcomes`` counts nodes by outcome; ``cached`` of the skipped ones were unchanged.
    """

    id: str
    """The name of its folder."""
    rpd: str = ""
    python: str = ""
    argv: tuple[str, ...] = ()
    rootdir: str = ""
    invocation_dir: str = ""
    """Where the command was given; ``argv`` is relative to it."""
    backend: str = ""
    width: int = 1
    nodes: int = 0
    """How many were planned."""
    worst_case_usd: float = 0.0
    git_sha: str = ""
    owner: str = ""
    """Whose run it is: ``RPD_OWNER``, else ``user@host``."""
    started: str = ""
    finished: str = ""
    seconds: float = 0.0
    exit_code: int | None = None
    stop_reason: str = ""
    deselected: int = 0
    not_run: int = 0
    usd: float = 0.0
    outcomes: Mapping[str, int] = EMPTY
    cached: int = 0
    unreleased: tuple[str, ...] = ()
    leftover: tuple[str, ...] = ()
    folder: str = ""
    """Where it lies; not in the file."""
    damage: str = ""
    """What is wrong with the folder, for people; not in the file."""


def dumps(info: RunInfo) -> str:
    """Return the text of ``run.toml``."""
    return tomli_w.dumps({"schema_version": SCHEMA_VERSION, "run": to_table(info)})


def loads(text: str, *, where: str = FILE_NAME) -> RunInfo:
    """Return the content of ``run.toml``. Raise RpdError that names ``where`` and the key."""
    table = parse(text, where).get("run")
    if isinstance(table, Mapping) and "far_end" in table:  # its first name
        table = {"backend": table["far_end"], **table}
    return from_table(RunInfo, table, f"{where}: [run]")


def write(path: Path, info: RunInfo) -> None:
    """Write ``run.toml`` whole. Raise OSError."""
    write_whole(path, dumps(info))


def read(path: Path) -> RunInfo:
    """Return the content of the file. Raise RpdError."""
    return replace(loads(read_text(path), where=str(path)), folder=str(path.parent))

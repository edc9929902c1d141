"""Manifests as they were when they were last read: ten thousand TOML files in the time of one.

It is only ever a cache, in the user's cache folder. A manifest whose size, time or inode differs is read again; a cache
that is missing, damaged or locked costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from rpd.errors import RpdError

VERSION = 1
LOCK_SECONDS = 2.0
_TABLES = """
create table if not exists manifests (path text primary key, stamp text not null, document text not null) without rowid;
"""

Document = Mapping[str, Any]
Parse = Callable[[Path], Document]


class ManifestCache:
    """The documents of the manifests below one folder of run folders.

    ``place`` is the file of the cache; None keeps nothing.
    """

    def __init__(self, place: Path | None) -> None:
        self._place = place

    def read(self, paths: Iterable[Path], parse: Parse) -> Iterator[tuple[Path, Document | RpdError]]:
        """Yield each manifest with its document, or with the error that ``parse`` raised for it.

        What had to be parsed is kept for the next time, and what is no longer asked for stays: other commands may ask.
        """
        stamps = [(path, stamp) for path in paths if (stamp := _stamp(path))]
        known = self._known()
        fresh: list[tuple[str, str, str]] = []
        for path, stamp in stamps:
            held = known.get(str(path))
            document = _loaded(held[1]) if held is not None and held[0] == stamp else None
            if document is not None:
                yield path, document
                continue
            try:
                parsed = parse(path)
            except RpdError as error:
                yield path, error
                continue
            text = _dumped(parsed)
            if text is not None:
                fresh.append((str(path), stamp, text))
            yield path, parsed
        self._keep(fresh)

    def _known(self) -> dict[str, tuple[str, str]]:
        """Return path to stamp and document of everything in the cache; nothing where it cannot be read."""
        if self._place is None or not self._place.is_file():
            return {}
        try:
            with closing(self._open()) as connection:
                rows = connection.execute("select path, stamp, document from manifests")
                return {path: (stamp, document) for path, stamp, document in rows}
        except (sqlite3.Error, ValueError, TypeError):
            with suppress(OSError):
                self._place.unlink()
            return {}

    def _keep(self, rows: list[tuple[str, str, str]]) -> None:
        if self._place is None or not rows:
            return
        with suppress(sqlite3.Error, OSError):
            self._place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(self._open()) as connection, connection:
                connection.executescript(_TABLES)
                connection.execute(f"pragma user_version = {VERSION}")
                connection.executemany("insert or replace into manifests values (?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        """Return a connection; what another version wrote is dropped. Raises sqlite3.Error."""
        connection = sqlite3.connect(self._place or ":memory:", timeout=LOCK_SECONDS)
        (version,) = connection.execute("pragma user_version").fetchone()
        if version not in (0, VERSION):
            connection.executescript("drop table if exists manifests")
        connection.executescript(_TABLES)
        return connection


def cache_of(runs_path: Path) -> ManifestCache:
    """Return the cache for a folder of run folders, in the user's cache folder."""
    from platformdirs import user_cache_path  # only reading over many runs needs it

    name = hashlib.sha256(os.fsencode(os.path.realpath(runs_path))).hexdigest()[:24]
    return ManifestCache(user_cache_path("rpd") / "manifests" / f"{name}.sqlite3")


def _stamp(path: Path) -> str:
    """Return what changes whenever the file does; empty where there is no such file (any more)."""
    try:
        status = path.lstat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"


def _dumped(document: Document) -> str | None:
    """Return the document as JSON; None for one that JSON cannot hold as it is (dates)."""
    try:
        return json.dumps(document, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return None


def _loaded(text: str) -> Document | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None

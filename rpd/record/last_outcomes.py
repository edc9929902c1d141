"""The memory: the last outcome of each node, kept so that the next run can start with the failed ones."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rpd.errors import Cause
from rpd.record.atomic_write import write_whole
from rpd.user_text import read_text
from rpd.values.frozen import EMPTY, frozen

FOLDER = ".rpd_cache"
FILE_NAME = "nodes.jsonl"
TIDY_ABOVE = 1 << 20
"""Bytes above which old lines are worth dropping."""

_encode = json.JSONEncoder(separators=(",", ":")).encode
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_BESIDE = {
    ".gitignore": "*\n",
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache of rpd: it may be deleted. For cache directory tags see https://bford.info/cachedir/\n",
}


@frozen
class Stepwise:
    """The progress of ``--sw``: where it stopped (empty: nowhere), of how many nodes, and which are behind it."""

    failed: str = ""
    count: int = 0
    behind: frozenset[str] = frozenset()


@frozen
class Remembered:
    """The known facts about nodes, by their ids.

    ``failed`` has the causes of those that did not pass when they last ran; a node that started and was never
    reported is ``lost``, one that was left out has the cause of that. ``seconds`` is the duration of each
    one's last run; ``known`` are all that ever started.
    """

    failed: Mapping[str, Cause] = EMPTY
    seconds: Mapping[str, float] = EMPTY
    known: frozenset[str] = frozenset()
    stepwise: Stepwise = Stepwise()


class Memory:
    """The file of the memory below a root folder: a line for each thing that happened, appended at once.

    A process that is killed at any time loses nothing that was appended before. Runs at the same time share the
    file. Thread-safe. The methods that write raise OSError. ``tidy_above`` is in bytes.
    """

    def __init__(self, rootdir: Path, *, tidy_above: int = TIDY_ABOVE) -> None:
        self.path = rootdir / FOLDER / FILE_NAME
        self._tidy_above = tidy_above
        self._lock = threading.Lock()
        self._file = -1
        self._inode = 0

    def read(self) -> Remembered:
        """Return the remembered facts; empty if there is no file. Invalid lines are skipped."""
        reading = _Reading()
        for line in self._lines():
            reading.take(line)
        return reading.result()

    def begun(self, node_id: str, *, step: bool = False) -> None:
        """Remember that a node began; ``step`` says that it is one of ``--sw``."""
        self._append({"begun": node_id, **({"step": True} if step else {})})

    def ended(self, node_id: str, *, cause: Cause | None, seconds: float, step: str = "") -> None:
        """Remember how a node ended: with the cause of its failure, or None; again if that changed afterwards.

        ``step`` is ``failed`` where ``--sw`` stops at it and ``behind`` where it goes past it.
        """
        extra = {"cause": cause.value} if cause else {}
        self._append(
            {"ended": node_id, **extra, "seconds": round(seconds, 3), **({"step": step} if step else {})}
        )

    def left_out(self, node_id: str, cause: Cause) -> None:
        """Remember that a node was to run and did not begin, since its run was cut short."""
        self._append({"left_out": node_id, "cause": cause.value})

    def begin_stepwise(self, count: int) -> None:
        """Remember that ``--sw`` begins at the first of ``count`` nodes."""
        self._append({"stepwise": {"count": count}})

    def tidy(self) -> None:
        """Drop lines that later ones override, if the file has become large because of them."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return
        if size > self._tidy_above:
            text = _dumps(self.read())
            if 2 * len(text) < size:
                write_whole(self.path, text)

    def close(self) -> None:
        """Close the file; later events open it again."""
        with self._lock:
            self._close()

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            text = read_text(self.path, errors="replace")
        except OSError:
            return
        for line in text.split("\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value

    def _append(self, record: Mapping[str, Any]) -> None:
        """Append one line in one call, so that a killed process leaves at most one torn line, at the end."""
        line = _encode(record).encode() + b"\n"
        with self._lock:
            if self._file < 0 or self._is_replaced():
                self._close()
                self._open()
            os.write(self._file, line)

    def _is_replaced(self) -> bool:
        """Return whether another run has tidied the file up since it was opened."""
        try:
            return os.stat(self.path).st_ino != self._inode  # noqa: PTH116 - called for each node
        except OSError:
            return True

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for name, text in _BESIDE.items():
            if not (self.path.parent / name).exists():
                (self.path.parent / name).write_text(text, encoding="utf-8")
        self._file = os.open(self.path, _APPEND, 0o644)
        self._inode = os.fstat(self._file).st_ino
        if _is_torn(self.path):
            os.write(self._file, b"\n")

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _is_torn(path: Path) -> bool:
    """Return whether the last line was not written to its end."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


class _Reading:
    """Takes lines in order; the later one counts."""

    def __init__(self) -> None:
        self._failed: dict[str, Cause] = {}
        self._seconds: dict[str, float] = {}
        self._known: set[str] = set()
        self._open: dict[str, bool] = {}
        self._count = 0
        self._stopped_at = ""
        self._behind: set[str] = set()

    def take(self, line: Mapping[str, Any]) -> None:
        """Take one line; one of a kind that is not known changes nothing."""
        match line:
            case {"begun": str(node_id)}:
                self._known.add(node_id)
                self._open[node_id] = line.get("step") is True
            case {"ended": str(node_id)}:
                self._end(node_id, line)
            case {"left_out": str(node_id)}:
                if self._open.pop(node_id, False):
                    self._step(node_id, "failed")
                self._failed[node_id] = _cause(line.get("cause"))
            case {"stepwise": {"count": int(count)} as step}:
                self._count = count
                self._stopped_at = str(step.get("failed", ""))
                self._behind = {str(each) for each in step.get("behind", ())}

    def _end(self, node_id: str, line: Mapping[str, Any]) -> None:
        self._known.add(node_id)
        self._open.pop(node_id, None)
        self._failed.pop(node_id, None)
        if "cause" in line:
            self._failed[node_id] = _cause(line["cause"])
        if isinstance(line.get("seconds"), int | float):
            self._seconds[node_id] = line["seconds"]
        self._step(node_id, line.get("step"))

    def _step(self, node_id: str, step: object) -> None:
        if step == "behind":
            self._behind.add(node_id)
            self._stopped_at = "" if self._stopped_at == node_id else self._stopped_at
        elif step == "failed":
            self._behind.discard(node_id)
            self._stopped_at = self._stopped_at or node_id

    def result(self) -> Remembered:
        """Return the result of all lines together."""
        for node_id, step in self._open.items():
            self._failed[node_id] = Cause.LOST
            self._step(node_id, "failed" if step else None)
        return Remembered(
            failed=self._failed,
            seconds=self._seconds,
            known=frozenset(self._known),
            stepwise=Stepwise(failed=self._stopped_at, count=self._count, behind=frozenset(self._behind)),
        )


def _cause(value: Any) -> Cause:
    return Cause(value) if value in tuple(Cause) else Cause.CODE


def _dumps(remembered: Remembered) -> str:
    """Return the fewest lines with the content of ``remembered``."""
    records: list[dict[str, Any]] = []
    for node_id in sorted(remembered.known):
        record: dict[str, Any] = {"ended": node_id}
        if node_id in remembered.failed:
            record["cause"] = remembered.failed[node_id].value
        if node_id in remembered.seconds:
            record["seconds"] = remembered.seconds[node_id]
        records.append(record)
    records += [
        {"left_out": node_id, "cause": cause.value}
        for node_id, cause in sorted(remembered.failed.items())
        if node_id not in remembered.known
    ]
    step = remembered.stepwise
    records.append({"stepwise": {"count": step.count, "failed": step.failed, "behind": sorted(step.behind)}})
    return "".join(_encode(record) + "\n" for record in records)

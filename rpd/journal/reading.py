"""Reading journals: every sound event, whatever has happened to the file, and a report of the damage.

A journal may be cut short, overwritten, edited, or come from another machine. A reader goes on with the rest;
one that decides about pods also asks for the damage, because the missing line may be the one that matters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from rpd.disk.nested import is_deeper
from rpd.disk.regular import lines_of
from rpd.values.frozen import frozen
from rpd.values.late_pattern import late_pattern

Event = dict[str, Any]

_MOST_LINES = 5
_DEEPEST = 100
_LONGEST_LINE = 64 << 20
"""Bytes; the event with every node of a large run is the longest."""
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_UNSHOWABLE = late_pattern(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@frozen
class Damage:
    """The unreadable part of a journal: the numbers of damaged ``lines``.

    Without any, the whole file, for ``reason``.
    """

    path: Path
    lines: tuple[int, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        if not self.lines:
            return f"{self.path} cannot be read ({self.reason})"
        shown = ", ".join(map(str, self.lines[:_MOST_LINES]))
        more = len(self.lines) - _MOST_LINES
        which = f"line {shown} is" if len(self.lines) == 1 else f"lines {shown} are"
        if more > 0:
            which = f"lines {shown} and {more} more are"
        return f"{self.path}: {which} damaged and left out"


_BIRTH = late_pattern(r"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+) [0-9]+")
"""The form of ``driver_alive.birth``: the boot and the ticks in it (Linux), or the two halves of a time (Windows)."""


def _nothing(_: Damage) -> None:
    """Ignore damage."""


def read(path: Path, damaged: Callable[[Damage], object] = _nothing) -> Iterator[Event]:
    """Yield the sound events of a journal in order; at the end call ``damaged`` with the omissions.

    Traces of a killed process are no damage: a last line without an end, and such a line right before the
    ``run_started`` of the process that resumed the run. A link, a FIFO or a device is no journal, and the
    length of lines is limited: the file may come from anywhere. Never raise.
    """
    lines: list[int] = []
    try:
        torn = 0
        line = ""
        for number, raw in enumerate(lines_of(path, _LONGEST_LINE), 1):
            # Some editors leave a byte order mark.
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
            # rpd writes only UTF-8, so any other byte was written over it.
            event = None if _REPLACED in line and not _is_utf8(raw) else _event(line)
            if torn and (event is None or event["event"] != "run_started"):
                lines.append(torn)
            torn = 0
            if event is not None:
                yield event
            elif line.strip() and not _may_be_torn(line):
                lines.append(number)
            elif line.strip():
                torn = number
        if torn and line.endswith("\n"):
            lines.append(torn)
    except FileNotFoundError:
        return
    except OSError as error:
        damaged(Damage(path=path, reason=error.strerror or type(error).__name__))
        return
    if lines:
        damaged(Damage(path=path, lines=tuple(lines)))


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _may_be_torn(line: str) -> bool:
    """Return whether a line that is no event may be the beginning of one."""
    text = line.rstrip("\n")
    if not text.startswith('{"at":'[: len(text)]):
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        # The end is missing: of a string, of an escape, or of what comes next.
        return error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip()) - len("\\u000")
    except (ValueError, RecursionError):
        pass
    return False


def _event(line: str) -> Event | None:
    """Return the event in a line, None if it is none or contains a value that no writer produces."""
    try:
        event = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str) or is_deeper(event, _DEEPEST):
        return None
    if not all(name in event for name in _NEEDED.get(event["event"], ())):
        return None
    sound = _SOUND_IN.get(event["event"], _SOUND)
    return event if all(sound[name](event[name]) for name in event.keys() & sound.keys()) else None


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


# --- types of fields ------------------------------------------------------------------------------------------------


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_name(value: object) -> bool:
    """Return whether ``value`` is a text that can be shown in one line."""
    return isinstance(value, str) and (value.isprintable() or not _UNSHOWABLE.search(value))


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _TOO_MUCH


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _TOO_MANY


def _is_moment(value: object) -> bool:
    """Return whether ``value`` is a moment with its offset from UTC, in ISO 8601."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_birth(value: object) -> bool:
    """Return whether ``value`` may be the start of a process. A damaged one would make a living run look dead."""
    return isinstance(value, str) and (not value or _BIRTH.fullmatch(value) is not None)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_table(value: object) -> bool:
    return value is None or isinstance(value, dict)


def _is_exit_code(value: object) -> bool:
    return value is None or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) < _TOO_MANY
    )


_TOO_MUCH = 1e11
"""Seconds: the year 5138. Counts and bytes have a higher limit."""
_TOO_MANY = 2**53
_SOUND: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(
        ("pod_name", "pod_id", "user", "node", "holder", "pod", "kind", "how", "final_state"), _is_name
    ),
    **dict.fromkeys(("host", "fingerprint", "key", "cwd"), _is_text),
    **dict.fromkeys(("seconds", "usd", "deadline", "linger"), _is_amount),
    **dict.fromkeys(("index", "log_bytes", "series_bytes", "pid"), _is_count),
    **dict.fromkeys(("terms", "result"), _is_table),
    **dict.fromkeys(("ids", "secrets"), _are_texts),
    "at": _is_moment,
    "process": _is_birth,
    "exit_code": _is_exit_code,
}
"""The fields that readers use, and the check of each."""
_SOUND_IN: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "node_started": {**_SOUND, "attempt": _is_count},
    "node_resumed": {**_SOUND, "attempt": _is_count},
    "node_finished": {**_SOUND, "attempt": _is_table},
}
"""The same for events in which a field has another meaning."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "run_started": ("pid", "host"),
    "planned": ("ids",),
    "added": ("id",),
    "results": ("of", "ids"),
    "intent": ("at", "pod_name"),
    "created": ("pod_name", "pod_id"),
    "adopted": ("pod_name", "pod_id"),
    "refused": ("pod_name",),
    "released": ("pod_name",),
    "kept": ("pod_name",),
    "node_started": ("at", "node"),
    "node_resumed": ("node",),
    "step_started": ("at", "index", "kind"),
    "step_finished": ("index",),
}
"""Event to the fields without which it is useless."""

"""Tracebacks for users: their own frames, none of ours."""

from __future__ import annotations

import linecache
import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - compared as text


@dataclass(frozen=True, slots=True)
class Shown:
    """``place`` is ``file:line`` of the deepest user frame, ``lines`` one or two lines for each user frame."""

    place: str = ""
    source_line: str = ""
    lines: tuple[str, ...] = ()


def user_frames(error: BaseException, rootdir: Path, *, full: bool = False) -> Shown:
    """Return what a user needs to see of where ``error`` came from; with ``full`` every frame, rpd's included."""
    lines = "".join(traceback.format_exception(error)).rstrip("\n").split("\n") if full else []
    frames = _frames(error.__traceback__, full=full)
    if not frames:
        return Shown(lines=tuple(lines))
    places = [
        (_relative(name, rootdir), number, linecache.getline(name, number).strip()) for name, number in frames
    ]
    if not full:
        for file, number, source in places:
            lines.append(f"{file}:{number}")
            if source:
                lines.append(f"    {source}")
    deepest = places[-1]
    return Shown(f"{deepest[0]}:{deepest[1]}", deepest[2], tuple(lines))


def _frames(trace: TracebackType | None, *, full: bool) -> list[tuple[str, int]]:
    """Return file and line of the user's frames: those outside rpd, the standard library and installed packages.

    Where a job fails in an installed library, the user's line that called it is the place to show.
    """
    found = []
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if full or not _is_foreign(name):
            found.append((name, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _is_foreign(name: str) -> bool:
    return (
        name.startswith((_OURS, "<frozen"))
        or f"{os.sep}site-packages{os.sep}" in name
        or f"{os.sep}lib{os.sep}python3" in name
    )


def _relative(name: str, rootdir: Path) -> str:
    path = Path(name)
    return path.relative_to(rootdir).as_posix() if path.is_relative_to(rootdir) else name

"""Tracebacks for users: their own frames, without rpd's and those of libraries."""

from __future__ import annotations

import linecache
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from rpd.project.libraries import is_library
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.frozen import frozen

if TYPE_CHECKING:
    from traceback import TracebackException

MOST_FRAMES = 20
"""Most frames shown; of more, as in endless recursion, the first and the last ones."""
LONGEST_VALUE = 240
"""Most characters shown of a local variable."""


@frozen
class Style:
    """The style of a traceback.

    ``source`` shows each user frame from the first line of its function on, ``native`` formats them as Python
    does, ``full`` formats every frame as Python does, rpd's included; ``values`` adds the local variables of
    each user frame.
    """

    source: bool = False
    native: bool = False
    full: bool = False
    values: bool = False


SHORT = Style()


@frozen(kw_only=False)
class Shown:
    """A formatted traceback; ``place`` is ``file:line`` of the deepest user frame, ``lines`` is the text."""

    place: str = ""
    source_line: str = ""
    lines: tuple[str, ...] = ()


def text_of(error: BaseException) -> str:
    """Return the text of an exception, also if it cannot be made (a ``__repr__`` that raises)."""
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - the user's own code, which may raise anything
        return f"(its text is not available: {type(failure).__name__})"


def user_frames(
    error: BaseException, rootdir: Path, style: Style = SHORT, redactor: Redactor = NO_SECRETS
) -> Shown:
    """Return the part of ``error``'s traceback that a user needs; secrets are masked before anything is cut."""
    frames = _frames(error.__traceback__, rootdir)
    lines = list(_lines(error, frames, rootdir, style, redactor))
    if not frames:
        return Shown(lines=tuple(lines))
    deepest, number = frames[-1]
    name = deepest.f_code.co_filename
    return Shown(
        f"{_relative(name, rootdir)}:{number}", linecache.getline(name, number).strip(), tuple(lines)
    )


def _lines(
    error: BaseException,
    frames: Sequence[tuple[FrameType, int]],
    rootdir: Path,
    style: Style,
    redactor: Redactor,
) -> Iterator[str]:
    if style.full or style.native:
        yield from _as_python_does(error, rootdir, every=style.full)
        if style.values:
            for frame, number in frames:
                yield f"{_relative(frame.f_code.co_filename, rootdir)}:{number}"
                yield from _values(frame, redactor)
        return
    left_out = len(frames) - MOST_FRAMES
    for index, (frame, number) in enumerate(frames):
        if left_out > 0 and index == MOST_FRAMES // 2:
            yield f"… {left_out} frames …"
        if not MOST_FRAMES // 2 <= index < MOST_FRAMES // 2 + left_out:
            yield from _frame_lines(frame, number, rootdir, style, redactor)


def _frame_lines(
    frame: FrameType, number: int, rootdir: Path, style: Style, redactor: Redactor
) -> Iterator[str]:
    name = frame.f_code.co_filename
    source = linecache.getline(name, number).strip()
    if style.source:
        yield from _source(frame, number)
    if style.values:
        yield from _values(frame, redactor)
    yield f"{_relative(name, rootdir)}:{number}"
    if source and not style.source:
        yield f"    {source}"


def _source(frame: FrameType, number: int) -> Iterator[str]:
    """Yield the lines of a function up to its current one, which is marked."""
    name = frame.f_code.co_filename
    for each in range(frame.f_code.co_firstlineno or number, number + 1):
        line = linecache.getline(name, each).rstrip()
        yield f"{'>' if each == number else ' '}   {line}".rstrip()


class _MaskedRepr(reprlib.Repr):
    """Shortens values as reprlib does, but masks secrets first: half a secret would escape the mask."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.maxstring = self.maxother = LONGEST_VALUE
        self._redactor = redactor

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(self._redactor.text(str(x)), level)

    def repr_instance(self, x: Any, level: int) -> str:
        try:
            text = self._redactor.text(repr(x))
        except Exception:  # noqa: BLE001 - the user's own code, which may raise anything
            return super().repr_instance(x, level)
        if len(text) <= self.maxother:
            return text
        front = (self.maxother - 3) // 2
        return f"{text[:front]}...{text[len(text) - (self.maxother - 3 - front) :]}"

    def repr_int(self, x: int, level: int) -> str:
        return self.repr_instance(x, level)


def _values(frame: FrameType, redactor: Redactor) -> Iterator[str]:
    short = _MaskedRepr(redactor)
    for name, value in sorted(frame.f_locals.items()):
        if not name.startswith("__"):
            yield f"    {name} = {_short(value, short)}"


def _short(value: object, how: reprlib.Repr) -> str:
    try:
        return how.repr(value)
    except Exception:  # noqa: BLE001 - a number too long for Python, or the user's own code
        return f"<{type(value).__name__}>"


def _as_python_does(error: BaseException, rootdir: Path, *, every: bool) -> Iterator[str]:
    from traceback import TracebackException  # not at the top: most nodes raise nothing

    exception = TracebackException.from_exception(error)
    if not every:
        _prune(exception, rootdir)
    yield from "".join(exception.format()).rstrip("\n").split("\n")


def _prune(exception: TracebackException, rootdir: Path) -> None:
    """Remove library frames, also from the exceptions that led to this one."""
    from traceback import StackSummary

    own = [frame for frame in exception.stack if not is_library(frame.filename, rootdir)]
    exception.stack = StackSummary.from_list(own)
    for before in (
        exception.__cause__,
        exception.__context__,
        *(getattr(exception, "exceptions", None) or ()),
    ):
        if before is not None:
            _prune(before, rootdir)


def _frames(trace: TracebackType | None, rootdir: Path) -> list[tuple[FrameType, int]]:
    """Return the user's frames with their lines: those outside rpd, the standard library and installed packages.

    If a job fails in an installed library, the user's line that called it is the place to show.
    """
    frames = []
    while trace is not None:
        if not is_library(trace.tb_frame.f_code.co_filename, rootdir):
            frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return frames


def _relative(name: str, rootdir: Path) -> str:
    path = Path(name)
    return path.relative_to(rootdir).as_posix() if path.is_relative_to(rootdir) else name

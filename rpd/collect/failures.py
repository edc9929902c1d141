"""An exception in a user's file as a CollectionError: the user's own frames, shortened, and the place."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pluggy

import rpd
from rpd.collect.source import location_of, relative, signature_lines
from rpd.errors import CollectionError
from rpd.values.outcome import Failed, Skipped

_OURS = tuple(str(Path(str(module.__file__)).parent) for module in (rpd, importlib, pluggy))
_OUTCOME_HINT = "outside of a job. To skip every job of a file write: rpdmark = rpd.mark.skip(reason=…)"


def from_exception(
    error: BaseException, *, rootdir: Path, full_trace: bool, file: str, title: str = ""
) -> CollectionError:
    """Return ``error`` as a CollectionError whose place is the user's deepest frame.

    ``file`` (relative) is the place where no frame of the user's is known; ``title`` goes before the traceback. With
    ``full_trace`` nothing is left out.
    """
    frames = list(_frames(error))
    own = [(frame, line) for frame, line in frames if not _is_ours(frame)]
    place_file, line = _place(error, own, rootdir, file)
    if full_trace:
        body = "".join(traceback.format_exception(error)).rstrip().splitlines()
    else:
        body = [text for frame, number in own for text in _frame_lines(frame, number, rootdir)]
        body += [f"E   {text}" for text in _exception_lines(error, rootdir)]
    message = "\n".join([title, *body] if title else body)
    return _placed(error, message, place_file, line)


def at_function(
    text: str, function: Callable[..., Any], *, rootdir: Path, name: str | None = None
) -> CollectionError:
    """Return a CollectionError about a job function or fixture, with its source lines before ``text``."""
    place = location_of(function, rootdir)
    shown = name or getattr(function, "__name__", "?")
    lines = [f"{place}: in {shown}", *(f"    {line}" for line in signature_lines(function))]
    lines += [f"E   {line}" for line in text.splitlines()]
    return CollectionError("\n".join(lines), file=place.file, line=place.line)


def _placed(error: BaseException, message: str, file: str, line: int) -> CollectionError:
    if not isinstance(error, CollectionError):
        return CollectionError(message, file=file, line=line)
    error.message, error.file, error.line = message, file, line
    error.args = (message,)
    return error.with_traceback(None)


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    yield from traceback.walk_tb(error.__traceback__)


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith(("<frozen ", *_OURS))


def _place(
    error: BaseException, own: list[tuple[FrameType, int]], rootdir: Path, file: str
) -> tuple[str, int]:
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return relative(error.filename, rootdir), error.lineno or 0
    inside = [
        (frame, line)
        for frame, line in own
        if frame.f_code.co_filename.startswith(str(rootdir))
        and "site-packages" not in frame.f_code.co_filename
    ]
    for frame, line in reversed(inside or own):
        return relative(frame.f_code.co_filename, rootdir), line
    return file, 0


def _frame_lines(frame: FrameType, number: int, rootdir: Path) -> Iterator[str]:
    summary = traceback.FrameSummary(frame.f_code.co_filename, number, frame.f_code.co_name)
    shown = relative(frame.f_code.co_filename, rootdir)
    yield f"{frame.f_code.co_filename if shown.startswith('..') else shown}:{number}: in {frame.f_code.co_name}"
    if summary.line:
        yield f"    {summary.line}"


def _exception_lines(error: BaseException, rootdir: Path) -> list[str]:
    if isinstance(error, CollectionError):
        return str(error).splitlines()
    if isinstance(error, SystemExit):
        return [f"SystemExit: {error.code!r}: the file ended the program while it was being collected"]
    if isinstance(error, Skipped | Failed):
        return [f"rpd.{'skip' if isinstance(error, Skipped) else 'fail'}({str(error)!r}) {_OUTCOME_HINT}"]
    text = "".join(traceback.format_exception_only(error)).rstrip()
    return text.replace(f"{rootdir}/", "").splitlines()

"""An exception in a user's file as a CollectionError: the user's own frames, shortened, and the place."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pluggy

import rpd
from rpd.collect.source_lines import location_of, relative, signature_lines
from rpd.errors import CollectionError
from rpd.values.mark import Location
from rpd.values.skip_and_fail import Failed, Skipped

_OURS = ("<", *(str(Path(str(each.__file__)).parent) + os.sep for each in (rpd, importlib, pluggy)))
"""Path prefixes of frames that say nothing to a user."""
MOST_FRAMES = 20
"""Most frames shown; of more, as in endless recursion, the first and the last ones."""
_OUTCOME_HINT = (
    "outside of a job. To skip every job of a file write: rpdmark = rpd.mark.skip(reason=…), or "
    "rpd.skip(reason, allow_module_level=True) to skip the rest of the file"
)


def from_exception(
    error: BaseException, *, rootdir: Path, full_trace: bool, otherwise: Location, title: str = ""
) -> CollectionError:
    """Return ``error`` as a CollectionError placed at the user's deepest frame.

    ``otherwise`` is the place if no frame of the user's is known; ``title`` precedes the traceback. With
    ``full_trace`` nothing is left out.
    """
    place = _place(error, _user_frames(error), rootdir) or otherwise
    if full_trace:
        body = "".join(_traceback().format_exception(error)).rstrip().splitlines()
    else:
        body = list(_lines(error, rootdir))
    message = "\n".join([title, *body] if title else body)
    return _placed(error, message, place)


def at_function(
    text: str, function: Callable[..., Any], *, rootdir: Path, name: str | None = None
) -> CollectionError:
    """Return a CollectionError about a job function or fixture, with its source lines before ``text``."""
    place = location_of(function, rootdir)
    shown = name or getattr(function, "__name__", "?")
    lines = [f"{place}: in {shown}", *(f"    {line}" for line in signature_lines(function))]
    lines += [f"E   {line}" for line in text.splitlines()]
    return CollectionError("\n".join(lines), file=place.file, line=place.line)


def _traceback() -> ModuleType:
    import traceback  # loading it costs more than collecting a file in which nothing is wrong

    return traceback


def _placed(error: BaseException, message: str, place: Location) -> CollectionError:
    if not isinstance(error, CollectionError):
        return CollectionError(message, file=place.file, line=place.line)
    error.message, error.file, error.line = message, place.file, place.line
    error.args = (message,)
    return error.with_traceback(None)


def _user_frames(error: BaseException) -> list[tuple[FrameType, int]]:
    frames = _traceback().walk_tb(error.__traceback__)
    return [(frame, line) for frame, line in frames if not frame.f_code.co_filename.startswith(_OURS)]


def _lines(error: BaseException, rootdir: Path) -> Iterator[str]:
    """Yield the user's frames and the message of an exception, after those of the exception that led to it."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _lines(before, rootdir)
        yield "which led to:" if error.__cause__ else "while handling that:"
    frames = _user_frames(error)
    left_out = len(frames) - MOST_FRAMES
    for index, (frame, number) in enumerate(frames):
        if left_out > 0 and index == MOST_FRAMES // 2:
            yield f"… {left_out} frames …"
        if not MOST_FRAMES // 2 <= index < MOST_FRAMES // 2 + left_out:
            yield from _frame_lines(frame, number, rootdir)
    yield from (f"E   {text}" for text in _exception_lines(error, rootdir))


def _place(error: BaseException, frames: list[tuple[FrameType, int]], rootdir: Path) -> Location | None:
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return Location(relative(error.filename, rootdir), error.lineno or 0)
    places = [(frame.f_code.co_filename, line) for frame, line in frames]
    root = f"{rootdir}{os.sep}"
    inside = [place for place in places if place[0].startswith(root) and "site-packages" not in place[0]]
    for path, line in reversed(inside or places):
        return Location(relative(path, rootdir), line)
    return None


def _frame_lines(frame: FrameType, number: int, rootdir: Path) -> Iterator[str]:
    summary = _traceback().FrameSummary(frame.f_code.co_filename, number, frame.f_code.co_name)
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
    text = "".join(_traceback().format_exception_only(error)).rstrip()
    return text.replace(f"{rootdir}{os.sep}", "").splitlines()

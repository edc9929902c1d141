"""Ink: how text gets its colour, loses its secrets and fits its place."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.report import Outcome
from rpd.values.safe_text import colored, plain

OUTCOME_STYLES = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "red",
    Outcome.ERROR: "red",
    Outcome.SKIPPED: "yellow",
    Outcome.XFAILED: "yellow",
    Outcome.XPASSED: "yellow",
    Outcome.PRUNED: "cyan",
}


class Ink:
    """Writes in colour, or without. No secret passes it, and no control character."""

    def __init__(self, *, color: bool, redactor: Redactor = NO_SECRETS) -> None:
        self.color = color
        self._redactor = redactor
        # Now: a job may go to another folder, or remove this one.
        self._here = _current_folder()

    def __call__(self, text: str, style: str = "") -> str:
        """Return ``text``, masked, in a style such as ``bold red``."""
        masked = self.legible(text)
        return _pen(style)(masked) if self.color and style else masked

    def legible(self, text: str) -> str:
        """Return ``text``, masked, without characters that a terminal acts on."""
        # Masked last: a control character inside a secret would hide it.
        return self._redactor.text(plain(text).expandtabs(4))

    def streamed(self, text: str) -> str:
        """Return a line of a job's output, masked; where there is colour at all, its own colours stay."""
        bare = plain(text)
        has_secret = self._redactor.text(bare) != bare
        return self.legible(text) if has_secret or not self.color else colored(text)

    def relative(self, path: Path) -> str:
        """Return ``path`` as seen from the folder the command was typed in, if that is shorter."""
        try:
            seen = os.path.relpath(path, self._here) if self._here else str(path)
        except (OSError, ValueError):  # another drive
            return str(path)
        return min(seen, str(path), key=len)


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - compared as text
    except OSError:
        return ""


@functools.cache
def _pen(style: str) -> Callable[[str], str]:
    # Here and below rich is loaded by what needs it: lines without colour do not, and most are ASCII.
    from rich.color import ColorSystem
    from rich.style import Style

    return functools.partial(Style.parse(style).render, color_system=ColorSystem.STANDARD)


def cell_len(text: str) -> int:
    """Return how many columns ``text`` takes."""
    if text.isascii():
        return len(text)
    from rich import cells

    return cells.cell_len(text)


def _set_cell_size(text: str, width: int) -> str:
    from rich import cells

    return cells.set_cell_size(text, width)


def fit(text: str, width: int) -> str:
    """Return ``text`` in exactly ``width`` columns, cut with an ellipsis or filled with spaces."""
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    return _set_cell_size(text, width - 1) + "…" if width else ""


def fit_middle(text: str, width: int) -> str:
    """Return ``text`` in exactly ``width`` columns, cut in its middle: names of a sweep differ at their ends."""
    if cell_len(text) <= width or width < 8:
        return fit(text, width)
    tail = width // 2
    end = text[-tail:]
    while cell_len(end) > tail:
        end = end[1:]
    return fit(f"{_set_cell_size(text, width - 1 - cell_len(end))}…{end}", width)


def shorten(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns."""
    return fit(text, width) if cell_len(text) > width else text


def rule(title: str, character: str, width: int) -> str:
    """Return a line with ``title`` in its middle, a column short of ``width`` so that it never wraps."""
    rest = max(width - 1 - cell_len(title) - 2, 2)
    left = rest // 2
    return f"{character * left} {title} {character * (rest - left)}" if title else character * (width - 1)


def money(usd: float | None) -> str:
    """Return an amount for the screen; more than nothing never looks like nothing."""
    if usd is None:
        return "unknown"
    return "<$0.01" if 0 < usd < 0.005 else f"${usd:,.2f}"


def short_gpu(gpu: str) -> str:
    """Return the name of a GPU without its maker."""
    return gpu.removeprefix("NVIDIA ").removeprefix("GeForce ")


def counted(number: int, noun: str) -> str:
    """Return ``1 node``, ``2 nodes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

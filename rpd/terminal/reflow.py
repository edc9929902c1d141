"""Counts the lines of the board after the terminal got narrower: those that no longer fit are wrapped."""

from __future__ import annotations

from rich.control import Control
from rich.segment import ControlType

from rpd.terminal.styles import cell_len
from rpd.values.safe_text import plain


class Reflow:
    """Remembers the drawn board, and how to remove it if it takes more lines now than before.

    Modern terminals rewrap text that is already on them; rich moves up as many lines as it wrote, so without
    this each step of a resize would leave a copy of the board behind.
    """

    def __init__(self) -> None:
        self._text = ""
        self._width = 0

    def drawn(self, text: str, width: int) -> None:
        """Remember a board, and the width of the terminal."""
        self._text, self._width = text, width

    def take_back(self, width: int) -> Control | None:
        """Return the control that removes lines added by wrapping, None if there are none."""
        if not self._width or width >= self._width:
            return None
        lengths = (cell_len(plain(line)) for line in self._text.split("\n"))
        more = sum(max(0, -(-length // width) - 1) for length in lengths)
        if not more:
            return None
        line = (ControlType.ERASE_IN_LINE, 2)
        return Control(ControlType.CARRIAGE_RETURN, line, *((ControlType.CURSOR_UP, 1), line) * more)

"""A terminal that becomes narrower keeps no copy of the board."""

from __future__ import annotations

import io
import os
import re

import pytest

from rpd.terminal.screen import Screen

TOKEN = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Reflowing:
    """A terminal as they are today: when its width changes, lines that are too long for it are wrapped again."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows = [""]
        self.at = 0

    def feed(self, text: str) -> None:
        for match in TOKEN.finditer(text):
            match match[0], match[2]:
                case "\n", _:
                    self.at += 1
                    self.rows += [""] * (self.at + 1 - len(self.rows))
                case "\r", _:
                    pass
                case _, "A":
                    self.at = max(0, self.at - int(match[1] or 1))
                case _, "K":
                    self.rows[self.at] = ""
                case written, None:
                    self.rows[self.at] += written

    def resize(self, width: int) -> None:
        self.width = width
        wrapped = [[row[n : n + width] for n in range(0, max(len(row), 1), width)] for row in self.rows]
        self.at = sum(map(len, wrapped[: self.at + 1])) - 1
        self.rows = [piece for pieces in wrapped for piece in pieces]


@pytest.mark.parametrize("widths", [(80, 40), (80, 60, 30), (80, 30, 80), (60, 120)], ids=str)
def test_resizing_leaves_no_ghosts(
    tty: io.StringIO, widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the width changes, the lines above the board stay, and the board stands there once."""
    terminal = Reflowing(widths[0])
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((terminal.width, 24)))
    monkeypatch.setattr(tty, "fileno", lambda: 1)
    screen = Screen(tty, environ={"TERM": "xterm-256color"})
    live = screen._make_live()
    frame = screen._framed(live, lambda: "\n".join(f"row{n} ".ljust(screen.width - 1, "x") for n in range(3)))
    terminal.feed("PASSED one\nPASSED two\n")
    live.start()
    for width in widths:
        terminal.resize(width)
        screen._draw(live, frame)
        terminal.feed(tty.getvalue())
        tty.seek(0)
        tty.truncate()
        assert [row[:6].rstrip() for row in terminal.rows if row] == [
            "PASSED",
            "PASSED",
            "row0 x",
            "row1 x",
            "row2 x",
        ]
    live.stop()
    terminal.feed(tty.getvalue())
    assert [row for row in terminal.rows if row] == ["PASSED one", "PASSED two"]

"""The screen itself: where lines go, and the live board below them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TextIO

from rpd.redaction import NO_SECRETS, Redactor
from rpd.terminal.streams import OwnCopy
from rpd.terminal.styles import Ink
from rpd.threads import started
from rpd.values.safe_text import colored

if TYPE_CHECKING:
    from rich.live import Live

_INTERVAL = 0.25
"""Seconds between two drawings of the board."""
_PATIENCE = 5.0
"""Seconds to wait for the last drawing: a signal handler may hold what that needs."""
_ASCII = str.maketrans({"…": "...", "·": "-"})


class Screen:
    """Takes lines from any thread; on an interactive terminal draws a board below them, four times a second.

    It is the door to the terminal: of all control characters in a line or on the board, only colours pass.

    A screen that went away (a closed pipe) is written to no more and raises nothing: pods matter more.
    ``color`` is ``auto``, ``yes`` or ``no``.
    """

    def __init__(
        self,
        file: TextIO,
        *,
        color: str = "auto",
        redactor: Redactor = NO_SECRETS,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._file = file
        self._environ = dict(environ)  # a job may change the environment
        self._lock = threading.RLock()
        self._waiting: list[str] = []
        self._is_writing = False
        self._gone = False
        self._live: Live | None = None
        self._ticker: threading.Thread | None = None
        self._end = threading.Event()
        # JPY_PARENT_PID: the output of a cell keeps each drawing instead of replacing it.
        is_plain = environ.get("CI") or environ.get("JPY_PARENT_PID") or environ.get("TERM") == "dumb"
        self.is_interactive = _is_terminal(file) and not is_plain
        self.ink = Ink(color=_wants_color(color, file, environ), redactor=redactor)

    @property
    def width(self) -> int:
        """Columns: COLUMNS, else the terminal's, else 80."""
        return self._size()[0]

    @property
    def height(self) -> int:
        """Lines: LINES, else the terminal's, else 24."""
        return self._size()[1]

    def _size(self) -> tuple[int, int]:
        width, height = 80, 24
        with contextlib.suppress(OSError, ValueError, AttributeError):
            width, height = os.get_terminal_size(self._file.fileno())
        return self._pinned("COLUMNS") or width or 80, self._pinned("LINES") or height or 24

    def _pinned(self, name: str) -> int:
        """Return the size in the environment, 0 if it is not a number."""
        value = self._environ.get(name, "")
        return int(value) if value.isdigit() else 0

    # --- lines ----------------------------------------------------------------------------------------------

    def line(self, text: str = "") -> None:
        """Write one line."""
        self.lines((text,))

    def lines(self, texts: Iterable[str]) -> None:
        """Write lines together; above the board they appear with its next drawing."""
        with self._lock:
            self._waiting.extend(map(colored, texts))
            if self._live is None:
                self._write_waiting()

    def _write_waiting(self) -> None:
        """Write pending lines, and then those that a signal handler on this thread adds meanwhile."""
        if self._is_writing:
            return
        self._is_writing = True
        try:
            while self._waiting:
                texts, self._waiting = self._waiting, []
                self._write("".join(f"{text}\n" for text in texts))
        finally:
            self._is_writing = False

    def _write(self, text: str) -> None:
        if self._gone or not text:
            return
        try:
            try:
                self._file.write(text)
            except UnicodeEncodeError as error:
                self._file.write(
                    text.translate(_ASCII).encode(error.encoding, "replace").decode(error.encoding)
                )
            self._file.flush()
        except (OSError, ValueError):
            self._gone = True

    # --- the board ------------------------------------------------------------------------------------------

    def start_board(self, draw: Callable[[], str]) -> None:
        """Draw the result of ``draw`` (fitted to the width) below the lines, until ``stop_board``."""
        with self._lock:
            if not self.is_interactive or self._ticker is not None:
                return
            live = self._make_live()
            live.start()
            self._end.clear()
            try:
                self._ticker = started(partial(self._tick, live, self._framed(live, draw)), name="rpd-screen")
                self._live = live
            except RuntimeError:  # the system has no thread left for this process
                live.stop()

    def _framed(self, live: Live, draw: Callable[[], str]) -> Callable[[], str]:
        """Return ``draw`` behind the door, and without ghosts where the terminal became narrower since."""
        from rpd.terminal.reflow import Reflow

        reflow = Reflow()

        def frame() -> str:
            width = self.width
            back = reflow.take_back(width)
            if back is not None:
                live.console.control(back)
            text = colored(draw())
            reflow.drawn(text, width)
            return text

        return frame

    def _make_live(self) -> Live:
        # Not at the top: without a board no line needs rich, which takes a tenth of a short dry run to import.
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._file, force_terminal=True, highlight=False, markup=False, emoji=False)
        # Output of user code on this machine has to go above the board too.
        redirect = self._file is sys.stdout or isinstance(self._file, OwnCopy)
        return Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=redirect,
            redirect_stderr=redirect,
        )

    def stop_board(self) -> None:
        """Write the lines that wait, remove the board and show the cursor again."""
        ticker, self._ticker = self._ticker, None
        if ticker is None:
            return
        self._end.set()
        ticker.join(_PATIENCE)

    def _tick(self, live: Live, draw: Callable[[], str]) -> None:
        try:
            is_over = False
            while not is_over:
                is_over = self._end.wait(_INTERVAL)
                self._draw(live, draw)
        except Exception:  # noqa: BLE001, S110 - without a board the run goes on, in plain lines
            pass
        with contextlib.suppress(Exception):
            live.stop()
        with self._lock:
            self._live = None
            self._write_waiting()

    def _draw(self, live: Live, draw: Callable[[], str]) -> None:
        from rich.text import Text

        board = Text.from_ansi(draw(), no_wrap=True, end="")
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            live.console.out("\n".join(waiting), highlight=False)
        live.update(board, refresh=True)


def _is_terminal(file: TextIO) -> bool:
    try:
        return file.isatty()
    except (AttributeError, ValueError):
        return False


def _wants_color(color: str, file: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether to use colour: by the flag, else NO_COLOR or FORCE_COLOR (no-color.org, force-color.org)."""
    if color != "auto":
        return color == "yes"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return _is_terminal(file) and environ.get("TERM") != "dumb"

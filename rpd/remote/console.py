"""The console: this terminal (or these pipes), connected to a program on a pod."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from rpd.errors import UsageError
from rpd.threads import started, thread

_BYTES = 32 << 10
_STOP, _RESIZE = b"s", b"r"


class Typing(Protocol):
    """The program on the pod, as the console sees it. Called on a thread of the console."""

    def typed(self, data: bytes) -> None:
        """Take input."""
        ...

    def ended(self) -> None:
        """Take the end of the input."""
        ...

    def resized(self, columns: int, lines: int) -> None:
        """Take the new size of the terminal."""
        ...


class Console:
    """Standard input, output and error, by their file descriptors.

    ``wants_terminal`` asks for a terminal on the pod; the program gets one if input and output are terminals
    here. Raise UsageError if this system cannot provide one (Windows).
    """

    def __init__(self, *, wants_terminal: bool, stdin: int = 0, stdout: int = 1, stderr: int = 2) -> None:
        self.is_terminal = wants_terminal and os.isatty(stdin) and os.isatty(stdout)
        self.term = os.environ.get("TERM") or "xterm"
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        if self.is_terminal and sys.platform == "win32":
            raise UsageError(
                "a shell on the pod needs a POSIX terminal here: rpd ssh --print prints the ssh command for it, "
                "and rpd ssh NODE -- COMMAND runs one command"
            )

    def size(self) -> tuple[int, int]:
        """Return columns and lines."""
        columns, lines = 0, 0
        with contextlib.suppress(OSError):
            columns, lines = os.get_terminal_size(self._stdout)
        return columns or 80, lines or 24

    def write(self, data: bytes) -> None:
        """Write to standard output."""
        _write(self._stdout, data)

    def write_error(self, data: bytes) -> None:
        """Write to standard error."""
        _write(self._stderr, data)

    @contextmanager
    def lent(self, far: Typing) -> Iterator[None]:
        """Pass input on to ``far`` until the block ends, byte for byte if it is a terminal."""
        if sys.platform == "win32":
            # Windows cannot wait for standard input and a pipe at once, and has no SIGWINCH: only input is
            # passed on.
            started(partial(self._pass_pipe, far), name="rpd-stdin")
            yield
            return
        wake_out, wake_in = os.pipe()
        reader = thread(partial(self._pass, far, wake_out), name="rpd-stdin")
        try:
            with self._raw(), self._resizing(wake_in):
                reader.start()
                try:
                    yield
                finally:
                    os.write(wake_in, _STOP)
                    reader.join()
        finally:
            os.close(wake_out)
            os.close(wake_in)

    def _pass(self, far: Typing, wake: int) -> None:
        """Pass on input and terminal sizes until stopped."""
        import selectors

        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            # A regular file cannot be selected on, and need not be: it is always ready.
            waits = True
            try:
                selector.register(self._stdin, selectors.EVENT_READ)
            except (OSError, ValueError):
                waits = False
            is_open = True
            while True:
                ready = {key.fd for key, _ in selector.select(None if waits or not is_open else 0)}
                if wake in ready:
                    order = os.read(wake, 1)
                    if order == _STOP:
                        return
                    far.resized(*self.size())
                    continue
                if is_open and (not waits or self._stdin in ready):
                    is_open = self._pass_some(far)
                    if not is_open and waits:
                        selector.unregister(self._stdin)

    def _pass_some(self, far: Typing) -> bool:
        try:
            data = os.read(self._stdin, _BYTES)
        except OSError:
            data = b""
        if data:
            far.typed(data)
        else:
            far.ended()
        return bool(data)

    def _pass_pipe(self, far: Typing) -> None:
        while self._pass_some(far):
            pass

    @contextmanager
    def _raw(self) -> Iterator[None]:
        """Pass every key through, Ctrl-C included; restore the terminal afterwards."""
        if not self.is_terminal:
            yield
            return
        import termios
        import tty

        before = termios.tcgetattr(self._stdin)
        try:
            # Not flushed: keys typed while the connection came up are for the program, too.
            tty.setraw(self._stdin, termios.TCSADRAIN)
            yield
        finally:
            termios.tcsetattr(self._stdin, termios.TCSADRAIN, before)

    @contextmanager
    def _resizing(self, wake: int) -> Iterator[None]:
        """Wake the reading thread for a new size: a signal handler must not use the connection itself."""
        if not self.is_terminal or threading.current_thread() is not threading.main_thread():
            yield
            return

        def tell(*_: Any) -> None:
            with contextlib.suppress(OSError):
                os.write(wake, _RESIZE)

        before = signal.signal(signal.SIGWINCH, tell)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, before)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]

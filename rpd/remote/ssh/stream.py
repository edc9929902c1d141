"""One program on a session channel, watched for a deadline, a stall, an interrupt and a dead connection."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from rpd.remote.shell import DeadlinePassed, Disconnected, Ended, Interrupt, Program, TooMuch
from rpd.remote.ssh.connection import PACKET_BYTES
from rpd.remote.ssh.error_wording import FAILURES, close_quietly, reason
from rpd.remote.ssh.window import WINDOWS, WideWindow
from rpd.threads import started

_QUIET_SECONDS = 20.0
_LOOK_SECONDS = 2.0
"""Seconds between looks at a silent program's standard error: it may be full while standard output stays silent."""
_LISTEN_SECONDS = 0.5
"""The same if somebody wants it as it arrives."""
_SHARED_SECONDS = 0.05
"""The same for bulk data: the sums of many files come over standard error, and fill the window of both."""
_AGAIN_SECONDS = 0.02
"""The same after a burst."""
_BURST_BYTES = 32 << 10
_MOST_AT_ONCE = 1 << 20
"""Most bytes of standard error between two reads of standard output."""
_LITTLE_BYTES = 16 << 10
"""A program that has printed less keeps the window of its channel: most print less, and to change it is a message."""
_READ_BYTES = 256 << 10
"""Most bytes of standard output that are read, and handed on, at once."""
_MOST_BEFORE_MARK = 1 << 20
"""Most bytes that start-up files of a login shell may print."""


class Line(Protocol):
    """The part of a connection that a stream needs."""

    def check_open(self) -> None:
        """Raise ConnectionLost if it was closed on purpose."""
        ...

    def answers(self) -> bool:
        """Return whether the pod still answers."""
        ...

    def heard(self) -> None:
        """Note that something just arrived from the pod."""
        ...


class SshStream:
    """The ``Stream`` over one channel; a thread writes its input, so that neither side waits for the other.

    Output before ``mark`` is dropped. ``wide`` is the channel's window if that is not shared out. Without ``stdin``
    nothing is sent, not even the end of the input.
    """

    def __init__(
        self,
        line: Line,
        channel: Any,
        program: Program,
        *,
        mark: bytes,
        stdin: Iterable[bytes] | None,
        wide: WideWindow | None = None,
    ) -> None:
        self._line = line
        self._channel = channel
        self._mark = mark
        self._timeout = program.timeout
        self._deadline = None if program.timeout is None else time.monotonic() + program.timeout
        self._stall = program.stall
        self._moved = self._heard = time.monotonic()
        self._interrupt = program.interrupt or Interrupt()
        self._most = program.most
        self._hear = program.errors
        self._say_under_way = program.under_way
        self._window = 0
        """The most bytes that the pod was ready to take at once."""
        self._stderr = bytearray()
        self._written = self._taken = 0
        self._failure: BaseException | None = None
        self._closed = False
        channel.settimeout(_QUIET_SECONDS)
        self._wide = wide
        self._calm = _SHARED_SECONDS if wide else _LOOK_SECONDS if program.errors is None else _LISTEN_SECONDS
        self._look = self._calm
        if wide is None:
            WINDOWS.open(channel)
        self._writer: threading.Thread | None = None
        if stdin is None:
            return
        if isinstance(stdin, list) and sum(map(len, stdin)) <= PACKET_BYTES:
            # Fits into any window: no thread is needed to write it.
            self._write(stdin)
        else:
            self._writer = started(partial(self._write, stdin), name="rpd-stdin")

    def read(self) -> bytes:
        with self._interrupt.waking(self.close):
            if self._mark:
                return self._read_marked()
            return self._receive()

    def errors(self) -> bytes:
        self._take_errors()
        return bytes(self._stderr)

    def _take_errors(self) -> None:
        if self._hear is not None:
            self._pass_errors(self._hear)
            return
        before = len(self._stderr)
        while len(self._stderr) <= self._most and self._channel.recv_stderr_ready():
            try:
                self._stderr += self._channel.recv_stderr(1 << 20)
            except FAILURES as error:
                raise _broken(error) from error
        if len(self._stderr) > self._most and self._failure is None:
            self._failure = self._too_much()
            self.close()
        self._look_again(len(self._stderr) - before)

    def _pass_errors(self, hear: Callable[[bytes], None]) -> None:
        taken = 0
        while taken < _MOST_AT_ONCE and self._channel.recv_stderr_ready():
            try:
                data = self._channel.recv_stderr(_MOST_AT_ONCE)
            except FAILURES as error:
                raise _broken(error) from error
            if not data:  # closed, with nothing left
                break
            taken += len(data)
            hear(data)
        self._look_again(taken)

    def _look_again(self, taken: int) -> None:
        """Look at standard error again after a while; soon if much was ``taken``: the program may wait for room."""
        self._look = self._calm if taken < _BURST_BYTES else _AGAIN_SECONDS

    def _too_much(self) -> TooMuch:
        return TooMuch(
            f"a program on the pod printed more than {self._most >> 10} KiB, the most that rpd keeps"
        )

    def finish(self) -> Ended:
        stdout = bytearray()
        while data := self.read():
            stdout += data
            if len(stdout) > self._most:
                self.close()
                raise self._too_much()
        with self._interrupt.waking(self.close):
            code = self._exit_code()
        # The program has ended, so its input is no longer read: the writer may hang on a full window.
        if self._writer is not None:
            self._writer.join(_QUIET_SECONDS)
        if self._failure is not None:
            raise self._failure
        return Ended(exit_code=code, stdout=bytes(stdout), stderr=self._all_errors())

    def _all_errors(self) -> bytes:
        said = self.errors()
        while self._hear is not None and self._channel.recv_stderr_ready():
            self._take_errors()
        return said

    def extend(self, seconds: float) -> None:
        """Set a new deadline, ``seconds`` from now."""
        self._timeout = seconds
        self._deadline = time.monotonic() + seconds

    def close(self) -> None:
        self._closed = True
        WINDOWS.close(self._channel)
        close_quietly(self._channel)

    def _read_marked(self) -> bytes:
        seen = bytearray()
        while self._mark not in seen:
            data = self._receive()
            if not data:
                self._mark = b""
                return bytes(data)
            seen += data
            if len(seen) > _MOST_BEFORE_MARK:
                self.close()
                raise Disconnected("the pod's login shell prints without end before any command runs")
        rest = bytes(seen.partition(self._mark)[2])
        self._mark = b""
        return rest or self._receive()

    def _receive(self) -> bytes:
        """Return the next bytes of standard output.

        During silence check standard error, the deadline and the connection.
        """
        while True:
            self._check()
            self._channel.settimeout(self._patience())
            written = self._written
            if self._wide is None and self._taken > _LITTLE_BYTES:
                WINDOWS.fit(self._channel)
            try:
                data: bytes = self._channel.recv(_READ_BYTES)
                if self._wide is not None:
                    self._wide.passed(len(data))
            except TimeoutError:
                self._take_errors()
                self._check()
                # Input that the pod takes counts as movement, even if it prints nothing.
                if written != self._written:
                    self._moved = time.monotonic()
                else:
                    self._check_silence()
                continue
            except FAILURES as error:
                # A read in paramiko also sends (window adjustments), which a broken connection refuses.
                raise _broken(error) from error
            if not data:
                self._check()
            self._moved = self._heard = time.monotonic()
            self._taken += len(data)
            self._line.heard()
            if self._hear is not None:
                self._take_errors()
            return data

    def _exit_code(self) -> int:
        while not self._channel.status_event.wait(self._patience()):
            self._check()
            self._check_silence()
        self._check()
        code: int = self._channel.recv_exit_status()
        if code < 0:
            # No exit status: the connection is gone, or sshd's child was killed. Either way the program's end
            # is unknown.
            raise Disconnected("the SSH connection broke before the command's end was known")
        return code

    def _patience(self) -> float:
        """Return how many seconds to wait for bytes before the next check."""
        now = time.monotonic()
        left = self._look if self._deadline is None else self._deadline - now
        if self._stall is not None:
            left = min(left, self._moved + self._stall - now)
        return max(0.001, min(self._look, left))

    def _check(self) -> None:
        """Raise if this side has ended the stream."""
        if self._failure is not None:
            raise self._failure
        self._line.check_open()
        self._interrupt.check("a command on the pod")
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.close()
            raise DeadlinePassed(f"no end within {self._timeout:g} s")

    def _check_silence(self) -> None:
        """Raise DeadlinePassed after a stall, and Disconnected if the pod does not answer at all."""
        if self._stall is not None and time.monotonic() - self._moved >= self._stall:
            self.close()
            raise DeadlinePassed(f"nothing moved for {self._stall:g} s")
        if time.monotonic() - self._heard < _QUIET_SECONDS:
            return
        if not self._line.answers():
            self.close()
            raise Disconnected("the SSH connection is silent")
        self._heard = time.monotonic()

    def _write(self, data: Iterable[bytes]) -> None:
        try:
            for chunk in data:
                if not self._send(memoryview(chunk)):
                    return
                if self._say_under_way is not None:
                    self._say_under_way(self._window - self._channel.out_window_size)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits for the end
            # Also an OSError: it comes from the source of the bytes, not from the channel.
            self._failure = error
            self.close()
            return
        with contextlib.suppress(*FAILURES):
            self._channel.shutdown_write()

    def _send(self, view: memoryview) -> bool:
        """Write all of it; return False if the channel is broken: the reader will see that, and knows why."""
        while view and not self._closed:
            self._window = max(self._window, self._channel.out_window_size)
            try:
                sent = self._channel.send(view[: 1 << 20])
            except TimeoutError:
                # A full window: the pod is slow. Whether it is dead, the reader finds out.
                continue
            except FAILURES:
                return False
            self._written += sent
            view = view[sent:]
        return True


def _broken(error: BaseException) -> Disconnected:
    return Disconnected(f"the SSH connection broke: {reason(error)}")

"""The clock of a job: when its time is up it ends what the job does, be that a step on the pod or its own Python."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rpd.errors import Interrupted, RpdError
from rpd.execute.alarms import Alarms
from rpd.stop import Stop, StopLevel
from rpd.threads import guarded


class JobClock:
    """Times one call of a job, on the thread that makes it.

    A step that can be ended is ended by the function it was begun with. In the job's own code the error is raised
    between two operations of Python, as Ctrl-C is (CPython); code that waits outside of Python (``time.sleep``, a
    subprocess) meets it when that returns, and ``stuck`` is called after ``patience_seconds`` of that. With
    ``again_seconds`` only the job's own code has a time: where it is up in a step, it begins anew.
    """

    def __init__(
        self,
        error: Callable[[], RpdError],
        stuck: Callable[[], None] = lambda: None,
        *,
        again_seconds: float | None = None,
        patience_seconds: float = 15.0,
    ) -> None:
        self._error = error
        self._stuck = stuck
        self._again_seconds = again_seconds
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._thread = 0
        self._alarms = Alarms()
        self._cancels: list[Callable[[], None]] = []
        self._steps: list[Callable[[], None] | None] = []
        self._is_up = False
        self._is_over = False
        self._has_raised = False

    @contextmanager
    def running(self, alarms: Alarms, at: float | None) -> Iterator[None]:
        """Run until ``at`` (monotonic; None: for ever).

        Raises what ``error`` made if the block took longer, whatever came of it.
        """
        # Before the block: a job may change where modules are found, and the end of it needs this one.
        import ctypes  # noqa: F401

        self._thread = threading.get_ident()
        self._alarms = alarms
        try:
            if at is not None:
                self.move(at)
            yield
        finally:
            # First of all: from here on nothing is raised any more, and what was on its way is met inside this lock.
            with self._lock:
                self._is_over = True
                if self._has_raised:
                    _raise_in(self._thread, None)
            self._cancel()
        self.check()

    @contextmanager
    def heeding(self, stop: Stop, alarms: Alarms, at: float | None) -> Iterator[None]:
        """Run as ``running`` does, and raise Interrupted once the run has to end; at once if it has to already."""
        forget = stop.listen(
            lambda level: self.disturb(Interrupted(stop.reason)) if level >= StopLevel.END else None
        )
        try:
            with self.running(alarms, at):
                stop.check()  # what was raised before the clock ran has disturbed nobody
                yield
        finally:
            forget()

    def move(self, at: float) -> None:
        """Let the time be up at ``at`` (monotonic) instead."""
        self._cancel()
        self._cancels = [
            self._alarms.set(at, self._ring),
            self._alarms.set(at + self._patience_seconds, self._complain),
        ]

    def _cancel(self) -> None:
        while self._cancels:
            self._cancels.pop()()

    def disturb(self, error: RpdError) -> None:
        """Raise ``error`` in the job's own code; steps have other ways to hear of it."""
        with self._lock:
            if self._thread and not self._is_over and not self._steps:
                self._raise(error)

    def check(self) -> None:
        """Raise the error if the time is up."""
        if self._is_up:
            raise self._error()

    @contextmanager
    def shielded(self, end: Callable[[], None] | None = None) -> Iterator[None]:
        """Raise nothing in the block; ``end`` is called if the time is up meanwhile."""
        with self._lock:
            self._steps.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._steps.pop()

    @contextmanager
    def step(self, end: Callable[[], None] | None = None) -> Iterator[None]:
        """Count the block as a step, which ``end`` makes raise Interrupted; without it a step ends by itself.

        Raises the error where the time is up before the step or ended it.
        """
        with self.shielded(end):
            self.check()
            try:
                yield
            except Interrupted as error:
                if self._is_up:
                    raise self._error() from error
                raise

    def _raise(self, error: RpdError) -> None:
        self._has_raised = True
        _raise_in(self._thread, error)

    def _ring(self) -> None:
        with self._lock:
            if self._is_over:
                return
            if self._steps and self._again_seconds is not None:
                self.move(time.monotonic() + self._again_seconds)
                return
            self._is_up = True
            if not self._steps:
                self._raise(self._error())
            elif (end := self._steps[-1]) is not None:
                end()

    def _complain(self) -> None:
        with self._lock:
            if self._is_over or self._steps:
                return
        # On a thread of its own: a listener may hang, and other jobs' alarms come from this one.
        threading.Thread(target=guarded, args=(self._stuck,), name="rpd-stuck", daemon=True).start()


def _raise_in(thread: int, error: BaseException | None) -> None:
    """Raise ``error`` in a thread at its next operation; None takes back what it has not met yet."""
    # Python makes the exception itself, from a class and without arguments.
    import ctypes  # mostly no time is up

    made = None if error is None else ctypes.py_object(_without_arguments(error))
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), made)


def _without_arguments(error: BaseException) -> type[BaseException]:
    """Return a class whose instances, made without arguments, are like ``error``."""
    kind = type(error)

    def init(self: BaseException) -> None:
        kind.__init__(self, *error.args)

    return type(kind.__name__, (kind,), {"__init__": init, "__module__": kind.__module__})

"""The clock of a job: when time is up, it ends the running step or interrupts the job's own Python code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rpd.errors import Interrupted, RpdError
from rpd.execute.alarms import Alarms
from rpd.stop import Stop, StopLevel
from rpd.threads import begun, guarded
from rpd.uptime import uptime


class JobClock:
    """Limits the time of one call of a job, on the thread that makes the call.

    A step is ended by the function it was started with. In the job's own code the error is raised between two
    Python operations, as CPython does for Ctrl-C. Code that waits outside Python (``time.sleep``, a
    subprocess) sees the error when that wait returns; ``stuck`` is called if that takes longer than
    ``patience_seconds``. With ``again_seconds`` only the job's own code is limited: if time runs out during a
    step, the limit starts again.
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
        """Limit the block to ``at`` (seconds of ``uptime``; None: no limit).

        Raise the error made by ``error`` if the block took longer, however it ended.
        """
        # Before the block: a job may change the import path, and ``_raise_in`` needs ctypes at the end of the
        # block.
        import ctypes  # noqa: F401

        self._thread = threading.get_ident()
        self._alarms = alarms
        try:
            if at is not None:
                self.move(at)
            yield
        finally:
            # First of all: once this is set, nothing is raised any more. An exception that is already on its
            # way arrives while we hold the lock, or is taken back below.
            with self._lock:
                self._is_over = True
                if self._has_raised:
                    _take_back()
            self._cancel()
        self.check()

    @contextmanager
    def heeding(self, stop: Stop, alarms: Alarms, at: float | None) -> Iterator[None]:
        """Limit the block as ``running`` does; also raise Interrupted as soon as the run has to end."""
        forget = stop.listen(
            lambda level: self.disturb(Interrupted(stop.reason)) if level >= StopLevel.END else None
        )
        try:
            with self.running(alarms, at):
                stop.check()  # a stop requested before the clock ran has interrupted nothing
                yield
        finally:
            forget()

    def move(self, at: float) -> None:
        """Move the end of the time to ``at`` (seconds of ``uptime``)."""
        self._cancel()
        self._cancels = [
            self._alarms.set(at, self._ring),
            self._alarms.set(at + self._patience_seconds, self._complain),
        ]

    def _cancel(self) -> None:
        while self._cancels:
            self._cancels.pop()()

    def disturb(self, error: RpdError) -> None:
        """Raise ``error`` in the job's own code. Steps are interrupted in another way."""
        with self._lock:
            if self._thread and not self._is_over and not self._steps:
                self._raise(error)

    def check(self) -> None:
        """Raise the error if time is up."""
        if self._is_up:
            raise self._error()

    @contextmanager
    def shielded(self, end: Callable[[], None] | None = None) -> Iterator[None]:
        """Raise nothing inside the block; call ``end`` if time runs out meanwhile."""
        with self._lock:
            self._steps.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._steps.pop()

    @contextmanager
    def step(self, end: Callable[[], None] | None = None) -> Iterator[None]:
        """Treat the block as a step, which ``end`` can interrupt; without ``end`` the step runs to its end.

        ``end`` must make the block raise Interrupted. Raise the error if time is up before the step starts,
        or if that is why the step ended.
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
        # CPython takes a class here and instantiates it without arguments.
        _raise_in(self._thread, _without_arguments(error))

    def _ring(self) -> None:
        with self._lock:
            if self._is_over:
                return
            if self._steps and self._again_seconds is not None:
                self.move(uptime() + self._again_seconds)
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
        # On a separate thread: a listener may hang, and other jobs' alarms come from this one.
        begun(partial(guarded, self._stuck), name="rpd-stuck")


def _raise_in(thread: int, kind: type[BaseException]) -> None:
    """Raise an instance of ``kind`` in a thread at its next operation, in place of one that has not arrived yet."""
    import ctypes  # rarely needed: most jobs end in time

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


class _Nothing(BaseException):
    """Takes the place of an exception that is no longer wanted."""


def _take_back() -> None:
    """Take back an exception that was raised in this thread and has not arrived yet, if there is one.

    Another takes its place and arrives here. If it were cancelled instead, CPython 3.11 would look for it forever:
    slower, and with a profiler, a debugger or coverage no function would begin any more.
    """
    other: BaseException | None = None
    # Twice: after Ctrl-C it may arrive anywhere in the outer block.
    try:
        while True:
            try:
                _raise_in(threading.get_ident(), _Nothing)
                while True:
                    pass
            except _Nothing:
                raise
            except BaseException as error:  # noqa: BLE001 - Ctrl-C, raised again when nothing is on its way any more
                other = error
    except _Nothing:
        pass
    if other is not None:
        raise other


def _without_arguments(error: BaseException) -> type[BaseException]:
    """Return a class whose instances, created without arguments, equal ``error``."""
    kind = type(error)

    def init(self: BaseException) -> None:
        kind.__init__(self, *error.args)

    return type(kind.__name__, (kind,), {"__init__": init, "__module__": kind.__module__})

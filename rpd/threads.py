"""Threads that survive errors of the functions they call, and calls with a time limit.

A callback that raises would end its thread, and with it the thread's other duties: signals, timeouts,
heartbeats. So nothing here is called unguarded.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def thread(act: Callable[[], object], *, name: str) -> threading.Thread:
    """Return a daemon thread, not started yet, that calls ``act`` in a copy of the caller's context.

    The content of the context (the job defaults of a project) thus applies on the threads of a run, too.
    """
    return _Thread(target=copy_context().run, args=(act,), name=name, daemon=True)


def started(act: Callable[[], object], *, name: str) -> threading.Thread:
    """Start such a thread and return it. Raise RuntimeError if the system has none left for this process."""
    new = thread(act, name=name)
    new.start()
    return new


def begun(act: Callable[[], object], *, name: str) -> threading.Thread:
    """Start such a thread and return it; call ``act`` here if the system has no thread left for this process.

    For work that must be done, such as to release a pod: a job may have used up all threads.
    """
    new = thread(act, name=name)
    try:
        new.start()
    except RuntimeError:
        new.run()
    return new


class _Thread(threading.Thread):
    """A thread that may be waited for even if it never started."""

    def join(self, timeout: float | None = None) -> None:
        if self.ident is not None:
            super().join(timeout)


Failed = Callable[[Exception], object]
"""Hears what a callback raised."""


def _unheard(_error: Exception) -> None:
    """Drop an error without a listener."""


class Repeater:
    """Calls ``act`` every ``seconds`` on its own thread, from ``start`` to ``stop``.

    ``act`` ends it by returning False. Its first exception goes to ``failed``; the calls continue.
    """

    def __init__(
        self, act: Callable[[], object], *, seconds: float, name: str, failed: Failed = _unheard
    ) -> None:
        self._act = act
        self._seconds = seconds
        self._name = name
        self._failed = failed
        self._has_failed = False
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_ending(self) -> bool:
        """Whether ``stop`` was called."""
        return self._end.is_set()

    def start(self) -> None:
        """Begin, unless it has begun; the first call comes after ``seconds``."""
        if self._thread is None:
            self._thread = started(self._run, name=self._name)

    def stop(self, *, wait: float | None = 0.0) -> None:
        """Call ``act`` no more. A call under way is waited for, ``wait`` seconds at most (None: to its end)."""
        self._end.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(wait)

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            try:
                if self._act() is False:
                    return
            except Exception as error:  # noqa: BLE001 - the next call may fare better
                if not self._has_failed:
                    self._has_failed = True
                    guarded(partial(self._failed, error))


class Worker:
    """Calls the functions it is given, in order, on its own thread. Exceptions go to ``failed``."""

    def __init__(self, name: str, *, failed: Failed = _unheard) -> None:
        self._failed = failed
        self._handed: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = started(self._run, name=name)

    def hand(self, act: Callable[[], object]) -> None:
        """Queue ``act`` to be called soon; safe in a signal handler, which may interrupt code that holds any lock."""
        self._handed.put(act)

    def close(self, *, wait: float | None = None) -> None:
        """End it once all it was handed is done, and wait for that, ``wait`` seconds at most."""
        self._handed.put(None)
        self._thread.join(wait)

    def _run(self) -> None:
        while (act := self._handed.get()) is not None:
            guarded(act, self._failed)


def guarded(act: Callable[[], object], failed: Failed = _unheard) -> None:
    """Call ``act``; its exceptions go to ``failed``, and those of ``failed`` are dropped."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - the thread has other things to do
        if failed is not _unheard:
            guarded(partial(failed, error))


class Overdue(Exception):
    """A call had not come back when its time was up, or when it was cut short."""


def bounded(act: Callable[[], T], *, seconds: float, wake: threading.Event | None = None) -> T:
    """Return the result of ``act`` or raise its exception, within ``seconds``. Raise Overdue.

    ``wake`` cuts the wait short when it is set; it is also set when ``act`` returns. After a timeout ``act``
    is left running on its thread: no timeout of a library covers a name that does not resolve, or an answer
    that never quite stops arriving. If the system has no thread left, ``act`` is called here, without a limit.
    """
    back = threading.Event() if wake is None else wake
    answers: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            answers.append(act())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            errors.append(error)
        finally:
            back.set()

    begun(call, name="rpd-bounded")
    back.wait(seconds)
    if answers:
        return answers[0]
    if errors:
        raise errors[0]
    raise Overdue(f"no answer within {seconds:g} s")

"""Threads that outlive what they call, and calls that cannot outlast their time.

A callback that raises ends the thread it runs on, and with it whatever else that thread was for: signals, timeouts,
heartbeats. So nobody here calls anything unguarded.
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
    """Return a daemon that calls ``act`` in a copy of the caller's context, not started yet.

    What a context holds (the job defaults of a project) then counts on the threads of a run, too.
    """
    return threading.Thread(target=copy_context().run, args=(act,), name=name, daemon=True)


Failed = Callable[[Exception], object]
"""Hears what a callback raised."""


def _unheard(_error: Exception) -> None:
    """Drop an error nobody listens to."""


class Repeater:
    """Calls ``act`` every ``seconds`` on a thread of its own, from ``start`` to ``stop``.

    ``act`` ends it by returning False. What it raises goes to ``failed``, the first time; it is called again all the
    same.
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
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

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
    """Calls what it is handed, in order, on a thread of its own. What a call raises goes to ``failed``."""

    def __init__(self, name: str, *, failed: Failed = _unheard) -> None:
        self._failed = failed
        self._handed: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def hand(self, act: Callable[[], object]) -> None:
        """Have ``act`` called soon; safe in a signal handler, which may interrupt code that holds any lock."""
        self._handed.put(act)

    def close(self, *, wait: float | None = None) -> None:
        """End it once all it was handed is done, and wait for that, ``wait`` seconds at most."""
        self._handed.put(None)
        self._thread.join(wait)

    def _run(self) -> None:
        while (act := self._handed.get()) is not None:
            guarded(act, self._failed)


def guarded(act: Callable[[], object], failed: Failed = _unheard) -> None:
    """Call ``act``; what it raises goes to ``failed``, and what that raises nowhere."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - the thread has other things to do
        if failed is not _unheard:
            guarded(partial(failed, error))


class Overdue(Exception):
    """A call had not come back when its time was up, or when it was cut short."""


def bounded(act: Callable[[], T], *, seconds: float, wake: threading.Event | None = None) -> T:
    """Return what ``act`` returns or raise what it raises, within ``seconds``. Raises Overdue.

    ``wake`` cuts the wait short when it is set; it is also set when ``act`` has come back. ``act`` runs on a thread
    that is left alone then: no timeout of a library covers a name that does not resolve, or an answer that never quite
    stops arriving.
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

    threading.Thread(target=call, name="rpd-bounded", daemon=True).start()
    back.wait(seconds)
    if answers:
        return answers[0]
    if errors:
        raise errors[0]
    raise Overdue(f"no answer within {seconds:g} s")

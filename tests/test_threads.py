"""Threads that outlive their calls, and calls that cannot outlast their time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rpd.execute.slots import Slots
from rpd.journal.commits import Commits
from rpd.stop import Stop
from rpd.threads import Overdue, Repeater, Worker, begun, bounded, guarded
from tests.waiting import DEADLINE


class Failing:
    """Raises every time it is called, and tells when that has been often enough."""

    def __init__(self, enough: int = 3) -> None:
        self.calls = 0
        self.enough = threading.Event()
        self._enough = enough

    def __call__(self) -> None:
        self.calls += 1
        if self.calls >= self._enough:
            self.enough.set()
        raise OSError("the chat is down")


def test_what_is_repeated_may_raise() -> None:
    """It is still called again; the first error is reported, even to a listener that raises too."""
    act, errors = Failing(), list[Exception]()

    def failed(error: Exception) -> None:
        errors.append(error)
        raise RuntimeError("and nobody to tell")

    repeater = Repeater(act, seconds=0.001, name="test", failed=failed)
    repeater.start()
    assert act.enough.wait(DEADLINE)
    repeater.stop(wait=DEADLINE)
    assert [str(error) for error in errors] == ["the chat is down"]
    assert repeater.is_ending


def test_what_is_repeated_ends_itself_with_false() -> None:
    """No calls follow; stopping it then is no mistake, nor is stopping one that never began."""
    calls = []
    seen = threading.Event()

    def act() -> bool:
        calls.append(1)
        return len(calls) < 2 and seen.wait(DEADLINE)

    repeater = Repeater(act, seconds=0.001, name="test")
    Repeater(act, seconds=0.001, name="never begun").stop()
    repeater.start()
    repeater.start()
    thread = next(thread for thread in threading.enumerate() if thread.name == "test")
    seen.set()
    thread.join(DEADLINE)
    repeater.stop(wait=DEADLINE)
    assert len(calls) == 2


def test_a_worker_does_all_it_was_handed() -> None:
    """In order, whatever some of it raises; its end waits for the rest."""
    done, errors = list[int](), list[Exception]()
    worker = Worker("test", failed=errors.append)
    for number in range(3):
        worker.hand(lambda number=number: done.append(number))
        worker.hand(Failing())
    worker.close()
    assert done == [0, 1, 2]
    assert len(errors) == 3


def test_guarded_swallows_what_nobody_hears() -> None:
    """Without a listener the error is dropped."""
    guarded(Failing())


def test_a_call_that_comes_back_is_answered() -> None:
    """Its result is returned, and its exception is raised here."""
    assert bounded(lambda: 7, seconds=DEADLINE) == 7
    with pytest.raises(OSError, match="chat"):
        bounded(Failing(), seconds=DEADLINE)


def test_a_call_that_does_not_come_back_is_left() -> None:
    """After its time, or as soon as it is woken."""
    never = threading.Event()
    with pytest.raises(Overdue, match=r"0\.01 s"):
        bounded(never.wait, seconds=0.01)
    wake = threading.Event()
    wake.set()
    with pytest.raises(Overdue):
        bounded(never.wait, seconds=DEADLINE, wake=wake)
    never.set()


def test_work_is_done_where_no_thread_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A release must not fail because a job used up all threads: it is done on the thread that asks for it."""

    def none_left(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    commits = Commits(lambda folder, error: pytest.fail(f"{folder}: {error}"))
    for start in ("_start_new_thread", "_start_joinable_thread"):  # of Python before 3.13, and since
        monkeypatch.setattr(threading, start, none_left, raising=False)
    done: list[str] = []
    begun(lambda: done.append("begun"), name="test").join()
    assert bounded(lambda: "answer", seconds=DEADLINE) == "answer"
    with pytest.raises(ValueError, match="its own"):
        bounded(lambda: int("its own"), seconds=DEADLINE)
    commits.soon(tmp_path)
    commits.finish()
    Slots(Stop()).run(lambda: done.append("slot 0"), lambda: done.append("slot 1"))
    assert done == ["begun", "slot 0"]  # slots share their work

"""The guard: which threads it keeps from acting, and which it does not concern."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from rpd.execute.no_network import Blocked, among_others, everywhere, guarded, lowered

WHY = "in a test"


@pytest.fixture
def connect() -> Iterator[Callable[[], None]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield lambda: socket.create_connection(server.getsockname(), timeout=60).close()


class Worker:
    """A thread that calls given functions, and returns their results."""

    def __init__(self) -> None:
        self._wanted: Callable[[], object] | None = None
        self._given, self._done = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        self._given.wait()
        assert self._wanted is not None
        try:
            self._wanted()
        except BaseException as error:  # noqa: BLE001 - returned
            self._error = error
        self._done.set()

    def do(self, what: Callable[[], object]) -> BaseException | None:
        """Call it there; return the exception it raised."""
        self._wanted = what
        self._given.set()
        assert self._done.wait(60)
        return self._error


def test_a_thread_and_those_it_starts_are_guarded(connect: Callable[[], None]) -> None:
    """A thread begun under the guard stays under it, also when the block is over; one of somebody else is free."""
    others = Worker()
    with guarded(WHY):
        own = Worker()
        with pytest.raises(Blocked, match="not allowed in a test"):
            connect()
        assert others.do(connect) is None
    assert isinstance(own.do(connect), Blocked)
    connect()
    assert Worker().do(connect) is None


def test_children_of_children_are_guarded(connect: Callable[[], None]) -> None:
    """It is handed on from thread to thread."""
    made: list[Worker] = []
    with guarded(WHY):
        Worker().do(lambda: made.append(Worker()))
    assert isinstance(made[0].do(connect), Blocked)


def test_everywhere_is_every_thread(connect: Callable[[], None]) -> None:
    """An existing thread is guarded too, and the block raises an error that would otherwise be lost."""
    worker = Worker()
    with pytest.raises(Blocked), everywhere(WHY):
        assert isinstance(worker.do(connect), Blocked)
    assert Worker().do(connect) is None


def test_among_others_everywhere_is_the_threads_of_the_run(connect: Callable[[], None]) -> None:
    """The program's other threads are left alone; threads that the run began before the guard was up are guarded."""
    others = Worker()
    with among_others():
        of_the_run = Worker()
        connect()
        with lowered():
            of_rpd = Worker()
        with pytest.raises(Blocked, match="not allowed in a test"), everywhere(WHY):  # noqa: PT012 - it ends the block
            assert isinstance(of_the_run.do(connect), Blocked)
            assert others.do(connect) is None
            assert of_rpd.do(connect) is None
    assert Worker().do(connect) is None


def test_two_runs_among_others_are_guarded_each_for_itself(connect: Callable[[], None]) -> None:
    """A guard that comes down takes none of another run with it, and a run that is not guarded is not kept from acting."""
    up, down, answers = threading.Event(), threading.Event(), []

    def dry() -> None:
        with among_others(), everywhere(WHY):
            up.set()
            assert down.wait(60)
            with pytest.raises(Blocked):
                connect()
            answers.append(True)

    thread = threading.Thread(target=dry)
    thread.start()
    assert up.wait(60)
    with among_others():
        connect()
        with everywhere(WHY), pytest.raises(Blocked):
            connect()
        connect()
    down.set()
    thread.join()
    assert answers == [True]


def test_own_work_passes(connect: Callable[[], None]) -> None:
    """Calls made with the guard lowered pass, on threads begun there as well."""
    with everywhere(WHY):
        with lowered():
            connect()
            helper = Worker()
        with pytest.raises(Blocked):
            connect()
    assert helper.do(connect) is None


@pytest.mark.parametrize("act", [os.fork, lambda: os.system("true")], ids=["fork", "system"])
def test_processes_are_kept_from_starting(act: Callable[[], object]) -> None:
    """A forked process would be out of reach of the guard."""
    with guarded(WHY), pytest.raises(Blocked):
        act()

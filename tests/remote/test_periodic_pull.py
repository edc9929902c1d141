"""A pull that repeats: during the job, and a last time at the end."""

import threading
from pathlib import Path

import pytest

from rpd.errors import ConnectionLost, TransferError
from rpd.remote.dry_run import RecorderRemote
from rpd.remote.periodic_pull import PeriodicPull
from rpd.remote.protocol import Remote
from rpd.values.step import Pulled
from tests.waiting import DEADLINE, wait_until


class Place:
    """A source of pulls: answers with the next entry of its list, then with ``Pulled`` for ever."""

    def __init__(self, *answers: Exception | None, at_the_end: Exception | None = None) -> None:
        self._answers = list(answers)
        self._at_the_end = at_the_end
        self.asked: list[bool] = []
        self.enough = threading.Event()

    def fetch(self, remote: Remote, *, required: bool) -> Pulled | None:
        self.asked.append(required)
        if required and self._at_the_end is not None:
            raise self._at_the_end
        if len(self.asked) > 3:
            self.enough.set()
        answer = (
            self._answers.pop(0)
            if self._answers
            else Pulled(remote="/r", local=Path("l"), files=len(self.asked), bytes=0)
        )
        if isinstance(answer, Exception):
            raise answer
        return answer


def begin(place: Place, notices: list[str], connect: object = RecorderRemote) -> PeriodicPull:
    """Start a pull that repeats all the time."""
    made = PeriodicPull(place.fetch, connect=connect, seconds=0.001, failed=notices.append)  # type: ignore[arg-type]
    made.start()
    return made


def test_it_repeats_and_ends_with_one_more() -> None:
    """Pulls during the job require nothing; the last one, on the caller's thread, does if it is to."""
    place, notices = Place(), list[str]()
    periodic = begin(place, notices)
    assert place.enough.wait(DEADLINE)
    last = periodic.last(required=True)
    assert last is not None
    assert last.files == len(place.asked)
    assert place.asked == [False] * (len(place.asked) - 1) + [True]
    assert notices == []


def test_a_failure_is_told_once_and_made_up_for() -> None:
    """However often it fails, there is one notice; a pull that works afterwards is the one that counts."""
    place, notices = Place(TransferError("first"), TransferError("second"), None), list[str]()
    periodic = begin(place, notices)
    assert place.enough.wait(DEADLINE)
    assert periodic.last(required=True) is not None
    assert notices == ["TransferError: first"]


def test_the_last_pull_may_fail() -> None:
    """Its error is the caller's; the files of an earlier one are still known."""
    periodic = begin(Place(at_the_end=TransferError("at the end")), [])
    wait_until(lambda: periodic.latest is not None, what="a pull")
    with pytest.raises(TransferError, match="at the end"):
        periodic.last(required=True)
    assert periodic.latest is not None


def test_a_connection_that_cannot_be_made_is_tried_again() -> None:
    """Connecting happens during the job too, and again with each pull until it works."""
    tries = [ConnectionLost("not now"), ConnectionLost("not now")]

    def connect() -> Remote:
        if tries:
            raise tries.pop()
        return RecorderRemote()

    place, notices = Place(), list[str]()
    periodic = begin(place, notices, connect)
    assert place.enough.wait(DEADLINE)
    periodic.close()
    assert notices == ["ConnectionLost: not now"]

"""Commands on all members: the first failure is known, the others are ended, and nothing of it stays behind."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from rpd.cluster.together import Part, run_together, side_by_side
from rpd.errors import Interrupted, PodLost
from rpd.remote.protocol import Command, Output
from rpd.values.step import Completed
from tests.waiting import DEADLINE


@dataclass
class Member:
    """Stands in for a Remote: its command ends with ``code``, with an error, or (None) when it is interrupted."""

    code: int | None = 0
    error: Exception | None = None
    begins: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    cleared: int = 0

    def run(self, command: Command, output: Output, metrics: Output | None = None) -> Completed:
        assert metrics is None
        output(b"hello\n")
        self.begins.set()
        if self.error is not None:
            raise self.error
        if self.code is None:
            assert self.asked.wait(DEADLINE)
            raise Interrupted("ended")
        return Completed(command=command.text, exit_code=self.code)

    def interrupt(self) -> None:
        self.asked.set()

    def forget_interrupt(self) -> None:
        self.cleared += 1


def parts(*members: Member) -> list[Part]:
    command = Command(key="k", text="work")
    return [Part(member, command, lambda _data: None) for member in members]  # type: ignore[arg-type]


def test_the_first_failure_ends_the_others() -> None:
    waiting, failing = Member(code=None), Member(code=3)
    ended = run_together(parts(waiting, failing))
    assert ended.first == 1
    assert ended.error is None
    assert [each and each.exit_code for each in ended.completed] == [None, 3]
    assert (waiting.cleared, failing.cleared) == (1, 1)


def test_all_end_as_they_like_where_nobody_checks() -> None:
    ended = run_together(parts(Member(code=2), Member(code=0), Member(code=5)), end_others=False)
    assert [each and each.exit_code for each in ended.completed] == [2, 0, 5]
    assert ended.first in (0, 2)


@pytest.mark.parametrize("end_others", [True, False])
def test_a_lost_member_ends_all(*, end_others: bool) -> None:
    lost = PodLost("gone")
    ended = run_together(
        parts(Member(code=None), Member(error=lost), Member(code=None)), end_others=end_others
    )
    assert (ended.first, ended.error) == (1, lost)
    assert ended.completed == (None, None, None)


def test_a_command_that_is_over_is_not_interrupted() -> None:
    """An interrupt that came too late does not end the next command."""
    member = Member(code=0)
    (part,) = parts(member)
    part.run()
    part.interrupt()
    assert not member.asked.is_set()


def test_side_by_side() -> None:
    both = threading.Barrier(2, timeout=DEADLINE)
    assert side_by_side([lambda: both.wait() * 0 + 1, lambda: both.wait() * 0 + 2], name="t") == [1, 2]

    def fail() -> int:
        raise PodLost("rank 1")

    never = threading.Event()
    with pytest.raises(PodLost, match="rank 1"):
        side_by_side([lambda: int(never.wait(DEADLINE)), fail], name="t")
    never.set()

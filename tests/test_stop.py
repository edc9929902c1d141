"""Stopping: levels only rise, and every listener is called."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import Interrupted
from rpd.stop import Stop, StopLevel
from rpd.threads import Overdue


@given(st.lists(st.tuples(st.sampled_from(StopLevel), st.text(min_size=1, max_size=3))))
def test_levels_only_rise(requests: list[tuple[StopLevel, str]]) -> None:
    """The level is the highest requested, the reasons are all that raised it; listeners get each rise once."""
    stop = Stop()
    heard: list[StopLevel] = []
    stop.listen(heard.append)
    for level, reason in requests:
        stop.request(level, reason)
    levels = [level for level, _ in requests]
    assert stop.level == max(levels, default=StopLevel.NONE)
    assert heard == sorted(set(heard))
    reached, reasons = StopLevel.NONE, ""
    for level, reason in requests:
        if level > reached:
            reached = level
            if reason not in reasons:
                reasons = f"{reasons}; {reason}" if reasons else reason
    assert stop.reason == reasons
    assert stop.wait(0) == (stop.level >= StopLevel.END)


def test_only_ending_ends_what_runs() -> None:
    """DRAIN lets running work finish; END interrupts it, with the reason."""
    stop = Stop()
    stop.request(StopLevel.DRAIN, "-x")
    stop.check()
    stop.request(StopLevel.END, "Ctrl-C")
    with pytest.raises(Interrupted, match="-x"):
        stop.check()


def test_a_waiter_wakes_at_once() -> None:
    """Who waits for a long time is woken when work has to end."""
    stop = Stop()
    woken = threading.Event()

    def wait() -> None:
        if stop.wait(60):
            woken.set()

    threading.Thread(target=wait, daemon=True).start()
    stop.request(StopLevel.END, "Ctrl-C")
    assert woken.wait(10)


def test_listening_can_end() -> None:
    """A removed listener is not called any more, even if removed during a call; others still are."""
    stop = Stop()
    first: list[StopLevel] = []
    second: list[StopLevel] = []
    forget = stop.listen(lambda level: (first.append(level), forget()))
    stop.listen(second.append)
    stop.request(StopLevel.DRAIN, "a")
    stop.request(StopLevel.ABANDON, "b")
    forget()
    assert first == [StopLevel.DRAIN]
    assert second == [StopLevel.DRAIN, StopLevel.ABANDON]


@pytest.mark.parametrize("level", [StopLevel.DRAIN, StopLevel.END])
def test_who_comes_late_hears_at_once(level: StopLevel) -> None:
    """A listener that comes after a level was raised is called at once."""
    stop = Stop()
    stop.request(level, "Ctrl-C")
    heard: list[StopLevel] = []
    stop.listen(heard.append)
    assert heard == [level]


def test_the_newest_hears_first() -> None:
    """Running work is ended before the earlier listeners, which only report it, are called."""
    stop = Stop()
    heard: list[str] = []
    stop.listen(lambda _level: heard.append("told"))
    stop.listen(lambda _level: heard.append("ended"))
    stop.request(StopLevel.END, "Ctrl-C")
    assert heard == ["ended", "told"]


def test_a_question_is_left_unanswered() -> None:
    """A stop cuts a question short, also one that was raised before it was asked; draining does not."""
    stop = Stop()
    never = threading.Event()
    stop.request(StopLevel.DRAIN, "-x")
    assert stop.asked(lambda: 7, seconds=60) == 7
    with pytest.raises(Overdue):
        stop.asked(never.wait, seconds=0.01)
    stop.request(StopLevel.END, "Ctrl-C")
    with pytest.raises(Interrupted, match="Ctrl-C"):
        stop.asked(never.wait, seconds=600)
    never.set()

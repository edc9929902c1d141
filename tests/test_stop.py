"""Stopping: levels only rise, and everybody is told."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import Interrupted
from rpd.stop import Stop, StopLevel


@given(st.lists(st.tuples(st.sampled_from(StopLevel), st.text(min_size=1, max_size=3))))
def test_levels_only_rise(requests: list[tuple[StopLevel, str]]) -> None:
    """The level is the highest asked for, the reasons are all that raised it; listeners hear each rise once."""
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
    """A listener that was taken off hears nothing more, also from within a call to it; others still do."""
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

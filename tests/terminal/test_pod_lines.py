"""Which events of pods get a line, by how much is asked for and whether a board shows them."""

from __future__ import annotations

from typing import Any

import pytest

from rpd.terminal.pod_lines import PodLines
from rpd.values.pod import PodInfo

REFUSED = {"offer": "A40", "reason": "no machine"}
KEPT = {"pod_id": "p1"}


def lines(level: int = 0, *, is_interactive: bool = False, ends_with_run: bool = False) -> PodLines:
    return PodLines(level, is_interactive=is_interactive, ends_with_run=ends_with_run)


@pytest.mark.parametrize(
    ("event", "detail", "least"),
    [
        ("refused", REFUSED, 1),
        ("created", KEPT, 1),
        ("released", KEPT, 1),
        ("waiting", {"refused": 2, "seconds_left": 60}, 0),
        ("lost", KEPT, -1),
        ("kept", KEPT, -1),
        ("unreleased", KEPT, -3),
    ],
)
def test_each_event_has_a_level(event: str, detail: dict[str, Any], least: int) -> None:
    """It is shown from that level on; events of pods that may bill are shown at every level."""
    levels = [level for level in range(-3, 3) if lines(level).event("a", event, detail) is not None]
    assert levels == list(range(least, 3))


def test_a_board_replaces_lines_of_waiting(pod: PodInfo) -> None:
    board = lines(is_interactive=True)
    assert board.event("a", "waiting", {}) is None
    assert board.ready("a", pod, 3.0) is None


def test_refusals_are_counted_once_each_until_the_pod_is_ready(pod: PodInfo) -> None:
    log = lines()
    for offer in ("A40", "A40", "L4"):
        log.event("a", "refused", {"offer": offer})
    first, again = log.ready("a", pod, 3.0), log.ready("a", pod, None)
    assert first is not None
    assert first.text.endswith("ready after 3.00s, 2 offers refused before")
    assert again is not None
    assert "refused" not in again.text


def test_waiting_is_told_once_for_each_pod(pod: PodInfo) -> None:
    log = lines()
    written = [log.event("a", "waiting", {"seconds_left": 60}) for _ in range(2)]
    log.ready("a", pod, 1.0)
    written.append(log.event("a", "waiting", {"seconds_left": 60}))
    assert [line is not None for line in written] == [True, False, True]


def test_a_pod_of_a_local_run_does_not_go_on_billing() -> None:
    """Another sentence says that it ends with the emulator of the run."""
    assert lines(2, ends_with_run=True).event("a", "kept", KEPT) is None

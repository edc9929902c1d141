"""The deadline of a pod: whose it is, when its watchdog hears of a new one, and what becomes of one out of reach."""

from __future__ import annotations

import pytest

from rpd.errors import ConnectionLost, RemoteError
from rpd.lease import lifetime as module
from rpd.lease.lifetime import PULL_SECONDS, SHORT_SECONDS, TOLERANCE_SECONDS, Lifetime
from rpd.remote.watchdog import Terms
from tests.clock import Clock

TERMS = Terms(linger=900.0, grace=300.0)


class Watchdog:
    """Keeps what it was told: seconds, linger, grace, and whether it ran already."""

    def __init__(self) -> None:
        self.told: list[tuple[float, float, float, bool]] = []
        self.fails: RemoteError | None = None
        self.is_reachable = True

    def __call__(self, seconds: float, *, linger: float, grace: float, again: bool) -> None:
        if self.fails is not None:
            raise self.fails
        self.told.append((seconds, linger, grace, again))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(1000.0)
    monkeypatch.setattr(module, "uptime", made)
    return made


@pytest.fixture
def watchdog() -> Watchdog:
    return Watchdog()


@pytest.fixture
def lifetime(clock: Clock, watchdog: Watchdog) -> Lifetime:
    """Of a pod that node ``a`` needs for 100 seconds."""
    made = Lifetime(watchdog, lambda: watchdog.is_reachable)
    assert (made.ends_at, made.is_short, made.seconds_left) == (None, False, 0.0)
    made.begin("a", clock() + 100, TERMS)
    return made


def test_the_latest_of_all_users_counts(lifetime: Lifetime, watchdog: Watchdog, clock: Clock) -> None:
    """One that needs it less long changes nothing, nor does a moment more; when the last to need it goes, it is sooner."""
    assert watchdog.told == [(100.0, 900.0, 300.0, False)]
    lifetime.need("b", clock() + 50, TERMS)
    lifetime.need("b", clock() + 100 + TOLERANCE_SECONDS, TERMS)
    assert len(watchdog.told) == 1
    lifetime.need("b", clock() + 200, TERMS)
    assert watchdog.told[1:] == [(200.0, 900.0, 300.0, True)]
    lifetime.leave("b")
    lifetime.need("a", clock() + 100, TERMS)
    assert watchdog.told[2:] == [(100.0, 900.0, 300.0, True)]
    clock.sleep(30)
    assert lifetime.seconds_left == 70.0


def test_only_a_near_deadline_of_a_pod_that_nobody_uses_is_bridged(
    lifetime: Lifetime, watchdog: Watchdog, clock: Clock
) -> None:
    """While it has a user, is far from its end, or is out of reach, it is left alone."""
    clock.sleep(100 - SHORT_SECONDS + 1)
    assert lifetime.is_short
    lifetime.bridge(TERMS)
    lifetime.leave("a")
    watchdog.is_reachable = False
    lifetime.bridge(TERMS)
    assert len(watchdog.told) == 1
    watchdog.is_reachable = True
    lifetime.bridge(TERMS)
    assert watchdog.told[1:] == [(900.0, 900.0, 300.0, True)]
    lifetime.bridge(TERMS)
    assert len(watchdog.told) == 2
    clock.sleep(880)
    lifetime.bridge(Terms(linger=1.0))
    assert watchdog.told[2:] == [(2 * SHORT_SECONDS, 1.0, 300.0, True)]


def test_a_pull_outlasts_the_deadline_while_its_driver_lives(
    lifetime: Lifetime, watchdog: Watchdog, clock: Clock
) -> None:
    """The deadline stays, the grace grows, once; a new need takes that back. A watchdog that is deaf is no error."""
    lifetime.allow_pull(TERMS)
    lifetime.allow_pull(TERMS)
    assert watchdog.told[1:] == [(100.0, 900.0, 400.0 + PULL_SECONDS, True)]
    assert lifetime.grace == 400.0 + PULL_SECONDS
    lifetime.need("a", clock() + 100, TERMS)
    assert lifetime.grace == 300.0
    watchdog.fails = ConnectionLost("away")
    lifetime.allow_pull(TERMS)
    assert lifetime.grace == 300.0
    Lifetime(watchdog, lambda: True).allow_pull(TERMS)  # no deadline, nothing to extend


@pytest.mark.parametrize("unheard", [True, False])
def test_a_pod_is_kept(lifetime: Lifetime, watchdog: Watchdog, unheard: bool) -> None:
    """It has heard its deadline, or it has an older one and that may do; never one that refuses."""
    assert lifetime.keep(60.0, unheard=unheard)
    assert watchdog.told[1:] == [(60.0, 60.0, 0.0, True)]
    watchdog.fails = RemoteError("no")
    assert not lifetime.keep(60.0, unheard=unheard)
    watchdog.fails = ConnectionLost("away")
    assert lifetime.keep(60.0, unheard=unheard) is unheard
    watchdog.is_reachable = False
    assert lifetime.keep(60.0, unheard=unheard) is unheard
    assert not Lifetime(watchdog, lambda: False).keep(60.0, unheard=unheard)  # nothing would ever end it

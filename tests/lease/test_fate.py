"""What becomes of a pod when its node is done: every case of what the node left, what was asked for, and how the run ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any, cast

import pytest

from rpd.lease.fate import Fate, decide_fate
from rpd.lease.lease import Lease
from rpd.remote.watchdog import UNPRICED_SECONDS, Terms
from rpd.stop import StopLevel
from rpd.values.job import Lifecycle, Release

USUAL = Lifecycle(on_success="stop", on_failure="delete")
PRESERVE = Lifecycle(on_success="preserve", on_failure="preserve")
TERMS = Terms(keep_failed=60.0, keep_unverified=600.0)


@dataclass
class Pod:
    """The part of a lease that decides; ``kept`` has what its lifetime was asked for."""

    failed: bool = False
    unverified: str = ""
    is_lost: bool = False
    final_state: str = ""
    obeys: bool = True
    kept: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def lifetime(self) -> Pod:
        return self

    def keep(self, seconds: float, *, unheard: bool) -> bool:
        self.kept.append((seconds, unheard))
        return self.obeys


def fate(
    pod: Pod,
    lifecycle: Lifecycle = USUAL,
    level: StopLevel = StopLevel.NONE,
    terms: Terms = TERMS,
    affordable: float | None = 30.0,
) -> Fate:
    return decide_fate(cast("Lease", pod), lifecycle, terms, level, lambda: affordable)


@pytest.mark.parametrize(("failed", "how"), [(False, Release.STOP), (True, Release.DELETE)])
def test_the_lifecycle_decides(failed: bool, how: Release) -> None:
    """By outcome, where nothing else was asked for."""
    pod = Pod(failed=failed)
    assert fate(pod, terms=Terms()) == Fate(how)
    assert pod.kept == []


def test_a_failed_pod_is_kept_where_that_was_asked_for() -> None:
    """Not one that is lost, not one whose node passed, and none once the run has to end."""
    pod = Pod(failed=True)
    assert fate(pod) == Fate(Release.PRESERVE, "--keep-failed")
    assert pod.kept == [(60.0, True)]
    for other, level in (
        (Pod(failed=True, is_lost=True), StopLevel.NONE),
        (Pod(), StopLevel.NONE),
        (Pod(failed=True), StopLevel.END),
    ):
        assert fate(other, level=level).how is not Release.PRESERVE
        assert other.kept == []
    assert fate(Pod(failed=True), level=StopLevel.DRAIN).how is Release.PRESERVE


@pytest.mark.parametrize("level", [StopLevel.NONE, StopLevel.DRAIN, StopLevel.END])
def test_results_that_are_not_here_yet_come_first(level: StopLevel) -> None:
    """After Ctrl-C too; then only if the pod has heard by when it has to end itself."""
    pod = Pod(failed=True, unverified="out/model")
    assert fate(pod, level=level) == Fate(Release.PRESERVE, "out/model on it could not be fetched completely")
    assert pod.kept == [(600.0, level < StopLevel.END)]
    assert fate(Pod(unverified="out/model"), terms=Terms(keep_unverified=0.0)) == Fate(Release.STOP)


@pytest.mark.parametrize(("affordable", "seconds"), [(30.0, 30.0), (None, UNPRICED_SECONDS)])
@pytest.mark.parametrize("level", [StopLevel.NONE, StopLevel.END])
def test_a_preserved_pod_stays_as_long_as_it_is_paid_for(
    affordable: float | None, seconds: float, level: StopLevel
) -> None:
    """One that cannot be told its deadline is deleted: nobody else would end it."""
    pod = Pod()
    assert fate(pod, PRESERVE, level, affordable=affordable) == Fate(Release.PRESERVE, "lifecycle preserve")
    assert pod.kept == [(seconds, True)]
    assert fate(Pod(obeys=False), PRESERVE, level) == Fate(Release.DELETE)


def test_a_pod_that_cannot_be_kept_has_its_usual_fate() -> None:
    """A stopped pod would lose what is not fetched as little as a deleted one; the lifecycle says which."""
    assert fate(Pod(unverified="out", obeys=False)) == Fate(Release.STOP)
    assert fate(Pod(failed=True, obeys=False)) == Fate(Release.DELETE)


def test_nothing_is_asked_of_a_pod_that_is_abandoned_or_released() -> None:
    """Whatever it holds, and whatever was asked for."""
    for failed, unverified, lifecycle in product((False, True), ("", "out"), (USUAL, PRESERVE)):
        state: dict[str, Any] = {"failed": failed, "unverified": unverified}
        usual = Fate(lifecycle.on_failure if failed else lifecycle.on_success)
        abandoned, released = Pod(**state), Pod(**state, final_state="deleted")
        assert fate(abandoned, lifecycle, StopLevel.ABANDON) == usual
        assert fate(released, lifecycle) == usual
        assert abandoned.kept == released.kept == []

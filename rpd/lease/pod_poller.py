"""The view of all pods that boot or end: one list call for many of them, instead of one call each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rpd.errors import ProviderError
from rpd.values.frozen import EMPTY, frozen
from rpd.values.pod import PodInfo, Provider

FEW = 2
"""Up to this many awaited pods are read one by one: that takes no more calls, and nobody waits for the others."""
GAP_SECONDS = 0.25
"""Seconds between the starts of two lists: requests in between share the next one."""
PATIENCE_SECONDS = 5.0
"""How long to wait for a list in progress; after that a pod is read by itself."""


@frozen(kw_only=False)
class _Reading:
    """The answer to a call for the list of pods, or its error."""

    begun: float = float("-inf")
    pods: Mapping[str, PodInfo] = EMPTY
    failure: ProviderError | None = None


class PodView:
    """Reads pods for all threads that wait for one. Thread-safe."""

    def __init__(
        self,
        provider: Callable[[], Provider],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """Held by the thread that lists for the others."""
        self._waiting = 0
        self._last = _Reading()
        self._listed: set[str] = set()
        """Pods that any list has shown: if one of them is missing, it is not because it is too new."""

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count one more pod as awaited inside the block."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def look(self, pod_id: str, *, max_age: float = 0.0) -> PodInfo | None:
        """Return the pod in a state at most ``max_age`` seconds old, None if it is gone. Raise ProviderError.

        A pod that is missing from the list may be too new for it, so it is read by its id.
        """
        pods = self._shared(max_age)
        listed = None if pods is None else pods.get(pod_id)
        return listed if listed is not None else self._provider().get(pod_id)

    def look_back(self, pod_id: str) -> PodInfo | None:
        """Return the pod in a state from now on, None if it is gone; for callers that have just ended it.

        A pod that is missing from the list is gone only if an earlier list has shown it. Raise ProviderError.
        """
        with self.waiting():
            pods = self._shared(0.0)
        if pods is None or (pod_id not in pods and pod_id not in self._listed):
            return self._provider().get(pod_id)
        return pods.get(pod_id)

    def _shared(self, max_age: float) -> Mapping[str, PodInfo] | None:
        """Return a list at most ``max_age`` seconds old; None if the pod should be read by itself."""
        begun_after = self._clock() - max_age
        if self._waiting <= FEW or not self._turn.acquire(timeout=PATIENCE_SECONDS):
            return None
        try:
            if self._last.begun <= begun_after:
                self._sleep(max(0.0, min(GAP_SECONDS, self._last.begun + GAP_SECONDS - self._clock())))
                self._last = self._read()
            reading = self._last
        finally:
            self._turn.release()
        if reading.failure is not None:
            raise reading.failure
        return reading.pods

    def _read(self) -> _Reading:
        begun = self._clock()
        try:
            pods = {pod.id: pod for pod in self._provider().list()}
        except ProviderError as error:
            # Share the error with those who wait: one after the other, each would run into it again.
            return _Reading(begun, failure=error)
        self._listed.update(pods)
        return _Reading(begun, pods)

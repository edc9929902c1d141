"""The view of all pods that boot or end: one list call for many, instead of one call each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rpd.errors import ProviderError
from rpd.values.pod import PodInfo, Provider

FEW = 2
"""Up to so many awaited pods are read one by one: that is no more calls, and nobody waits for the others."""
GAP_SECONDS = 0.25
"""Between the beginnings of two lists: who asks meanwhile shares the next one."""
PATIENCE_SECONDS = 5.0
"""How long a list that is under way is waited for; then a pod is read by itself."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A list as it was answered, or why it was not."""

    begun: float = float("-inf")
    pods: Mapping[str, PodInfo] = field(default_factory=dict)
    failure: ProviderError | None = None


class PodView:
    """Reads pods for everything that waits for one. Thread-safe."""

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
        """The pods that some list has shown: when one of them is missing, it is not because it is too new."""

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count one more pod as awaited while inside."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def look(self, pod_id: str, *, max_age: float = 0.0) -> PodInfo | None:
        """Return the pod as it was ``max_age`` seconds ago or later, None if it is gone. Raises ProviderError.

        A pod that is missing from the list may only be too new for it, so it is asked for by its id.
        """
        pods = self._shared(max_age)
        listed = None if pods is None else pods.get(pod_id)
        return listed if listed is not None else self._provider().get(pod_id)

    def look_back(self, pod_id: str) -> PodInfo | None:
        """Return the pod as it is from now on, None if it is gone: for who has just ended it. Raises ProviderError.

        Missing from the list is proof only for a pod that a list has shown before.
        """
        with self.waiting():
            pods = self._shared(0.0)
        if pods is None or (pod_id not in pods and pod_id not in self._listed):
            return self._provider().get(pod_id)
        return pods.get(pod_id)

    def _shared(self, max_age: float) -> Mapping[str, PodInfo] | None:
        """Return a list that was begun ``max_age`` seconds ago at most, None where a pod is to be read by itself."""
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
            # Those who wait for this answer have it, too: one after the other, each would meet the same error.
            return _Reading(begun, failure=error)
        self._listed.update(pods)
        return _Reading(begun, pods)

"""The view of all pods that are awaited: one list call for many, instead of one call each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rpd.values.pod import PodInfo, Provider

FEW = 2
"""Up to so many awaited pods are read one by one: that is no more calls, and fresher."""
FRESH_SECONDS = 0.5
"""How old a list may be that answers for a single pod."""


class PodView:
    """Reads pods for everything that waits for one. Thread-safe."""

    def __init__(self, provider: Callable[[], Provider]) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._waiting = 0
        self._read_at = 0.0
        self._pods: dict[str, PodInfo] = {}

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

    def look(self, pod_id: str) -> PodInfo | None:
        """Return the pod, None if it is gone. Raises ProviderError.

        A pod that is missing from the list may only be too new for it, so it is asked for by its id.
        """
        if self._waiting <= FEW:
            return self._provider().get(pod_id)
        with self._reading:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._pods = {pod.id: pod for pod in self._provider().list()}
                self._read_at = time.monotonic()
            listed = self._pods.get(pod_id)
        return listed if listed is not None else self._provider().get(pod_id)

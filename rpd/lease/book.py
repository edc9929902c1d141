"""The book of leases: every pod of a run, so that none is forgotten on any way out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from rpd.errors import ReleaseError
from rpd.lease.lease import Lease
from rpd.threads import begun
from rpd.values.job import Release


class LeaseBook:
    """Every lease of a run, so that no pod is forgotten, however the run ends. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: list[Lease] = []
        self._unreleased: dict[str, ReleaseError] = {}

    def add(self, lease: Lease) -> None:
        """Enter a lease, before its pod is requested."""
        with self._lock:
            self._leases.append(lease)

    def forget_deleted(self) -> None:
        """Drop leases whose pods are gone, so that a long run stays small."""
        with self._lock:
            self._settle()
            gone = {lease.pod.id for lease in self._leases if lease.pod and lease.final_state == "deleted"}
            self._leases = [
                lease for lease in self._leases if lease.is_open or not self._is_over(lease, gone)
            ]

    @staticmethod
    def _is_over(lease: Lease, gone: set[str]) -> bool:
        """Return whether the pod of a lease is deleted, by this lease or by a later one that reused the pod."""
        return lease.final_state == "deleted" or (lease.pod is not None and lease.pod.id in gone)

    def lost(self, error: ReleaseError) -> None:
        """Remember a pod that may still bill."""
        with self._lock:
            self._unreleased[error.known_as] = error

    def try_again(self) -> list[str]:
        """Try again to release pods whose release could not be confirmed; return those that are gone now.

        RunPod's trouble of that moment may be over at the end of a run.
        """
        with self._lock:
            open_leases = [
                lease for lease in self._leases if lease.is_open and self._names(lease) & {*self._unreleased}
            ]
        for lease in open_leases:
            # One try each: they have been through all their retries already.
            with suppress(ReleaseError):
                lease.release(tries=1)
        with self._lock:
            return self._settle()

    def _settle(self) -> list[str]:
        """Remove pods that were released since from those that may still bill; return them."""
        if not self._unreleased:
            return []
        gone = {name for lease in self._leases if not lease.is_open for name in self._names(lease)}
        settled = [name for name in self._unreleased if name in gone]
        for name in settled:
            del self._unreleased[name]
        return settled

    @staticmethod
    def _names(lease: Lease) -> set[str]:
        return {lease.name, *([lease.pod.id] if lease.pod else [])}

    @property
    def unreleased(self) -> tuple[str, ...]:
        """Ids (else names) of pods that may still bill."""
        with self._lock:
            return tuple(self._unreleased)

    @property
    def leftover(self) -> tuple[str, ...]:
        """Ids of pods that stay on purpose, stopped or running, judged by the last lease of each."""
        with self._lock:
            states = {lease.pod.id: lease.final_state for lease in self._leases if lease.pod}
        return tuple(pod_id for pod_id, state in states.items() if state in ("stopped", "running"))

    def release_all(self) -> None:
        """Delete every pod that is still open, all in parallel."""
        with self._lock:
            still_open: Sequence[Lease] = [lease for lease in self._leases if lease.is_open]
        # Daemon threads must not keep the process alive if the wait for them is interrupted.
        threads = [begun(partial(self._release, lease), name="rpd-release") for lease in still_open]
        for thread in threads:
            thread.join()

    def _release(self, lease: Lease) -> None:
        try:
            lease.release(Release.DELETE)
        except ReleaseError as error:
            self.lost(error)

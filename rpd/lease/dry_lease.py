"""The lease of a dry run: its pod exists as soon as it is requested, and is gone as soon as it is released."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from rpd.errors import OutOfStock
from rpd.lease import pod_release
from rpd.lease.lease import Connect, Lease, describe
from rpd.lease.leased_pod import LeasedPod, Meter
from rpd.lease.lifetime import Lifetime
from rpd.remote.protocol import Remote
from rpd.remote.shell import Interrupt
from rpd.stop import Stop
from rpd.values.job import Release
from rpd.values.pod import Offer, PodRequest, PodSpec, Provider

_NEVER = Interrupt()
"""Nothing takes time here, so nothing is interrupted."""
_NO_TIME = Meter(0.0, 0.0)
_FINAL_STATES = {Release.PRESERVE: "running", Release.DELETE: "deleted"}


def _all(offers: Sequence[Offer]) -> Sequence[Offer]:
    """Admit every offer.

    Replaces the real function after its use, which would keep the node alive through the lease.
    """
    return offers


class DryLease(Lease):
    """A pod of a provider that ``rents_nothing``: no offer is refused, nothing boots, and no journal records it.

    It has no threads, no watchdog and no clock: a dry run may have ten thousand of them.
    """

    def __init__(  # of a lease it shares the state of the pod, and nothing of how that is rented
        self,
        *,
        new_name: Callable[[], str],
        request: PodRequest,
        provider: Provider,
        connect: Connect,
        stop: Stop,
        admit: Callable[[Sequence[Offer]], Sequence[Offer]],
        env: Mapping[str, str],
        is_wide: bool,
    ) -> None:
        LeasedPod.__init__(self, name=new_name(), request=request, is_wide=is_wide)
        self._provider = provider
        self._connect = connect
        self._stop = stop
        self._admit = admit
        self._env = {**request.env, **env}

    @cached_property
    def lifetime(self) -> Lifetime:  # type: ignore[override]
        """A lifetime that is never set."""
        return Lifetime(self._tell_watchdog, lambda: False)

    def acquire(self) -> Remote:
        """Return the stand-in for the pod. Raise OutOfStock, Interrupted, ProviderError."""
        admit, self._admit = self._admit, _all
        offers = admit(self._provider.offers(self.request))
        if not offers:
            raise OutOfStock(f"RunPod offers nothing that fits: {describe(self.request)}")
        self._stop.check()
        self.offer = offers[0]
        spec = PodSpec(name=self.name, request=self.request, offer=self.offer, env=self._env)
        self.pod = pod = self._provider.create(spec)
        assert pod.ssh is not None
        self.remote = self._connect(
            pod.ssh, pod_id=pod.id, timeout=0.0, is_alive=self.is_alive, interrupt=_NEVER
        )
        return self.remote

    def another_remote(self) -> Remote:
        """Return the only connection."""
        assert self.remote is not None
        return self.remote

    def is_alive(self) -> bool:
        return self.is_open

    def take_meter(self) -> Meter:
        """Return that nothing was billed."""
        return _NO_TIME

    def note(self, event: str, **detail: Any) -> None:
        pass

    def release(self, how: Release | None = None, *, tries: int = pod_release.TRIES) -> str:  # noqa: ARG002
        """End the lease, and return the final state that a real pod would have."""
        pod = self.pod
        if pod is None or self.final_state:
            return self.final_state
        how = how or Release.DELETE
        self.final_state = _FINAL_STATES.get(how, "stopped")
        if how is Release.DELETE:
            self._provider.delete(pod.id)
        elif how is not Release.PRESERVE:
            self._provider.stop(pod.id)
        return self.final_state

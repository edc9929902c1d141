"""The lease of a cluster: one intent, one deadline, one release for all its members."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from rpd.cluster import preflight
from rpd.cluster.together import side_by_side
from rpd.errors import ConnectionLost, PodLost, PodNotReady, ProviderError
from rpd.lease import pod_release
from rpd.lease.lease import FIRST_POLL, LAST_POLL, Lease
from rpd.lease.pod_poller import GAP_SECONDS, PodView
from rpd.remote.protocol import Remote
from rpd.remote.shell import Interrupt
from rpd.remote.watchdog import arm, arm_again
from rpd.values.duration import format_duration
from rpd.values.frozen import replace
from rpd.values.job import Release
from rpd.values.pod import PodInfo, PodStatus, Provider

_THERE = (PodStatus.RUNNING, PodStatus.CREATED)


class ClusterLease(Lease):
    """Rents a cluster, and gives it back on every way out, as Lease does a pod: ``pod`` is the whole of it.

    It is ready when every member is. A member that ends is the end of all: a job runs on the whole cluster or not.
    """

    members: tuple[MemberLease, ...] = ()
    _loss: PodLost | None = None

    @property
    def remotes(self) -> Sequence[Remote]:
        """The connection to each member."""
        return [member.remote for member in self.members if member.remote is not None]

    def is_alive(self) -> bool | None:
        """Return whether RunPod still runs every member; None if it could not be asked."""
        if self.pod is None:
            return False
        try:
            cluster = self._provider.get(self.pod.id)
        except ProviderError:
            return None
        why = "it is gone" if cluster is None else self.lacking(cluster)
        if why and self._loss is None:
            self._loss = PodLost(f"cluster {self.pod.id}: {why}")
        return not why

    @property
    def loss(self) -> PodLost | None:
        return self._loss

    def connection_broke(self) -> None:
        """Check the members, and if one is lost end the commands on the others, which may be waiting for it."""
        if self.is_open and self.is_alive() is False:
            for remote in self.remotes:
                remote.interrupt()

    def lacking(self, cluster: PodInfo) -> str:
        """Return the defect of a cluster in words; empty if every member is there."""
        ended = next((member for member in cluster.members if member.status not in _THERE), None)
        if ended is not None:
            return f"rank {ended.rank} (pod {ended.id}) ended: {ended.last_status_change or ended.status}"
        expected = {member.rented.id for member in self.members}
        gone = sorted(expected - {member.id for member in cluster.members})
        return f"{' and '.join(map(self._called, gone))} went away" if gone else ""

    def _called(self, pod_id: str) -> str:
        rank = next((member.rank for member in self.members if member.rented.id == pod_id), None)
        return f"rank {rank} (pod {pod_id})"

    # --- getting it -------------------------------------------------------------------------------------------------

    def _wait_until_ready(self) -> Remote:
        deadline = time.monotonic() + self._ready_seconds
        cluster = self._wait_for_members(deadline)
        view = MemberView(self, lambda: self._provider)
        self.members = tuple(
            self._member(member, rank, view, max(1.0, deadline - time.monotonic()))
            for rank, member in enumerate(cluster.members)
        )
        side_by_side([member.become_ready for member in self.members], name="rpd-member")
        first = self.members[0]
        assert first.remote is not None
        self.remote, self.facts, self.kept = first.remote, first.facts, first.kept
        self.other_gpu = next(filter(None, (member.other_gpu for member in self.members)), "")
        self.pod = self._described(cluster)
        self._check_network()
        user = first.rented.ssh.user if first.rented.ssh else ""
        self._record("ready", pod_name=self.name, pod_id=self.pod.id, facts=dict(self.facts), user=user)
        return self.remote

    def _member(self, member: PodInfo, rank: int, view: MemberView, ready_seconds: float) -> MemberLease:
        return MemberLease(
            self,
            member,
            rank,
            self._ending,
            new_name=lambda: f"{self.name}#{rank}",
            request=self.request,
            provider=self._provider,
            view=view,
            connect=self._connect,
            record=self._record,
            stop=self._stop,
            ready_seconds=ready_seconds,
            env={},
            sleep=self._sleep,
            ask=self._ask,
            images=self._images,
            is_wide=self.is_wide,
        )

    def _described(self, cluster: PodInfo) -> PodInfo:
        """Return the cluster under its name, with its members as they are now."""
        members = tuple(member.rented for member in self.members)
        return replace(cluster, name=self.name, ssh=members[0].ssh, members=members)

    def _wait_for_members(self, deadline: float) -> PodInfo:
        """Poll until RunPod reports rank and address of every member. Raise PodNotReady, PodLost."""
        pause = FIRST_POLL
        while True:
            cluster = self._look(0.0)
            if cluster is not None and (lacking := self.lacking(cluster)):
                raise PodLost(f"cluster {cluster.id} lost a member while it booted: {lacking}")
            missing = self._missing(cluster)
            if cluster is not None and not missing:
                return cluster
            if time.monotonic() >= deadline:
                waited = format_duration(self._ready_seconds)
                raise PodNotReady(f"cluster {self.rented.id} was not complete after {waited}: {missing}")
            self._pause(min(pause, max(0.05, deadline - time.monotonic())))
            pause = min(pause * 1.5, LAST_POLL)

    def _missing(self, cluster: PodInfo | None) -> str:
        count = self.request.nodes
        members = () if cluster is None else cluster.members
        if len(members) < count:
            return f"RunPod placed {len(members)} of its {count} members"
        for name, values in (
            ("rank", [m.rank for m in members]),
            ("address", [m.private_ip for m in members]),
        ):
            unknown = [
                member.id for member, value in zip(members, values, strict=True) if value in (None, "")
            ]
            if unknown:
                return f"RunPod gave no {name} of {', '.join(unknown)}"
        return ""

    def _check_network(self) -> None:
        """Let every member reach every other before a job needs that. Raise PodNotReady, ConnectionLost."""
        cluster = self.request.cluster
        if cluster is None or not cluster.preflight:
            return
        with self.cut_by_stop(self.remotes[0]):
            report = preflight.check(self.remotes, [member.rented.private_ip for member in self.members])
        for member, interface in zip(self.members, report.interfaces, strict=True):
            member.interface = interface
        if report.text:
            self.note("preflight", reason=report.text, gbps=report.gbps)
        if report.failure:
            raise PodNotReady(f"cluster {self.rented.id}: {report.failure}")

    @contextmanager
    def cut_by_stop(self, remote: Remote) -> Iterator[None]:
        """Let a stop end work over the connection to any member. Raise Interrupted."""
        with ExitStack() as stack:
            for member in self.remotes:
                if member is not remote:
                    stack.enter_context(self._ending.waking(member.close))
            stack.enter_context(super().cut_by_stop(remote))
            yield

    # --- how long it lives ------------------------------------------------------------------------------------------

    def _tell_watchdog(self, seconds: float, *, linger: float, grace: float, again: bool) -> None:
        act = partial(
            arm_again if again else arm,
            seconds_left=seconds,
            linger_seconds=linger,
            grace_seconds=grace,
            cluster_id=self.rented.id,
        )
        acts = [
            partial(act, member.remote, pod_id=member.rented.id)
            for member in self.members
            if member.remote is not None
        ]
        try:
            deadlines = side_by_side(acts, name="rpd-arm")
        except ConnectionLost:
            self.connection_lost()
            raise
        self.note(
            "armed", deadline=max(deadlines), seconds=round(seconds), linger=round(linger), grace=round(grace)
        )


class MemberView(PodView):
    """Reads the members of one cluster, all of them with one call."""

    def __init__(self, whole: ClusterLease, provider: Callable[[], Provider]) -> None:
        super().__init__(provider)
        self._whole = whole
        self._members_lock = threading.Lock()
        self._members_at = 0.0
        self._cluster: PodInfo | None = None

    def look(self, pod_id: str, *, max_age: float = 0.0) -> PodInfo | None:
        """Return the member, None if it is gone. Raise ProviderError."""
        with self._members_lock:
            if time.monotonic() - self._members_at > max(GAP_SECONDS, max_age):
                self._cluster = self._provider().get(self._whole.rented.id)
                self._members_at = time.monotonic()
            members = self._cluster.members if self._cluster else ()
        return next((member for member in members if member.id == pod_id), None)


class MemberLease(Lease):
    """One member: it boots and is connected to as any pod; everything else it has in common with the others."""

    def __init__(
        self, whole: ClusterLease, member: PodInfo, rank: int, ending: Interrupt, **parts: Any
    ) -> None:
        super().__init__(**parts)
        self.pod = member
        self.offer = whole.offer
        self.lifetime = whole.lifetime
        self.sent = whole.sent
        self.interface = ""
        """The network interface that has its address in the network of the cluster; empty if nobody looked."""
        self._ending = ending
        self._whole = whole
        self._place = rank

    def become_ready(self) -> None:
        """Wait until it runs commands. Raise PodNotReady, PodLost, ConnectionLost, Interrupted, UnusableImage."""
        self.remote = self._wait_until_ready()
        if self._whole.final_state:  # another member made them all be given back meanwhile
            self.remote.close()

    @property
    def whole(self) -> Lease:
        return self._whole

    @property
    def rank(self) -> int:
        return self._place

    def is_alive(self) -> bool | None:
        return self._whole.is_alive()

    def connection_lost(self) -> None:
        self._whole.connection_lost()

    @property
    def loss(self) -> PodLost | None:
        return self._whole.loss

    def connection_broke(self) -> None:
        self._whole.connection_broke()

    def could_not_fetch(self, path: str) -> None:
        self._whole.could_not_fetch(path)

    def node_failed(self) -> None:
        self._whole.node_failed()

    @property
    def is_lost(self) -> bool:
        return self._whole.is_lost

    @property
    def failed(self) -> bool:
        return self._whole.failed

    @property
    def unverified(self) -> str:
        return self._whole.unverified

    @property
    def is_open(self) -> bool:
        return self._whole.is_open

    def release(self, how: Release | None = None, *, tries: int = pod_release.TRIES) -> str:
        """Give back the whole cluster."""
        return self._whole.release(how, tries=tries)

"""The lease: one pod from the intent on disk to its confirmed release."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from rpd.errors import (
    AmbiguousCreate,
    ConnectionLost,
    ContainerRestarts,
    KeyRefused,
    NoCapacity,
    NoSshServer,
    NotPermitted,
    OutOfStock,
    PodLost,
    PodNotReady,
    PoolDenied,
    ProviderError,
    QuotaError,
    RateLimited,
    ReleaseError,
    RpdError,
    TransientError,
    UnusableImage,
)
from rpd.lease import pod_release
from rpd.lease.account_limit import Headroom
from rpd.lease.boot import LOG_LINES, Boot, Images, ends_with
from rpd.lease.leased_pod import LeasedPod
from rpd.lease.lifetime import Lifetime
from rpd.lease.pod_poller import PodView
from rpd.remote.protocol import Remote
from rpd.remote.shell import Interrupt
from rpd.remote.watchdog import arm, arm_again
from rpd.stop import Stop, StopLevel
from rpd.threads import Overdue
from rpd.uptime import uptime
from rpd.values.duration import format_duration
from rpd.values.frozen import asdict, replace
from rpd.values.job import Registry, Release
from rpd.values.late_pattern import late_pattern
from rpd.values.pod import Offer, PodInfo, PodRequest, PodSpec, PodStatus, Provider, SshEndpoint

T = TypeVar("T")

CREATE_TRIES = 3
CREATE_SECONDS = 60.0
"""How long a release waits for the answer to a create in progress; the SDK gives up after 30 s."""
FIRST_POLL = 0.2
"""Seconds until a new pod is polled again; grows up to LAST_POLL."""
LAST_POLL = 3.0
NEW_SECONDS = 5.0
"""How long RunPod may not know a pod that it has just created."""
FRESH_SECONDS = 1.0
"""Greatest age of a shared reading that decides whether a pod still runs."""
LOOK_AGAIN_SECONDS = 10.0
"""How long an address is tried before RunPod is asked whether it is still the pod's."""
REFUSED_SECONDS = 30.0
"""How long an sshd may refuse the run's key: some images start it a moment before they write the keys."""
ASK_SECONDS = 120.0
"""Longest time for one question to RunPod, including retries and the pauses it asks for."""
LOG_SECONDS = 10.0
_WHOSE_KEY = (
    "The image must write the variable PUBLIC_KEY to ~/.ssh/authorized_keys before it starts sshd, as RunPod's own "
    "images do"
)
_LOG_LINES = 4
_BY_USER = late_pattern(r"(?i)\s*(exited|stopped|terminated|deleted) by user\b")
_SAYS_LITTLE = {"nvidia", "amd", "tesla", "geforce", "quadro", "generation", "edition"}
"""Words of GPU names that only one of the two spellings has."""
FIRST_STOCK_PAUSE = 5.0
"""Seconds between two rounds through sold-out offers; grows to LAST_STOCK_PAUSE."""
LAST_STOCK_PAUSE = 60.0


class Record(Protocol):
    """Records the events of a pod's life; those with ``sync`` must be on disk when the call returns."""

    def __call__(self, event: str, *, sync: bool = False, **detail: Any) -> None: ...


class Connect(Protocol):
    """Opens a Remote to a pod, trying for ``timeout`` seconds; ``interrupt`` is requested when the run has to end.

    It raises PodNotReady, KeyRefused, ConnectionLost, PodLost, Interrupted.
    """

    def __call__(
        self,
        endpoint: SshEndpoint,
        *,
        pod_id: str,
        timeout: float,
        is_alive: Callable[[], bool | None],
        interrupt: Interrupt,
    ) -> Remote: ...


class ReadLines(Protocol):
    """Returns the last ``tail`` lines of one of a pod's logs. Raises ProviderError."""

    def __call__(self, pod_id: str, *, tail: int) -> Sequence[str]: ...


class Ask(Protocol):
    """Calls ``act``, a question to RunPod, and returns its result; a stop cuts it short.

    Raise Interrupted, Overdue.
    """

    def __call__(self, act: Callable[[], T], *, seconds: float) -> T: ...


def simply(act: Callable[[], T], *, seconds: float) -> T:  # noqa: ARG001 - as Ask has it
    """Call ``act``, however long it takes."""
    return act()


class Lease(LeasedPod):
    """Rents one pod, and gives it back however the work ends.

    ``acquire`` and ``release`` are called by one thread; ``release`` may be called again, by any thread, at
    any time. ``env`` is the pod's environment in addition to the request's own. ``admit`` returns the offers
    that may be paid for, or raises BudgetExceeded. ``holder`` is the requesting node, as ``headroom`` knows
    it. ``is_wide``: the pod belongs to a fixture that outlives a node. ``image_of`` names the image to create
    the pod with, ``registry_id`` the credentials for it.
    """

    def __init__(
        self,
        *,
        new_name: Callable[[], str],
        request: PodRequest,
        provider: Provider,
        view: PodView | None = None,
        connect: Connect,
        record: Record,
        stop: Stop,
        bad_offers: Collection[Offer] = (),
        admit: Callable[[Sequence[Offer]], Sequence[Offer]] = lambda offers: offers,
        ready_seconds: float,
        stock_seconds: float = 0.0,
        any_gpu: bool = False,
        headroom: Headroom | None = None,
        holder: str = "",
        env: Mapping[str, str],
        sleep: Callable[[float], None] = time.sleep,
        ask: Ask = simply,
        images: Images | None = None,
        is_wide: bool = False,
        image_of: Callable[[PodRequest], str] = lambda request: request.image,
        registry_id: Callable[[Registry | str | None], str | None] = lambda _wanted: None,
    ) -> None:
        super().__init__(name=new_name(), request=request, is_wide=is_wide, any_gpu=any_gpu)
        self.lifetime = Lifetime(self._tell_watchdog, lambda: self.is_open and not self.is_lost)
        self._shown = False
        """Whether RunPod has listed the pod since it was created."""
        self._provider = provider
        self._view = view or PodView(lambda: provider)
        self._connect = connect
        self._record = record
        self._stop = stop
        self._new_name = new_name
        self._bad_offers = bad_offers
        self._admit = admit
        self._ready_seconds = ready_seconds
        self._stock_seconds = stock_seconds
        self._headroom = headroom or Headroom()
        self._holder = holder
        self._env = {**request.env, **env}
        self._sleep = sleep
        self._ask = ask
        self._images = images or Images()
        self._image_of = image_of
        self._registry_id = registry_id
        self._ending = Interrupt()
        """Requested when the run has to end, from the request for a pod until its release."""
        self._forget_stop: Callable[[], None] = lambda: None
        self._creating = threading.Lock()
        self._more_remotes: list[Remote] = []
        self._how = Release.DELETE

    @property
    def whole(self) -> Lease:
        """The lease that is paid for: for one pod of a cluster, the lease of the cluster."""
        return self

    # --- getting it -------------------------------------------------------------------------------------------------

    def acquire(self) -> Remote:
        """Rent a pod from the first offer that has capacity, and wait until it runs commands.

        Raise OutOfStock, PodNotReady, PodLost, Interrupted or a ProviderError; the pod is released then.
        """
        with self._or_given_back(Release.DELETE):
            self._create()
            self.remote = self._wait_until_ready()
        return self.remote

    @contextmanager
    def _or_given_back(self, how: Release) -> Iterator[None]:
        """Release the pod if the block raises."""
        self._forget_stop = self._stop.listen(
            lambda level: self._ending.request() if level >= StopLevel.END else None
        )
        try:
            yield
        except BaseException:
            self.node_failed()
            self.release(how)
            raise

    def adopt(self, pod_id: str, offer: Offer | None, age_seconds: float) -> Remote:
        """Take over a pod that an earlier process rented under this lease's name ``age_seconds`` ago.

        If ``pod_id`` is empty, the pod is found by its name. Raise PodLost if there is none or it is not
        running, PodNotReady, ConnectionLost, Interrupted or a ProviderError; the pod is released then.
        """
        self._intended = True
        self._started = uptime() - age_seconds
        self.offer = offer
        with self._or_given_back(Release.DELETE):
            pod = self._provider.get(pod_id) if pod_id else self._find_by_name()
            if pod is None:
                self._intended = False
                self._finish("deleted", pod_id=pod_id)
                raise PodLost(f"pod {pod_id or self.name} is gone")
            self.pod = pod
            self._record("adopted", sync=True, pod_name=self.name, pod_id=pod.id)
            if pod_release.is_stopped(pod):
                raise PodLost(f"pod {pod.id} no longer runs: {pod.last_status_change or pod.status}")
            self.remote = self._wait_until_ready()
        return self.remote

    def revive(self, pod_id: str, offer: Offer | None, *, before: Sequence[str] = ()) -> Remote:
        """Start a pod that was stopped for reuse, and wait until it runs commands with all its GPUs.

        ``before`` names its earlier users. If it cannot start, it is stopped again, not deleted; if it ran
        but was of no use, it is not offered for reuse again. Raise NoCapacity, PodNotReady, PodLost,
        Interrupted or another ProviderError.
        """
        self.offer = offer
        self.before = tuple(before)
        self._record(
            "intent",
            sync=True,
            pod_name=self.name,
            offer=str(offer),
            terms=_terms(offer) if offer else None,
            kind=kind_of(self.request),
        )
        self._record("recycled", pod_name=self.name, pod_id=pod_id, before=list(before))
        self._intended = True
        with self._or_given_back(Release.RECYCLE):
            pod = self._provider.get(pod_id)
            if pod is None:
                self._intended = False
                self._finish("deleted", pod_id=pod_id)
                raise PodLost(f"pod {pod_id} is gone")
            # Its old address is void: a restarted pod gets a new one.
            self.pod = replace(pod, ssh=None)
            self._started = uptime()
            with self._creating:
                self._stop.check()
                self._provider.resume(pod_id, self.request.gpu.count if self.request.gpu else 0)
            self._record("created", sync=True, pod_name=self.name, pod_id=pod_id, offer=str(offer))
            try:
                self.remote = self._wait_until_ready()
            except (PodNotReady, ConnectionLost):
                # Not RECYCLE: the journal's last word on it must not offer it for reuse.
                self.release(Release.STOP)
                raise
        return self.remote

    def another_remote(self) -> Remote:
        """Open one more connection to the pod, for a node that shares it; closed with the pod."""
        assert self.pod is not None
        assert self.pod.ssh is not None
        remote = self._connect(
            self.pod.ssh,
            pod_id=self.pod.id,
            timeout=self._ready_seconds,
            is_alive=self.is_alive,
            interrupt=self._ending,
        )
        with self._lock:
            self._more_remotes.append(remote)
        return remote

    def _create(self) -> None:
        """Rent a pod, waiting for stock, and for room if the account is at a limit. Raise OutOfStock, QuotaError."""
        give_up = time.monotonic() + self._stock_seconds
        pause = FIRST_STOCK_PAUSE
        while True:
            # Before the offers are tried, so that a pod released meanwhile is not missed.
            released = self._headroom.mark()
            try:
                refusals = self._try_offers()
            except QuotaError as error:
                self._record("waiting", pod_name=self.name, reason=str(error))
                if not self._headroom.wait(self._holder, released, self._stop):
                    raise
                continue
            if self.pod is not None:
                return
            left = give_up - time.monotonic()
            if left <= 0:
                waited = f" in {format_duration(self._stock_seconds)}" if self._stock_seconds else ""
                raise OutOfStock(
                    f"no capacity{waited} for {describe(self.request)}: {_in_short(refusals)}"
                    + ("" if self._stock_seconds else "; --wait-for-stock 30m keeps trying"),
                    refusals=tuple(f"{offer}: {reason}" for offer, reason in refusals),
                )
            self._record("waiting", pod_name=self.name, refused=len(refusals), seconds_left=round(left))
            import random  # not at the top: a run that waits has the time to load it

            # Jitter, so that the slots of a sweep do not all ask at the same moment.
            self._pause(min(left, pause * random.uniform(0.7, 1.3)))  # noqa: S311 - not a secret
            pause = min(pause * 1.5, LAST_STOCK_PAUSE)

    def _try_offers(self) -> list[tuple[Offer, str]]:
        """Try all offers once, best first; return the refusals, one per offer if no pod was rented."""
        fitting = self._ask(lambda: self._provider.offers(self.request), seconds=ASK_SECONDS)
        # A stable sort: within each group the provider's order, best first, stays.
        offers = sorted(fitting, key=lambda offer: offer in self._bad_offers)
        if not offers:
            raise OutOfStock(f"RunPod offers nothing that fits: {describe(self.request)}")
        offers = list(self._admit(offers))
        refusals: list[tuple[Offer, str]] = []
        denied = 0
        for offer in offers:
            self._stop.check()
            self._images.check(self.request)
            try:
                self._create_at(offer)
            except NoCapacity as error:
                self._record("refused", pod_name=self.name, offer=str(offer), reason=str(error))
                refusals.append((offer, str(error)))
                denied += isinstance(error, PoolDenied)
            else:
                break
        if denied == len(offers):
            raise NotPermitted(
                f"RunPod denies every offer ({refusals[0][1]}): the role or the permissions of this API key do not "
                "allow it to rent pods. Ask an admin of the account, or create a key that may"
            )
        return refusals

    def _create_at(self, offer: Offer) -> None:
        """Create the pod at one offer, with retries after hiccups; the intent is in the journal before each call."""
        image = self._image_of(self.request)
        spec = PodSpec(
            name=self.name,
            request=self.request if image == self.request.image else replace(self.request, image=image),
            offer=offer,
            env=self._env,
            registry_id=self._stored_registry(),
        )
        for attempt in range(1, CREATE_TRIES + 1):
            if attempt > 1:
                self.name = self._new_name()
                spec = replace(spec, name=self.name)
            # On disk before the call: if this process dies, the name finds a pod that was created all the
            # same.
            self._record(
                "intent",
                sync=True,
                pod_name=self.name,
                offer=str(offer),
                usd_per_hr=offer.usd_per_hr,
                terms=_terms(offer),
                kind=kind_of(self.request),
            )
            self._intended = True
            self._started = uptime()
            try:
                with self._creating:
                    self._stop.check()
                    self.pod = pod = self._provider.create(spec)
            except NoCapacity:
                # RunPod refused, so no pod exists that a release would have to look for.
                self._intended = False
                raise
            except AmbiguousCreate:
                raise  # a pod with our name may exist: release() looks for it
            except TransientError as error:
                self._intended = False
                self._record("refused", pod_name=self.name, offer=str(offer), reason=str(error))
                if attempt == CREATE_TRIES:
                    raise
                pause = error.retry_after if isinstance(error, RateLimited) else None
                self._pause(pause or float(attempt))
            except ProviderError:
                self._intended = False
                raise
            else:
                self.offer = offer
                self._record(
                    "created",
                    sync=True,
                    pod_name=self.name,
                    pod_id=pod.id,
                    offer=str(offer),
                    usd_per_hr=self.rate_usd_per_hr,
                )
                return

    def _stored_registry(self) -> str | None:
        registry = self.request.registry
        return (
            None if registry is None else self._ask(lambda: self._registry_id(registry), seconds=ASK_SECONDS)
        )

    def _wait_until_ready(self) -> Remote:
        """Connect to the booting pod, check its GPUs and tools, and record that it is ready. Raise PodNotReady."""
        try:
            with self._images.booting(self.request) as is_scout:
                pod, remote = self._connect_once_up(time.monotonic() + self._ready_seconds, is_scout)
        except (UnusableImage, ContainerRestarts, KeyRefused, NoSshServer) as error:
            better = self._images.note(self.request, error)
            if better is error:
                raise
            raise better from error
        try:
            with self.cut_by_stop(remote):
                self.facts = remote.probe()
            self._check_gpus(pod)
            self._check_tools()
            self._compare_gpu(pod)
        except BaseException:
            remote.close()
            raise
        self._images.prove(self.request)
        user = pod.ssh.user if pod.ssh else ""
        self._record(
            "ready",
            pod_name=self.name,
            pod_id=pod.id,
            facts=dict(self.facts),
            user=user,
            usd_per_hr=self.rate_usd_per_hr,
        )
        return remote

    @contextmanager
    def cut_by_stop(self, remote: Remote) -> Iterator[None]:
        """Let a stop interrupt the work over ``remote``: nothing of value is on the pod yet. Raise Interrupted."""
        with self._ending.waking(remote.close):
            self._stop.check()
            try:
                yield
            except RpdError:
                # The stop closed the connection, so its error hides the real reason.
                self._stop.check()
                raise
            self._stop.check()

    def _connect_once_up(self, deadline: float, is_scout: Callable[[], bool]) -> tuple[PodInfo, Remote]:
        """Connect to the pod's address, which is looked up again on failure: a restarted container gets a new one."""
        boot = Boot(
            self.request,
            self._machine_lines,
            read_output=self._container_lines,
            tell=lambda step: self.note("booting", reason=step),
            warn=lambda text: self.note("silent", reason=text),
            is_scout=is_scout,
        )
        refused_since: float | None = None
        while True:
            with self._view.waiting():
                pod = self._wait_for_ssh(deadline, boot)
            assert pod.ssh is not None
            began = time.monotonic()
            # At least a second, so that a pod that is ready just before the deadline is not lost.
            left = max(1.0, deadline - began)
            endpoint = replace(pod.ssh, user=boot.user) if boot.user else pod.ssh
            try:
                remote = self._connect(
                    endpoint,
                    pod_id=pod.id,
                    timeout=min(left, LOOK_AGAIN_SECONDS),
                    is_alive=self.is_alive,
                    interrupt=self._ending,
                )
            except PodNotReady as error:
                is_refused = isinstance(error, KeyRefused)
                refused_since = (refused_since or began) if is_refused else None
                if refused_since is not None and time.monotonic() - refused_since >= REFUSED_SECONDS:
                    raise KeyRefused(f"{error}. {_WHOSE_KEY}") from error
                if is_refused and not boot.user:
                    boot.look(pod)  # the server may accept another user than root
                if left > LOOK_AGAIN_SECONDS:
                    continue
                boot.look(pod)  # its log may say why, where it came and went between two looks
                waited = format_duration(self._ready_seconds)
                end = ends_with(self._container_lines())
                raise PodNotReady(f"pod {pod.id} was not ready after {waited}: {error}. {end}") from error
            self.pod = pod if endpoint is pod.ssh else replace(pod, ssh=endpoint)
            return self.pod, remote

    def _wait_for_ssh(self, deadline: float, boot: Boot) -> PodInfo:
        """Poll until the pod has a public SSH port.

        The status RUNNING proves nothing: it is RunPod's goal, not a fact.
        """
        assert self.pod is not None
        pause, max_age = FIRST_POLL, 0.0
        while True:
            pod = self._look(max_age)
            if pod is not None:
                self.pod = pod
                if pod.status is PodStatus.EXITED or pod.status is PodStatus.TERMINATED:
                    if not self.before:  # else it may be the stop for reuse that RunPod speaks of
                        self._note_who_ended(pod)
                    raise PodLost(
                        f"pod {pod.id} ended while it booted: {pod.last_status_change or pod.status}"
                    )
                self._images.check(self.request)  # another pod of the run may have found out meanwhile
                boot.see(pod)
                if pod.ssh is not None:
                    return pod
            if time.monotonic() >= deadline:
                boot.look(self.pod)
                raise PodNotReady(
                    f"pod {self.pod.id} was not ready after {format_duration(self._ready_seconds)}: "
                    f"{self._why_not_ready()}"
                )
            self._pause(min(pause, max(0.05, deadline - time.monotonic())))
            pause, max_age = min(pause * 1.5, LAST_POLL), pause / 2

    def _look(self, max_age: float) -> PodInfo | None:
        """Return the pod in a state at most ``max_age`` seconds old, None if RunPod cannot be reached just now.

        Raise PodLost if it is gone.
        """
        assert self.pod is not None
        try:
            pod_id = self.pod.id
            pod = self._ask(lambda: self._view.look(pod_id, max_age=max_age), seconds=ASK_SECONDS)
        except (TransientError, Overdue):
            return None
        if pod is None:
            self._stop.check()  # a second Ctrl-C may have released it
            if not self._shown and self.age_seconds < NEW_SECONDS:
                return None
            raise PodLost(f"pod {self.pod.id} is gone")
        self._shown = True
        return pod

    def _why_not_ready(self) -> str:
        assert self.pod is not None
        if self.pod.uptime_seconds is None:
            return (
                f"its container never started. Is the image right ({self.request.image}), and large enough the "
                f"container disk ({self.request.container_disk_gb} GB)?{self._machine_log()}"
            )
        end = ends_with(self._container_lines())
        return f"its container runs, but no public SSH port appeared.{self._machine_log()} {end}"

    def _machine_log(self) -> str:
        """Return the machine's log about the pod as part of a sentence; empty if it cannot be read."""
        lines = self._machine_lines()[-_LOG_LINES:]
        return f" RunPod says: {' | '.join(lines)}" if lines else ""

    def _machine_lines(self) -> Sequence[str]:
        """Return the last lines of the machine's log about the pod; empty if they cannot be read."""
        return self._lines(self._provider.logs)

    def _container_lines(self) -> Sequence[str]:
        """Return the last lines of the container's output; empty if they cannot be read."""
        return self._lines(self._provider.output)

    def _lines(self, read: ReadLines) -> Sequence[str]:
        if self.pod is None:
            return ()
        pod_id = self.pod.id
        try:
            return self._ask(lambda: read(pod_id, tail=LOG_LINES), seconds=LOG_SECONDS)
        except (ProviderError, Overdue):
            return ()

    def _check_gpus(self, pod: PodInfo) -> None:
        count = self.request.gpu.count if self.request.gpu else 0
        seen = self.facts.get("gpu_count", "")
        if count and seen.isdigit() and int(seen) < count:
            raise PodNotReady(f"pod {pod.id} has {seen} GPUs instead of {count}")

    def _compare_gpu(self, pod: PodInfo) -> None:
        """Compare the GPU that the pod reports with the one that is paid for, and record a difference."""
        paid = self.offer.gpu_id if self.offer else pod.gpu
        seen = self.facts.get("gpu_name", "")
        if paid and seen and not self._any_gpu and not is_same_gpu(paid, seen):
            self.other_gpu = f"nvidia-smi on pod {pod.id} reports {seen!r}, but {paid!r} is paid for"
            self._record("other_gpu", pod_name=self.name, pod_id=pod.id, paid=paid, reported=seen)

    def _check_tools(self) -> None:
        missing = self.facts.get("missing")
        if missing:
            why = f"the image {self.request.image} has no {missing}, which rpd needs on a pod: install it in the image"
            raise self._images.note(self.request, UnusableImage(why))

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            self._stop.check()

    def note(self, event: str, **detail: Any) -> None:
        """Record an event of the pod's life."""
        self._record(event, pod_name=self.name, pod_id=self.pod.id if self.pod else "", **detail)

    def is_alive(self) -> bool | None:
        """Return whether RunPod still runs the pod; None if it cannot be asked."""
        if self.pod is None:
            return False
        try:
            with self._view.waiting():
                pod = self._view.look(self.pod.id, max_age=FRESH_SECONDS)
        except ProviderError:
            return None
        if pod is None:
            return False
        if pod_release.is_stopped(pod):
            self._note_who_ended(pod)
        return pod.status in (PodStatus.RUNNING, PodStatus.CREATED)

    def _note_who_ended(self, pod: PodInfo) -> None:
        if _BY_USER.match(pod.last_status_change):
            self.ended_by_user = pod.last_status_change

    def _tell_watchdog(self, seconds: float, *, linger: float, grace: float, again: bool) -> None:
        assert self.remote is not None
        try:
            deadline = (arm_again if again else arm)(
                self.remote,
                pod_id=self.rented.id,
                seconds_left=seconds,
                linger_seconds=linger,
                grace_seconds=grace,
            )
        except ConnectionLost:
            self.connection_lost()
            raise
        self.note(
            "armed", deadline=deadline, seconds=round(seconds), linger=round(linger), grace=round(grace)
        )

    # --- giving it back ---------------------------------------------------------------------------------------------

    def release(self, how: Release | None = None, *, tries: int = pod_release.TRIES) -> str:
        """Give the pod back and confirm it; return its final state. ``how`` defaults to that of the last call.

        Raise ReleaseError if it may still bill after ``tries`` attempts. Once it is released, further calls
        change nothing.
        """
        how = self._how if how is None else how
        if self._stays_stopped and how is Release.DELETE:
            how = Release.STOP
        with self._lock:
            self._how = how
            for remote in (*self.remotes, *self._more_remotes):
                remote.close()
            self._wait_for_create()
            if not self.is_open:
                return self.final_state
            pod = self.pod or self._find_by_name(tries)
            if pod is None:
                self._intended = False
                self._finish("deleted", pod_id="")
                return self.final_state
            self.pod = pod
            final_state = "running" if how is Release.PRESERVE else self._give_back(pod, how, tries)
            self._finish(final_state, pod_id=pod.id, how=how)
            return self.final_state

    def _wait_for_create(self) -> None:
        """Wait for a create that another thread has in progress, so that its pod is known here."""
        if self._creating.acquire(timeout=CREATE_SECONDS):
            self._creating.release()

    def _find_by_name(self, tries: int = pod_release.TRIES) -> PodInfo | None:
        """Return the pod that a lost answer may have been about. Raise ReleaseError if the pods cannot be listed."""
        reason = ""
        for attempt in range(tries):
            if attempt:
                self._sleep(pod_release.pause(attempt - 1, 0.5))
            try:
                return next((pod for pod in self._provider.list() if pod.name == self.name), None)
            except ProviderError as error:
                reason = str(error)
        raise ReleaseError(
            "",
            self.name,
            f"RunPod did not answer the request that created it, and the pods cannot be listed ({reason})",
        )

    def _give_back(self, pod: PodInfo, how: Release, tries: int) -> str:
        """Delete or stop the pod and confirm it; return its final state.

        Sleeps without Stop: nothing may cut a release short.
        """
        act, final_state = (
            (pod_release.delete, "deleted") if how is Release.DELETE else (pod_release.stop, "stopped")
        )
        try:
            act(self._provider, pod, tries=tries, sleep=self._sleep, look_back=self._view.look_back)
        except ReleaseError as error:
            self._record("unreleased", sync=True, pod_name=self.name, pod_id=pod.id, reason=error.why)
            raise
        return final_state

    def _finish(self, final_state: str, *, pod_id: str, how: Release = Release.DELETE) -> None:
        self._ended = uptime()
        self._forget_stop()
        self.final_state = final_state
        if final_state != "running":
            self._headroom.gave()
        event = "kept" if final_state == "running" else "released"
        self._record(
            event,
            sync=True,
            pod_name=self.name,
            pod_id=pod_id,
            final_state=final_state,
            how=how,
            seconds=round(self.age_seconds, 3),
            # Whoever stopped the pod by hand has recorded its cost.
            usd=0.0 if self._stays_stopped else round(self.age_seconds * self.total_usd_per_hr / 3600, 6),
        )


def is_same_gpu(gpu_id: str, reported: str) -> bool:
    """Return whether ``nvidia-smi`` and RunPod name the same GPU, although their spellings differ."""
    # For a slice that is rented as one ("... MIG 1g.24gb"), nvidia-smi reports the name of the whole GPU.
    whole = re.split(r"\bMIG\b", gpu_id)[0]
    paid, seen = (set(re.findall(r"[a-z0-9]+", text.lower())) - _SAYS_LITTLE for text in (whole, reported))
    return paid == seen


def _in_short(refusals: Sequence[tuple[Offer, str]]) -> str:
    """Return the number of refused offers and the most frequent reason, in one line however many there are."""
    said = Counter(reason for _, reason in refusals)
    (usual, times), *others = said.most_common()
    counted = "1 offer was" if len(refusals) == 1 else f"{len(refusals)} offers were"
    return f"{counted} refused, {f'{times} of them ' if others else ''}with {usual!r}"


def describe(request: PodRequest) -> str:
    """Return one line about a request for an error message."""
    where = f" in {', '.join(request.datacenters)}" if request.datacenters else ""
    ceiling = f" up to ${request.gpu.max_price_usd:g}/h" if request.gpu and request.gpu.max_price_usd else ""
    what = f"{request.cluster} of {request.gpu}" if request.cluster else request.gpu or "a CPU pod"
    return f"{what}{ceiling}{where} ({request.cloud} cloud)"


@lru_cache(maxsize=1024)
def _terms(offer: Offer) -> Mapping[str, Any]:
    """Return an offer in its JSON form for the journal."""
    return asdict(offer)


@lru_cache(maxsize=1024)
def kind_of(request: PodRequest) -> str:
    """Return a hash that is equal for interchangeable pods: same image, GPU, disks, start command, and so on."""
    parts = (
        request.image,
        request.gpu,
        *([request.cluster] if request.cluster else []),
        request.storage,
        request.mount,
        request.datacenters,
        str(request.cloud),
        request.container_disk_gb,
        request.cpu,
        request.cuda,
        request.min_cuda,
        request.countries,
        request.compliance,
        request.global_network,
        request.ports,
        sorted(request.env.items()),
        request.docker_args,
        str(request.ssh),
        request.registry,
        request.template_id,
    )
    import hashlib

    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

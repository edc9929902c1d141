"""Reads the logs of a booting pod and decides whether it can still start: RunPod restarts a broken one forever."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rpd.errors import ContainerRestarts, NoSshServer, ProvisioningError, UnusableImage
from rpd.remote import ssh_start
from rpd.values.duration import format_duration
from rpd.values.late_pattern import late_pattern
from rpd.values.pod import PodInfo, PodRequest

MOST_RESTARTS = 3
"""How often a container may exit by itself before rpd gives up on it."""
LOG_LINES = 20
FIRST_LOOK_SECONDS = 5.0
"""Seconds before the machine's log is read first; the pause then doubles each time."""
LONGEST_PAUSE = 60.0
SCOUTS = 2
"""How many of the pods that boot from one image read their logs from the start."""
SILENT_SECONDS = 60
"""Seconds that a container may run without an SSH server before rpd reports it with the end of its log."""
_END_LINES = 3

_NO_PULL = late_pattern(
    r"manifest unknown|manifest for \S+ not found|name unknown|no matching manifest|invalid reference format"
    r"|pull access denied|repository does not exist|unauthorized|authentication required"
    r"|requested access to the resource is denied|no such image|no basic auth credentials",
    re.IGNORECASE,
)
"""Registry messages about an image that will never come. Rate limits are not among them: they pass."""
_STARTS = late_pattern(r"^start container\b", re.IGNORECASE)

ReadLog = Callable[[], Sequence[str]]
"""Reads the last lines of the machine's log about the pod; empty if there are none."""


def _no_lines() -> Sequence[str]:
    """Return nothing: the container has no log."""
    return ()


def _keep_quiet(_text: str) -> None:
    """Ignore a message."""


class Boot:
    """Watches one pod from its creation, or its start, until it runs commands.

    ``read_output`` reads the container's output. ``tell`` gets each new step of the boot, ``warn`` a sentence
    about a container that runs without an SSH server. ``is_scout`` returns whether this pod reads logs on
    behalf of others with the same image; the others wait a minute before they read, since reading takes two
    calls.
    """

    def __init__(
        self,
        request: PodRequest,
        read_log: ReadLog,
        clock: Callable[[], float] = time.monotonic,
        *,
        read_output: ReadLog = _no_lines,
        tell: Callable[[str], None] = _keep_quiet,
        warn: Callable[[str], None] = _keep_quiet,
        is_scout: Callable[[], bool] = lambda: True,
    ) -> None:
        self.user = ""
        """The user who can log in, if rpd started the SSH server and the container has printed that."""
        self._request = request
        self._read_log = read_log
        self._read_output = read_output
        self._tell = tell
        self._warn = warn
        self._clock = clock
        self._step = ""
        self._warned = False
        self._pause = FIRST_LOOK_SECONDS
        self._is_scout = is_scout
        self._began = clock()
        self._look_at = self._began + self._pause
        self._uptime: int | None = None
        self._restarts = 0

    def see(self, pod: PodInfo) -> None:
        """Take a new reading of the pod.

        Raise UnusableImage, ContainerRestarts or NoSshServer if it cannot come up.
        """
        if self._uptime is not None and (pod.uptime_seconds is None or pod.uptime_seconds < self._uptime):
            self._restarts += 1
        self._uptime = pod.uptime_seconds
        if self._restarts >= MOST_RESTARTS:
            raise self._restarting(pod, self._restarts, self._read_log())
        if self._clock() >= self._look_at and self._may_look():
            self.look(pod)
            # Each look costs calls to the API, and a large image can take many minutes.
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._look_at = self._clock() + self._pause

    def _may_look(self) -> bool:
        # If rpd starts the SSH server, only the log says who can log in.
        return (
            self._is_scout()
            or ssh_start.is_needed(self._request)
            or self._clock() - self._began >= SILENT_SECONDS
        )

    def look(self, pod: PodInfo) -> None:
        """Read the logs of the machine and the container. Raise the errors of ``see``."""
        lines = self._read_log()
        starts = sum(1 for line in lines if _STARTS.search(line))
        if starts > MOST_RESTARTS:
            raise self._restarting(pod, starts - 1, lines)
        refusal = next((line for line in reversed(lines) if _NO_PULL.search(line)), "")
        if refusal and pod.uptime_seconds is None:
            raise UnusableImage(
                f"the image {self._request.image} cannot be pulled. RunPod reports for pod {pod.id}: {refusal}. "
                f"{self._advice()}"
            )
        if pod.uptime_seconds is not None:
            self._listen(pod, pod.uptime_seconds)

    def _advice(self) -> str:
        if self._request.registry is not None:
            return "Check the name and the tag, and whether the credentials in registry are right and may pull it"
        return (
            "Check the name and the tag; a private image needs registry=…, or a template_id with credentials"
        )

    def _listen(self, pod: PodInfo, uptime: int) -> None:
        """Read a running container's progress towards an SSH server. Raise NoSshServer."""
        lines = self._read_output()
        progress = ssh_start.progress(lines)
        self.user = progress.user
        if progress.failure:
            raise NoSshServer(
                f"no SSH server on pod {pod.id} ({self._request.image}): {progress.failure}. Install openssh-server in "
                "the image, or use one that has it"
            )
        step = progress.step or next((line.strip() for line in reversed(lines) if line.strip()), "")
        if step and step != self._step:
            self._step = step
            self._tell(step)
        if uptime >= SILENT_SECONDS and not self._warned:
            self._warned = True
            self._warn(self._silence(pod, uptime, lines))

    def _silence(self, pod: PodInfo, uptime: int, lines: Sequence[str]) -> str:
        advice = (
            ""
            if ssh_start.is_needed(self._request)
            else '. If the image does not start one, set ssh="install"'
        )
        return (
            f"the container of pod {pod.id} has run for {format_duration(uptime)}, and no SSH server answers. "
            f"{ends_with(lines)}{advice}"
        )

    def _restarting(self, pod: PodInfo, restarts: int, lines: Sequence[str]) -> ContainerRestarts:
        said = f" RunPod says: {' | '.join(lines[-2:])}." if lines else ""
        return ContainerRestarts(
            f"the container of pod {pod.id} exited and was restarted {restarts} times "
            f"({self._request.image}).{said} Check docker_args and the image's start command: it has to keep running"
        )


def ends_with(lines: Sequence[str]) -> str:
    """Return a clause with the last lines of a container's log."""
    said = [line.strip() for line in lines if line.strip()][-_END_LINES:]
    return f"Its log ends with: {' | '.join(said)}" if said else "Its log is empty"


class Images:
    """Images from which no pod comes up, as seen in this run, so that each is tried only once. Thread-safe.

    An error that may be the host's fault counts against an image after two pods had it and none came up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._proved: set[object] = set()
        self._suspected: set[object] = set()
        self._condemned: dict[object, str] = {}
        self._booting: dict[object, list[object]] = {}

    @contextmanager
    def booting(self, request: PodRequest) -> Iterator[Callable[[], bool]]:
        """Count one more pod that boots from an image inside the block; yield whether it is one of the first.

        If a registry refuses the image, the log of one pod tells it for all.
        """
        here, me = _start_of(request), object()
        with self._lock:
            self._booting.setdefault(here, []).append(me)
        try:
            yield lambda: me in self._booting[here][:SCOUTS]
        finally:
            with self._lock:
                self._booting[here].remove(me)

    def check(self, request: PodRequest) -> None:
        """Raise UnusableImage if no pod comes up from the image of ``request``."""
        why = self._condemned.get(_start_of(request))
        if why is not None:
            raise UnusableImage(why)

    def prove(self, request: PodRequest) -> None:
        """Note that a pod came up from the image."""
        with self._lock:
            self._proved.add(_start_of(request))

    def note(self, request: PodRequest, error: ProvisioningError) -> ProvisioningError:
        """Note why no pod came up; return the error to raise: an UnusableImage if the image is to blame."""
        start = _start_of(request)
        with self._lock:
            if start in self._proved:
                return error
            if not isinstance(error, UnusableImage) and start not in self._suspected:
                self._suspected.add(start)
                return error
            why = self._condemned.setdefault(start, str(error))
        return error if isinstance(error, UnusableImage) else UnusableImage(why)


def _start_of(request: PodRequest) -> object:
    """Return the fields that decide whether a container of ``request`` starts and stays up, on any machine."""
    env = tuple(sorted(request.env.items()))
    return (request.image, request.registry, request.template_id, request.docker_args, request.ssh, env)

"""A booting pod: a hopeless one is reported early, and once in a run."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest

from rpd.errors import ContainerRestarts, KeyRefused, PodNotReady, UnusableImage
from rpd.lease.boot import FIRST_LOOK_SECONDS, LONGEST_PAUSE, MOST_RESTARTS, SILENT_SECONDS, Boot, Images
from rpd.values.job import SshSource
from rpd.values.pod import PodInfo, PodRequest, PodStatus

REQUEST = PodRequest(image="nobody/image:1", gpu=None)
POD = PodInfo(id="pod1", name="rpd-x", status=PodStatus.RUNNING)


class Machine:
    """A machine with a log, and a clock that a test moves."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.now = 0.0
        self.looks = 0
        self.boot = Boot(REQUEST, self.read, clock=lambda: self.now)

    def read(self) -> tuple[str, ...]:
        self.looks += 1
        return self.lines

    def see(self, uptime: int | None, *, at: float = 0.0) -> None:
        self.now = at
        self.boot.see(replace(POD, uptime_seconds=uptime))


@pytest.mark.parametrize(
    "line",
    [
        "error creating container: manifest for nobody/image:1 not found: manifest unknown",
        'error pulling image: Head "https://ghcr.io/v2/a/b/manifests/1": unauthorized: authentication required',
        "pull access denied for nobody/image, repository does not exist or may require 'docker login'",
        "Error response from daemon: no matching manifest for linux/amd64 in the manifest list entries",
    ],
)
def test_an_image_that_cannot_be_pulled(line: str) -> None:
    """The first look at the log ends the wait; the error has the image, the pod, the line, and advice."""
    machine = Machine("create container nobody/image:1", line)
    machine.see(None)
    assert machine.looks == 0
    with pytest.raises(UnusableImage, match=r"nobody/image:1 cannot be pulled.*pod1") as caught:
        machine.see(None, at=FIRST_LOOK_SECONDS)
    assert line in str(caught.value)
    assert "template_id" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "uptime"),
    [
        ("nobody/image:1: pulling image", None),
        ("toomanyrequests: You have reached your pull rate limit", None),
        ("the program printed: unauthorized", 3),
    ],
)
def test_what_may_still_heal_is_waited_for(line: str, uptime: int | None) -> None:
    """A slow pull, a registry's rate limit and the output of a running container end nothing."""
    machine = Machine(line)
    machine.see(uptime, at=FIRST_LOOK_SECONDS)
    machine.see(uptime, at=10 * LONGEST_PAUSE)
    assert machine.looks == 2


def test_the_log_is_read_ever_more_rarely() -> None:
    """An hour of waiting costs no call a second."""
    machine = Machine()
    for second in range(3600):
        machine.see(None, at=float(second))
    assert machine.looks < 70


def test_a_container_that_restarts() -> None:
    """An uptime that falls is a restart; so many of them end the wait, and a few do not."""
    machine = Machine("start container for nobody/image:1: begin")
    for _ in range(MOST_RESTARTS):
        machine.see(4)
        machine.see(5)
        if _ < MOST_RESTARTS - 1:
            machine.see(None if _ else 0)
    with pytest.raises(ContainerRestarts, match=f"restarted {MOST_RESTARTS} times"):
        machine.see(0)


def test_restarts_too_quick_to_see_are_in_the_log() -> None:
    """A container that ends at once never has an uptime: its starts are counted in the log."""
    machine = Machine(*["start container for nobody/image:1: begin"] * (MOST_RESTARTS + 1))
    with pytest.raises(ContainerRestarts, match="docker_args"):
        machine.see(None, at=FIRST_LOOK_SECONDS)


# --- in a run -------------------------------------------------------------------------------------------------------


def test_an_image_that_cannot_be_pulled_is_known_at_once() -> None:
    """No other pod is rented for it; one of another image, or with another template, is."""
    images = Images()
    error = UnusableImage("cannot be pulled")
    assert images.note(REQUEST, error) is error
    with pytest.raises(UnusableImage, match="cannot be pulled"):
        images.check(replace(REQUEST, mount="/data"))
    images.check(replace(REQUEST, image="nobody/image:2"))
    images.check(replace(REQUEST, template_id="with-credentials"))


@pytest.mark.parametrize("kind", [ContainerRestarts, KeyRefused])
def test_what_may_be_the_hosts_fault_takes_two_pods(kind: type[PodNotReady]) -> None:
    """The first is tried again elsewhere; the second tells that it is the image."""
    images = Images()
    first = kind("on one")
    assert images.note(REQUEST, first) is first
    images.check(REQUEST)
    assert isinstance(images.note(REQUEST, kind("on another")), UnusableImage)
    with pytest.raises(UnusableImage, match="on another"):
        images.check(REQUEST)


def test_an_image_that_came_up_once_is_never_to_blame() -> None:
    """Then it is the hosts that are bad, and each node may try another."""
    images = Images()
    images.prove(REQUEST)
    for _ in range(3):
        error = KeyRefused("here")
        assert images.note(REQUEST, error) is error
    images.check(REQUEST)


def test_the_first_pods_of_an_image_read_the_log_for_all() -> None:
    """Of 64 pods that boot from one image two read logs; when one of them is done the next takes its place."""
    images = Images()
    with ExitStack() as stack:
        first = ExitStack()
        is_scout = [first.enter_context(images.booting(REQUEST))]
        is_scout += [stack.enter_context(images.booting(REQUEST)) for _ in range(63)]
        other = stack.enter_context(images.booting(replace(REQUEST, image="nobody/other:1")))
        assert [each() for each in is_scout] == [True, True] + [False] * 62
        assert other()
        first.close()
        assert [each() for each in is_scout[1:4]] == [True, True, False]


def test_a_pod_that_is_no_scout_reads_its_log_after_a_minute() -> None:
    """A problem of this pod alone is still seen."""
    machine = Machine()
    machine.boot = Boot(
        replace(REQUEST, ssh=SshSource.IMAGE), machine.read, clock=lambda: machine.now, is_scout=lambda: False
    )
    machine.see(None, at=SILENT_SECONDS - 1)
    assert machine.looks == 0
    machine.see(None, at=SILENT_SECONDS)
    assert machine.looks == 1

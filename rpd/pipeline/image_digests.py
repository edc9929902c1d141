"""Resolves image names to digests. A tag may move, so a run asks the registry before it rents its first pod."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rpd.errors import UnusableImage, UsageError
from rpd.plan import uses_pod
from rpd.threads import thread
from rpd.values.endpoint import Endpoint
from rpd.values.job import Job, Registry
from rpd.values.node import Node
from rpd.values.overrides import Overrides
from rpd.values.pod import PodRequest

if TYPE_CHECKING:
    from rpd.runpod.catalogue.images import Answer

PATIENCE_SECONDS = 5.0
"""How long a report waits for a digest that was asked for when its pod was rented."""


class _Question:
    """One image: asked once, in the background."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.digest = ""
        self.why = ""
        self.answer: Answer | None = None
        """What its registry said, if that was asked."""


class ImageDigests:
    """The digests of the images of a run, each asked for once. Thread-safe.

    ``passwords`` are the values of secrets by name. With ``pin``, pods are created by digest. ``emulated``: an emulator
    runs the pods, whose images are only names unless they are in a registry on this machine.
    """

    def __init__(self, passwords: Mapping[str, str], *, pin: bool = False, emulated: bool = False) -> None:
        self._emulated = emulated
        self._passwords = passwords
        self._pin = pin
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, Registry | str | None], _Question] = {}

    def to_create_with(self, request: PodRequest) -> str:
        """Return the image to create a pod with, and ask for its digest. Raise UnusableImage if it has to be known."""
        question = self._question(request.image, request.registry)
        if not self._pin or "@" in request.image or not request.image:
            return request.image
        question.answered.wait()
        if not question.digest:
            raise UnusableImage(_unknown(request.image, question.why))
        return f"{_without_tag(request.image)}@{question.digest}"

    def of(self, image: str, registry: Registry | str | None) -> str:
        """Return the digest of an image, empty if it cannot be found soon."""
        question = self._question(image, registry)
        question.answered.wait(PATIENCE_SECONDS)
        return question.digest

    def ask_ahead(self, nodes: Iterable[Node]) -> None:
        """Begin to ask for the images of ``nodes``, so that ``check`` waits for less."""
        for job in {id(node.job): node.job for node in nodes if uses_pod(node)}.values():
            self._question(job.image, job.registry, inside=_brings_ssh(job))

    def check(self, nodes: Iterable[Node]) -> tuple[str, ...]:
        """Look up the images of ``nodes``, and return warnings about them.

        Raise UsageError for an image that no host could run: it does not exist, or was built for other
        processors. If pods are created by digest, also for one whose digest is unknown. Never wait long for a
        slow registry.
        """
        jobs = {id(node.job): node for node in nodes if uses_pod(node)}.values()
        questions = [
            (node, self._question(node.job.image, node.job.registry, inside=_brings_ssh(node.job)))
            for node in jobs
        ]
        give_up = time.monotonic() + PATIENCE_SECONDS
        warnings: dict[str, None] = {}
        for node, question in questions:
            # A pinned image needs its digest; otherwise a slow registry costs only its warnings.
            question.answered.wait(None if self._pin else max(0.0, give_up - time.monotonic()))
            if self._pin and not question.digest:
                raise UsageError(f"{node.definition.location}: {_unknown(node.job.image, question.why)}")
            if question.answer is not None:
                warnings |= dict.fromkeys(_doubts(node, question.answer))
        return tuple(warnings)

    def _question(self, image: str, registry: Registry | str | None, *, inside: bool = False) -> _Question:
        with self._lock:
            question = self._asked.get((image, registry))
            if question is None:
                question = self._asked[image, registry] = _Question()
                thread(lambda: self._ask(image, registry, question, inside=inside), name="rpd-digest").start()
            return question

    def _ask(self, image: str, registry: Registry | str | None, question: _Question, *, inside: bool) -> None:
        from rpd.runpod.catalogue.images import (  # modules for network calls take time to import
            ask,
            may_ask,
        )

        try:
            _, at, digest = image.partition("@")
            if not image:
                question.why = "its template names the image, and only RunPod can read that"
            elif at:
                question.digest = digest
            elif may_ask(image, emulated=self._emulated):
                answer = question.answer = ask(image, registry, self._passwords, inside=inside)
                question.digest, question.why = answer.digest, answer.why
            else:
                question.why = "on an emulator an image is only a name"
        finally:
            question.answered.set()


class NoDigests(ImageDigests):
    """The digests of a dry run: no registry is asked."""

    def to_create_with(self, request: PodRequest) -> str:
        return request.image

    def of(self, image: str, registry: Registry | str | None) -> str:  # noqa: ARG002
        return ""

    def ask_ahead(self, nodes: Iterable[Node]) -> None:
        """Do nothing."""


def is_emulated(api: Endpoint | None, *, local: bool) -> bool:
    """Return whether an emulator runs the pods of a run."""
    from rpd.runpod.address import api_url, is_local

    return local or is_local(api.base_url if api else api_url())


def _unknown(image: str, why: str) -> str:
    return f"--pin-images: the digest of {image or 'the image'} is unknown: {why or 'its registry does not report it'}"


def _without_tag(image: str) -> str:
    folder, slash, name = image.rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}"


def _brings_ssh(job: Job) -> bool:
    """Return whether rpd has to provide the SSH server of a job's pods, so that the image's contents matter."""
    from rpd.remote.ssh_start import is_needed  # a dry run asks for no image

    return bool(job.image) and is_needed(Overrides().request(job, job.gpu))


def _doubts(node: Node, answer: Answer) -> Iterator[str]:
    """Yield warnings about an image that its registry was asked for. Raise UsageError if no host could run it."""
    from rpd.runpod.catalogue.image_inside import PLATFORM
    from rpd.runpod.catalogue.images import WHAT_TO_DO, Presence

    image, where = node.job.image, node.definition.location
    if answer.presence is Presence.ABSENT:
        raise UsageError(
            f"{where}: no pod could pull {image}: {answer.why}. {WHAT_TO_DO[answer.presence].capitalize()}"
        )
    if answer.presence is Presence.CLOSED and node.job.registry is None and node.job.template_id is None:
        yield f"image {image}: {answer.why}; {WHAT_TO_DO[answer.presence]}"
    if answer.inside is None:
        return
    if not answer.inside.fits:
        raise UsageError(
            f"{where}: RunPod's hosts cannot run {image}: it was built for {', '.join(answer.inside.platforms)}, "
            f"but they need {PLATFORM}. Build it with `docker build --platform {PLATFORM}`"
        )
    if not answer.inside.has_helper:
        yield (
            f"image {image}: its history shows no SSH server, a package manager, curl, wget or python3, "
            "of which rpd needs one to bring SSH up, and a shell to do it: install openssh-server in the image"
        )

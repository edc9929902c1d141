"""Which image a name means: a tag may mean another tomorrow, so a run asks the registry when it rents a first pod."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from rpd.errors import UnusableImage, UsageError
from rpd.plan import uses_pod
from rpd.threads import thread
from rpd.values.endpoint import Endpoint
from rpd.values.job import Registry
from rpd.values.node import Node
from rpd.values.pod import PodRequest

PATIENCE_SECONDS = 5.0
"""How long a report waits for a digest that was asked for when its pod was rented."""


class _Question:
    """One image: asked once, in the background."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.digest = ""
        self.why = ""


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
        """Return the image to create a pod with, and ask for its digest. Raises UnusableImage if it has to be known."""
        question = self._question(request.image, request.registry)
        if not self._pin or "@" in request.image or not request.image:
            return request.image
        question.answered.wait()
        if not question.digest:
            raise UnusableImage(_unknown(request.image, question.why))
        return f"{_without_tag(request.image)}@{question.digest}"

    def of(self, image: str, registry: Registry | str | None) -> str:
        """Return the digest of an image, empty where nobody can tell it soon."""
        question = self._question(image, registry)
        question.answered.wait(PATIENCE_SECONDS)
        return question.digest

    def check(self, nodes: Iterable[Node]) -> None:
        """Raise UsageError for the first image of ``nodes`` that cannot be pinned, if pods are created by digest."""
        if not self._pin:
            return
        jobs = {id(node.job): node for node in nodes if uses_pod(node)}.values()
        asked = [(node, self._question(node.job.image, node.job.registry)) for node in jobs]
        for node, question in asked:
            question.answered.wait()
            if not question.digest:
                raise UsageError(f"{node.definition.location}: {_unknown(node.job.image, question.why)}")

    def _question(self, image: str, registry: Registry | str | None) -> _Question:
        with self._lock:
            question = self._asked.get((image, registry))
            if question is None:
                question = self._asked[image, registry] = _Question()
                thread(lambda: self._ask(image, registry, question), name="rpd-digest").start()
            return question

    def _ask(self, image: str, registry: Registry | str | None, question: _Question) -> None:
        from rpd.runpod.catalogue.images import (  # what asks over the network takes time to import
            ask,
            may_ask,
        )

        try:
            _, at, digest = image.partition("@")
            if not image:
                question.why = "its template names it, which only RunPod can read"
            elif at:
                question.digest = digest
            elif may_ask(image, emulated=self._emulated):
                answer = ask(image, registry, self._passwords)
                question.digest, question.why = answer.digest, answer.why
            else:
                question.why = "an emulator's image is only a name"
        finally:
            question.answered.set()


class NoDigests(ImageDigests):
    """The digests of a dry run: nobody is asked."""

    def to_create_with(self, request: PodRequest) -> str:
        return request.image

    def of(self, image: str, registry: Registry | str | None) -> str:  # noqa: ARG002
        return ""


def is_emulated(api: Endpoint | None, *, local: bool) -> bool:
    """Return whether an emulator runs the pods of a run."""
    from rpd.runpod.address import api_url, is_local

    return local or is_local(api.base_url if api else api_url())


def _unknown(image: str, why: str) -> str:
    return f"--pin-images: the digest of {image or 'the image'} is not known: {why or 'its registry does not tell it'}"


def _without_tag(image: str) -> str:
    folder, slash, name = image.rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}"

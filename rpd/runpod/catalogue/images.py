"""Container registries: whether an image is there, asked as a host that pulls it would, without an account.

The calls are those of the OCI distribution specification: a HEAD of the manifest, with an anonymous token where
the registry asks for one.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from rpd.runpod.bounds import TooLong, whole
from rpd.runpod.rest.client import USER_AGENT
from rpd.threads import Overdue, bounded

if TYPE_CHECKING:
    import httpx

_DOCKER_HUB = "registry-1.docker.io"
_SECONDS = 10.0
_TOTAL_SECONDS = 30.0
_MOST_TOKEN_BYTES = 1 << 20
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """An image by its parts; ``reference`` is a tag or a digest."""

    registry: str
    repository: str
    reference: str

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Read a name as Docker does: no registry is Docker Hub, no owner is ``library``, no tag is ``latest``."""
        name, _, digest = text.partition("@")
        host, slash, rest = name.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            host, rest = "docker.io", name
        repository, colon, tag = rest.rpartition(":")
        if not colon:
            repository, tag = rest, "latest"
        if host in ("docker.io", "index.docker.io"):
            host = _DOCKER_HUB
            repository = repository if "/" in repository else f"library/{repository}"
        return cls(registry=host, repository=repository, reference=digest or tag)

    @property
    def url(self) -> str:
        """Return where its manifest is; a registry on this machine speaks plain HTTP."""
        is_here = self.registry.partition(":")[0] in ("localhost", "127.0.0.1")
        scheme = "http" if is_here else "https"
        return f"{scheme}://{self.registry}/v2/{self.repository}/manifests/{self.reference}"


class Found(StrEnum):
    """What a registry says of an image."""

    PRESENT = "present"
    ABSENT = "absent"
    CLOSED = "closed"
    """Not to be seen without credentials: private, or not there."""
    UNKNOWN = "unknown"
    """The registry could not be asked."""


WHAT_TO_DO = {
    Found.PRESENT: "",
    Found.ABSENT: "look for a typing slip in the tag",
    Found.CLOSED: "is the name right? A private image needs a template_id",
    Found.UNKNOWN: "offline? Ask again where there is a network",
}
"""What a user might do about it."""


def look_up(image: str) -> tuple[Found, str]:
    """Return what the registry says of ``image``, and in a few words why; never raises for what the network does."""
    name = ImageName.parse(image)
    try:
        return bounded(lambda: _look_up(name), seconds=_TOTAL_SECONDS)
    except Overdue:
        return Found.UNKNOWN, f"{name.registry} did not answer within {_TOTAL_SECONDS:g} s"


def _look_up(name: ImageName) -> tuple[Found, str]:
    import httpx

    try:
        with httpx.Client(
            timeout=_SECONDS, headers={"User-Agent": USER_AGENT}, follow_redirects=True
        ) as client:
            answer = client.head(name.url, headers={"Accept": _MANIFESTS})
            if answer.status_code == 401:
                token = _token(client, answer.headers.get("WWW-Authenticate", ""))
                answer = client.head(
                    name.url, headers={"Accept": _MANIFESTS, "Authorization": f"Bearer {token}"}
                )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TooLong, Overdue) as error:
        return Found.UNKNOWN, f"{name.registry} could not be asked ({type(error).__name__})"
    return _meaning(answer.status_code, name)


def _token(client: httpx.Client, challenge: str) -> str:
    """Return the anonymous token that ``WWW-Authenticate`` sends for; empty if there is none to be had."""
    wanted = dict(_CHALLENGE.findall(challenge))
    realm = wanted.pop("realm", "")
    if not challenge.startswith("Bearer") or not realm:
        return ""
    wanted.pop("error", None)
    with client.stream("GET", realm, params=wanted) as answer:
        text = whole(answer.iter_bytes(), until=time.monotonic() + _SECONDS, most=_MOST_TOKEN_BYTES)
    body = json.loads(text) if answer.status_code == 200 else {}
    return str(body.get("token") or body.get("access_token") or "") if isinstance(body, dict) else ""


def _meaning(status: int, name: ImageName) -> tuple[Found, str]:
    if status == 200:
        return Found.PRESENT, f"{name.registry} has it"
    if status == 404:
        return Found.ABSENT, f"{name.registry} has no {name.repository}:{name.reference}"
    if status in (401, 403):
        return Found.CLOSED, f"{name.registry} shows it to nobody without credentials"
    return Found.UNKNOWN, f"{name.registry} answered HTTP {status}"

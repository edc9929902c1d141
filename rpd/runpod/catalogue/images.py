"""Container registries: whether an image exists, and the digest of its tag, asked as a pulling host would ask.

The calls are those of the OCI distribution specification: a HEAD of the manifest, with a token if the
registry demands one. Docker Hub, GitHub, Google, NVIDIA and Azure issue tokens; Amazon takes the password
itself.
"""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from rpd.runpod.address import is_local
from rpd.runpod.bounds import TooLong, whole
from rpd.runpod.catalogue.image_inside import Inside, fetcher, look_inside
from rpd.runpod.rest.client import USER_AGENT
from rpd.threads import Overdue, bounded
from rpd.values.frozen import frozen
from rpd.values.job import Registry

if TYPE_CHECKING:
    import httpx

_DOCKER_HUB = "registry-1.docker.io"
_SECONDS = 10.0
_TOTAL_SECONDS = 30.0
_MOST_TOKEN_BYTES = 1 << 20
_MOST_CONFIG_BYTES = 4 << 20
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@frozen
class ImageName:
    """The parts of an image name; ``reference`` is a tag or a digest."""

    registry: str
    repository: str
    reference: str

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Parse a name as Docker does: no registry is Docker Hub, no owner is ``library``, no tag is ``latest``."""
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
    def is_here(self) -> bool:
        """Whether its registry is on this machine."""
        return self.registry.partition(":")[0] in ("localhost", "127.0.0.1")

    @property
    def url(self) -> str:
        """The address of its manifest; a registry on this machine uses plain HTTP."""
        scheme = "http" if self.is_here else "https"
        return f"{scheme}://{self.registry}/v2/{self.repository}/manifests/{self.reference}"


class Presence(StrEnum):
    """The answer of a registry about an image."""

    PRESENT = "present"
    ABSENT = "absent"
    CLOSED = "closed"
    """Not visible without credentials: private, or missing."""
    PRIVATE = "private"
    """Not visible from here; RunPod has the credentials for it."""
    UNKNOWN = "unknown"
    """The registry could not be asked."""


WHAT_TO_DO = {
    Presence.PRESENT: "",
    Presence.ABSENT: "check the tag for a typo",
    Presence.CLOSED: "is the name right? A private image needs registry=…",
    Presence.PRIVATE: "",
    Presence.UNKNOWN: "are you offline? Try again with a network",
}
"""Advice for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The user name and password for a registry."""

    username: str
    password: str = field(repr=False)


@frozen
class Answer:
    """A registry's answer about an image, the reason in a few words, and the digest of its tag."""

    presence: Presence
    why: str
    digest: str = ""
    inside: Inside | None = None
    """The contents of the image, if requested and if the registry reports them."""


def may_ask(image: str, *, emulated: bool) -> bool:
    """Return whether a registry is worth asking. An emulator's images are only names, unless it is the registry."""
    return not emulated or ImageName.parse(image).is_here


def look_up(image: str, credentials: Credentials | None = None, *, inside: bool = False) -> Answer:
    """Return the registry's answer about ``image``, with its contents if ``inside``.

    Never raise for network errors.
    """
    name = ImageName.parse(image)
    try:
        return bounded(lambda: _look_up(name, credentials, inside=inside), seconds=_TOTAL_SECONDS)
    except Overdue:
        return Answer(
            presence=Presence.UNKNOWN, why=f"{name.registry} did not answer within {_TOTAL_SECONDS:g} s"
        )


def ask(
    image: str, registry: Registry | str | None, passwords: Mapping[str, str], *, inside: bool = False
) -> Answer:
    """Return the registry's answer about ``image``, asked with the credentials of the job.

    ``passwords`` are the values of secrets by name.
    """
    credentials = None
    if isinstance(registry, Registry) and registry.password.name in passwords:
        credentials = Credentials(username=registry.username, password=passwords[registry.password.name])
    answer = look_up(image, credentials, inside=inside)
    if credentials is None and registry is not None and answer.presence is Presence.CLOSED:
        name = ImageName.parse(image).registry
        return Answer(
            presence=Presence.PRIVATE,
            why=f"{name} shows it only with credentials, which are not on this machine",
        )
    return answer


def _look_up(name: ImageName, credentials: Credentials | None, *, inside: bool) -> Answer:
    import httpx

    try:
        with httpx.Client(
            timeout=_SECONDS, headers={"User-Agent": USER_AGENT, "Accept": _MANIFESTS}, follow_redirects=True
        ) as client:
            answer, headers = client.head(name.url), {}
            if answer.status_code == 401:
                challenge = answer.headers.get("WWW-Authenticate", "")
                permission, refusal = _permission(client, challenge, credentials)
                if refusal:
                    return Answer(presence=Presence.CLOSED, why=f"{name.registry} refuses {refusal}")
                headers = {"Authorization": permission} if permission else {}
                answer = client.head(name.url, headers=headers)
            seen = None
            if inside and answer.status_code == 200:
                fetch = fetcher(client, name.url.rpartition("/manifests/")[0], headers, _MOST_CONFIG_BYTES)
                seen = look_inside(fetch, name.reference)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TooLong, Overdue) as error:
        return Answer(
            presence=Presence.UNKNOWN, why=f"{name.registry} could not be reached ({type(error).__name__})"
        )
    meaning, why = _meaning(answer.status_code, name, credentials)
    digest = answer.headers.get("Docker-Content-Digest", "")
    digest = digest if _DIGEST.fullmatch(digest) else ""
    return Answer(presence=meaning, why=why, digest=digest, inside=seen)


def _permission(client: httpx.Client, challenge: str, credentials: Credentials | None) -> tuple[str, str]:
    """Return the header that ``WWW-Authenticate`` demands, empty if there is none, and who was refused."""
    parameters = dict(_CHALLENGE.findall(challenge))
    realm = parameters.pop("realm", "")
    parameters.pop("error", None)
    if challenge.lower().startswith("basic") and credentials is not None:
        return _basic(credentials), ""
    if not challenge.lower().startswith("bearer") or not realm:
        return "", ""
    headers = {}
    if credentials is not None:
        if not realm.startswith("https://") and not is_local(realm):
            raise ValueError("the registry asks for the password in clear text")
        headers["Authorization"] = _basic(credentials)
    # The password goes to the address that the registry names, and not further.
    with client.stream("GET", realm, params=parameters, headers=headers, follow_redirects=False) as answer:
        text = whole(answer.iter_bytes(), until=time.monotonic() + _SECONDS, most=_MOST_TOKEN_BYTES)
    if answer.status_code in (401, 403) and credentials is not None:
        return "", f"the user {credentials.username!r} and this password{_words(text)}"
    body = json.loads(text) if answer.status_code == 200 else {}
    token = body.get("token") or body.get("access_token") if isinstance(body, dict) else ""
    return f"Bearer {token}" if token else "", ""


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {b64encode(pair).decode('ascii')}"


def _words(body: bytes) -> str:
    """Return the registry's own words in a response, in parentheses; empty if there are none."""
    try:
        table = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    fields = table if isinstance(table, dict) else {}
    errors = fields.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    said = first.get("message") or fields.get("details") or fields.get("message")
    return f" ({said[:200]})" if isinstance(said, str) and said else ""


def _meaning(status: int, name: ImageName, credentials: Credentials | None) -> tuple[Presence, str]:
    if status == 200:
        return Presence.PRESENT, f"{name.registry} has it"
    if status == 404:
        return Presence.ABSENT, f"{name.registry} has no {name.repository}:{name.reference}"
    if status in (401, 403):
        if credentials is not None:
            return Presence.CLOSED, f"{name.registry} does not show it to the user {credentials.username!r}"
        return Presence.CLOSED, f"{name.registry} does not show it without credentials"
    return Presence.UNKNOWN, f"{name.registry} answered HTTP {status}"

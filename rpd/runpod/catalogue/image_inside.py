"""The contents of an image, as far as its registry knows: CPU architectures, and software in its history.

The calls are those of the OCI distribution specification: the manifest, and the configuration that it names.
Nothing of the image itself is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rpd.runpod.response import table, tables, text
from rpd.values.frozen import frozen

if TYPE_CHECKING:
    import httpx

PLATFORM = "linux/amd64"
"""The platform of RunPod's hosts."""
Fetch = Callable[[str], bytes]
"""Returns the content at a path below the repository. Raises LookupError if there is none."""

_HELPERS = re.compile(
    r"""
    \b(?:openssh-server | sshd | dropbear | apt-get | apt | apk | dnf | microdnf | yum | tdnf | zypper | pacman
      | curl | wget | python3? | conda | mamba
      | ubuntu | debian | alpine | fedora | centos | rocky | alma | rhel | ubi[0-9] | amazonlinux
      | bullseye | bookworm | trixie | focal | jammy | noble)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Tools with which rpd can install an SSH server, or distributions that have them."""


@frozen
class Inside:
    """The platforms of an image, and whether anything suggests that rpd can start an SSH server in it."""

    platforms: tuple[str, ...] = ()
    has_helper: bool = True

    @property
    def fits(self) -> bool:
        """Whether RunPod's hosts can run it, as far as is known."""
        return not self.platforms or PLATFORM in self.platforms


def look_inside(fetch: Fetch, reference: str) -> Inside | None:
    """Return the registry's information on an image; None if it has none."""
    try:
        manifest = table(json.loads(fetch(f"manifests/{reference}")))
        builds = {_platform(row): text(row.get("digest")) for row in tables(manifest.get("manifests"))}
        builds.pop("", None)
        if builds and PLATFORM not in builds:
            return Inside(platforms=tuple(sorted(builds)))
        if builds:
            manifest = table(json.loads(fetch(f"manifests/{builds[PLATFORM]}")))
        digest = text(table(manifest.get("config")).get("digest"))
        config = table(json.loads(fetch(f"blobs/{digest}"))) if digest else {}
    except (LookupError, ValueError, RecursionError):
        return None
    if not config:
        return None
    return Inside(platforms=_own(config), has_helper=bool(_HELPERS.search(_story(config))))


def _platform(row: Mapping[str, Any]) -> str:
    """Return the platform of a build; empty for other entries, such as an attestation."""
    platform = table(row.get("platform"))
    system, processor = text(platform.get("os")), text(platform.get("architecture"))
    return f"{system}/{processor}" if system and processor and "unknown" not in (system, processor) else ""


def _own(config: Mapping[str, Any]) -> tuple[str, ...]:
    system, processor = text(config.get("os")), text(config.get("architecture"))
    return (f"{system}/{processor}",) if system and processor else ()


def _story(config: Mapping[str, Any]) -> str:
    """Return every text in a configuration about how the image was made and is run."""
    lines = [text(row.get("created_by")) for row in tables(config.get("history"))]
    return "\n".join((*lines, json.dumps(table(config.get("config")))))


def fetcher(client: httpx.Client, url: str, headers: Mapping[str, str], most: int) -> Fetch:
    """Return a function that fetches below the repository at ``url``.

    A response above ``most`` bytes counts as missing.
    """

    def fetch(path: str) -> bytes:
        answer = client.get(f"{url}/{path}", headers=dict(headers))
        if answer.status_code != 200 or len(answer.content) > most:
            raise LookupError(path)
        return answer.content

    return fetch

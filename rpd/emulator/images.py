"""Container images as the emulator's pods see them. Nothing is pulled: an image is a name with traits."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MANAGERS = ("apt-get", "apk", "dnf", "microdnf", "yum")
"""The package managers that an image may have a stand-in of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The contents of an image whose name fits ``name``, a shell pattern.

    ``ssh``: its own command starts an SSH server (``starts``), it has the program (``present``) or not
    (``none``). ``packages`` are its package managers, of which those in ``broken`` cannot reach their
    archive. ``lacks`` are programs that are not in it. ``user`` is the user that its command runs as.
    ``entrypoint`` and ``command`` are its own; without any, an image with ``ssh="starts"`` runs RunPod's
    start script and any other a shell, which ends at once. ``username`` and ``password`` are the credentials
    of its registry; empty for a public image.
    """

    name: str
    ssh: str = "none"
    packages: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    user: str = "root"
    keeps_user: bool = False
    """Whether RunPod's variable that asks for root has no effect on it."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    username: str = ""
    password: str = ""
    version: str = "1"
    platform: str = "linux/amd64"
    """What it was built for, as its registry tells; pods run it all the same."""
    script: str = "/start.sh"
    """Where RunPod's start script is, in an image whose own command starts SSH."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Image:
        """Read an image. Raise ValueError with the expected fields."""
        names = {field.name for field in fields(cls)}
        if unknown := set(values) - names:
            raise ValueError(f"expected {', '.join(sorted(names))}, got {', '.join(sorted(unknown))}")
        traits: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        made = cls(**traits)
        if made.ssh not in ("starts", "present", "none"):
            raise ValueError(f"ssh: expected starts, present or none, got {made.ssh!r}")
        if unknown := {*made.packages, *made.broken} - {*MANAGERS}:
            raise ValueError(
                f"packages: expected any of {', '.join(MANAGERS)}, got {', '.join(sorted(unknown))}"
            )
        return made

    def argv(self, docker_args: str) -> tuple[str, ...]:
        """Return the argv of PID 1: as with Docker, except that RunPod's JSON can replace the entry point too."""
        replaced = _json_command(docker_args)
        if replaced is not None:
            return (*replaced.get("entrypoint", self.entrypoint), *replaced.get("cmd", ())) or self._own()
        if not docker_args.strip():
            return self._own()
        try:
            return (*self.entrypoint, *shlex.split(docker_args))
        except ValueError:
            return ("/bin/sh", "-c", docker_args)

    def _own(self) -> tuple[str, ...]:
        if self.entrypoint or self.command:
            return (*self.entrypoint, *self.command)
        return ("/bin/sh", self.start_script) if self.start_script else ("/bin/sh",)

    @property
    def start_script(self) -> str:
        """The path of RunPod's start script; empty in an image without one."""
        return self.script if self.ssh == "starts" else ""

    @property
    def is_private(self) -> bool:
        """Whether its registry asks for a password."""
        return bool(self.password)

    @property
    def digest(self) -> str:
        """The digest of its current version in its registry."""
        return "sha256:" + hashlib.sha256(f"{self.name} {self.version}".encode()).hexdigest()


RUNPODS_OWN = Image(name="runpod/*", ssh="starts")
ANY = Image(name="*", ssh="starts", packages=("apt-get",), script="/opt/emulator/start.sh")
"""An image nobody has described: whatever command it is started with, that runs on something like Debian."""


class ImageBook:
    """The images that were described; the newest that fits a name counts."""

    def __init__(self) -> None:
        self._images = [ANY, RUNPODS_OWN]

    def add(self, values: Mapping[str, Any]) -> Image:
        """Describe an image. Raise ValueError."""
        image = Image.parse(values)
        self._images.append(image)
        return image

    def all(self) -> tuple[Image, ...]:
        """Return every image, the newest first."""
        return tuple(reversed(self._images))

    def find(self, name: str) -> Image:
        """Return the image of that name, by its digest if that is in it."""
        _, at, digest = name.partition("@")
        if at:
            return next((image for image in self.all() if image.digest == digest), ANY)
        return next(image for image in reversed(self._images) if fnmatch.fnmatchcase(name, image.name))


def _json_command(text: str) -> dict[str, tuple[str, ...]] | None:
    """Return ``{"entrypoint": […], "cmd": […]}`` as far as it is there, None for any other text."""
    try:
        parts = json.loads(text)
    except ValueError:
        return None
    if not isinstance(parts, dict):
        return None
    return {name: tuple(map(str, value)) for name, value in parts.items() if isinstance(value, list)}

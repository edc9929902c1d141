"""A container registry: manifests of the described images; private ones ask for a password.

Its calls are those of the OCI distribution specification that a client needs to ask whether an image is there. An image
is here if its name begins with the address of the emulator.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable

from aiohttp import web

from rpd.emulator.images import ANY, RUNPODS_OWN, Image, ImageBook

MANIFESTS = "/v2/{repository:.+}/manifests/{reference}"
BLOBS = "/v2/{repository:.+}/blobs/{digest}"
TOKEN = "/_registry/token"  # noqa: S105 - a path


class RegistryServer:
    """Serves manifests of ``images``; ``host`` is its address as image names have it."""

    def __init__(self, images: ImageBook, host: str, count: Callable[[], None]) -> None:
        self._images = images
        self._host = host
        self._count = count
        self._tokens: dict[str, str] = {}

    async def manifest(self, request: web.Request) -> web.Response:
        """Answer whether the image exists, and which digest its tag means now."""
        self._count()
        place = f"{self._host}/{request.match_info['repository']}"
        reference = request.match_info["reference"]
        image = self._image(place, reference)
        if image is not None and image.is_private and not self._shows(request, image):
            realm = f'Bearer realm="http://{self._host}{TOKEN}",service="emulator",scope="repository:{image.name}:pull"'
            return _refused(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": realm})
        if image is None:
            return _refused(404, "MANIFEST_UNKNOWN", "manifest unknown")
        manifest = {"schemaVersion": 2, "config": {"digest": image.digest}}
        return web.json_response(manifest, headers={"Docker-Content-Digest": image.digest})

    async def configuration(self, request: web.Request) -> web.Response:
        """Answer with the configuration of an image; its digest is the image's own, which suffices as identity."""
        self._count()
        image = self._image(f"{self._host}/{request.match_info['repository']}", request.match_info["digest"])
        if image is None or (image.is_private and not self._shows(request, image)):
            return _refused(404, "BLOB_UNKNOWN", "blob unknown")
        system, _, processor = image.platform.partition("/")
        programs = [name for name in ("curl", "wget", "python3") if name not in image.lacks]
        ssh = [] if image.ssh == "none" else ["sshd"]
        history = [{"created_by": f"RUN install {name}"} for name in (*image.packages, *programs, *ssh)]
        return web.json_response({"os": system, "architecture": processor, "history": history, "config": {}})

    def _image(self, place: str, reference: str) -> Image | None:
        joined = "@" if reference.startswith("sha256:") else ":"
        image = self._images.find(f"{place}{joined}{reference}")
        return None if image in (ANY, RUNPODS_OWN) else image

    def _shows(self, request: web.Request, image: Image) -> bool:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self._tokens.get(token) == f"{image.username}:{image.password}"

    async def token(self, request: web.Request) -> web.Response:
        """Give a token to callers that know the password of some image."""
        self._count()
        word, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if word != "Basic":
            return web.json_response({"token": "anonymous"})
        try:
            pair = base64.b64decode(credentials).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        if not any(
            image.is_private and pair == f"{image.username}:{image.password}" for image in self._images.all()
        ):
            return web.json_response({"details": "incorrect username or password"}, status=401)
        token = secrets.token_hex(8)
        self._tokens[token] = pair
        return web.json_response({"token": token})


def _refused(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status, headers=headers)

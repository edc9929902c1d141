"""Asking a container registry for an image, against one on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rpd.runpod.catalogue.image_inside import Inside, look_inside
from rpd.runpod.catalogue.images import ImageName, Presence, look_up
from tests.http_server import Quiet, serving


@pytest.mark.parametrize(
    ("text", "registry", "repository", "reference"),
    [
        ("ubuntu", "registry-1.docker.io", "library/ubuntu", "latest"),
        ("ubuntu:24.04", "registry-1.docker.io", "library/ubuntu", "24.04"),
        ("runpod/pytorch:1.0.2-cu1281", "registry-1.docker.io", "runpod/pytorch", "1.0.2-cu1281"),
        ("docker.io/runpod/base:1", "registry-1.docker.io", "runpod/base", "1"),
        ("ghcr.io/a/b/c:v1", "ghcr.io", "a/b/c", "v1"),
        ("localhost/x", "localhost", "x", "latest"),
        ("host:5000/x/y", "host:5000", "x/y", "latest"),
        ("host:5000/x:t@sha256:abc", "host:5000", "x", "sha256:abc"),
    ],
)
def test_names_are_read_as_docker_reads_them(
    text: str, registry: str, repository: str, reference: str
) -> None:
    """Registry, repository and tag or digest, with Docker's defaults."""
    assert ImageName.parse(text) == ImageName(registry=registry, repository=repository, reference=reference)


@pytest.fixture
def registry() -> Iterator[str]:
    """A registry that shows ``owner/image:there`` to holders of its token, and ``owner/private`` to no one."""

    class Handler(Quiet):
        def do_HEAD(self) -> None:
            self.send_response(self.status())
            address = f"http://{self.headers['Host']}/token"
            self.send_header("WWW-Authenticate", f'Bearer realm="{address}",service="here",scope="pull"')
            self.end_headers()

        def status(self) -> int:
            if self.headers.get("Authorization") != "Bearer anonymous" or "/private/" in self.path:
                return 401
            assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
            return 200 if self.path == "/v2/owner/image/manifests/there" else 404

        def do_GET(self) -> None:
            assert self.path == "/token?service=here&scope=pull"
            body = json.dumps({"token": "anonymous"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as address:
        yield address


@pytest.mark.parametrize(
    ("image", "presence"),
    [
        ("owner/image:there", Presence.PRESENT),
        ("owner/image:thare", Presence.ABSENT),
        ("owner/private:1", Presence.CLOSED),
    ],
)
def test_what_a_registry_says(registry: str, image: str, presence: Presence) -> None:
    """With the anonymous token the registry asks for, an image is there, not there, or not for everybody."""
    assert look_up(f"{registry}/{image}").presence is presence


def test_a_registry_that_is_not_there_is_unknown() -> None:
    """No network is no verdict."""
    answer = look_up("127.0.0.1:9/owner/image:there")
    assert answer.presence is Presence.UNKNOWN
    assert "could not be reached" in answer.why


CONFIG = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["bash"]}}
INDEX = {
    "manifests": [
        {"digest": "sha256:a", "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": "sha256:b", "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": "sha256:c", "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
}
ONE = {"config": {"digest": "sha256:d"}}


@pytest.mark.parametrize(
    ("pages", "inside"),
    [
        (
            {"manifests/t": INDEX, "manifests/sha256:b": ONE, "blobs/sha256:d": CONFIG},
            Inside(platforms=("linux/amd64",), has_helper=False),
        ),
        (
            {
                "manifests/t": ONE,
                "blobs/sha256:d": {**CONFIG, "history": [{"created_by": "RUN apt-get update"}]},
            },
            Inside(platforms=("linux/amd64",), has_helper=True),
        ),
        ({"manifests/t": {"manifests": INDEX["manifests"][:1]}}, Inside(platforms=("linux/arm64",))),
        ({"manifests/t": {"manifests": [None, {"platform": 3}], "config": []}}, None),
        ({"manifests/t": ONE}, None),
        ({}, None),
    ],
)
def test_what_is_in_an_image(pages: dict[str, object], inside: Inside | None) -> None:
    """Of several builds, the one for RunPod's hosts is examined; one that cannot be read proves nothing."""
    assert look_inside(lambda path: json.dumps(pages[path]).encode(), "t") == inside

"""One emulator for all tests of this folder, the real SDK pointed at it, and real SSH clients."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rpd.emulator.launch import Launched, launch
from tests.waiting import wait_until

Pod = dict[str, Any]


class Key:
    """A fresh SSH key: ``private`` in OpenSSH's format, ``public`` as one line."""

    def __init__(self) -> None:
        key = Ed25519PrivateKey.generate()
        self.private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ).decode()
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        self.public = public.decode()


class Platform:
    """An emulator as a user of the real SDK and of fabric sees it."""

    def __init__(self, emulator: Launched, sdk: ModuleType, key: Key) -> None:
        self.emulator = emulator
        self.sdk = sdk
        self.key = key
        self._connections: list[Any] = []

    def create(self, name: str = "pod", **changes: Any) -> Pod:
        """Create a pod with the SDK."""
        fields = {
            "image_name": "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404", "gpu_type_id": "NVIDIA A40",
            "ports": "22/tcp,8888/http", "volume_in_gb": 10, "volume_mount_path": "/workspace",
            "env": {"PUBLIC_KEY": self.key.public, "GREETING": "hello"}, "cloud_type": "SECURE",
        }  # fmt: skip
        pod: Pod = self.sdk.create_pod(name, **{**fields, **changes})
        return pod

    def running(self, pod_id: str) -> Pod:
        """Wait until the pod has a runtime; return it as get_pod does."""

        def booted() -> Pod | None:
            pod: Pod = self.sdk.get_pod(pod_id)
            return pod if pod["runtime"] else None

        booted_pod: Pod = wait_until(booted, f"a runtime of {pod_id}")
        return booted_pod

    def boot(self, name: str = "pod", **changes: Any) -> Pod:
        """Create a pod and wait until it has a runtime."""
        return self.running(self.create(name, **changes)["id"])

    def connect(self, pod: Pod, key: Key | None = None) -> Any:
        """Return an open fabric connection, once the SSH server answers."""
        import fabric
        import paramiko

        host, port = self.endpoint(pod)

        def attempt() -> Any:
            private = paramiko.Ed25519Key.from_private_key(io.StringIO((key or self.key).private))
            connection = fabric.Connection(
                host, user="root", port=port, connect_timeout=10,
                connect_kwargs={"pkey": private, "look_for_keys": False, "allow_agent": False},
            )  # fmt: skip
            try:
                connection.open()
            except paramiko.AuthenticationException:
                raise
            except (OSError, EOFError, paramiko.SSHException):
                return None
            self._connections.append(connection)
            return connection

        return wait_until(attempt, "SSH")

    def run(self, connection: Any, command: str) -> Any:
        """Run a command, whatever its exit code; return fabric's result."""
        return connection.run(command, hide=True, warn=True, in_stream=False)

    def query(self, document: str) -> dict[str, Any]:
        """Send a document through the SDK and return its data."""
        from runpod.api.graphql import run_graphql_query

        data: dict[str, Any] = run_graphql_query(document)["data"]
        return data

    def endpoint(self, pod: Pod) -> tuple[str, int]:
        """Return host and port as a client should choose them: tcp, public, 22."""
        return ssh_endpoint(pod)

    def eventually(self, condition: Callable[[], Any], what: str = "it") -> Any:
        """Return the first true value of ``condition``; fail after a deadline."""
        return wait_until(condition, what)

    def clean(self) -> None:
        """Close connections, forget faults, terminate every pod."""
        for connection in self._connections:
            connection.close()
        self.emulator.clear_faults()
        self.emulator.set_balance(100)
        for pod in self.emulator.pods():
            self.sdk.terminate_pod(pod["id"])
        self.emulator.settle()


def ssh_endpoint(pod: Pod) -> tuple[str, int]:
    """Return host and port as a client should choose them: tcp, public, 22."""
    (port,) = (
        port
        for port in pod["runtime"]["ports"]
        if port["privatePort"] == 22 and port["type"] == "tcp" and port["isIpPublic"]
    )
    return port["ip"], port["publicPort"]


@pytest.fixture(scope="session")
def key() -> Key:
    return Key()


@pytest.fixture(scope="session")
def emulator() -> Iterator[Launched]:
    with launch(boot_seconds=0.02) as launched:
        yield launched


@pytest.fixture
def platform_of(key: Key, the_sdk: ModuleType) -> Callable[[Launched], AbstractContextManager[Platform]]:
    """Point the SDK at an emulator for the length of a ``with`` block, and leave no pod behind in it."""

    @contextmanager
    def point(emulator: Launched) -> Iterator[Platform]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RUNPOD_API_BASE_URL", emulator.base_url)
            patch.setattr(the_sdk, "api_key", emulator.api_key)
            platform_ = Platform(emulator, the_sdk, key)
            try:
                yield platform_
            finally:
                if emulator.process.poll() is None:
                    platform_.clean()

    return point


@pytest.fixture
def platform(emulator: Launched, platform_of: Any) -> Iterator[Platform]:
    with platform_of(emulator) as connected:
        yield connected

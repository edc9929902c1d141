"""The machines: they turn the account's pods into process trees, by way of the zygote, and report their fate."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rpd.emulator import catalogue
from rpd.emulator.account import Account
from rpd.emulator.errors import EmulatorError
from rpd.emulator.faults import BOOT_KINDS, LIVE_KINDS, FaultBook, Rule
from rpd.emulator.guest import image, network
from rpd.emulator.guest.sandbox import wipe
from rpd.emulator.guest.spec import GuestSpec, Isolation, Sshd
from rpd.emulator.guest.wire import Message, Wire
from rpd.emulator.images import MANAGERS, RUNPODS_OWN, Image
from rpd.emulator.model import Pod
from rpd.emulator.own_python import OwnPython

HOST = "127.0.0.1"
NEVER_READY = (":missing", "/missing")
"""An image whose name holds one of these cannot be pulled: its pod is RUNNING and never gets a runtime."""
_CRASH_BACKOFF_SECONDS = 1.0
_MOST_HELD = 100
"""How many ports of the latest pods are given to no other pod, nor to anything else on this machine."""
_ANOTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAXwfVs+uPuksHwGQLO/S1NJc69peuLDcP6WC5sUS9h5"
"""Whose private half nobody has."""
_PREFIX = "rpd-emulator-"
_LOCK = "lock"
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from rpd.emulator.guest.zygote import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a pod may use; None: no limit."""

    memory_mb: int | None = None
    processes: int | None = None
    disk_mb: int | None = None


@dataclass(slots=True, kw_only=True)
class _Container:
    """One start of a pod."""

    pod: Pod
    generation: int
    key: str
    disk: Path
    port: int = 0
    control: Wire | None = None
    rules: list[Rule] = field(default_factory=list)
    boot: asyncio.TimerHandle | None = None
    sent: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def rule(self, kind: str) -> Mapping[str, Any] | None:
        """Return the parameters of a fault of ``kind`` that struck this start."""
        return next((rule.params for rule in self.rules if rule.kind == kind), None)


class Machines:
    """Runs pods. All methods belong to the thread of the event loop it was opened on."""

    def __init__(
        self, *, faults: FaultBook, boot_seconds: float, base_url: str, isolation: str = "auto"
    ) -> None:
        self.account: Account | None = None
        self.base_url = base_url
        self.isolation = Isolation.PLAIN
        self._wanted_isolation = isolation
        self._faults = faults
        self._boot_seconds = boot_seconds
        self.limits = Limits()
        self.python: OwnPython | None = None
        self._live: dict[str, _Container] = {}
        self._by_key: dict[str, _Container] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._crashed: set[str] = set()
        self._held: deque[socket.socket] = deque()
        _sweep_stale()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = _hold(self.folder)
        self._ready = asyncio.Event()
        self._broken = False
        self.when_broken: Callable[[], None] = lambda: None
        """Called when the zygote ended by itself, and every pod with it."""
        self._has_networks: bool | None = None
        self.when_listening: Callable[[str, socket.socket], None] = lambda _key, listener: listener.close()
        """Called with a socket in the network of a member, by which the API is to be reached there."""
        self.when_gone: Callable[[str], None] = lambda _key: None
        """Called when that start of the member has ended."""

    # --- the zygote -------------------------------------------------------------------------------------------------

    def spawn_zygote(self) -> None:
        """Start the zygote, so that it loads while the server does."""
        self._wire, theirs = Wire.pair()
        paths = [str(Path(entry).resolve()) for entry in sys.path]
        # A bare environment: a forked SSH server shows it under /proc, where the host's must not appear.
        with (self.folder / "zygote.log").open("wb") as log:
            self._zygote = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, *paths],
                stdin=theirs.fileno(), stdout=log, stderr=log, env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                start_new_session=True, cwd="/", pass_fds=[self._lock],
            )  # fmt: skip
        theirs.close()
        self._send({"op": "hello", "folder": str(self.folder), "isolation": self._wanted_isolation})

    async def open(self) -> None:
        """Wait until pods can be started. Raise EmulatorError if they never can."""
        asyncio.get_running_loop().add_reader(self._wire, self._hear)
        await self._ready.wait()
        if self._broken:
            log = (self.folder / "zygote.log").read_text(errors="replace")
            raise EmulatorError(f"cannot start pods: {log[-2000:]}")

    async def close(self) -> None:
        """End every pod, delete their disks, and wait for that."""
        for container in self._live.values():
            if container.boot is not None:
                container.boot.cancel()
        asyncio.get_running_loop().remove_reader(self._wire)
        self._wire.close()
        await asyncio.to_thread(self._zygote.wait)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.to_thread(wipe, self.folder)
        os.close(self._lock)
        for held in self._held:
            held.close()

    def _hear(self) -> None:
        messages = self._wire.receive()
        if messages is None:
            asyncio.get_running_loop().remove_reader(self._wire)
            self._broken = True
            self._ready.set()
            self.when_broken()
        for message in messages or ():
            self._heard(message)

    def _heard(self, message: Message) -> None:
        if message["event"] == "ready":
            self.isolation = Isolation(message["isolation"])
            self._ready.set()
        elif (container := self._by_key.get(message["key"])) is None:
            return
        elif message["event"] == "listening":
            listener = socket.socket(fileno=self._wire.take_descriptors(1)[0])
            self.when_listening(container.key, listener)
        elif message["event"] == "started":
            self._started(container)
        elif message["event"] == "failed":
            (self.folder / f"{container.key}.error").write_text(message["error"])
        else:
            self._exited(container)

    # --- for the account --------------------------------------------------------------------------------------------

    def start(self, pod: Pod) -> None:
        """Boot ``pod`` after the usual time, as its faults have it."""
        key = f"{pod.id}.{pod.generation}"
        operation = "create" if pod.generation == 1 else "resume"
        container = _Container(
            pod=pod, generation=pod.generation, key=key, disk=self.folder / key,
            rules=list(self._faults.take_all(BOOT_KINDS, {**pod.subject, "operation": operation})),
        )  # fmt: skip
        self._live[pod.id] = self._by_key[key] = container
        if container.rule("no-runtime") is not None or not self._comes(pod):
            return
        slow = container.rule("slow-boot")
        seconds = self._boot_seconds + (slow["seconds"] if slow else 0.0)
        if pod.id in self._crashed:
            self._crashed.discard(pod.id)
            seconds += _CRASH_BACKOFF_SECONDS
        container.boot = asyncio.get_running_loop().call_later(seconds, self._boot, container)

    def _comes(self, pod: Pod) -> bool:
        """Return whether the image of a pod can be pulled."""
        assert self.account is not None
        is_there = not any(word in pod.order.image for word in NEVER_READY)
        return is_there and self.account.may_pull(pod.order)

    def kill(self, pod: Pod) -> None:
        """End all processes of ``pod``; its container disk goes."""
        container = self._live.pop(pod.id, None)
        if container is not None:
            self._ending[pod.id] = self._spawn(self._discard(container, self._ending.get(pod.id)))

    def delete(self, pod: Pod) -> None:
        """End all processes of ``pod``, and delete its disks."""
        container = self._live.pop(pod.id, None)
        self._spawn(self._delete(pod, container, self._ending.pop(pod.id, None)))

    async def _delete(
        self, pod: Pod, container: _Container | None, earlier: asyncio.Task[None] | None
    ) -> None:
        if container is not None:
            await self._discard(container, earlier)
        elif earlier is not None:
            await asyncio.wait({earlier})
        if not pod.order.network_volume:
            await asyncio.to_thread(wipe, self._volume(pod))

    async def _discard(self, container: _Container, earlier: asyncio.Task[None] | None = None) -> None:
        """End the processes of ``container`` and delete its disk, and have the same done to an ``earlier`` start."""
        if container.boot is not None:
            container.boot.cancel()
        if container.control is not None:
            container.control.close()
        if container.sent:
            self._send({"op": "kill", "key": container.key})
            await container.gone.wait()
        self._by_key.pop(container.key, None)
        self.when_gone(container.key)
        await asyncio.to_thread(wipe, container.disk)
        if earlier is not None:
            await asyncio.wait({earlier})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settled(self) -> None:
        """Wait until no ended pod has a process or a disk left."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    # --- booting ----------------------------------------------------------------------------------------------------

    def _volume(self, pod: Pod) -> Path:
        network = pod.order.network_volume
        return self.folder / (f"network-{network}" if network else f"volume-{pod.id}")

    def delete_network_volume(self, volume_id: str) -> None:
        """Delete the files of a network volume."""
        self._spawn(asyncio.to_thread(wipe, self.folder / f"network-{volume_id}"))

    def log_file(self, pod_id: str) -> Path:
        """Return where the output of a pod's PID 1 is written, start after start."""
        return self.folder / f"{pod_id}.log"

    def _boot(self, container: _Container) -> None:
        ending = self._ending.pop(container.pod.id, None)
        if ending is not None and not ending.done():  # its previous start still writes to its volume
            ending.add_done_callback(lambda _: self._boot(container))
            return
        if self._live.get(container.pod.id) is not container:
            return
        listener = self._bound(0)  # bound, not listening: refused until an SSH server takes it over
        container.port = listener.getsockname()[1]
        # Also when the pod is gone: somebody who still looks for it must not find another.
        self._held.append(self._bound(container.port))
        if len(self._held) > _MOST_HELD:
            self._held.popleft().close()
        container.control, theirs = Wire.pair()
        spec = self._spec(container)
        container.sent = True
        self._send({"op": "start", "spec": spec.encode()}, listener.fileno(), theirs.fileno())
        theirs.close()
        listener.close()

    @staticmethod
    def _bound(port: int) -> socket.socket:
        """Return a socket that is bound to ``port`` (0: a free one), which other sockets of this process may share."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((HOST, port))
        return bound

    def _send(self, message: Mapping[str, Any], *descriptors: int) -> None:
        with contextlib.suppress(OSError):  # the zygote is gone: ``_hear`` notices it
            self._wire.send(message, *descriptors)

    def _spec(self, container: _Container) -> GuestSpec:
        """Return the description of one start of a pod for the guest, with the pod's faults applied."""
        pod = container.pod
        pulled = self._image(pod)
        container.disk.mkdir()
        mounts = {}
        if pod.order.volume_gb or pod.order.network_volume:
            self._volume(pod).mkdir(exist_ok=True)
            mounts[pod.order.mount or "/workspace"] = str(self._volume(pod))
        gpus = 0 if container.rule("zero-gpus") is not None else pod.gpu_count
        late, full = container.rule("late-sshd"), container.rule("disk-full")
        crash = container.rule("crash-loop") is not None
        return GuestSpec(
            key=container.key,
            hostname=pod.id,
            command=("/bin/sh", "-c", "exit 1") if crash else pulled.argv(pod.order.docker_args),
            env=self._environment(container, gpus),
            disk=str(container.disk),
            log=str(self.log_file(pod.id)),
            mounts=mounts,
            facts={**_facts(pod, gpus, self.base_url), "start_script": pulled.start_script},
            disk_limit_mb=full["size_mb"] if full else None,
            sshd=Sshd.NEVER if container.rule("no-sshd") is not None else Sshd.ON,
            sshd_delay=late["seconds"] if late else 0.0,
            has_sshd=pulled.ssh == "present",
            packages=pulled.packages,
            broken=pulled.broken,
            hidden=() if pulled is RUNPODS_OWN else (*pulled.lacks, "sshd", "dropbear", *MANAGERS),
            **self._network(pod),
            user=_user(pulled, pod),
            **self._of_this_machine(pod),
        )

    def _of_this_machine(self, pod: Pod) -> dict[str, Any]:
        """Return the pod's share of this machine besides its programs: GPUs, Python environment, limits."""
        share: dict[str, Any] = {
            "memory_mb": self.limits.memory_mb,
            "processes": self.limits.processes,
            "disk_mb": self.limits.disk_mb,
        }
        if self.python is not None:
            share |= {"shown": self.python.shown, "programs": self.python.programs}
        if pod.own_gpus and self.account is not None and self.account.own_gpus is not None:
            machine = self.account.own_gpus.machine
            nodes = (*machine.shared, *(node for gpu in pod.own_gpus for node in gpu.nodes))
            share |= {"devices": nodes, "tools": {"/opt/bin/nvidia-smi": machine.smi}}
        return share

    def _path(self) -> str:
        return image.path_with(self.python.programs if self.python else "")

    def _network(self, pod: Pod) -> dict[str, Any]:
        """Return the values that a member of a cluster needs for its private network.

        Empty on a machine without any.
        """
        if pod.membership is None or not self.has_networks():
            return {}
        port = urlsplit(self.base_url).port
        return {"cluster": pod.membership.cluster, "address": pod.membership.ip, "api_port": port}

    def has_networks(self) -> bool:
        """Return whether clusters get private networks here, so that nothing else can be in the way of one."""
        if self._has_networks is None:
            self._has_networks = self.isolation is Isolation.ROOT and network.are_possible()
        return self._has_networks

    def _image(self, pod: Pod) -> Image:
        assert self.account is not None
        return self.account.images.find(pod.order.image)

    def _environment(self, container: _Container, gpus: int) -> dict[str, str]:
        """Return the whole environment of PID 1: the image's, RunPod's, the user's."""
        pod, port = container.pod, container.port
        user = _user(self._image(pod), pod)
        env = {
            "PATH": self._path(), "HOME": "/root" if user == "root" else f"/home/{user}",
            "HOSTNAME": pod.id, "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive", "PIP_BREAK_SYSTEM_PACKAGES": "1",
            "HF_HOME": "/workspace/.cache/huggingface/", "UV_CACHE_DIR": "/workspace/.cache/uv/",
            "PIP_CACHE_DIR": "/workspace/.cache/pip/",
            "RUNPOD_POD_ID": pod.id, "RUNPOD_POD_HOSTNAME": pod.host_id, "RUNPOD_CPU_COUNT": str(pod.vcpu),
            "RUNPOD_MEM_GB": str(pod.memory_gb), "RUNPOD_API_KEY": pod.api_key,
            # Not set by RunPod, whose tools know where it is: here they cannot know it.
            "RUNPOD_API_BASE_URL": self.base_url,
        }  # fmt: skip
        if pod.order.gpu:
            env |= {"RUNPOD_GPU_COUNT": str(gpus), "CUDA_VERSION": "12.8.1", "NVIDIA_VISIBLE_DEVICES": "all"}
        if pod.own_gpus:
            ids = ",".join(gpu.uuid for gpu in pod.own_gpus)
            env |= {"NVIDIA_VISIBLE_DEVICES": ids, "CUDA_VISIBLE_DEVICES": ids}
        if pod.datacenter:
            env["RUNPOD_DC_ID"] = pod.datacenter
        if "22/tcp" in pod.order.ports.split(","):
            env |= {"RUNPOD_PUBLIC_IP": HOST, "RUNPOD_TCP_PORT_22": str(port)}
        if pod.order.network_volume:
            env["RUNPOD_VOLUME_ID"] = pod.order.network_volume
        env |= pod.env
        if container.rule("refuse-key") is not None:
            env["PUBLIC_KEY"] = _ANOTHER_KEY
        return env

    def _started(self, container: _Container) -> None:
        if self.account is None or self._live.get(container.pod.id) is not container:
            return
        ports = tuple(_port(entry, container.port) for entry in container.pod.order.ports.split(",") if entry)
        self.account.container_started(container.pod.id, container.generation, ports)
        for rule in self._faults.take_all(LIVE_KINDS, container.pod.subject) if self._armed() else ():
            self._strike(container, rule)

    def _armed(self) -> bool:
        return any(rule["kind"] in LIVE_KINDS for rule in self._faults.describe())

    def _exited(self, container: _Container) -> None:
        container.gone.set()
        if self._live.get(container.pod.id) is container and self.account is not None:
            del self._live[container.pod.id]
            self._crashed.add(container.pod.id)
            self._spawn(self._discard(container))
            self.account.container_exited(container.pod.id, container.generation)

    # --- live faults ------------------------------------------------------------------------------------------------

    def strike_now(self, rule: Rule) -> None:
        """Let a live fault hit the running pods it matches."""
        for container in tuple(self._live.values()):
            if container.pod.runtime is not None and rule.strikes(container.pod.subject):
                self._strike(container, rule)

    def _strike(self, container: _Container, rule: Rule) -> None:
        if self.account is None:
            return
        if rule.kind == "lose-host":
            self.account.lost(container.pod, rule.params["status"])
        elif rule.kind == "outbid":
            self.account.outbid(container.pod)
        elif container.control is not None:
            order = {key: rule.params[key] for key in ("after_bytes", "down_seconds")}
            container.control.send(order)


def _hold(folder: Path) -> int:
    """Lock ``folder`` for as long as the server or the zygote lives; return the descriptor."""
    # It gets its name when it is held: an emulator that starts now must not find it free and take us for dead.
    unnamed = folder / f"{_LOCK}.new"
    descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    unnamed.rename(folder / _LOCK)
    return descriptor


def _sweep_stale() -> None:
    """Delete folders of this user whose emulator was killed together with its zygote."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open("rb") as file:
            if lock.stat().st_uid == os.getuid():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                wipe(lock.parent)


def _port(entry: str, ssh_port: int) -> dict[str, Any]:
    """Return one ``runtime.ports`` entry for ``22/tcp`` and the like. The network is the host's, so ports stay."""
    number, _, kind = entry.partition("/")
    private = int(number)
    if kind == "http":
        return {"ip": "100.65.0.101", "isIpPublic": False, "privatePort": private,
                "publicPort": 60000 + private % 5000, "type": "http"}  # fmt: skip
    public = ssh_port if private == 22 else private
    return {"ip": HOST, "isIpPublic": True, "privatePort": private, "publicPort": public, "type": "tcp"}


def _user(pulled: Image, pod: Pod) -> str:
    """Return who the container's command runs as; RunPod lets the environment ask for root."""
    asks_for_root = pod.env.get("RUNPOD_POD_USER") == "0" and not pulled.keeps_user
    return "root" if asks_for_root else pulled.user


def _facts(pod: Pod, gpus: int, base_url: str) -> dict[str, Any]:
    """Return the facts that the stand-in tools in the pod report."""
    gpu = catalogue.gpu_types().get(pod.order.gpu or "")
    row = {"name": pod.order.gpu, "memory_mb": gpu.memory_gb * 1024} if gpu else {}
    seeds = [f"{pod.id}-{index}" for index in range(gpus)]
    return {
        "api": base_url,
        "gpus_installed": gpu is not None,
        "gpus": [{**row, "uuid": f"GPU-{uuid.uuid5(uuid.NAMESPACE_OID, seed)}"} for seed in seeds],
        "booted": time.time(),
    }

"""The zygote: a process without threads that has loaded all a pod needs, and forks one pod after another from it.

It talks to the server over a socket pair, whose end is its standard input. When the server is gone it ends every
pod, deletes their disks and goes too.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpd.emulator.guest import image, keeper, kernel, sandbox, sshd
from rpd.emulator.guest.network import Networks
from rpd.emulator.guest.spec import GuestSpec, Isolation
from rpd.emulator.guest.wire import Message, Wire

_SETS_UP = "rpd-start:"
"""Part of a start command that prepares keys and an SSH server where it runs, as root."""


@dataclass(slots=True)
class _Pod:
    key: str
    warden: int


class Zygote:
    """The parent of all pods: it starts and ends them at the server's command, and reports their fate."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pods: dict[int, _Pod] = {}
        self._selector = selectors.DefaultSelector()
        self._folder: Path | None = None
        self._isolation = Isolation.PLAIN
        self._networks: Networks | None = None

    def run(self) -> None:
        """Serve until the server is gone."""
        wakeup, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._wire, selectors.EVENT_READ, self._hear)
        self._selector.register(wakeup, selectors.EVENT_READ, lambda: self._reap(wakeup))
        self._serving = True
        while self._serving:
            for key, _ in self._selector.select():
                key.data()
        self._end_everything()

    def _hear(self) -> None:
        messages = self._wire.receive()
        self._serving = messages is not None
        for message in messages or ():
            self._obey(message)

    def _obey(self, message: Message) -> None:
        if message["op"] == "hello":
            self._folder = Path(message["folder"])
            self._isolation = choose_isolation(message["isolation"], self._folder)
            self._say(event="ready", isolation=self._isolation)
        elif message["op"] == "start":
            self._start(GuestSpec.decode(message["spec"]), *self._wire.take_descriptors(2))
        else:
            self._kill(message["key"])

    def _say(self, **message: Any) -> None:
        with contextlib.suppress(OSError):
            self._wire.send(message)

    def _start(self, spec: GuestSpec, listener: int, control: int) -> None:
        """Fork the process that becomes the pod; report why if that fails."""
        try:
            namespace = self._join(spec) if spec.cluster else None
        except (OSError, subprocess.SubprocessError) as error:
            os.close(listener)
            os.close(control)
            self._say(event="failed", key=spec.key, error=str(error))
            self._say(event="exited", key=spec.key, status=-1)
            return
        report, tell = os.pipe()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            warden = os.fork()
        except OSError as error:
            warden = -1
            os.write(tell, str(error).encode())
        if warden == 0:
            if namespace is not None:
                kernel.enter_network(namespace)
            _become_warden(spec, self._isolation, listener, control, tell)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for descriptor in (tell, listener, control, *([] if namespace is None else [namespace])):
            os.close(descriptor)
        if warden > 0:
            self._pods[warden] = _Pod(spec.key, warden)
        self._selector.register(report, selectors.EVENT_READ, lambda: self._started(spec.key, report))
        if warden < 0:
            self._say(event="exited", key=spec.key, status=-1)

    def _join(self, spec: GuestSpec) -> int:
        """Return the network namespace of a member, and hand the server a socket that listens in it. Raise OSError."""
        self._networks = self._networks or Networks()
        namespace, listener = self._networks.join(spec.cluster, spec.key, spec.address, spec.api_port)
        with listener, contextlib.suppress(OSError):
            self._wire.send({"event": "listening", "key": spec.key}, listener.fileno())
        return namespace

    def _started(self, key: str, report: int) -> None:
        """Read and pass on the report of PID 1: empty once it runs its program, an error text otherwise."""
        error = os.read(report, 1 << 16).decode(errors="replace")
        self._selector.unregister(report)
        os.close(report)
        self._say(event="failed" if error else "started", key=key, error=error[-4000:])

    def _kill(self, key: str) -> None:
        for pod in self._pods.values():
            if pod.key == key:
                os.kill(pod.warden, signal.SIGTERM)

    def _reap(self, wakeup: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wakeup, 4096)
        while self._pods:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            pod = self._pods.pop(pid, None)
            if pod is not None and self._networks is not None:
                self._networks.leave(pod.key)
            if pod is not None:
                self._say(event="exited", key=pod.key, status=os.waitstatus_to_exitcode(status))

    def _end_everything(self) -> None:
        for warden in self._pods:
            os.kill(warden, signal.SIGTERM)
        for warden in self._pods:
            os.waitpid(warden, 0)
        if self._folder is not None:
            sandbox.wipe(self._folder)


def choose_isolation(wanted: str, folder: Path) -> Isolation:
    """Return the best isolation this host allows (``auto``), or the wanted one. Tries it for real."""
    if wanted != "auto":
        return Isolation(wanted)
    if not sys.platform.startswith("linux"):
        return Isolation.PLAIN
    candidates = (Isolation.ROOT, Isolation.USER) if os.geteuid() == 0 else (Isolation.USER,)
    return next((candidate for candidate in candidates if _works(candidate, folder)), Isolation.PLAIN)


def _works(isolation: Isolation, folder: Path) -> bool:
    disk = folder / "probe"
    disk.mkdir(exist_ok=True)
    spec = GuestSpec(
        key="probe", hostname="probe", command=("/bin/sh", "-c", "exit 42"), env={}, disk=str(disk), log=os.devnull
    )  # fmt: skip
    pid = os.fork()
    if pid == 0:
        try:
            sandbox.separate(isolation)
            init = os.fork()
            if init == 0:
                sandbox.enter(spec, isolation)
                os.execve(spec.command[0], spec.command, {})  # noqa: S606 - no shell is wanted
            os._exit(os.waitstatus_to_exitcode(os.waitpid(init, 0)[1]))
        except BaseException:  # noqa: BLE001 - a forked child must not return
            os._exit(1)
    works = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    sandbox.wipe(disk)
    return works


def _become_warden(spec: GuestSpec, isolation: Isolation, listener: int, control: int, tell: int) -> None:
    """Be the host-side parent of a pod: enter new namespaces, fork PID 1, wait for it. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        # SIGHUP: an emulator under nohup ignores it, and its pods must not inherit that.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _keep_only({0, 1, 2, listener, control, tell})
        log = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if isolation is Isolation.PLAIN:
            plain_setup(spec)
        else:
            kernel.die_with_parent(signal.SIGTERM)
            sandbox.separate(isolation)
        init = os.fork()
        if init == 0:
            _become_init(spec, isolation, listener, control, tell, log)
        os.closerange(3, 256)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(init, signal.SIGKILL))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _, status = os.waitpid(init, 0)
        if isolation is Isolation.PLAIN:
            end_descendants()
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
    except BaseException:  # noqa: BLE001 - a forked child must not return
        os.write(tell, traceback.format_exc().encode())
        os._exit(1)


def _become_init(
    spec: GuestSpec, isolation: Isolation, listener: int, control: int, tell: int, log: int
) -> None:
    """Be PID 1: build the sandbox, leave an SSH server behind, become the pod's program. Never returns."""
    try:
        root = Path("/")
        if isolation is Isolation.PLAIN:
            root = Path(spec.disk)
        else:
            kernel.die_with_parent(signal.SIGKILL)
            sandbox.enter(spec, isolation)
        os.mkfifo(root / image.SSHD_TRIGGER)
        (root / image.SSHD_TRIGGER).chmod(0o666)
        server = os.fork()
        if server == 0:
            os.close(tell)
            os.close(log)
            _become_sshd(spec, listener, control, root)
        _start_keeper(spec, isolation, root, server, (tell, log, listener, control))
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.chdir(root)
        os.umask(0o022)
        command, env = spec.command, dict(spec.env)
        if isolation is Isolation.PLAIN:
            command, env = plain_program(spec, root)
        elif spec.user != "root":
            _become_user()
        os.execvpe(command[0], command, env)  # noqa: S606 - no shell is wanted
    except BaseException as error:  # noqa: BLE001 - a forked child must not return
        os.write(tell, f"{error}\n{traceback.format_exc()}".encode())
        os._exit(127)


def _start_keeper(
    spec: GuestSpec, isolation: Isolation, root: Path, server: int, descriptors: tuple[int, ...]
) -> None:
    """Fork the keeper of the pod's limits, if it has any; without namespaces its processes cannot be identified."""
    if isolation is Isolation.PLAIN or not (spec.memory_mb or spec.processes):
        return
    keeper.prepare(root, spec.memory_mb, spec.processes)
    if os.fork() == 0:
        for descriptor in descriptors:
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        kernel.forget_arguments(b"[keeper]")
        try:
            keeper.keep(root, spec.memory_mb, spec.processes, frozenset({server}))
        finally:
            os._exit(0)


def _become_user() -> None:
    """Be the user that the image names; where the pod has no other users than root, stay that."""
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setgid(image.USER_ID)
        os.setuid(image.USER_ID)


def _become_sshd(spec: GuestSpec, listener: int, control: int, root: Path) -> None:
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(null, target)
        os.environ.clear()
        if root == Path("/"):
            kernel.forget_arguments(b"sshd: /usr/sbin/sshd")
        os.umask(0o022)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        sshd.serve(socket.socket(fileno=listener), Wire.of(control), spec, root)
    except BaseException:  # noqa: BLE001 - a forked child must not return
        with contextlib.suppress(OSError):
            (root / "var/log/sshd.log").write_text(traceback.format_exc())
    os._exit(0)


def _keep_only(kept: set[int]) -> None:
    for descriptor in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        if descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def plain_setup(spec: GuestSpec) -> None:
    """Unpack the pod's files into its folder, with its volumes as links."""
    root = Path(spec.disk)
    image.unpack(root, spec)
    for inside, outside in spec.mounts.items():
        target = root / inside.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            target.rmdir()
        if not target.is_symlink():
            target.symlink_to(outside)
    with contextlib.suppress(OSError, AttributeError):
        kernel.adopt_orphans()


def plain_program(spec: GuestSpec, root: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return argv and environment of PID 1 for a pod whose root folder is not ``/``."""
    script = spec.facts.get("start_script") or "/opt/emulator/start.sh"
    words = spec.command
    if any(_SETS_UP in word for word in words):
        # It would set up this machine. The emulator's own script does the same inside the pod's folder.
        words = ("/bin/sh", script, *words[4:])
    command = tuple(str(root / word.lstrip("/")) if word == script else word for word in words)
    path = f"{root / image.TOOLS}:{image.path_of(spec)}"
    return command, {**spec.env, "PATH": path, "HOME": str(root / "root"), "EMULATOR_ROOT": str(root)}


def end_descendants() -> None:
    """Kill every process below this one, also those that became orphans."""
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def main() -> None:
    """Run as the program of the zygote process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wire = Wire.of(os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    Zygote(wire).run()

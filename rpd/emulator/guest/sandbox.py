"""The sandbox of a pod: namespaces, a root folder that shows the host's programs read-only, and little else.

A pod sees the host's ``/usr`` (with ``/bin``, ``/lib*``), the folder of the running Python, and its own disk. The
network is the host's: ports that two pods open on 127.0.0.1 may clash.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from rpd.emulator.guest import image, kernel
from rpd.emulator.guest.spec import GuestSpec, Isolation

_NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_HOST_ETC = ("alternatives", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "ca-certificates", "terminfo")
# The capabilities that Docker leaves a container, by number (linux/capability.h). mknod is dropped too: the
# device nodes of a pod are bound into it.
_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})


def separate(isolation: Isolation) -> None:
    """Move this process into new namespaces; its next child becomes PID 1 there. Raise OSError."""
    uid, gid = os.getuid(), os.getgid()
    if isolation is Isolation.USER:
        kernel.unshare(_NAMESPACES | kernel.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    else:
        kernel.unshare(_NAMESPACES)
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)


def enter(spec: GuestSpec, isolation: Isolation) -> None:
    """Build the pod's root folder and make it this process's root. To be called as PID 1 of the new namespace."""
    root = Path(spec.disk)
    _own_disk(root, spec.disk_limit_mb or spec.disk_mb)
    image.unpack(root, spec)
    _show_host_programs(root)
    _hide(root, spec.hidden)
    for folder in spec.shown:
        _show(Path(folder), root / folder.lstrip("/"))
    for inside, outside in spec.tools.items():
        _show(Path(outside), root / inside.lstrip("/"))
    _make_dev(root / "dev", spec.devices)
    for path in ("run", "dev/shm"):
        kernel.mount("tmpfs", str(root / path), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=1777")
    kernel.mount("proc", str(root / "proc"), "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    if spec.disk_limit_mb is None:
        _mount_volumes(root, spec.mounts)
    socket.sethostname(spec.hostname)
    kernel.pivot(str(root))
    if isolation is Isolation.ROOT:
        for path in filter(os.path.exists, ("/proc/sys", "/proc/sysrq-trigger")):
            kernel.bind(path, path, read_only=True)
        kernel.limit_capabilities(_CAPABILITIES)


def _own_disk(root: Path, limit_mb: int | None) -> None:
    """Make ``root`` a mount, as pivot_root(2) requires; on a small tmpfs if the disk is to run full."""
    if limit_mb is None:
        kernel.bind(str(root), str(root))
    else:
        kernel.mount("tmpfs", str(root), "tmpfs", 0, f"size={limit_mb}m,mode=755")


def _mount_volumes(root: Path, mounts: Mapping[str, str]) -> None:
    for inside, outside in mounts.items():
        target = root / inside.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        kernel.bind(outside, str(target))


def _show_host_programs(root: Path) -> None:
    for name in ("usr", "bin", "sbin", *sorted(path.name for path in Path("/").glob("lib*"))):
        source, target = Path("/") / name, root / name
        if source.is_symlink():
            with contextlib.suppress(FileExistsError):
                target.symlink_to(source.readlink())
        elif source.is_dir():
            _show(source, target)
    for name in _HOST_ETC:
        _show(Path("/etc") / name, root / "etc" / name)
    _show(Path(sys.base_prefix), root / sys.base_prefix.lstrip("/"))


def _hide(root: Path, names: Iterable[str]) -> None:
    """Let programs of this machine be none in the pod: the image does not have them."""
    for name in names:
        for folder in ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin"):
            path = root / folder / name
            if path.is_file() and not path.is_symlink():
                kernel.bind("/dev/null", str(path))
            elif path.is_symlink() and (target := path.parent / path.readlink()).is_file():
                kernel.bind("/dev/null", str(target))


def _show(source: Path, target: Path) -> None:
    """Bind ``source`` read-only unless it does not exist or is shown already."""
    shown_already = source.is_relative_to("/usr") and source != Path("/usr")
    if shown_already or not source.exists():
        return
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    kernel.bind(str(source), str(target), read_only=True)


def _make_dev(dev: Path, devices: Iterable[str]) -> None:
    dev.mkdir(exist_ok=True)
    kernel.mount("tmpfs", str(dev), "tmpfs", kernel.MS_NOSUID, "mode=755")
    for name in _DEVICES:
        (dev / name).touch()
        kernel.bind(f"/dev/{name}", str(dev / name))
    for device in map(Path, devices):
        if device.is_dir():
            (dev / device.name).mkdir()
        else:
            (dev / device.name).touch()
        kernel.bind(str(device), str(dev / device.name))
    for name in ("shm", "pts"):
        (dev / name).mkdir()
    kernel.mount("devpts", str(dev / "pts"), "devpts", kernel.MS_NOSUID, "newinstance,ptmxmode=0666,mode=620")
    for name, goal in {
        "ptmx": "pts/ptmx",
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
    }.items():
        (dev / name).symlink_to(goal)


def wipe(folder: Path) -> None:
    """Delete ``folder`` and everything in it, including folders that a pod made unreadable."""
    if not folder.exists():
        return
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(parent) / name
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)

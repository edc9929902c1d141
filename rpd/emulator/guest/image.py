"""The files of a fresh pod, as an official image would bring them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from importlib import resources
from pathlib import Path

from rpd.emulator.guest.spec import GuestSpec

TOOLS = "opt/bin"
PARTS = "opt/emulator"
"""Stand-ins that are not on the PATH: those of programs which the image has to install first."""
USER_ID = 1000
"""Of the user that an image names, if it is not root."""
PATH = "/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FACTS = "etc/emulator.json"
GPUS = "etc/emulator.gpus"
"""For each GPU a line: name, UUID and memory in MiB."""
SSHD_TRIGGER = "run/sshd.start"
"""A FIFO: who opens it for writing starts the SSH server."""

_FOLDERS = ("proc", "dev", "run", "tmp", "var/tmp", "var/log", "etc", "root/.ssh", "opt/bin", "mnt", "srv", "home",
            "sys", "workspace", "opt/emulator")  # fmt: skip
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/os-release": 'NAME="Ubuntu"\nVERSION_ID="22.04"\nID=ubuntu\nPRETTY_NAME="Ubuntu 22.04 (emulated)"\n',
    "etc/profile": f'PATH="{PATH}"\nexport PATH\n[ -n "$BASH_VERSION" ] && [ -f ~/.bashrc ] && . ~/.bashrc\n',
    # As on Ubuntu, a shell that is not interactive returns here, before anything appended below takes
    # effect.
    "root/.bashrc": 'case $- in *i*) ;; *) return;; esac\nPS1="\\u@\\h:\\w# "\n',
    "root/.profile": "[ -n \"$BASH_VERSION\" ] && [ -f ~/.bashrc ] && . ~/.bashrc\n",
}  # fmt: skip
_COPIED = ("/etc/ld.so.cache", "/etc/resolv.conf", "/etc/localtime", "/etc/mime.types", "/etc/services")


def _read_host_files() -> dict[str, bytes]:
    files = {}
    for name in _COPIED:
        try:
            files[name.lstrip("/")] = Path(name).read_bytes()
        except OSError:
            continue
    return files


_host_files = _read_host_files()


def _read_folder(name: str) -> dict[str, str]:
    entries = (resources.files(__package__) / name).iterdir()
    return {entry.name: entry.read_text() for entry in entries if entry.is_file()}


_tools = _read_folder("tools")
_parts = _read_folder("image_tools")


def unpack(root: Path, spec: GuestSpec) -> None:
    """Write the files of a fresh pod under ``root``."""
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("tmp", "var/tmp"):
        (root / folder).chmod(0o1777)
    for folder in ("root", "root/.ssh"):
        (root / folder).chmod(0o700)
    for name, text in _FILES.items():
        (root / name).write_text(text)
    if spec.programs:
        profile = _FILES["etc/profile"].replace(PATH, path_of(spec))
        (root / "etc/profile").write_text(profile)
    for name, data in _host_files.items():
        (root / name).write_bytes(data)
    (root / "etc/hostname").write_text(spec.hostname + "\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {spec.hostname}\n::1 localhost\n")
    (root / FACTS).write_text(json.dumps(dict(spec.facts)))
    gpus = (f"{gpu['name']}|{gpu['uuid']}|{gpu['memory_mb']}\n" for gpu in spec.facts.get("gpus", ()))
    (root / GPUS).write_text("".join(gpus))
    if spec.user != "root":
        _add_user(root, spec.user)
    _install_tools(root, spec)
    _install_parts(root, spec)


def path_of(spec: GuestSpec) -> str:
    """Return the PATH of the pod: the platform's tools, then the programs of the environment that it was given."""
    return path_with(spec.programs)


def path_with(programs: str) -> str:
    """Return the PATH of pods that find ``programs``, a folder, after the platform's tools; empty for none."""
    return PATH.replace(":", f":{programs}:", 1) if programs else PATH


def _add_user(root: Path, name: str) -> None:
    home = root / "home" / name
    home.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):  # only root gives files away
        os.chown(home, USER_ID, USER_ID)
    with (root / "etc/passwd").open("a") as file:
        file.write(f"{name}:x:{USER_ID}:{USER_ID}::/home/{name}:/bin/bash\n")


def _install_tools(root: Path, spec: GuestSpec) -> None:
    python = Path(os.path.realpath(sys.executable))
    if not spec.programs and not {"python", "python3"} & {*spec.hidden}:
        for name in ("python", "python3", python.name):
            link = root / TOOLS / name
            if not link.is_symlink():
                link.symlink_to(python)
    has_stand_in = spec.facts.get("gpus_installed", True) and "/opt/bin/nvidia-smi" not in spec.tools
    without = {*spec.hidden} | (set() if has_stand_in else {"nvidia-smi"})
    for name, text in _tools.items():
        if name not in without and name != "start.sh":
            # The platform brings its tools along: they need no Python of the image.
            _write_program(root / TOOLS / name, text.replace("/usr/bin/env -S python3", str(python)))
    if script := spec.facts.get("start_script", "/start.sh"):
        _write_program(root / script.lstrip("/"), _tools["start.sh"])


def _install_parts(root: Path, spec: GuestSpec) -> None:
    """Put the packages that the image may install next to it, and its package managers themselves on the PATH."""
    for name in ("sshd", "ssh-keygen"):
        _write_program(root / PARTS / name, _parts[name])
        if spec.has_sshd:
            _write_program(root / TOOLS / name, _parts[name])
    _write_program(root / PARTS / "start.sh", _tools["start.sh"])
    for name in spec.packages:
        _write_program(root / TOOLS / name, _parts["package-manager"])
    (root / "etc/emulator.broken").write_text(" ".join(spec.broken))


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)

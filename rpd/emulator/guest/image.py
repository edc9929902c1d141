"""The files of a fresh pod, as an official image would bring them."""

from __future__ import annotations

import json
import os
import sys
from importlib import resources
from pathlib import Path

from rpd.emulator.guest.spec import GuestSpec

TOOLS = "opt/bin"
PATH = "/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FACTS = "etc/emulator.json"
SSHD_TRIGGER = "run/sshd.start"
"""A FIFO: who opens it for writing starts the SSH server."""

_FOLDERS = ("proc", "dev", "run", "tmp", "var/tmp", "var/log", "etc", "root/.ssh", "opt/bin", "mnt", "srv", "home",
            "sys", "workspace")  # fmt: skip
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/os-release": 'NAME="Ubuntu"\nVERSION_ID="22.04"\nID=ubuntu\nPRETTY_NAME="Ubuntu 22.04 (emulated)"\n',
    "etc/profile": f'PATH="{PATH}"\nexport PATH\n[ -n "$BASH_VERSION" ] && [ -f ~/.bashrc ] && . ~/.bashrc\n',
    # As on Ubuntu: a shell that nobody types into leaves before anything appended below takes effect.
    "root/.bashrc": 'case $- in *i*) ;; *) return;; esac\nPS1="\\u@\\h:\\w# "\n',
    "root/.profile": "[ -n \"$BASH_VERSION\" ] && [ -f ~/.bashrc ] && . ~/.bashrc\n",
}  # fmt: skip
_COPIED = ("/etc/ld.so.cache", "/etc/resolv.conf", "/etc/localtime", "/etc/mime.types", "/etc/services")


def _read_host_files() -> dict[str, bytes]:
    found = {}
    for name in _COPIED:
        try:
            found[name.lstrip("/")] = Path(name).read_bytes()
        except OSError:
            continue
    return found


_host_files = _read_host_files()
_tools = {
    entry.name: entry.read_text()
    for entry in (resources.files(__package__) / "tools").iterdir()
    if entry.is_file()
}


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
    for name, data in _host_files.items():
        (root / name).write_bytes(data)
    (root / "etc/hostname").write_text(spec.hostname + "\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {spec.hostname}\n::1 localhost\n")
    (root / FACTS).write_text(json.dumps(dict(spec.facts)))
    _install_tools(root, gpus=bool(spec.facts.get("gpus_installed", True)))


def _install_tools(root: Path, *, gpus: bool) -> None:
    python = Path(os.path.realpath(sys.executable))
    for name in ("python", "python3", python.name):
        link = root / TOOLS / name
        if not link.is_symlink():
            link.symlink_to(python)
    for name, text in _tools.items():
        if name == "nvidia-smi" and not gpus:
            continue
        path = root / ("start.sh" if name == "start.sh" else f"{TOOLS}/{name}")
        path.write_text(text)
        path.chmod(0o755)

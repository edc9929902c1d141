"""Paths on the pod, and checks of names that a pod sends."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterable

from rpd.disk.safe_tree import DEEPEST
from rpd.errors import TransferError

_LONGEST_PART = 255
_SHOWN = 200
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
"""Names that are devices in every folder of Windows, with any extension."""


def absolute(remote: str, verb: str) -> str:
    """Return ``remote`` in its shortest form.

    Raise TransferError ("cannot be ``verb``") unless it is a path below /.
    """
    path = posixpath.normpath(remote)
    if path.startswith("//"):
        path = path[1:]
    if not path.startswith("/") or path == "/":
        raise TransferError(f"{remote!r} cannot be {verb}: expected an absolute path below /")
    return path


def check_names(names: Collection[str]) -> None:
    """Refuse a name that could lead out of the target folder: a pod must not decide where this machine writes.

    Characters that only Windows treats specially (backslashes, drives, devices) are checked on Windows alone.
    """
    text = "/\0/".join(["", *names, ""])
    if (
        os.name == "nt"
        or any(odd in text for odd in ("//", "/./", "/../"))
        or text.count("\0") > len(names) + 1
        or max(map(len, names), default=0) > _LONGEST_PART
    ):
        for name in names:
            _check_name(name)


def _check_name(name: str) -> None:
    parts = name.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in name or (os.name == "nt" and _is_odd(parts)):
        raise TransferError(f"the pod names a file that cannot be stored here: {name[:_SHOWN]!r}")
    if len(parts) > DEEPEST or max(map(len, parts)) > _LONGEST_PART:
        raise TransferError(
            f"the pod names a file too long or too deep to be stored here: {name[:_SHOWN]!r}…"
        )


def _is_odd(parts: Iterable[str]) -> bool:
    return any(
        re.search(r'[\\:*?"<>|\x00-\x1f]', part) or part[-1] in ". " or _DEVICE.fullmatch(part)
        for part in parts
    )


def is_below(name: str, root: str) -> bool:
    """Return whether ``name`` is ``root`` or below it; all names are below the empty one."""
    return not root or name == root or name.startswith(f"{root}/")


def nul_ended(names: Iterable[str]) -> bytes:
    """Return names relative to a folder as ``xargs -0`` reads them; none of them can be mistaken for an option."""
    return "".join(f"./{name}\0" for name in names).encode("utf-8", "surrogateescape")

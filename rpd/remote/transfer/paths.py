"""Paths on the pod, and names that come from there."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from rpd.errors import TransferError


def absolute(remote: str, verb: str) -> str:
    """Return ``remote`` in its shortest form. Raises TransferError ("cannot be ``verb``") if it is no path below /."""
    path = posixpath.normpath(remote)
    if path.startswith("//"):
        path = path[1:]
    if not path.startswith("/") or path == "/":
        raise TransferError(f"{remote!r} cannot be {verb}: expected an absolute path below /")
    return path


def check_name(name: str) -> None:
    """Refuse a name that could lead out of the folder it is unpacked in; the pod is not trusted with this machine."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name.startswith("/")
        or ".." in parts
        or (os.name == "nt" and re.search(r'[\\:*?"<>|]', name))
    ):
        raise TransferError(f"the pod names a file that cannot be stored here: {name!r}")


def is_below(name: str, root: str) -> bool:
    """Whether ``name`` is ``root`` or lies below it."""
    return name == root or name.startswith(f"{root}/")


def nul_ended(names: Iterable[str]) -> bytes:
    """Return names relative to a folder as ``xargs -0`` reads them, none of which can be taken for an option."""
    return "".join(f"./{name}\0" for name in names).encode("utf-8", "surrogateescape")

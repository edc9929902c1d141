"""sha256 sums: the script that makes them on a pod, and the list of them beside what was pulled."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

SUM = r"""
if command -v sha256sum >/dev/null 2>&1; then _rpd_sum() { xargs -0 sha256sum --; }
elif command -v shasum >/dev/null 2>&1; then _rpd_sum() { xargs -0 shasum -a 256 --; }
elif command -v openssl >/dev/null 2>&1; then _rpd_sum() { xargs -0 openssl dgst -sha256 -r; }
elif command -v python3 >/dev/null 2>&1; then _rpd_sum() { xargs -0 python3 -c '
import hashlib, os, sys
for name in sys.argv[1:]:
    digest = hashlib.sha256()
    with open(name, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    text = os.fsencode(name)
    mark = b"\\" if b"\\" in text or b"\n" in text else b""
    text = text.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    sys.stdout.buffer.write(mark + digest.hexdigest().encode() + b"  " + text + b"\n")
'; }
else echo "the pod has nothing that makes sha256 sums (sha256sum, shasum, openssl, python3)" >&2; exit 4; fi
"""
"""Defines ``_rpd_sum``, which sums the files that standard input names, each ended by NUL; exits where nothing can."""


def parse_sums(text: str) -> dict[str, str]:
    """Return the sums by name from what sha256sum, its kin, or ``note_sums`` wrote."""
    sums: dict[str, str] = {}
    name = ""
    for line in text.removesuffix("\n").split("\n"):
        found = re.fullmatch(r"(\\?)([0-9a-f]{64}) [ *](.*)", line)
        if found is not None:
            name = _unescape(found[3]) if found[1] else found[3]
            sums[posixpath.normpath(name)] = found[2]
        elif name:
            # busybox writes a newline in a name as it is.
            digest = sums.pop(posixpath.normpath(name))
            name = f"{name}\n{line}"
            sums[posixpath.normpath(name)] = digest
    return sums


def read_sums(path: Path) -> dict[str, str]:
    """Return the sums that pulls left in a list, by file name. Raises OSError."""
    lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    return parse_sums("\n".join(line for line in lines if line and not line.startswith("#")))


_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def _unescape(name: str) -> str:
    return re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def note_sums(path: Path, sums: Mapping[str, str], left_out: Mapping[str, str]) -> None:
    """Merge ``sums`` into the list at ``path``, in the format of sha256sum."""
    known: dict[str, str] = {}
    remarks: dict[str, None] = {}
    if path.exists():
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        remarks.update(dict.fromkeys(line for line in lines if line.startswith("#")))
        known = parse_sums("\n".join(line for line in lines if line and not line.startswith("#")))
    known.update(sums)
    remarks.update(
        (f"# left out, a link to elsewhere: {_escape(name)} -> {_escape(target)}", None)
        for name, target in left_out.items()
    )
    lines = list(remarks)
    for name in sorted(known):
        escaped = _escape(name)
        lines.append(f"{'' if escaped == name else chr(92)}{known[name]}  {escaped}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    temporary.replace(path)

"""sha256 sums: the script that computes them on a pod, and the list of them next to the pulled files."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterable, Mapping

from rpd.disk.safe_tree import Tree, write_all

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
"""Defines ``_rpd_sum``, which sums the NUL-terminated file names on standard input; exits if the pod has no
tool for it.
"""

QUICK_SUM = r"""
_rpd_quick_sum() {
  if printf x | openssl dgst -sha256 -r 2>/dev/null | grep -q ^2d711642b726b04401627ca9fbac32f5; then
    xargs -0 openssl dgst -sha256 -r
  else _rpd_sum; fi
}
"""
"""Defines ``_rpd_quick_sum``, to follow ``SUM``: fast with older coreutils too, for names without escapes."""


def is_plain(names: Iterable[str]) -> bool:
    """Return whether the names can be written without escapes."""
    return not any("\\" in name or "\n" in name for name in names)


_SUM_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.*)")
_SUM_LINES = re.compile(f"^{_SUM_LINE.pattern}\n", re.MULTILINE)
_ROUNDABOUT = ("//", "/./", "/../", "/\n", "/.\n", "/..\n")
"""Where none of them is in lines, the names in them are in their shortest form, but for a ``./`` before them."""
_LONGEST_NAME = 16 << 10
MOST_LIST_BYTES = 512 << 20
"""A longer file is not a list of sums."""


def parse_sums(text: str) -> dict[str, str]:
    """Return the sums by name from the output of sha256sum, its relatives, or ``note_sums``."""
    whole = _SUM_LINES.findall(text)
    if len(whole) == text.count("\n") and text.endswith("\n"):  # a name in each line, as nearly always
        is_short = not any(odd in text for odd in _ROUNDABOUT)
        return {
            name[2:]
            if is_short and not mark and name.startswith("./")
            else _shortest(name, bool(mark)): digest
            for mark, digest, name in whole
            if len(name) <= _LONGEST_NAME
        }
    sums: dict[str, str] = {}
    digest, is_escaped, lines = "", False, [""]

    def note() -> None:
        name = "\n".join(lines)
        if digest and len(name) <= _LONGEST_NAME:
            sums[_shortest(name, is_escaped)] = digest

    for line in text.removesuffix("\n").split("\n"):
        match = _SUM_LINE.fullmatch(line)
        if match is None:
            lines.append(line)  # busybox does not escape a newline in a name
            continue
        note()
        digest, is_escaped, lines = match[2], bool(match[1]), [match[3]]
    note()
    return sums


def listed_sums(data: bytes) -> dict[str, str]:
    """Return the sums by file name in a list that pulls left."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    return parse_sums("\n".join(line for line in lines if line and not line.startswith("#")))


_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def _shortest(name: str, is_escaped: bool) -> str:  # noqa: FBT001
    return posixpath.normpath(_unescape(name) if is_escaped else name)


def _unescape(name: str) -> str:
    return re.sub(r"\\[\\nr]", lambda match: _ESCAPES[match[0]], name)


def _escape(name: str) -> str:
    if name.isprintable() and "\\" not in name:
        return name
    return name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def sum_lines(sums: Mapping[str, str]) -> list[str]:
    """Return sums by file name as lines in the format of sha256sum."""
    names = sorted(sums)
    joined = "".join(names)
    if joined.isprintable() and "\\" not in joined:
        return [f"{sums[name]}  {name}" for name in names]
    lines = []
    for name in names:
        escaped = _escape(name)
        lines.append(f"{'' if escaped == name else chr(92)}{sums[name]}  {escaped}")
    return lines


def note_sums(tree: Tree, name: str, sums: Mapping[str, str], left_out: Mapping[str, str]) -> None:
    """Merge ``sums`` into the list called ``name``, in the format of sha256sum. Raise OSError."""
    merged: dict[str, str] = {}
    remarks: dict[str, None] = {}
    status = tree.status(name)
    # A pod may have sent something of that name. If it is not a list, it is replaced by one.
    if status is not None and stat.S_ISREG(status.st_mode) and status.st_size <= MOST_LIST_BYTES:
        with tree.read(name) as file:
            data = file.read(MOST_LIST_BYTES)
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        remarks.update(dict.fromkeys(line for line in lines if line.startswith("#")))
        merged = listed_sums(data)
    merged.update(sums)
    remarks.update(
        (f"# left out, a link to elsewhere: {_escape(link)} -> {_escape(target[:_LONGEST_NAME])}", None)
        for link, target in left_out.items()
    )
    lines = [*remarks, *sum_lines(merged)]
    temporary = f"{name}.{os.urandom(6).hex()}.tmp"
    try:
        with tree.create(temporary, mode=0o666) as file:
            write_all(file, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        tree.move(temporary, tree, name)
    except BaseException:
        tree.remove(temporary)
        raise

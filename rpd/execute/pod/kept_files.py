"""Files that a ``put`` keeps: they are moved aside while the tree around them is replaced, then moved back.

A rename is fast, however large a folder such as ``.venv`` is, and the transfer need not know of it. If the driver is
killed in between, the next ``put`` of the same tree moves the files back.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from rpd.errors import RemoteError, TransferError, UsageError
from rpd.remote.protocol import Remote

_SECONDS = 600.0
"""A rename takes no time, but merging a tree into another on a network volume does."""

# $1 the tree, $2 the folder for files that are moved aside. Each entry of it has a file with the path, and
# the item.
_BACK = r"""
_rpd_back() {
  for _rpd_entry in "$2"/*/; do
    [ -e "${_rpd_entry}path" ] || continue
    _rpd_path=$(cat "${_rpd_entry}path"; echo /)
    _rpd_path=$1/${_rpd_path%/}
    if [ ! -e "$_rpd_path" ] && [ ! -L "$_rpd_path" ] && [ -d "$1" ]; then
      mkdir -p -- "$(dirname -- "$_rpd_path")" && mv -- "${_rpd_entry}item" "$_rpd_path" || return 1
    fi
    [ ! -d "$1" ] || rm -rf -- "$_rpd_entry"
  done
  rmdir -- "$2" 2>/dev/null || :
}
"""
_ASIDE = r"""
_rpd_aside() {
  cd -- "$1" 2>/dev/null || return 0
  umask 077
  mkdir -p -- "$2" && find . -mindepth 1 \( @PATTERNS@ \) -prune -exec sh -c '
    into=$1; shift
    for path; do
      entry=$(mktemp -d "$into/XXXXXX") && printf %s "${path#./}" >"$entry/path" &&
      mv -- "$path" "$entry/item" || exit 1
    done' sh "$2" {} +
}
"""


def check_patterns(keep: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns as a tuple. Raise UsageError if one is invalid."""
    patterns = (keep,) if isinstance(keep, str) else tuple(keep)
    for pattern in patterns:
        plain = pattern.strip("/") if isinstance(pattern, str) else ""
        if not plain or pattern.startswith("!") or "\0" in pattern or ".." in plain.split("/"):
            raise UsageError(
                f'pod.put: keep: {pattern!r}: expected a name or path in the tree, such as ".venv/" or "/data/*.bin"'
            )
    return patterns


@contextmanager
def left_alone(remote: Remote, target: str, keep: Sequence[str]) -> Iterator[str]:
    """Keep files that match ``keep`` in the tree ``target`` on the pod while the tree is replaced. Yield ``target``.

    Raise TransferError, ConnectionLost, PodLost.
    """
    if not keep:
        yield target
        return
    name = _short(target)
    aside = posixpath.join(posixpath.dirname(target), f".rpd-kept-{name}")
    arguments = shlex.join((target, aside))
    patterns = " -o ".join(map(_expression, keep))
    move = _BACK + _ASIDE.replace("@PATTERNS@", patterns)
    _do(remote, f"{move}\n_rpd_back {arguments} && _rpd_aside {arguments}", target)
    try:
        yield target
    except BaseException:
        with suppress(RemoteError):
            _do(remote, f"{_BACK}\n_rpd_back {arguments}", target)
        raise
    _do(remote, f"{_BACK}\n_rpd_back {arguments}", target)


# $1 the tree, $2 the folder to be added to it.
_MERGE = r"""
_rpd_merge() {
  [ -d "$2" ] || return 0
  mkdir -p -- "$1" && ( cd -- "$2" && tar -cf - . ) | ( cd -- "$1" && tar -xpf - ) && rm -rf -- "$2"
}
"""


@contextmanager
def merging(remote: Remote, target: str) -> Iterator[str]:
    """Yield a folder on the pod whose files are then merged into the tree ``target``, replacing same names.

    Raise TransferError, ConnectionLost, PodLost.
    """
    name = _short(target)
    beside = posixpath.join(posixpath.dirname(target), f".rpd-merge-{name}")
    yield beside
    _do(remote, f"{_MERGE}\n_rpd_merge {shlex.join((target, beside))}", target)


def _do(remote: Remote, script: str, target: str) -> None:
    said = remote.script(f"( {script}\n) 2>&1 && echo kept", timeout=_SECONDS).splitlines()
    if said[-1:] != ["kept"]:
        raise TransferError(f"cannot change {target}: {' '.join(said)[-500:]}")


def _expression(pattern: str) -> str:
    """Return the ``find`` expression of a pattern in the syntax of ``.gitignore``."""
    kind = "-type d " if pattern.endswith("/") else ""
    body = pattern.rstrip("/")
    inner = re.sub(r"^(?:\*\*/)+", "", body.lstrip("/"))
    if "/" in body.removeprefix("**/") or body.startswith("/"):
        paths = [f"./{inner}"] + ([f"./*/{inner}"] if body.startswith("**/") else [])
        tests = " -o ".join(f"-path {shlex.quote(path)}" for path in paths)
        return f"{kind}\\( {tests} \\)"
    return f"{kind}-name {shlex.quote(inner)}"


def _short(target: str) -> str:
    import hashlib

    return hashlib.sha256(target.encode()).hexdigest()[:12]

"""What of a tree that was sent before lies on the pod as it was sent, so that only the rest has to be.

Beside each staged tree's note the pod keeps two lists: what was sent, by the driver that sent it (``sent_list``), and
what the pod saw of it afterwards (its kinds, modes, sizes, times and inodes; ``STATE``). A file stays if the pod sees
now what it saw then, and if what was sent is what is here.
"""

from __future__ import annotations

import json
import re
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rpd.errors import TransferError
from rpd.project.ignore import Kind, StagedFile, content_digest
from rpd.remote.transfer.untar import Cut, members

DEFAULT_MOST_BYTES = 64 << 20
_MOST_LISTS = 3
_PIECE = 256 << 10
_SHA256 = re.compile("[0-9a-f]{64}")

STATE = r"""
_rpd_state() {
  if [ "$(find / -prune -printf x 2>/dev/null)" = x ]; then
    printf 'G\0'
    find "$1" -printf '%y %m %s %T@ %C@ %i/%P\0'
  else
    printf 'B\0'
    find "$1" -print0 | xargs -0 stat -c '%f %s %Y %Z %i' -- || return 1
    printf '\0'
    find "$1" -print0
  fi 2>/dev/null
}
"""
"""Defines ``_rpd_state TREE``: what a tree looks like without reading it; in whole seconds where find is busybox's."""

CHECK = (
    STATE
    + r"""
_rpd_notes=${HOME:-/root}/.rpd/staged/$2
[ -r "$_rpd_notes/note" ] && [ -e "$1" ] || exit 0
{ read -r _rpd_stamp && read -r _rpd_tree; } <"$_rpd_notes/note" || exit 0
_rpd_now=$(mktemp "$_rpd_notes/now.XXXXXX") || exit 0
trap 'rm -f -- "$_rpd_now"' EXIT
trap 'exit 1' HUP INT TERM
_rpd_state "$1" >"$_rpd_now" || exit 0
_rpd_lists="list state"
cmp -s "$_rpd_notes/state" "$_rpd_now" || _rpd_lists="list state ${_rpd_now##*/}"
if [ "$_rpd_stamp" = "$3" ] && [ "$_rpd_lists" = "list state" ]; then
  printf 'SAME\n%s\n' "$_rpd_tree"
elif [ -d "$1" ] && [ ! -L "$1" ]; then
  printf 'OTHER\n'
  cd "$_rpd_notes" && tar -c -f - $_rpd_lists 2>/dev/null | gzip -1
fi
exit 0
"""
)
"""$1 target, $2 name of its notes, $3 stamp. Prints SAME and what was sent, or OTHER and the lists, or nothing."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One file that was sent: its permission bits, size, sha256, and the stamp it had where it was sent from."""

    mode: int
    size: int
    sha256: str
    stamp: tuple[int, ...]


def sent_list(contents: Sequence[tuple[StagedFile, str]]) -> bytes:
    """Return the list of the files in a tree with the sha256 of each, for ``change_of`` another time."""
    rows = [
        (file.name, file.mode, file.size, sha256, file.stamp)
        for file, sha256 in contents
        if file.kind is Kind.FILE
    ]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode("ascii"), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What makes the tree on the pod the one here, beside what is sent.

    ``kept`` need not be sent again (name to sha256); ``dropped`` has to go, be it for good or to make room; ``folders``
    are those that are not as they should be, or will not be once the rest is done.
    """

    kept: Mapping[str, str]
    dropped: Sequence[str] = ()
    folders: frozenset[str] = frozenset()


NOTHING_KEPT = Change(kept={})


def change_of(
    archive: bytes, target: str, files: Sequence[StagedFile], most: int = DEFAULT_MOST_BYTES
) -> Change:
    """Return how the tree on the pod becomes the one of ``files``, by the lists in ``archive`` (what CHECK printed).

    Files here are read only where their stamp is another than it was. Lists that make no sense, or hold more than
    ``most`` bytes each, keep nothing: the pod is not trusted with this machine's memory.
    """
    try:
        lists = _members(archive, most)
        sent = _read_sent(lists.pop("list"), most)
        before = read_state(lists.pop("state"), target)
        # A state that was not sent is as it was.
        now = read_state(lists.popitem()[1], target) if lists else before
        kept = {
            file.name: sent[file.name].sha256
            for file in files
            if file.kind is Kind.FILE
            and file.name in sent
            and now.get(file.name) is not None
            and now[file.name] == before.get(file.name)
            and _is_same(file, sent[file.name])
        }
        folders = {file.name: file.mode for file in files if file.kind is Kind.FOLDER}
        modes = {name: _folder_mode(facts) for name, facts in now.items()}
        dropped = [
            name
            for name, mode in modes.items()
            if name and name not in kept and not (name in folders and mode is not None)
        ]
    except (ValueError, KeyError, TypeError, zlib.error, RecursionError, Cut, TransferError):
        return NOTHING_KEPT
    sent_names = [file.name for file in files if file.kind is not Kind.FOLDER and file.name not in kept]
    touched = {above for name in (*sent_names, *dropped) for above in _above(name)}
    wrong = {name for name, mode in folders.items() if modes.get(name) != mode}
    return Change(kept=kept, dropped=dropped, folders=frozenset(wrong | touched))


def _above(name: str) -> Iterator[str]:
    """Yield the folders a name is in."""
    at = name.rfind("/")
    while at > 0:
        yield name[:at]
        at = name.rfind("/", 0, at)


def _folder_mode(facts: str) -> int | None:
    """Return the permission bits in the facts, of either kind of find, of a folder; None where it is none."""
    kind, mode = facts.split(" ", 2)[:2]
    if kind == "d":
        return int(mode, 8) & 0o7777
    if len(kind) > 1 and stat.S_ISDIR(int(kind, 16)):
        return int(kind, 16) & 0o7777
    return None


def _is_same(file: StagedFile, sent: Sent) -> bool:
    if (file.mode, file.size) != (sent.mode, sent.size):
        return False
    if file.stamp == sent.stamp:
        return True
    try:
        return content_digest(file.path) == sent.sha256
    except OSError:
        return False  # sending it will tell why


def _members(archive: bytes, most: int) -> dict[str, bytes]:
    """Return the files of a compressed tar archive by name. Raises ValueError, zlib.error, Cut, TransferError."""
    found: dict[str, bytes] = {}
    unpacked = _unpacked(archive, (_MOST_LISTS + 1) * most)
    for member, content in members(lambda: next(unpacked, b"")):
        if member.size > most or len(found) == _MOST_LISTS:
            raise ValueError("not a list")
        held = bytearray()
        while content.left:
            held += content.read(most)
        found[member.name] = bytes(held)
    return found


def _unpacked(archive: bytes, most: int) -> Iterator[bytes]:
    """Yield what a gzip stream holds, bit by bit. Raises ValueError once that is more than ``most`` bytes."""
    gunzip = zlib.decompressobj(wbits=31)
    left = archive
    while left and not gunzip.eof:
        piece = gunzip.decompress(left, _PIECE)
        left = gunzip.unconsumed_tail
        most -= len(piece)
        if most < 0:
            raise ValueError("more than any list")
        if piece:
            yield piece


def _read_sent(packed: bytes, most: int) -> dict[str, Sent]:
    gunzip = zlib.decompressobj()
    text = gunzip.decompress(packed, most)
    if gunzip.unconsumed_tail:
        raise ValueError("longer than any list")
    return {name: _sent(*facts) for name, *facts in json.loads(text)}


def _sent(mode: int, size: int, sha256: str, stamp: list[int]) -> Sent:
    """Return what a row of the list says. Raises TypeError, ValueError for a row that is none."""
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError("not a sum")
    return Sent(mode, size, sha256, tuple(stamp))


def read_state(data: bytes, target: str) -> Mapping[str, str]:
    """Return what ``_rpd_state`` printed of the tree at ``target``: name to facts. Raises ValueError."""
    kind, _, rest = data.decode("utf-8", "surrogateescape").partition("\0")
    if kind == "G":
        pairs = (record.partition("/") for record in rest.split("\0")[:-1])
        return {name: facts for facts, _, name in pairs}
    lines, _, names = rest.partition("\0")
    return {
        name.removeprefix(target).removeprefix("/"): facts
        for name, facts in zip(names.split("\0")[:-1], lines.split("\n")[:-1], strict=True)
    }

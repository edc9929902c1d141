"""Compares a tree with the one that was sent before, so that only the difference is sent.

With each staged tree's note the pod keeps two lists: what was sent, from the driver (``sent_list``), and its state on
the pod afterwards (kinds, modes, sizes, times and inodes; ``STATE``). A file is kept if its state on the pod is
unchanged and if what was sent equals what is here. The first of the lists is the file ``list``; or ``base``, and
``more`` with what differs from that.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rpd.errors import TransferError
from rpd.project.ignore import Kind, StagedFile, content_digest
from rpd.remote.transfer.packing import CAN_UNPACK
from rpd.remote.transfer.patch import (
    LEAST_BYTES,
    SUM_DIGITS,
    Blocks,
    Piece,
    Summing,
    block_size,
    new_bytes,
    pieces_of_new,
    sum_at,
)
from rpd.remote.transfer.sent_list import SentTree, read_sent
from rpd.remote.transfer.untar import Cut, members
from rpd.values.frozen import frozen

DEFAULT_MOST_BYTES = 64 << 20
_MOST_LISTS = 6
_PIECE = 256 << 10
_LITTLE = 8
"""A list is continued as long as no more than one in so many paths differs from it."""
_STAMP = re.compile("[0-9a-f]{64}")
_GZIP = b"\x1f\x8b"
FORM = b"FORM "
"""Begins a line of CHECK on the form of the next stream."""

STATE = r"""
_rpd_exact=
if printf '.\0' | LC_ALL=C comm -z -3 - /dev/null >/dev/null 2>&1 && [ "$(find / -prune -printf x 2>/dev/null)" = x ]
then _rpd_exact=x; fi
_rpd_state() {
  if [ -z "$_rpd_exact" ]; then
    find "$1" -print0 | xargs -0 stat -c '%f %s %Y %Z %i' -- || return 1
    printf '\0'
    find "$1" -print0
  elif [ -d "$1" ] && [ ! -L "$1" ]; then
    (cd -- "$1" && find . -printf '%y %m %s %T@ %C@ %i/%p\0') | LC_ALL=C sort -z
  else find "$1" -prune -printf '%y %m %s %T@ %C@ %i/.\0'; fi 2>/dev/null
}
_rpd_state_of() {
  (cd -- "$1" && xargs -0 sh -c 'exec find "$@" -prune -printf "%y %m %s %T@ %C@ %i/%p\0"' find) | LC_ALL=C sort -z
} 2>/dev/null
"""
"""Defines ``_rpd_state TREE``, which prints the state of a tree without reading it, and ``_rpd_state_of TREE`` for
single paths of it, below ``./``.

``$_rpd_exact`` is set if times are exact and records sorted, so that states can be compared on the pod; without GNU's
find and comm (busybox) there are only whole seconds, and the driver compares them.
"""

STOP = r"""
_rpd_stop() {
  read -r _rpd_pid 2>/dev/null <"$1/pid" || return 0
  # It holds that file open: the number may be another program's by now.
  case $(readlink "/proc/$_rpd_pid/fd/6") in *"/${1##*/}/pid") ;; *) return 0 ;; esac
  kill "$_rpd_pid" 2>/dev/null
  _rpd_n=0
  while kill -0 "$_rpd_pid" 2>/dev/null && [ "$_rpd_n" -lt 300 ]; do _rpd_nap; done
}
_rpd_nap() { sleep 0.1 2>/dev/null || sleep 1; _rpd_n=$((_rpd_n + 1)); }
"""
"""Defines ``_rpd_stop FOLDER``: ends the program that receives a stream there, unless it is beyond that point."""

CHECK = (
    STATE
    + STOP
    + r"""
_rpd_sizes() {
  if [ -n "$_rpd_exact" ]; then
    printf 'G\0'
    find "$1" -type f -printf '%s/%P\0'
  else
    printf 'B\0'
    find "$1" -type f -print0 | xargs -0 stat -c %s -- || return 1
    printf '\0'
    find "$1" -type f -print0
  fi 2>/dev/null
}
_rpd_half=
if [ -n "$3" ]; then
  _rpd_stop "$3"
  if [ -e "$3/tree" ] && _rpd_sizes "$3/tree" >"$3/half"; then _rpd_half=half; fi
fi
_rpd_notes=${HOME:-/root}/.rpd/staged/$2 _rpd_lists= _rpd_same= _rpd_look=$4 _rpd_stays=
_rpd_compare() {
  [ -r "$_rpd_notes/note" ] && [ -e "$1" ] || return 0
  { read -r _rpd_stamp && read -r _rpd_tree; } <"$_rpd_notes/note" || return 0
  cd "$_rpd_notes" && _rpd_state "$1" >"now.$_rpd_look" || return 0
  _rpd_sent="note list"
  [ ! -e more ] || _rpd_sent="note base more"
  _rpd_then=state
  if [ -n "$_rpd_exact" ] && [ -e was ]; then
    _rpd_then=then.$_rpd_look
    LC_ALL=C comm -z -23 state was 2>/dev/null | LC_ALL=C sort -z -m - is >"$_rpd_then" 2>/dev/null || return 0
  fi
  if [ -z "$_rpd_exact" ]; then
    if cmp -s state "now.$_rpd_look"; then _rpd_same=x; else _rpd_sent="$_rpd_sent state now.$_rpd_look"; fi
  else
    LC_ALL=C comm -z -3 "$_rpd_then" "now.$_rpd_look" >"differ.$_rpd_look" || return 0
    if [ ! -s "differ.$_rpd_look" ]; then _rpd_same=x
    else
      _rpd_sent="$_rpd_sent differ.$_rpd_look"
      if gzip -1 <"differ.$_rpd_look" >"then.$_rpd_look"; then mv -f -- "then.$_rpd_look" "differ.$_rpd_look"; fi
    fi
  fi 2>/dev/null
  _rpd_lists=$_rpd_sent
}
trap 'cd "$_rpd_notes" 2>/dev/null && { [ -n "$_rpd_stays" ] || rm -f -- "now.$_rpd_look"
  rm -f -- "then.$_rpd_look" "differ.$_rpd_look" "half.$_rpd_look"; }' EXIT
trap 'exit 1' HUP INT TERM
_rpd_compare "$1"
read -r _rpd_own || exit 1
if [ -n "$_rpd_same" ] && [ "$_rpd_stamp" = "$_rpd_own" ]; then
  printf 'SAME\n%s\n' "$_rpd_tree"
  exit 0
fi
[ ! -L "$1" ] || _rpd_lists=
"""
    + f"""
if [ "$({CAN_UNPACK})" = x ]; then :
"""
    + r"""
elif gzip -1 </dev/null >/dev/null 2>&1; then echo "FORM gzip"
else echo "FORM plain"; fi
if [ -n "$_rpd_lists" ]; then
  if [ -n "$_rpd_half" ]; then
    _rpd_half=half.$_rpd_look
    mv -- "$3/half" "$_rpd_notes/$_rpd_half" || _rpd_half=
  fi
  cd "$_rpd_notes" || exit 0
  _rpd_stays=x
elif [ -n "$_rpd_half" ]; then cd "$3" || exit 0
else exit 0; fi
printf 'OTHER\n'
# What there is else is compressed already.
if [ -n "$_rpd_same$_rpd_exact" ] && [ -z "$_rpd_half" ]; then tar -c -f - $_rpd_lists 2>/dev/null
else tar -c -f - $_rpd_lists $_rpd_half 2>/dev/null | gzip -1; fi
exit 0
"""
)
"""The script that compares; $1 target, $2 name of its notes, $3 the folder of a cut stream, or nothing, $4 a new name
for what it sees.

Its standard input is the stamp of the tree that is to be sent; before that comes, the script looks at what is there.

Ends a program that may still receive the cut stream. Prints SAME and the note; or FORM and the form of the next stream
unless that is frames, and then OTHER, the note and the lists (of what was sent; if its state has changed, of where it
differs, or of its state then and now; and of the files of the cut stream), or nothing. The state of now stays there
under the new name until somebody sends this tree.
"""


def most_note_bytes(files: Sequence[StagedFile]) -> int:
    """Return the greatest plausible length of a list of these files.

    Names rarely exceed 100 bytes, and occur twice.
    """
    longer = [file for file in files if file.target or file.size >= LEAST_BYTES]
    blocks = sum(file.size // block_size(file.size) + 1 for file in longer if file.size >= LEAST_BYTES)
    targets = sum(len(file.target) for file in longer)
    return 1024 * len(files) + 4 * targets + 2 * SUM_DIGITS * blocks


@frozen
class Patch:
    """The way to assemble a large file from the one sent before: its pieces, and the sums of the result."""

    pieces: Sequence[Piece]
    sha256: str
    blocks: Blocks


@frozen
class Continued:
    """A list that stays on the pod: only what differs from it is sent.

    ``stamp`` is that of the note that goes with it; ``names`` are the paths whose facts or contents differ, ``gone``
    those that are no more.
    """

    stamp: str
    names: Collection[str]
    gone: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The steps, besides sending files, that turn the tree on the pod into the one here.

    ``kept`` need not be sent again (name to sha256); of ``patched`` files only pieces are sent; ``dropped``
    are removed, for good or to make room; ``folders`` have the wrong mode or time, or will have it after the
    other steps. ``blocks`` are sums of large files that are kept. ``continued`` is None if the list of the tree is
    sent whole.
    """

    kept: Mapping[str, str]
    patched: Mapping[str, Patch] = field(default_factory=dict)
    blocks: Mapping[str, Blocks] = field(default_factory=dict)
    dropped: Sequence[str] = ()
    folders: frozenset[str] = frozenset()
    paths: Collection[str] | None = None
    continued: Continued | None = None


NOTHING_KEPT = Change(kept={})


def lists_in(archive: bytes, most: int) -> dict[str, bytes]:
    """Return the files printed by CHECK: ``note``, ``list`` (or ``base`` and ``more``), ``state``, ``now``, ``half``.

    Empty if they make no sense.

    A pod must not be able to fill this machine's memory: lists of more than ``most`` bytes each are refused.
    """
    try:
        lists = _members(archive, most)
    except (ValueError, zlib.error, Cut, TransferError):
        return {}
    return {name.partition(".")[0]: data for name, data in lists.items()}


def change_of(
    lists: Mapping[str, bytes],
    target: str,
    files: Sequence[StagedFile],
    *,
    is_folder: bool = True,
    most: int = DEFAULT_MOST_BYTES,
) -> Change:
    """Return the change from the tree on the pod to ``files``, given the lists from ``lists_in``.

    Local files are read only if their stamp has changed. Lists that make no sense keep nothing.
    """
    try:
        more = lists.get("more", b"")
        sent = read_sent(lists["base" if more else "list"], most, more)
        before, now = _differing(lists, target, most)
        touched = before.keys() | now.keys()
        facts, sums = sent.facts, sent.sums
        # Nearly all files of a large tree are kept: only a few steps for each.
        others = [
            file
            for file in files
            if facts.get(name := file.name) != file.facts or name not in sums or name in touched
        ]
        own = {file.name for file in others}
        kept = {name: sums[name] for file in files if (name := file.name) not in own}
        if not is_folder:
            others, kept = list(files), {}
        there = [
            file
            for file in others
            if file.kind is Kind.FILE
            and file.name in sums
            and (file.name if is_folder else "") not in touched
        ]
        kept |= {file.name: sums[file.name] for file in there if is_folder and _is_same(file, sent)}
        patched = {
            file.name: patch
            for file in there
            if file.name not in kept and (patch := _patch(file, sent.blocks(file.name)))
        }
        blocks = {
            name: noted
            for name in sent.with_blocks
            if name in kept and (noted := sent.blocks(name)) is not None
        }
        folders = {file.name: file.mode for file in others if file.kind is Kind.FOLDER}
        other_facts = [name for name in facts if name not in kept]
        modes = {name: sent.folder_mode(name) for name in other_facts if name not in touched}
        modes |= {name: _folder_mode(one) for name, one in now.items()}
        dropped = [
            name for name, mode in modes.items() if name and not (name in folders and mode is not None)
        ]
    except (ValueError, KeyError, TypeError, zlib.error, RecursionError, Cut, TransferError):
        return NOTHING_KEPT
    sent_names = [file.name for file in others if file.kind is not Kind.FOLDER and file.name not in kept]
    wrong = {name for name, mode in folders.items() if modes.get(name) != mode}
    changed = {*sent_names, *dropped, *wrong}
    around = {above for name in changed for above in _above(name)}
    return Change(
        kept=kept,
        patched=patched,
        blocks=blocks,
        dropped=dropped,
        folders=frozenset(wrong | around),
        paths=changed | around if len(changed | around) <= len(files) // _LITTLE else None,
        continued=_continued(lists.get("note", b""), sent, kept, others, other_facts),
    )


def _continued(
    note: bytes,
    sent: SentTree,
    kept: Mapping[str, str],
    others: Sequence[StagedFile],
    other_facts: Sequence[str],
) -> Continued | None:
    """Return how the list that the pod has can stay; None if too much differs from it.

    ``others`` are the paths here whose facts or state differ, ``other_facts`` those of the list that are not kept.
    """
    stamp = note.partition(b"\n")[0].decode(errors="replace")
    own = {file.name for file in others}
    names = {
        file.name for file in others if not (file.name in sent.facts and sent.is_like(file, stamped=True))
    }
    names.update(file.name for file in others if file.kind is Kind.FILE and file.name not in kept)
    names.update(name for name in sent.later if name in kept or name in own)
    gone = {*other_facts, *sent.later} - own - kept.keys()
    is_little = len(names) + len(gone) <= len(sent.facts) // _LITTLE
    return Continued(stamp=stamp, names=names, gone=gone) if is_little and _STAMP.fullmatch(stamp) else None


def _above(name: str) -> Iterator[str]:
    """Yield the folders that a name is in."""
    at = name.rfind("/")
    while at > 0:
        yield name[:at]
        at = name.rfind("/", 0, at)


def _folder_mode(facts: str) -> int | None:
    """Return the permission bits of a folder from the facts, of either kind of find; None if it is not a folder."""
    kind, mode = facts.split(" ", 2)[:2]
    if kind == "d":
        return int(mode, 8) & 0o7777
    if len(kind) > 1 and stat.S_ISDIR(int(kind, 16)):
        return int(kind, 16) & 0o7777
    return None


def _is_same(file: StagedFile, sent: SentTree) -> bool:
    if sent.is_like(file, stamped=True):
        return True
    if not sent.is_like(file, stamped=False):
        return False
    try:
        return content_digest(file.path) == sent.sums[file.name]
    except OSError:
        return False  # sending it will tell why


def _patch(file: StagedFile, sent: Blocks | None) -> Patch | None:
    """Return how to patch a large file, given what was sent of it; None if that saves too little."""
    if sent is None or file.size < LEAST_BYTES:
        return None
    digest, summing = hashlib.sha256(), Summing(file.size)
    try:
        with file.path.open("rb", buffering=0) as source:
            while block := source.read(_PIECE):
                digest.update(block)
                summing.update(block)
            blocks = summing.blocks()
            if not blocks.is_sound():  # by now it is longer or shorter than listed
                return None
            pieces = pieces_of_new(blocks, sum_at(source), sent)
    except OSError:
        return None  # sending it will show the reason
    # If a patch is cut, all of its new bytes are sent again, so it must be clearly smaller.
    if new_bytes(pieces) > file.size // 2:
        return None
    return Patch(pieces=pieces, sha256=digest.hexdigest(), blocks=blocks)


def sizes_of(half: bytes, tree: str) -> Mapping[str, int]:
    """Return the sizes of the files that a stream left in ``tree`` before it was cut; empty if they make no sense."""
    try:
        kind, _, rest = half.decode("utf-8", "surrogateescape").partition("\0")
        if kind == "G":
            pairs = (record.partition("/") for record in rest.split("\0")[:-1])
            return {name: int(size) for size, _, name in pairs}
        lines, _, names = rest.partition("\0")
        paths = (name.removeprefix(tree).removeprefix("/") for name in names.split("\0")[:-1])
        return {name: int(size) for name, size in zip(paths, lines.split("\n")[:-1], strict=True)}
    except ValueError:
        return {}


def _members(archive: bytes, most: int) -> dict[str, bytes]:
    """Return the files of a compressed tar archive by name. Raise ValueError, zlib.error, Cut, TransferError."""
    contents: dict[str, bytes] = {}
    unpacked = _unpacked(archive, (_MOST_LISTS + 1) * most)
    for member, content in members(lambda: next(unpacked, b"")):
        if member.size > most or len(contents) == _MOST_LISTS:
            raise ValueError("not a list")
        contents[member.name] = content if isinstance(content, bytes) else content.whole()
    return contents


def _unpacked(archive: bytes, most: int) -> Iterator[bytes]:
    """Yield the content of a gzip stream in pieces. Raise ValueError if it exceeds ``most`` bytes."""
    if not archive.startswith(_GZIP):
        yield archive
        return
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


def _differing(
    lists: Mapping[str, bytes], target: str, most: int
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the facts on paths of the pod's tree that differ: when it was sent, and now. Raise ValueError."""
    if "differ" in lists:
        return read_differing(b"".join(_unpacked(lists["differ"], most)))
    if "state" not in lists:
        return {}, {}
    before, now = read_state(lists["state"], target), read_state(lists["now"], target)
    return (
        {name: facts for name, facts in before.items() if now.get(name) != facts},
        {name: facts for name, facts in now.items() if before.get(name) != facts},
    )


def read_differing(data: bytes) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return what comm tells of two states: facts by name, of the first and of the second. Raise ValueError."""
    before: dict[str, str] = {}
    now: dict[str, str] = {}
    for record in data.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        facts, slash, path = record.partition("/")
        if not slash:
            raise ValueError("not the state of a tree")
        # comm begins a line of the second with a tab.
        which = now if facts.startswith("\t") else before
        which["" if path == "." else path.removeprefix("./")] = facts.strip()
    return before, now


def read_state(data: bytes, target: str) -> Mapping[str, str]:
    """Return the output of ``_rpd_state`` for the tree at ``target``: name to facts. Raise ValueError."""
    lines, _, names = data.decode("utf-8", "surrogateescape").partition("\0")
    return {
        name.removeprefix(target).removeprefix("/"): facts
        for name, facts in zip(names.split("\0")[:-1], lines.split("\n")[:-1], strict=True)
    }

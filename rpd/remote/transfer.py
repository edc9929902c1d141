"""Files to and from a pod: one tar stream over the SSH channel, checked by sha256, and renamed into place when whole.

The pod needs ``sh`` and ``tar`` (GNU or busybox), and for ``pull`` ``find`` and something that makes sha256 sums; this
side needs neither tar nor rsync.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import re
import shlex
import shutil
import tarfile
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, Any, TypeVar

from pathspec import GitIgnoreSpec

from rpd.errors import MissingArtifact, TransferError
from rpd.project.ignore import Kind, StagedFile, local_stamp, staged_files, tree_digest
from rpd.remote import delta
from rpd.remote.protocol import Progress
from rpd.remote.shell import DeadlinePassed, Disconnected, Ended, Interrupt, Shell
from rpd.values.step import Pulled, Staged

T = TypeVar("T")

_CHUNK = 1 << 20
_PIECE = 64 << 10
_ATTEMPTS = 3
_TREE, _END = "tree", "end"
_SHORT_SECONDS = 120.0
# For all of a file's bytes to be summed on a slow disk; a stuck network file system never ends by itself.
_STALL_SECONDS = 900.0
_RESUMABLE_BYTES = 64 << 20
# Pulls of one node may end at the same time, and go to the same folder with one list of sums.
_KEEPING = threading.Lock()
_SLOW_BYTES_PER_SECOND = 20e6
_PACE_SECONDS = 1.0
# How many times faster than the line this machine must compress.
_QUICK = 4
# What the socket and the SSH window swallow at once says nothing about the line.
_BUFFERED_BYTES = 8 << 20

# --- put ------------------------------------------------------------------------------------------------

# $1 target, $2 its folder, $3 gzip or nothing, $4 name of the tree's notes. Where the stream says so (keep), files are
# taken over from the tree that is there; exit code 3 means that they cannot be. What was there is moved aside.
_RECEIVE = (
    delta.STATE
    + r"""
_rpd_temp= _rpd_new=
_rpd_clear() { rm -rf -- "$_rpd_temp" "$_rpd_new"; }
_rpd_fail() { echo "$1" >&2; _rpd_clear; exit "${2:-1}"; }
_rpd_target=$1 _rpd_notes=${HOME:-/root}/.rpd/staged _rpd_name=$4
_rpd_keep() {
  _rpd_how=-l
  ln -- "$_rpd_temp/end" "$_rpd_temp/linked" 2>/dev/null || _rpd_how=-p
  (cd -- "$_rpd_target" && xargs -0 sh -c '_rpd_how=$1 _rpd_into=$2; shift 2
    exec cp "$_rpd_how" --parents -- "$@" "$_rpd_into"' sh "$_rpd_how" "$_rpd_temp/tree" <"$_rpd_temp/keep") &&
  tar -x -p -o -f "$_rpd_temp/folders" -C "$_rpd_temp/tree"
}
_rpd_note() {
  [ -e "$_rpd_temp/list" ] && mkdir -p "$_rpd_notes" && _rpd_new=$(mktemp -d "$_rpd_notes/.new.XXXXXX") || return 0
  if _rpd_state "$_rpd_target" >"$_rpd_new/state" && mv -- "$_rpd_temp/note" "$_rpd_temp/list" "$_rpd_new"; then
    # Whole seconds: a change in this one could not be told from none.
    [ "$(head -c 1 "$_rpd_new/state")" = G ] || sleep 1
    rm -rf -- "$_rpd_notes/$_rpd_name" && mv -- "$_rpd_new" "$_rpd_notes/$_rpd_name"
  fi 2>/dev/null
  return 0
}
case ${HOME:-/root}/ in "$1"/*) _rpd_fail "it holds the home folder; name a folder below it" ;; esac
if [ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %d -- "$1" 2>/dev/null)" != "$(stat -c %d -- "$2" 2>/dev/null)" ]; then
  _rpd_fail "it is a mount point; name a folder below it"
fi
mkdir -p -- "$2" || exit 1
_rpd_temp=$(mktemp -d -- "$2/.rpd-put.XXXXXX") || exit 1
trap '_rpd_clear; exit 1' HUP INT TERM
tar -x -p -o $3 -f - -C "$_rpd_temp" || _rpd_fail "tar could not write it"
[ -e "$_rpd_temp/end" ] || _rpd_fail "the stream ended early"
if [ -e "$_rpd_temp/keep" ]; then _rpd_keep || _rpd_fail "nothing can be kept" 3; fi
_rpd_tree=$_rpd_temp/tree
if [ -d "$_rpd_tree" ] || [ -d "$1" ]; then
  if [ -e "$1" ] || [ -L "$1" ]; then mv -f -- "$1" "$_rpd_temp/old" || _rpd_fail "what is there cannot be replaced"; fi
  mv -f -- "$_rpd_tree" "$1" || {
    [ ! -e "$_rpd_temp/old" ] || mv -f -- "$_rpd_temp/old" "$1"
    _rpd_fail "it could not be renamed into place"
  }
else
  mv -f -- "$_rpd_tree" "$1" || _rpd_fail "it could not be renamed into place"
fi
# First the old tree goes: a link less is a change to what both have in common.
rm -rf -- "$_rpd_temp/old"
_rpd_note
_rpd_clear
exit 0
"""
)
_NOTHING_KEPT = 3

_WRITE = r"""
mkdir -p -- "$2" || exit 1
if [ -d "$1" ]; then echo "it is a folder" >&2; exit 1; fi
umask 077
_rpd_temp=$(mktemp -- "$2/.rpd-write.XXXXXX") || exit 1
if cat >"$_rpd_temp" && [ "$(($(wc -c <"$_rpd_temp")))" = "$4" ] && chmod "$3" "$_rpd_temp" &&
  mv -f -- "$_rpd_temp" "$1"
then exit 0; fi
rm -f -- "$_rpd_temp"
exit 1
"""


def put(
    shell: Shell,
    local: Path,
    remote: str,
    *,
    exclude: Sequence[str] = (),
    interrupt: Interrupt | None = None,
    compress: bool | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Staged:
    """Send what is staged of ``local`` (see ``execute.ignore``) so that ``remote`` (absolute) is exactly that.

    It is unpacked beside ``remote`` and renamed: whole, or as it was before. Of a tree that was sent before, only files
    are sent that changed since on either side (names, modes, contents here; sizes, times, inodes there). ``compress``
    gzips the stream; None does so once the line turns out to be slow (below 20 MB/s by ``clock``, in seconds). Raises
    UsageError (``local`` does not exist), TransferError, ConnectionLost, PodLost and, after ``interrupt``, Interrupted.
    """
    target = _target(remote)
    files = staged_files(local, exclude)
    sending = _Sending(shell, local, files, target, interrupt, progress)
    sending.compress, sending.pace = bool(compress), _Pace(clock) if compress is None else None
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return sending.send()
        except Disconnected as error:
            if attempt == _ATTEMPTS:
                raise TransferError(f"{local} could not be sent to {target}: {error}") from error
            shell.reconnect(interrupt)
        except DeadlinePassed as error:
            raise TransferError(
                f"{local} could not be sent to {target}: the pod is stuck: {error}"
            ) from error
    raise AssertionError("unreachable")


def write(shell: Shell, remote: str, data: bytes, *, mode: int = 0o644) -> None:
    """Write one file on the pod, atomically; its folder is made. Raises TransferError, ConnectionLost, PodLost."""
    target = _target(remote)
    arguments = (target, posixpath.dirname(target), f"{mode & 0o7777:o}", str(len(data)))
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            ended = _exec(shell, _WRITE, *arguments, stdin=[data], timeout=_SHORT_SECONDS)
        except Disconnected as error:
            if attempt == _ATTEMPTS:
                raise TransferError(f"{target} could not be written: {error}") from error
            shell.reconnect()
        except DeadlinePassed as error:
            raise TransferError(f"{target} could not be written: the pod is stuck: {error}") from error
        else:
            if ended.exit_code:
                raise TransferError(f"{target} could not be written: {ended.reason}")
            return


class _Sending:
    """One put: asks what is there, and sends what is not."""

    def __init__(
        self,
        shell: Shell,
        local: Path,
        files: Sequence[StagedFile],
        target: str,
        interrupt: Interrupt | None,
        progress: Progress | None,
    ) -> None:
        self._shell = shell
        self._local = local
        self._files = files
        self._target = target
        self._interrupt = interrupt
        self._progress = progress
        self._stamp = local_stamp(files)
        self._notes = hashlib.sha256(target.encode()).hexdigest()[:20]
        self.compress = False
        self.pace: _Pace | None = None

    def send(self) -> Staged:
        """Make the target what is here. Raises Disconnected, DeadlinePassed, TransferError, Interrupted."""
        known = _exec(
            self._shell,
            delta.CHECK,
            self._target,
            self._notes,
            self._stamp,
            timeout=_SHORT_SECONDS,
            interrupt=self._interrupt,
        )
        word, _, rest = known.stdout.partition(b"\n")
        if word == b"SAME":
            return Staged(remote=self._target, **json.loads(rest))
        kept = {}
        if word == b"OTHER" and self._local.is_dir():
            kept = delta.kept_files(rest, self._target, self._files)
        return (self._send(kept) if kept else None) or self._send({}) or self._refused()

    def _refused(self) -> Staged:
        raise TransferError(f"{self._local} could not be sent to {self._target}: the pod kept nothing of it")

    def _send(self, kept: Mapping[str, str]) -> Staged | None:
        """Send all but ``kept``; return None if the pod cannot keep that."""
        archive = _Archive(self._local, self._files, self._stamp, kept, self._progress, self.pace)
        try:
            ended = self._stream(archive)
        except _SlowLine:
            self.compress, self.pace = True, None
            archive = _Archive(self._local, self._files, self._stamp, kept, self._progress)
            ended = self._stream(archive)
        if ended.exit_code == _NOTHING_KEPT and kept:
            return None
        if ended.exit_code:
            raise TransferError(f"{self._local} could not be sent to {self._target}: {ended.reason}")
        return Staged(remote=self._target, **archive.about())

    def _stream(self, archive: _Archive) -> Ended:
        return _exec(
            self._shell,
            _RECEIVE,
            self._target,
            posixpath.dirname(self._target),
            "-z" if self.compress else "",
            self._notes,
            stdin=_batched(_gzipped(archive.blocks()) if self.compress else archive.blocks()),
            stall=_STALL_SECONDS,
            interrupt=self._interrupt,
        )


class _SlowLine(Exception):
    """The line is slow enough, and what is sent soft enough, that compression pays."""


class _Pace:
    """Measures once how fast the line takes bytes, past what its buffers swallow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: tuple[float, int] | None = None
        self._is_known = False

    def passed(self, done: int, total: int, block: bytes) -> None:
        """Hear that ``done`` bytes of ``total`` went over, the last of them ``block``. Raises _SlowLine, once."""
        if self._is_known or done < _BUFFERED_BYTES:
            return
        now = self._clock()
        if self._since is None:
            self._since = (now, done)
            return
        seconds = now - self._since[0]
        if seconds < _PACE_SECONDS:
            return
        self._is_known = True
        rate = (done - self._since[1]) / seconds
        if rate < _SLOW_BYTES_PER_SECOND and self._pays(rate, done, total - done, block):
            raise _SlowLine

    def _pays(self, rate: float, done: int, left: int, block: bytes) -> bool:
        """Whether compression saves more than ``done`` bytes sent again cost, and this machine is not the slow one."""
        began = self._clock()
        ratio = len(zlib.compress(block, 1)) / max(1, len(block))
        is_quick = (self._clock() - began) * rate * _QUICK < len(block)
        return is_quick and left * (1 - ratio) > done


class _Archive:
    """A tar stream of staged files but those the pod keeps, with the sha256 of each as it goes by."""

    def __init__(
        self,
        local: Path,
        files: Sequence[StagedFile],
        stamp: str = "",
        kept: Mapping[str, str] = MappingProxyType({}),
        progress: Progress | None = None,
        pace: _Pace | None = None,
    ) -> None:
        self._local = local
        self._list = files
        self._stamp = stamp
        self._kept = kept
        self._progress = progress
        self._pace = pace
        self._contents: list[tuple[StagedFile, str]] = []
        self._done = 0
        self._total = sum(file.size for file in files if file.name not in kept)

    def about(self) -> dict[str, Any]:
        """Return digest, number of files and bytes of the tree, once all its blocks were taken."""
        return {
            "tree_sha256": tree_digest(self._contents),
            "files": sum(file.kind is not Kind.FOLDER for file in self._list),
            "bytes": sum(file.size for file in self._list),
        }

    def blocks(self) -> Iterator[bytes]:
        """Yield the archive: everything under ``tree``, notes, then ``end``, which proves that nothing is missing."""
        if self._local.is_dir():
            yield self._root(_TREE, at_least=0o700 if self._kept else 0)
            for file in self._list:
                if file.name in self._kept:
                    self._contents.append((file, self._kept[file.name]))
                else:
                    yield from self._member_blocks(f"{_TREE}/{file.name}", file)
        else:
            yield from self._member_blocks(_TREE, self._list[0])
        if self._kept:
            yield from _small_file("keep", "".join(f"./{name}\0" for name in self._kept))
            yield from _small_file("folders", b"".join(self._folders()))
        if self._stamp:
            yield from _small_file("note", f"{self._stamp}\n{json.dumps(self.about())}\n")
            yield from _small_file("list", delta.sent_list(self._contents))
        yield from _small_file(_END, "")
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _root(self, name: str, *, at_least: int = 0) -> bytes:
        status = self._local.stat()
        info = _member(name, tarfile.DIRTYPE, status.st_mode & 0o777 | at_least)
        info.mtime = int(status.st_mtime)
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")

    def _folders(self) -> Iterator[bytes]:
        """Yield an archive of the folders alone: kept files that are put into them change times and modes."""
        yield self._root(".")
        for file in self._list:
            if file.kind is Kind.FOLDER:
                info = _member(f"./{file.name}", tarfile.DIRTYPE, file.mode)
                info.mtime = file.mtime
                yield info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _member_blocks(self, name: str, file: StagedFile) -> Iterator[bytes]:
        types = {Kind.FILE: tarfile.REGTYPE, Kind.FOLDER: tarfile.DIRTYPE, Kind.LINK: tarfile.SYMTYPE}
        at_least = 0o700 if self._kept and file.kind is Kind.FOLDER else 0
        info = _member(name, types[file.kind], file.mode | at_least)
        info.size, info.mtime, info.linkname = file.size, file.mtime, file.target
        yield info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        content = ""
        if file.kind is Kind.FILE:
            content = yield from self._content_blocks(file)
        self._contents.append((file, content))

    def _content_blocks(self, file: StagedFile) -> Generator[bytes, None, str]:
        digest = hashlib.sha256()
        left = file.size
        try:
            with file.path.open("rb", buffering=0) as source:
                while block := source.read(min(_CHUNK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        break
                    digest.update(block)
                    self._passed(block)
                    yield block
        except OSError as error:
            raise TransferError(f"{file.path} cannot be read: {error.strerror}") from error
        if left:
            raise TransferError(
                f"{file.path} changed while it was being sent; send it again when it is at rest"
            )
        yield bytes(-file.size % tarfile.BLOCKSIZE)
        return digest.hexdigest()

    def _passed(self, block: bytes) -> None:
        self._done += len(block)
        if self._progress is not None:
            self._progress(self._done, self._total)
        if self._pace is not None:
            self._pace.passed(self._done, self._total, block)


def _small_file(name: str, content: str | bytes) -> Iterator[bytes]:
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    info = _member(name, tarfile.REGTYPE, 0o600)
    info.size = len(data)
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    return info


def _batched(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Join small blocks: each piece handed on costs an SSH packet."""
    pending = bytearray()
    for block in blocks:
        if not pending and len(block) >= _CHUNK // 4:
            yield block
            continue
        pending += block
        if len(pending) >= _CHUNK // 4:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def _gzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    squeeze = zlib.compressobj(level=1, wbits=31)
    for block in blocks:
        yield squeeze.compress(block)
    yield squeeze.flush()


# --- pull -----------------------------------------------------------------------------------------------

# Names are ./name and end with NUL; a word that is no name says what those after it are.
_LIST = r"""
cd -- "$1" 2>/dev/null || { printf 'END\0'; exit 0; }
_rpd_list() {
  printf 'ROOT\0%s\0' "$1"
  if [ -d "$1" ]; then
    printf 'FOLDERS\0'; find "$1/" -type d -print0
    printf 'FILES\0'; find "$1/" -type f -print0
    printf 'LINKS\0'; find "$1/" -type l -exec sh -c 'for _rpd_link do
      if [ -f "$_rpd_link" ]; then _rpd_kind=F; else _rpd_kind=x; fi
      printf "%s\0%s%s\0" "$_rpd_link" "$_rpd_kind" "$(readlink "$_rpd_link")"
    done' sh {} +
  elif [ -L "$1" ] && [ -f "$1" ]; then printf 'LINKS\0%s\0F%s\0' "$1" "$(readlink "$1")"
  elif [ -f "$1" ]; then printf 'FILES\0%s\0' "$1"; fi
}
"""

_SUM = r"""
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

# $1 the folder, $2 options for tar; standard input: names (./…), each ended by NUL. Sums are made while tar reads.
# xargs, because busybox's tar takes no list of names: it may make several archives, one after the other.
_FETCH = (
    r"""
cd -- "$1" || exit 1
umask 077
_rpd_temp=$(mktemp -d) || exit 1
trap 'rm -rf -- "$_rpd_temp"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$_rpd_temp/names"
"""
    + _SUM
    + r"""
_rpd_sum <"$_rpd_temp/names" >"$_rpd_temp/sums" 2>"$_rpd_temp/errors" &
_rpd_sums=$!
_rpd_raw=
# GNU tar reads backslashes in names as escapes unless it is told not to.
if tar --version 2>/dev/null | grep -q GNU; then _rpd_raw=--no-unquote; fi
xargs -0 tar -c $_rpd_raw $2 -f - <"$_rpd_temp/names"
wait "$_rpd_sums"
{ cat "$_rpd_temp/errors"; echo SUMS; cat "$_rpd_temp/sums"; } >&2
exit 0
"""
)

# $1 the folder; standard input as above. The sums of files that were received before.
_SUMS = (
    r"""
cd -- "$1" || exit 1
"""
    + _SUM
    + r"""
_rpd_sum 2>/dev/null
exit 0
"""
)

# $1 the folder; standard input as above. A line for each, in their order.
_FACTS = r"""
cd -- "$1" && stat --version 2>/dev/null | grep -q GNU && exec xargs -0 stat -c '%s %y %z %i' --
cat >/dev/null
"""

# $1 the folder, $2 the name, $3 from which byte on, counted from 1.
_REST = r"""
cd -- "$1" && exec tail -c "+$3" -- "$2"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """A symbolic link on the pod: where it points, as written, and whether that leads to a file."""

    target: str
    is_file: bool


@dataclass(slots=True, kw_only=True)
class _Listing:
    """What is there, by names relative to the folder the roots are in."""

    base: str
    roots: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    links: dict[str, _Link] = field(default_factory=dict)

    def without(self, exclude: Sequence[str]) -> _Listing:
        """Return what the rules (as in ``.gitignore``, relative to each root) leave."""
        if not exclude:
            return self
        spec = GitIgnoreSpec.from_lines(exclude)

        def keep(name: str, end: str = "") -> bool:
            root = next((root for root in self.roots if _is_below(name, root)), "")
            inner = name[len(root) :].lstrip("/") or posixpath.basename(name)
            return not spec.match_file(inner + end)

        return _Listing(
            base=self.base,
            roots=self.roots,
            folders=[name for name in self.folders if name in self.roots or keep(name, "/")],
            files=[name for name in self.files if keep(name)],
            links={name: link for name, link in self.links.items() if keep(name)},
        )

    def inner_target(self, name: str) -> str | None:
        """Return the link's target as a relative path if it stays below the link's root, else None."""
        target = self.links[name].target
        absolute = posixpath.normpath(posixpath.join(self.base, posixpath.dirname(name), target))
        relative = posixpath.relpath(absolute, self.base)
        if name in self.roots:
            return None
        if not any(_is_below(name, root) and _is_below(relative, root) for root in self.roots):
            return None
        if not target.startswith("/"):
            return target
        return posixpath.relpath(absolute, posixpath.join(self.base, posixpath.dirname(name)))


def pull(
    shell: Shell,
    remote: str,
    local: Path,
    *,
    required: bool = True,
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
    resumable: int = _RESUMABLE_BYTES,
    seen: Seen | None = None,
) -> Pulled | None:
    """Fetch a file, a folder or a glob (``*``, ``?``, ``[a-z]``) of the pod into the folder ``local``, checked.

    ``/w/results`` becomes ``local/results/…``, ``/w/log.txt`` becomes ``local/log.txt``, and a match of ``/w/*/m.json``
    keeps its path below ``/w``. A path that exists as written is not taken for a glob. Symbolic links that stay inside
    stay links; one that leads out to a file becomes that file; other links out, and dangling ones, are left out and
    named in the list of sums. ``exclude`` holds rules as in ``.gitignore``, relative to what is pulled.

    The sums made on the pod are kept in ``<local>.sha256`` (those of earlier pulls too), for ``sha256sum -c`` in
    ``local``. Files of the same name are replaced; nothing else in ``local`` is touched. A file that changes while it
    is read is fetched once more. When the connection breaks, what arrived whole is not fetched again, and a file larger
    than ``resumable`` (bytes) goes on where it stopped. With ``seen``, files that an earlier pull fetched are left out
    while they look as they did then. Raises MissingArtifact, TransferError (after what could be verified is in place),
    ConnectionLost, PodLost.
    """
    source = posixpath.normpath(remote)
    if source.startswith("//"):
        source = source[1:]
    if not source.startswith("/") or source == "/":
        raise TransferError(f"{remote!r} cannot be pulled: expected an absolute path below /")
    try:
        listing = _mended(shell, lambda: _list(shell, source))
    except (Disconnected, DeadlinePassed) as error:
        raise TransferError(f"{source} could not be listed: {error}") from error
    if not listing.roots:
        if required:
            raise MissingArtifact(f"{source} does not exist on the pod")
        return None
    for name in (*listing.roots, *listing.folders, *listing.files, *listing.links):
        _check_name(name)
    local.mkdir(parents=True, exist_ok=True)
    wanted = listing.without(exclude)
    if seen is not None:
        seen.look(
            lambda names: _mended(shell, lambda: _facts(shell, wanted.base, names)), wanted.files, local
        )
    fetching = _Fetching(shell, source, local, wanted, progress, resumable)
    if seen is not None:
        fetching.sums.update(seen.unchanged)
        fetching.bytes += seen.unchanged_bytes
    try:
        fetching.fetch_all()
    finally:
        fetching.keep()
        if seen is not None:
            seen.note(fetching.sums, local)
    return Pulled(
        remote=source,
        local=local,
        files=len(fetching.sums) + len(fetching.kept_links),
        bytes=fetching.bytes,
        sha256_file=str(fetching.sums_path),
        verified=True,
        required=required,
    )


class Seen:
    """What earlier pulls of the same place brought, so that the next one fetches only what changed there since."""

    def __init__(self) -> None:
        self._facts: dict[str, str] = {}
        self._fetched: dict[str, tuple[str, str, int]] = {}
        self.unchanged: dict[str, str] = {}
        """Of the files there now, those that are here already: name to sha256."""
        self.unchanged_bytes = 0

    def look(
        self, facts_of: Callable[[Sequence[str]], Mapping[str, str]], names: Sequence[str], local: Path
    ) -> None:
        """Find out what is here already; ``facts_of`` asks the pod for sizes, times and inodes."""
        # Before they are read: a change after that shows the next time.
        self._facts = dict(facts_of(names)) if names else {}
        self.unchanged, self.unchanged_bytes = {}, 0
        for name, (facts, sha256, size) in self._fetched.items():
            path = local / name
            if self._facts.get(name) == facts and path.is_file() and path.stat().st_size == size:
                self.unchanged[name] = sha256
                self.unchanged_bytes += size

    def note(self, sums: Mapping[str, str], local: Path) -> None:
        """Remember what is here now, verified."""
        for name, sha256 in sums.items():
            path = local / name
            if name in self._facts and name not in self.unchanged and path.is_file():
                self._fetched[name] = (self._facts[name], sha256, path.stat().st_size)


@dataclass(slots=True)
class _Partial:
    """A file that is being received: where to, how long it is to become, and what is here of it."""

    name: str
    target: str
    whole: int
    mode: int
    mtime: int
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class _Fetching:
    """One pull under way: what is verified lies in a temporary folder beside ``local`` until it is kept."""

    def __init__(
        self,
        shell: Shell,
        source: str,
        local: Path,
        listing: _Listing,
        progress: Progress | None,
        resumable: int = _RESUMABLE_BYTES,
    ) -> None:
        self._shell = shell
        self._source = source
        self._local = local
        self._listing = listing
        self._progress = progress
        self._temporary = Path(tempfile.mkdtemp(prefix=f".{local.name}.rpd-", dir=local.parent))
        self._left_out: dict[str, str] = {}
        self._made: set[str] = set()
        self._resumable = resumable
        self._received = 0
        self._whole: dict[str, tuple[str, int]] = {}
        self._partial: _Partial | None = None
        self.kept_links: dict[str, str] = {}
        self.sums: dict[str, str] = {}
        self.bytes = 0
        self.sums_path = local.parent / f"{local.name}.sha256"

    def fetch_all(self) -> None:
        """Fetch until each file is here with the sum the pod made; a file that is not, twice, is an error."""
        outside = self._sort_links()
        self._fetch(self._listing.files, "")
        self._fetch(outside, "-h")

    def _sort_links(self) -> list[str]:
        outside = []
        for name, link in self._listing.links.items():
            inner = self._listing.inner_target(name)
            if inner is not None:
                self.kept_links[name] = inner
            elif link.is_file:
                outside.append(name)
            else:
                self._left_out[name] = link.target
        return outside

    def _fetch(self, names: Sequence[str], options: str) -> None:
        wanted = [name for name in names if name not in self.sums]
        rounds = breaks = safe = 0
        reasons: dict[str, str] = {}
        while wanted:
            try:
                self._settle()
                wanted = [name for name in wanted if name not in self.sums]
                if wanted:
                    reasons = self._fetch_once(wanted, options)
                    rounds += 1
            except Disconnected as error:
                breaks = 1 if self._safe_bytes > safe else breaks + 1
                safe = self._safe_bytes
                if breaks > _ATTEMPTS:
                    raise TransferError(f"{self._source} could not be fetched: {error}") from error
                self._shell.reconnect()
            except DeadlinePassed as error:
                raise TransferError(
                    f"{self._source} could not be fetched: the pod is stuck: {error}"
                ) from error
            wanted = [name for name in wanted if name not in self.sums]
            if wanted and rounds >= 2:
                shown = ", ".join(posixpath.join(self._listing.base, name) for name in wanted[:3])
                more = f" and {len(wanted) - 3} more" if len(wanted) > 3 else ""
                raise TransferError(
                    f"{self._source} is not here whole: {reasons.get(wanted[0], 'not readable')}: {shown}{more}"
                )

    @property
    def _safe_bytes(self) -> int:
        """How much a broken connection does not lose."""
        partial = self._partial.size if self._partial else 0
        return self.bytes + partial + sum(size for _, size in self._whole.values())

    def _settle(self) -> None:
        """Go on with the file a broken connection cut, and check what arrived whole over it. Raises Disconnected."""
        if self._partial is not None:
            self._resume(self._partial)
        if not self._whole:
            return
        ended = _exec(
            self._shell, _SUMS, self._listing.base, stdin=[_names(self._whole)], stall=_STALL_SECONDS
        )
        self._verify(list(self._whole), _read_sums(ended.stdout.decode("utf-8", "surrogateescape")), "")

    def _resume(self, partial: _Partial) -> None:
        script = _call(_REST, self._listing.base, f"./{partial.name}", str(partial.size + 1))
        stream = self._shell.open(script, stall=_STALL_SECONDS)
        try:
            with open(partial.target, "r+b") as file:  # noqa: PTH123
                file.truncate(partial.size)
                file.seek(partial.size)
                while partial.size <= partial.whole and (block := stream.read(_CHUNK)):
                    self._take(block, file, partial)
            stream.finish()
        except OSError as error:
            raise TransferError(f"{partial.target} cannot be written: {error.strerror}") from error
        finally:
            stream.close()
        self._partial = None
        if partial.size == partial.whole:
            self._received_whole(partial)

    def _fetch_once(self, names: Sequence[str], options: str) -> dict[str, str]:
        """Fetch ``names``; note those whose sums agree, and return why the others failed."""
        stream = self._shell.open(
            _call(_FETCH, self._listing.base, options), stdin=[_names(names)], stall=_STALL_SECONDS
        )
        expected = frozenset(names)
        try:
            # A stream that is cut ends early: what is missing is asked for again.
            with contextlib.suppress(tarfile.ReadError):
                for member, content in _members(stream.read):
                    name = posixpath.normpath(member.name)
                    if name in expected:
                        self._extract(member, content, name)
            ended = stream.finish()
        finally:
            stream.close()
        if ended.exit_code:
            raise TransferError(f"{self._source} could not be fetched: {ended.reason}")
        self._partial = None  # cut by a file that became shorter, not by the connection
        complaints, _, sums = ended.stderr.decode("utf-8", "surrogateescape").partition("SUMS\n")
        return self._verify(names, _read_sums(sums), "; ".join(complaints.strip().splitlines()[-3:]))

    def _verify(self, names: Sequence[str], theirs: Mapping[str, str], complaints: str) -> dict[str, str]:
        """Note which of the files that arrived have the sums the pod made; return why the others failed."""
        reasons = {}
        for name in names:
            sha256, size = self._whole.pop(name, ("", 0))
            if not sha256 or name not in theirs:
                reasons[name] = complaints or "it vanished while it was read"
            elif sha256 != theirs[name]:
                reasons[name] = "it changed while it was read (its sha256 differs)"
            else:
                self.sums[name] = sha256
                self.bytes += size
        return reasons

    def _extract(self, member: tarfile.TarInfo, content: IO[bytes], name: str) -> None:
        target = f"{self._temporary}/{name}"
        folder = os.path.dirname(target)  # noqa: PTH120 - thousands of files: pathlib is slow
        partial = _Partial(name, target, member.size, member.mode & 0o777 | 0o600, int(member.mtime))
        try:
            if folder not in self._made:
                Path(folder).mkdir(parents=True, exist_ok=True)
                self._made.add(folder)
            with open(target, "wb", buffering=0) as file:  # noqa: PTH123
                while block := content.read(_CHUNK):
                    self._take(block, file, partial)
            self._received_whole(partial)
        except (Disconnected, tarfile.ReadError):
            self._partial = partial if partial.size > 0 and partial.whole > self._resumable else None
            raise
        except OSError as error:
            raise TransferError(f"{target} cannot be written: {error.strerror}") from error

    def _take(self, block: bytes, file: IO[bytes], partial: _Partial) -> None:
        file.write(block)
        partial.digest.update(block)
        partial.size += len(block)
        self._received += len(block)
        if self._progress is not None:
            self._progress(self._received, 0)

    def _received_whole(self, partial: _Partial) -> None:
        os.chmod(partial.target, partial.mode)  # noqa: PTH101
        os.utime(partial.target, (partial.mtime, partial.mtime))
        self._whole[partial.name] = (partial.digest.hexdigest(), partial.size)

    def keep(self) -> None:
        """Move what is verified into ``local``, and note its sums."""
        try:
            self._complete()
            with _KEEPING:
                for root in self._listing.roots:
                    self._move(root)
                _note_sums(self.sums_path, self.sums, self._left_out)
        except OSError as error:
            at = error.filename2 or error.filename
            raise TransferError(
                f"{self._source} cannot be put into {self._local}: {at}: {error.strerror}"
            ) from error
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _complete(self) -> None:
        """Make the temporary tree what ``local`` shall have: with folders and links, without what is not verified."""
        for name in (*self._listing.files, *self._listing.links):
            if name not in self.sums:
                (self._temporary / name).unlink(missing_ok=True)
        for name in self._listing.folders:
            (self._temporary / name).mkdir(parents=True, exist_ok=True)
        for name, inner in self.kept_links.items():
            (self._temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (self._temporary / name).symlink_to(inner)

    def _move(self, root: str) -> None:
        """Move one root: at once if there is nothing of its name, else path by path."""
        source, target = self._temporary / root, self._local / root
        if not os.path.lexists(source):
            return
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            return
        for name in self._listing.folders:
            if _is_below(name, root):
                (self._local / name).mkdir(parents=True, exist_ok=True)
        for name in (*self.sums, *self.kept_links):
            if _is_below(name, root) and os.path.lexists(self._temporary / name):
                (self._local / name).parent.mkdir(parents=True, exist_ok=True)
                (self._temporary / name).replace(self._local / name)


class _Reader:
    """A file that tarfile can read, from a function that returns the next bytes."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._pending = memoryview(b"")

    def read(self, size: int) -> bytes:
        if not self._pending:
            self._pending = memoryview(self._receive())
        data, self._pending = self._pending[:size], self._pending[size:]
        return bytes(data)


def _members(receive: Callable[[], bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield the files of a tar stream, each to be read before the next. Raises tarfile.ReadError if it is cut."""
    source: Any = _Reader(receive)
    # tarfile copies what it has buffered at each read: a small buffer is a fast one.
    with tarfile.open(fileobj=source, mode="r|", bufsize=_PIECE, ignore_zeros=True) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member, content


def _names(names: Iterable[str]) -> bytes:
    return "".join(f"./{name}\0" for name in names).encode("utf-8", "surrogateescape")


def _facts(shell: Shell, base: str, names: Sequence[str]) -> dict[str, str]:
    """Return sizes, times and inodes by name; of none, where a file vanished or times are whole seconds only."""
    ended = _exec(shell, _FACTS, base, stdin=[_names(names)], timeout=_SHORT_SECONDS * 5)
    lines = ended.stdout.decode().splitlines()
    return dict(zip(names, lines, strict=True)) if len(lines) == len(names) else {}


def _list(shell: Shell, source: str) -> _Listing:
    base, pattern = split_glob(source)
    literal_base, literal = posixpath.split(source)
    lines = [_LIST]
    if pattern is None:
        lines.append(_list_literal(literal))
    else:
        # A file may be called what looks like a glob.
        lines.append(
            f'if [ -e {shlex.quote(source)} ]; then printf "b\\0"; cd -- {shlex.quote(literal_base)} || exit 1; '
            f"{_list_literal(literal)}; else for _rpd_match in ./{glob_words(pattern)}; do "
            'if [ -e "$_rpd_match" ]; then _rpd_list "$_rpd_match"; fi; done; fi'
        )
    lines.append("printf 'END\\0'")
    ended = _exec(shell, "\n".join(lines), base, timeout=_SHORT_SECONDS * 5)
    words = ended.stdout.decode("utf-8", "surrogateescape").split("\0")
    if words[-2:] != ["END", ""]:
        raise TransferError(f"{source} could not be listed: {ended.reason}")
    complaints = [
        line for line in ended.stderr.decode(errors="replace").splitlines() if line.startswith("find:")
    ]
    # What vanishes while one looks is not there; what cannot be looked at may be.
    if hidden := [line for line in complaints if "No such file" not in line]:
        raise TransferError(f"{source} could not be listed whole: {hidden[0]}")
    if words[0] == "b":
        base, words = literal_base, words[1:]
    return _read_listing(base, words[:-2])


def _list_literal(name: str) -> str:
    quoted = shlex.quote(f"./{name}")
    return f"if [ -e {quoted} ]; then _rpd_list {quoted}; fi"


def _read_listing(base: str, words: Sequence[str]) -> _Listing:
    listing = _Listing(base=base)
    rest, kind = iter(words), ""
    for word in rest:
        if not word.startswith("./"):
            kind = word
            continue
        name = posixpath.normpath(word)
        if kind == "ROOT":
            listing.roots.append(name)
        elif kind == "FOLDERS":
            listing.folders.append(name)
        elif kind == "FILES":
            listing.files.append(name)
        elif kind == "LINKS":
            target = next(rest)
            listing.links[name] = _Link(target=target[1:], is_file=target[0] == "F")
    return listing


def split_glob(path: str) -> tuple[str, str | None]:
    """Return the folder before the first part with ``*``, ``?`` or ``[``, and the rest; (folder, None) if none has."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if re.search(r"[*?]|\[[^]/]+\]", part):
            return "/".join(parts[:index]) or "/", "/".join(parts[index:])
    return posixpath.dirname(path), None


def glob_words(pattern: str) -> str:
    """Return ``pattern`` for sh with only ``*``, ``?`` and ``[…]`` active, all else quoted."""
    pieces = re.split(r"(\*+|\?|\[[!^]?[A-Za-z0-9_.-]+\])", pattern)
    return "".join(piece if index % 2 else shlex.quote(piece) for index, piece in enumerate(pieces) if piece)


def _read_sums(text: str) -> dict[str, str]:
    """Return the sums by name from what sha256sum, its kin, or ``_note_sums`` wrote."""
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
    return _read_sums("\n".join(line for line in lines if line and not line.startswith("#")))


_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def _unescape(name: str) -> str:
    return re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _note_sums(path: Path, sums: Mapping[str, str], left_out: Mapping[str, str]) -> None:
    """Merge ``sums`` into the list at ``path``, in the format of sha256sum."""
    known: dict[str, str] = {}
    remarks: dict[str, None] = {}
    if path.exists():
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        remarks.update(dict.fromkeys(line for line in lines if line.startswith("#")))
        known = _read_sums("\n".join(line for line in lines if line and not line.startswith("#")))
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


def _check_name(name: str) -> None:
    """Refuse a name that could lead out of the folder it is unpacked in; the pod is not trusted with this machine."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name.startswith("/")
        or ".." in parts
        or (os.name == "nt" and re.search(r'[\\:*?"<>|]', name))
    ):
        raise TransferError(f"the pod names a file that cannot be stored here: {name!r}")


def _is_below(name: str, root: str) -> bool:
    return name == root or name.startswith(f"{root}/")


# --- both -----------------------------------------------------------------------------------------------


def _target(remote: str) -> str:
    target = posixpath.normpath(remote)
    if target.startswith("//"):
        target = target[1:]
    if not target.startswith("/") or target == "/":
        raise TransferError(f"{remote!r} cannot be written: expected an absolute path below /")
    return target


def _call(script: str, *arguments: str) -> str:
    return "\n".join((f"set -- {' '.join(map(shlex.quote, arguments))}", script))


def _exec(
    shell: Shell,
    script: str,
    *arguments: str,
    stdin: Iterable[bytes] | None = None,
    timeout: float | None = None,
    stall: float | None = None,
    interrupt: Interrupt | None = None,
) -> Ended:
    return shell.exec(
        _call(script, *arguments), stdin=stdin, timeout=timeout, stall=stall, interrupt=interrupt
    )


def _mended(shell: Shell, act: Callable[[], T]) -> T:
    for _ in range(_ATTEMPTS - 1):
        try:
            return act()
        except Disconnected:
            shell.reconnect()
    return act()

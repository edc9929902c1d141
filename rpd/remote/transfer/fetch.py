"""Fetches files from the pod, over as many connections as it takes, until each matches its checksum."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import Any, BinaryIO

from rpd.disk.safe_tree import LeadsOut, write_all
from rpd.errors import LocalTransferError, TransferBroken, TransferError
from rpd.remote.protocol import Progress
from rpd.remote.shell import (
    MOST_KEPT,
    Breaks,
    DeadlinePassed,
    Disconnected,
    Program,
    Shell,
    TooMuch,
    mended,
    with_arguments,
)
from rpd.remote.transfer.checksums import QUICK_SUM, SUM, is_plain, parse_sums
from rpd.remote.transfer.disk_space import Room
from rpd.remote.transfer.large import Large, large_files
from rpd.remote.transfer.listing import Listing
from rpd.remote.transfer.packing import PACK, unpacked
from rpd.remote.transfer.patch import (
    Piece,
    copy_words,
    new_bytes,
    parts_of,
    pieces_of_known,
    remaining,
    sum_at,
)
from rpd.remote.transfer.paths import nul_ended
from rpd.remote.transfer.patience import STALL_SECONDS
from rpd.remote.transfer.quick_line import HEAR, QuickLine
from rpd.remote.transfer.staging_folder import Landing
from rpd.remote.transfer.untar import Content, Cut, Member, Source, members

RESUMABLE_BYTES = 256 << 10
"""A file larger than this is resumed at the point where a broken connection cut it."""

_SMALL = 256 << 10
"""A file up to this size is written at once, when all of it is here."""
_CHUNK = 1 << 20
_MEMBER_BYTES = 64 << 10
_MOST_PASSED_OVER = 1 << 30
"""Unrequested bytes after which the pod counts as one that never stops."""

_TEMP = r"""
cd -- "$1" || exit 1
umask 077
_rpd_temp=$(mktemp -d) || exit 1
trap 'rm -rf -- "$_rpd_temp"' EXIT
trap 'exit 1' HUP INT TERM
"""

# $1 the folder, $2 options for tar, $3 the function that sums, $4 the length of the names; standard input:
# names (./…), each ended by NUL, and what QuickLine says. Sums are computed while tar reads. Uses xargs because
# busybox's tar takes no list of names; so there may be several archives, one after the other.
_FETCH = (
    _TEMP
    + SUM
    + QUICK_SUM
    + PACK
    + HEAR
    + r"""
"$3" <"$_rpd_temp/names" >"$_rpd_temp/sums" 2>"$_rpd_temp/errors" &
_rpd_sums=$!
_rpd_gnu=
# GNU tar reads backslashes in names as escapes unless it is told not to.
if tar --version 2>/dev/null | grep -q GNU; then _rpd_gnu="--no-unquote -b 128"; fi
xargs -0 tar -c $_rpd_gnu $2 -f - <"$_rpd_temp/names" | _rpd_pack
wait "$_rpd_sums"
{ cat "$_rpd_temp/errors"; echo SUMS; cat "$_rpd_temp/sums"; } >&2
exit 0
"""
)

# $1 the folder; standard input as above. Prints the sums of files that were received before.
_SUMS = (
    r"""
cd -- "$1" || exit 1
"""
    + SUM
    + r"""
_rpd_sum 2>/dev/null
exit 0
"""
)

# $1 the folder, $2 the name, $3 the function that sums. _rpd_parts writes the requested parts of the file.
_PARTS = (
    _TEMP
    + SUM
    + QUICK_SUM
    + PACK
    + r"""
printf '%s\0' "$2" | "$3" >"$_rpd_temp/sums" 2>"$_rpd_temp/errors" &
_rpd_sums=$!
_rpd_parts "$@" | _rpd_pack
wait "$_rpd_sums"
{ cat "$_rpd_temp/errors"; echo SUMS; cat "$_rpd_temp/sums"; } >&2
exit 0
"""
)

# $1 the folder, $2 the name, $3 the first byte, counted from 1.
_REST = (
    PACK
    + r"""
cd -- "$1" && [ -r "$2" ] || exit 1
tail -c "+$3" -- "$2" | _rpd_pack
"""
)


@dataclass(slots=True)
class _Partial:
    """A file that is being received: its name, its final size, and the state of the part that is here."""

    name: str
    whole: int
    mode: int
    mtime: int
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class Fetching:
    """One pull in progress."""

    def __init__(
        self,
        shell: Shell,
        source: str,
        landing: Landing,
        listing: Listing,
        progress: Progress | None,
        resumable: int = RESUMABLE_BYTES,
    ) -> None:
        self._shell = shell
        self._source = source
        self._listing = listing
        self._progress = progress
        self._landing = landing
        self._room = Room(landing.local)
        self._left_out: dict[str, str] = {}
        self._resumable = resumable
        self._at_once = min(_SMALL, resumable)
        self._received = 0
        self._whole: dict[str, tuple[str, int]] = {}
        self._partial: _Partial | None = None
        self._asked: frozenset[str] = frozenset()
        self._awaited: set[str] = set()
        """Those that have not come yet."""
        self._passed_over = 0
        self.kept_links: dict[str, str] = {}
        self.sums: dict[str, str] = {}
        self.bytes = 0
        self.new_name: str | None = None
        """The local name of the only file in the listing, if it differs."""
        self.sums_path = self._landing.sums_path

    def fetch_all(self) -> None:
        """Fetch until each file here matches the pod's sum; a file that fails twice is an error."""
        outside = self._sort_links()
        self._patch_all()
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

    def _patch_all(self) -> None:
        """Fetch only the new parts of large files that are here from an earlier pull."""
        names = [
            name
            for name in self._listing.files
            if name not in self.sums and self._landing.is_large(self.new_name or name)
        ]
        if not names:
            return
        try:
            blocks_by_name = mended(self._shell, lambda: large_files(self._shell, self._listing.base, names))
            for name, large in blocks_by_name.items():
                self._patch(name, large)
        except (Disconnected, DeadlinePassed) as error:
            raise TransferBroken(f"{self._source} could not be fetched: {error}") from error
        except TooMuch:
            return  # they are fetched completely

    def _patch(self, name: str, large: Large) -> None:
        """Assemble a file from old and new parts. If the result is wrong, the whole file is fetched later."""
        try:
            with self._landing.earlier(self.new_name or name) as old:
                pieces = pieces_of_known(sum_at(old), os.fstat(old.fileno()).st_size, large.blocks)
                if new_bytes(pieces) == large.blocks.size:
                    return
                self._room.check(large.blocks.size, self._received)
                partial = _Partial(name, large.blocks.size, large.mode, large.mtime)
                with self._landing.begin(name) as file:
                    theirs = self._go_through(pieces, old, file, partial)
                    self._received_whole(partial, file)
        except Cut:
            return
        except OSError as error:
            raise self._cannot_be_written(name, error) from error
        self._verify([name], theirs, "")

    def _go_through(
        self, pieces: Sequence[Piece], old: BinaryIO, file: FileIO, partial: _Partial
    ) -> Mapping[str, str]:
        """Write one piece after the other, over as many connections as it takes; return the pod's sum."""
        breaks = Breaks()
        while True:
            try:
                return self._ask_for_parts(remaining(pieces, partial.size), old, file, partial)
            except Disconnected:
                if breaks.is_last(partial.size):
                    raise
                self._shell.reconnect()

    def _ask_for_parts(
        self, pieces: Sequence[Piece], old: BinaryIO, file: FileIO, partial: _Partial
    ) -> Mapping[str, str]:
        """Write a file from new parts of the pod and old ones from here; return the pod's checksum of it."""
        path = f"./{partial.name}"
        words = [
            copy_words('"$2"', piece_sent.start, piece_sent.length)
            for piece_sent in pieces
            if piece_sent.source is None
        ]
        parts = f"_rpd_parts() {{ {'; '.join(words) or ':'}; }}\n"
        summing = "_rpd_quick_sum" if is_plain([path]) else "_rpd_sum"
        script = with_arguments(parts + _PARTS, self._listing.base, path, summing)
        stream = self._shell.open(Program(script, stdin=[], stall=STALL_SECONDS, is_wide=True))
        try:
            blocks = unpacked(stream.read)
            new = Source(lambda: next(blocks, b""))
            for piece in pieces:
                if piece.source is None:
                    for block in parts_of(new.some, piece.length):
                        self._take(block, file, partial)
                else:
                    old.seek(piece.source)
                    for data in parts_of(old.read, piece.length):
                        _write(data, file, partial)
            ended = stream.finish()
        except Cut:
            stream.finish()  # raises if the connection broke; otherwise the file became shorter
            raise
        finally:
            stream.close()
        return parse_sums(ended.stderr.decode("utf-8", "surrogateescape").partition("SUMS\n")[2])

    def _fetch(self, names: Sequence[str], options: str) -> None:
        """Fetch files until each matches its sum, over as many connections as it takes while each makes progress."""
        missing = [name for name in names if name not in self.sums]
        rounds, breaks = 0, Breaks()
        reasons: dict[str, str] = {}
        while missing:
            try:
                self._settle()
                missing = [name for name in missing if name not in self.sums]
                if missing:
                    reasons = self._fetch_once(missing, options)
                    rounds += 1
            except Disconnected as error:
                if breaks.is_last(self._safe_bytes):
                    raise TransferBroken(f"{self._source} could not be fetched: {error}") from error
                self._shell.reconnect()
            except DeadlinePassed as error:
                raise TransferBroken(
                    f"{self._source} could not be fetched: the pod is stuck: {error}"
                ) from error
            except TooMuch as error:
                raise TransferError(f"{self._source} could not be fetched: {error}") from error
            missing = [name for name in missing if name not in self.sums]
            if missing and rounds >= 2:
                shown = ", ".join(posixpath.join(self._listing.base, name) for name in missing[:3])
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                raise TransferError(
                    f"{self._source} was not fetched completely: {reasons.get(missing[0], 'not readable')}: "
                    f"{shown}{more}"
                )

    @property
    def _safe_bytes(self) -> int:
        """The number of bytes that a broken connection does not lose."""
        partial = self._partial.size if self._partial else 0
        return self.bytes + partial + sum(size for _, size in self._whole.values())

    def _settle(self) -> None:
        """Resume the file that a broken connection cut, and check files that arrived before. Raise Disconnected."""
        if self._partial is not None:
            self._resume(self._partial)
        if not self._whole:
            return
        script = with_arguments(_SUMS, self._listing.base)
        ended = self._shell.exec(_of_names(script, list(self._whole)))
        self._verify(list(self._whole), parse_sums(ended.stdout.decode("utf-8", "surrogateescape")), "")

    def _resume(self, partial: _Partial) -> None:
        script = with_arguments(_REST, self._listing.base, f"./{partial.name}", str(partial.size + 1))
        stream = self._shell.open(Program(script, stall=STALL_SECONDS, is_wide=True))
        try:
            with self._landing.go_on(partial.name) as file:
                file.truncate(partial.size)
                file.seek(partial.size)
                for block in unpacked(stream.read):
                    self._take(block, file, partial)
                    if partial.size > partial.whole:
                        break
                if partial.size == partial.whole:
                    self._received_whole(partial, file)
            if partial.size <= partial.whole:  # otherwise it became another file: all of it is fetched again
                stream.finish()
        except OSError as error:
            raise self._cannot_be_written(partial.name, error) from error
        finally:
            stream.close()
        self._partial = None

    def _fetch_once(self, names: Sequence[str], options: str) -> dict[str, str]:
        """Fetch ``names``; note those whose sums match, and return why the others failed."""
        summing = "_rpd_quick_sum" if is_plain(names) else "_rpd_sum"
        sent = nul_ended(names)
        script = with_arguments(_FETCH, self._listing.base, options, summing, str(len(sent)))
        line = QuickLine(sent)
        stream = self._shell.open(_of_names(script, names, line))
        self._asked, self._awaited, self._passed_over = frozenset(names), set(names), 0
        try:
            # A cut stream ends early: whatever is missing is requested again.
            with contextlib.suppress(Cut):
                blocks = unpacked(lambda: line.passed(stream.read()))
                for member, content in members(lambda: next(blocks, b"")):
                    self._extract(member, content)
            line.end()
            ended = stream.finish()
        finally:
            line.end()
            stream.close()
        if ended.exit_code:
            raise TransferError(f"{self._source} could not be fetched: {ended.reason}")
        self._partial = None  # cut because a file became shorter, not by the connection
        complaints, _, sums = ended.stderr.decode("utf-8", "surrogateescape").partition("SUMS\n")
        if self._are_as_listed(names, sums):
            return {}
        return self._verify(names, parse_sums(sums), "; ".join(complaints.strip().splitlines()[-3:]))

    def _are_as_listed(self, names: Sequence[str], sums: str) -> bool:
        """Note all files at once if the pod lists the sums word for word as they are here: that is quick to see."""
        try:
            here = [self._whole[name] for name in names]
        except KeyError:
            return False
        between = sums[64:66]
        lines = [f"{sha256}{between}./{name}\n" for name, (sha256, _) in zip(names, here, strict=True)]
        if "".join(lines) != sums:
            return False
        self.sums.update(zip(names, [sha256 for sha256, _ in here], strict=True))
        self.bytes += sum([size for _, size in here])
        self._whole.clear()
        return True

    def _verify(self, names: Sequence[str], theirs: Mapping[str, str], complaints: str) -> dict[str, str]:
        """Note which of the arrived files match the pod's sums; return why the others failed."""
        reasons = {}
        for name in names:
            sha256, size = self._whole.pop(name, ("", 0))
            if not sha256 or name not in theirs:
                reasons[name] = complaints or "it disappeared while being read"
            elif sha256 != theirs[name]:
                reasons[name] = "it changed while being read (its sha256 differs)"
            else:
                self.sums[name] = sha256
                self.bytes += size
        return reasons

    def _extract(self, member: Member, content: bytes | Content) -> None:
        """Write one member of the archive. The pod is not trusted: each name must be requested, and come once."""
        name = member.name.removeprefix("./")
        if name not in self._awaited:
            name = posixpath.normpath(member.name)
        if name not in self._asked:  # such as a file that became a folder
            self._passed_over += member.size + _MEMBER_BYTES
            if self._passed_over > _MOST_PASSED_OVER:
                raise TransferError(
                    f"{self._source} could not be fetched: the pod sends files that were not requested"
                )
            return
        if name not in self._awaited:
            raise TransferError(f"{self._source} could not be fetched: the pod sent {name!r} twice")
        self._awaited.remove(name)
        if not isinstance(content, Content):
            self._extract_at_once(name, member, content)
            return
        if member.size <= self._at_once and not member.same_as:
            self._extract_at_once(name, member, content.whole())
            return
        partial = _Partial(name, member.size, member.mode & 0o777 | 0o600, member.mtime)
        try:
            if member.same_as:
                self._copy(posixpath.normpath(member.same_as), partial)
                return
            self._room.check(member.size, self._received)
            with self._landing.begin(name) as file:
                while content.left:
                    self._take(content.read(_CHUNK), file, partial)
                self._received_whole(partial, file)
        except (Disconnected, Cut):
            self._partial = partial if partial.size > 0 and partial.whole > self._resumable else None
            raise
        except OSError as error:
            raise self._cannot_be_written(name, error) from error

    def _extract_at_once(self, name: str, member: Member, data: bytes) -> None:
        """Write a small file: with many of them, each step counts."""
        try:
            self._room.check(member.size, self._received)
            self._landing.write(name, data, member.mode & 0o777 | 0o600, member.mtime)
        except OSError as error:
            raise self._cannot_be_written(name, error) from error
        self._count(len(data))
        self._whole[name] = (hashlib.sha256(data).hexdigest(), len(data))

    def _copy(self, original: str, partial: _Partial) -> None:
        """Copy the content of an earlier file: on the pod the two are hard links to one."""
        if original not in self._whole:
            return  # it came in another round: requested alone, this one carries its own content
        with self._landing.read(original) as source, self._landing.begin(partial.name) as file:
            while block := source.read(_CHUNK):
                _write(block, file, partial)
            self._received_whole(partial, file)

    def _take(self, block: bytes | memoryview, file: FileIO, partial: _Partial) -> None:
        _write(block, file, partial)
        self._count(len(block))

    def _count(self, size: int) -> None:
        self._received += size
        if self._progress is not None:
            self._progress(self._received, 0)

    def _received_whole(self, partial: _Partial, file: FileIO) -> None:
        self._landing.dress(partial.name, file, partial.mode, partial.mtime)
        self._whole[partial.name] = (partial.digest.hexdigest(), partial.size)

    def keep(self) -> None:
        """Move the verified files into ``local``, and note their sums."""
        listing, sums = self._listing, self.sums
        try:
            if self.new_name is not None:
                (name,) = listing.roots
                self._landing.rename(name, self.new_name)
                listing = Listing(base=listing.base, roots=[self.new_name], files=[self.new_name])
                sums = {self.new_name: sums[name]} if name in sums else {}
            self._landing.keep(listing, sums=sums, links=self.kept_links, left_out=self._left_out)
        except OSError as error:
            raise self._not_here(
                f"cannot write {self._source} into {self._landing.local}: {error.filename}", error
            ) from error

    def _cannot_be_written(self, name: str, error: OSError) -> TransferError:
        return self._not_here(f"cannot write {self._landing.path(name)}", error)

    @staticmethod
    def _not_here(message: str, error: OSError) -> TransferError:
        """Return an error that blames the pod for a name that leads out, and this machine for all else."""
        if isinstance(error, LeadsOut):
            return TransferError(f"{message}: {error.strerror}")
        return LocalTransferError(message, error)


def _write(block: bytes | memoryview, file: FileIO, partial: _Partial) -> None:
    write_all(file, block)
    partial.digest.update(block)
    partial.size += len(block)


def _of_names(script: str, names: Sequence[str], stdin: Iterable[bytes] = ()) -> Program:
    """Return a program that reads names (as ``stdin``, if it is given) and may print some lines about each."""
    most = 4 * sum(map(len, names)) + 300 * len(names) + MOST_KEPT
    return Program(script, stdin=stdin or [nul_ended(names)], stall=STALL_SECONDS, most=most, is_wide=True)

"""The tar stream of a staged tree."""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import shlex
import tarfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from rpd.errors import LocalTransferError
from rpd.project.ignore import Kind, StagedFile, tree_digest
from rpd.remote.protocol import Progress
from rpd.remote.transfer import delta, sent_list
from rpd.remote.transfer.patch import LEAST_BYTES, Blocks, Piece, Summing, copy_words, new_bytes
from rpd.remote.transfer.paths import nul_ended

_CHUNK = 1 << 20
_open = open
"""Bound now: a job may mock the built-in one."""
_TREE, _END = "tree", "end"
_FILE, _FOLDER = Kind.FILE, Kind.FOLDER
"""Bound once: to look up a member of an enumeration takes long for something that is done for each file."""
_SMALL = 256 << 10
"""Bytes of a file that is read at once."""
_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""A pipe that took the place of a file is not waited for; Windows needs to be told that files are no text."""

_LONGEST_PLAIN, _LARGEST_PLAIN = 100, 0o77777777777
_EMPTY = tarfile.TarInfo().tobuf(tarfile.GNU_FORMAT)
"""A header, of which name, mode, size, time and checksum are replaced."""
_OWNERS, _REST = _EMPTY[108:124], _EMPTY[156:]
_REST_SUM = sum(_REST) + 8 * ord(" ")

_WORTH_GOING_ON = 256 << 10
"""Least size of a file's beginning, in bytes, that is worth keeping for a resumed transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The content that a cut stream left on the pod: complete files, and beginnings of others.

    ``whole`` is name to sha256, ``parts`` name to bytes: tar has set neither mode nor time of those. At most
    one of them is shorter than it should be.
    """

    whole: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    blocks: Mapping[str, Blocks] = field(default_factory=dict)
    changed: Sequence[str] = ()
    incomplete: Sequence[str] = ()


class Archive:
    """A tar stream of the staged files that the pod lacks, with the sha256 of each as it passes.

    Everything is under ``tree``. A file that is patched or resumed is assembled on the pod by ``plan``, from
    what is there and from what is under ``new``.
    """

    def __init__(
        self,
        local: Path,
        files: Sequence[StagedFile],
        stamp: str = "",
        change: delta.Change = delta.NOTHING_KEPT,
        progress: Progress | None = None,
        arrived: Arrived = Arrived(),
    ) -> None:
        self._local = local
        self._is_folder = local.is_dir()
        self._list = files
        self._stamp = stamp
        self._change = change
        self._kept = change.kept
        self._arrived = arrived
        self._progress = progress
        self._contents: list[tuple[StagedFile, str]] = []
        self._blocks = {**change.blocks, **arrived.blocks}
        self._plan: list[str] = []
        self._about: dict[str, Any] = {}
        self._done = 0
        self._in_parts = arrived.whole.keys() | change.patched.keys() | arrived.parts.keys()
        """The files that are not kept, and of which only a part is sent, or nothing."""
        # There may be many files: only a few steps for each.
        kept, parts = self._kept, self._in_parts
        to_send = [file for file in files if file.name not in kept]
        self._total = sum([self._size_sent(file) if file.name in parts else file.size for file in to_send])
        self.changed: list[str] = list(arrived.changed)
        """Files that differed, after they were read, from their state when they were listed."""
        self.incomplete: list[str] = list(arrived.incomplete)
        """Those of them that ended before the listed size, or were gone: zeros were sent for the rest."""

    @property
    def part_path(self) -> str:
        """The path of the resumed file, below the folder where the stream is received; empty if there is none."""
        parts = self._arrived.parts
        sent = (
            (file.name for file in self._list if file.name in parts and self._size_sent(file))
            if parts
            else ()
        )
        return next(map(self._path, sent), "")

    def about(self) -> dict[str, Any]:
        """Return digest, number of files and bytes of the tree; valid once all blocks were taken."""
        if not self._about:
            self._about = {
                "tree_sha256": tree_digest(self._contents),
                "files": sum([file.kind is not _FOLDER for file in self._list]),
                "bytes": sum([file.size for file in self._list]),
            }
        return self._about

    def arrived(self, sizes: Mapping[str, int]) -> Arrived:
        """Return the part of this archive that is on the pod, given the ``sizes`` of files after the cut."""
        sums = {file.name: sha256 for file, sha256 in self._contents}
        whole, parts = dict(self._arrived.whole), {}
        there = [
            file
            for file in self._list
            if file.kind is Kind.FILE
            and file.name in sizes
            and not (file.name in self._kept or file.name in self._change.patched or file.name in whole)
        ]
        for file in there[:-1]:
            if sizes[file.name] == file.size and file.name in self._arrived.parts:
                parts[file.name] = file.size
            elif sizes[file.name] == file.size and file.name in sums:
                whole[file.name] = sums[file.name]
        # tar writes one file after the other: the cut may have hit only the last one.
        for file in there[-1:]:
            if _WORTH_GOING_ON <= sizes[file.name] <= file.size:
                parts[file.name] = sizes[file.name]
        return Arrived(
            whole=whole,
            parts=parts,
            blocks={name: blocks for name, blocks in self._blocks.items() if name in whole},
            changed=[name for name in self.changed if name in whole],
            incomplete=[name for name in self.incomplete if name in whole],
        )

    def blocks(self) -> Iterator[bytes]:
        """Yield the archive: everything under ``tree``, notes, then ``end``, which proves that nothing is missing."""
        if self._is_folder:
            yield self._root(_TREE, at_least=0o700 if self._kept else 0)
            kept, parts = self._kept, self._in_parts
            for file in self._list:  # there may be many: only a few steps for each
                if (sha256 := kept.get(file.name)) is not None:
                    self._contents.append((file, sha256))
                elif file.kind is _FILE and file.size <= _SMALL and file.name not in parts:
                    yield self._small_member(f"{_TREE}/{file.name}", file)
                elif kept and file.kind is _FOLDER:
                    self._contents.append((file, ""))  # made when all else is in its place
                else:
                    yield from self._file_blocks(file)
        else:
            yield from self._file_blocks(self._list[0])
        if self._plan:
            yield from _small_file("plan", "".join(self._plan))
        if self._kept:
            yield from _small_file("drop", nul_ended(self._change.dropped))
            yield from _small_file("count", str(len(self._list) + 1))
            yield from _small_file("folders", b"".join(self._folders()))
            if self._change.paths is not None:
                yield from _small_file("paths", b".\0" + nul_ended(self._change.paths))
        if self._stamp:
            yield from _small_file("note", f"{self._stamp}\n{json.dumps(self.about())}\n")
            yield from self._listed()
        yield from _small_file(_END, "")
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _listed(self) -> Iterator[bytes]:
        """Yield the list of what was sent, or what differs from the one that the pod has."""
        continued = self._change.continued
        if continued is None:
            yield from _small_file("list", sent_list.written(self._contents, self._blocks))
            return
        differing = [(file, sha256) for file, sha256 in self._contents if file.name in continued.names]
        yield from _small_file("stamp", f"{continued.stamp}\n")
        yield from _small_file("more", sent_list.written(differing, self._blocks, continued.gone))

    def _path(self, name: str) -> str:
        return f"{_TREE}/{name}" if self._is_folder else _TREE

    def _size_sent(self, file: StagedFile) -> int:
        """Return how many bytes of a file are sent."""
        if file.name in self._kept or file.name in self._arrived.whole:
            return 0
        if file.name in self._change.patched:
            return new_bytes(self._change.patched[file.name].pieces)
        return file.size - self._arrived.parts.get(file.name, 0)

    def _file_blocks(self, file: StagedFile) -> Iterator[bytes]:
        """Yield one path: all of it, its new part, or nothing if it arrived before."""
        if file.name in self._arrived.whole:
            self._contents.append((file, self._arrived.whole[file.name]))
        elif file.name in self._change.patched:
            yield from self._patch_blocks(file, self._change.patched[file.name])
        elif file.name in self._arrived.parts:
            yield from self._rest_blocks(file)
        else:
            yield from self._member_blocks(self._path(file.name), file)

    def _small_member(self, name: str, file: StagedFile) -> bytes:
        """Return header and content of a file at once: with many small files, each step between them counts."""
        size = file.size
        content = self._content(file)
        if len(content) < size:
            self.incomplete.append(file.name)
            content += bytes(size - len(content))
        self._passed(size)
        self._contents.append((file, hashlib.sha256(content).hexdigest()))
        return self._header(name, file, size) + content + bytes(-size % tarfile.BLOCKSIZE)

    def _patch_blocks(self, file: StagedFile, patch: delta.Patch) -> Iterator[bytes]:
        """Yield the new pieces of a file whose other pieces are in the tree that was sent before."""
        new, size = f"new/{len(self._plan)}", new_bytes(patch.pieces)
        yield self._header(new, file, size)
        missing = size
        with self._reading(file) as source:
            for piece in patch.pieces:
                if piece.source is None:
                    source.seek(piece.start)
                    for block in _read(source, piece.length):
                        missing -= len(block)
                        self._passed(len(block))
                        yield block
        if missing:
            self.incomplete.append(file.name)
            yield from _zeros(missing)
        yield bytes(-size % tarfile.BLOCKSIZE)
        old = f'"$_rpd_target"{f"/{shlex.quote(file.name)}" if self._is_folder else ""}'
        self._make(file, f"{{ {_copies(patch.pieces, old, new)}; }} >made", new, patch.sha256)
        self._contents.append((file, patch.sha256))
        self._blocks[file.name] = patch.blocks

    def _rest_blocks(self, file: StagedFile) -> Iterator[bytes]:
        """Yield the missing end of a file whose beginning arrived before."""
        at, path = self._arrived.parts[file.name], shlex.quote(self._path(file.name))
        new = "new/rest" if at < file.size else f"new/{len(self._plan)}"
        yield self._header(new, file, file.size - at)
        sha256 = yield from self._content_blocks(file, at)
        # First complete the beginning that arrived, so that another cut leaves a longer one; only then do
        # anything else.
        self._make(file, f"cat {new} >>{path} && mv -- {path} made", new, sha256)
        self._contents.append((file, sha256))

    def _make(self, file: StagedFile, made: str, new: str, sha256: str) -> None:
        """Plan to move ``made`` into the place of a file, after a check."""
        path = self._path(file.name)
        folder = posixpath.dirname(path)
        above = f"mkdir -p -- {shlex.quote(folder)} && " if folder else ""
        self._plan.append(
            f"{made} && _rpd_check {sha256} && touch -r {new} made && chmod {file.mode:o} made && "
            f"{above}mv -f -- made {shlex.quote(path)} || return 1\n"
        )

    def _root(self, name: str, *, at_least: int = 0) -> bytes:
        try:
            status = self._local.stat()
        except OSError as error:
            raise LocalTransferError(f"{self._local} cannot be read", error) from error
        info = _member(name, tarfile.DIRTYPE, status.st_mode & 0o777 | at_least)
        info.mtime = int(status.st_mtime)
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")

    def _folders(self) -> Iterator[bytes]:
        """Yield an archive of the folders that a change creates or touches: work inside them changes their times."""
        yield self._root(".")
        for file in self._list:
            if file.kind is Kind.FOLDER and file.name in self._change.folders:
                info = _member(f"./{file.name}", tarfile.DIRTYPE, file.mode)
                info.mtime = file.mtime
                yield info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _header(self, name: str, file: StagedFile, size: int) -> bytes:
        if file.kind is _FILE and (header := _plain_header(name, file.mode, size, file.mtime)):
            return header
        types = {Kind.FILE: tarfile.REGTYPE, Kind.FOLDER: tarfile.DIRTYPE, Kind.LINK: tarfile.SYMTYPE}
        info = _member(name, types[file.kind], file.mode)
        info.size, info.mtime, info.linkname = size, file.mtime, file.target
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")

    def _member_blocks(self, name: str, file: StagedFile) -> Iterator[bytes]:
        yield self._header(name, file, file.size)
        content = ""
        if file.kind is Kind.FILE:
            content = yield from self._content_blocks(file)
        self._contents.append((file, content))

    def _content_blocks(self, file: StagedFile, at: int = 0) -> Generator[bytes, None, str]:
        """Yield exactly the listed number of bytes, from ``at`` on, whatever has become of the file.

        Return its sha256.
        """
        digest = hashlib.sha256()
        summing = Summing(file.size) if file.size >= LEAST_BYTES else None
        left = file.size
        with self._reading(file) as source:
            for block in _read(source, file.size):
                passed = file.size - left
                left -= len(block)
                digest.update(block)
                if summing is not None:
                    summing.update(block)
                if new := block[max(0, at - passed) :]:
                    self._passed(len(new))
                    yield new
        if left:
            self.incomplete.append(file.name)
            for zeros in _zeros(left):
                digest.update(zeros)
            yield from _zeros(min(left, file.size - at))
        elif summing is not None:
            self._blocks[file.name] = summing.blocks()
        yield bytes((at - file.size) % tarfile.BLOCKSIZE)
        return digest.hexdigest()

    def _content(self, file: StagedFile) -> bytes:
        """Return what is there of a file, at most as much as was listed.

        The same as with ``_reading``, but without file objects, which take longer than to read a small file.
        """
        content = b""
        try:
            source = _opened(file.place)
            try:
                content = os.read(source, file.size)
                while len(content) < file.size and (more := os.read(source, file.size - len(content))):
                    content += more
                if not file.is_now(os.fstat(source)):
                    self.changed.append(file.name)
            finally:
                os.close(source)
        except FileNotFoundError:
            self.changed.append(file.name)
        except OSError as error:
            raise LocalTransferError(f"{file.place} cannot be read", error) from error
        return content

    @contextmanager
    def _reading(self, file: StagedFile) -> Iterator[BinaryIO]:
        """Open a file, or an empty one if it is gone; note if it differs at the end from its state when listed."""
        try:
            with _open(file.place, "rb", buffering=0, opener=_opened) as source:
                yield source
                if not file.is_now(os.fstat(source.fileno())):
                    self.changed.append(file.name)
        except FileNotFoundError:
            self.changed.append(file.name)
            yield io.BytesIO()
        except OSError as error:
            raise LocalTransferError(f"{file.place} cannot be read", error) from error

    def _passed(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done, self._total)


def _read(source: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (block := source.read(min(_CHUNK, size))):
        size -= len(block)
        yield block


def _zeros(size: int) -> Iterator[bytes]:
    for at in range(0, size, _CHUNK):
        yield bytes(min(_CHUNK, size - at))


def _copies(pieces: Sequence[Piece], old: str, new: str) -> str:
    """Return sh commands that write the pieces one after the other, from file ``old`` or ``new``."""
    words = []
    taken = 0
    for piece in pieces:
        source, at = (new, taken) if piece.source is None else (old, piece.source)
        taken += piece.length if piece.source is None else 0
        words.append(copy_words(source, at, piece.length))
    return "; ".join(words) or ":"


def _opened(path: str | Path, _flags: int = 0) -> int:
    """Return the descriptor of a file to read. Raise OSError."""
    return os.open(path, _READ_ONLY)


def _plain_header(name: str, mode: int, size: int, mtime: int) -> bytes | None:
    """Return the header of a file, as ``tarfile`` would make it; None if it needs more than one block of 512 bytes."""
    path = name.encode("utf-8", "surrogateescape")
    if len(path) > _LONGEST_PLAIN or size > _LARGEST_PLAIN or not 0 <= mtime <= _LARGEST_PLAIN:
        return None
    numbers = b"%07o\0%b%011o\0%011o\0" % (mode, _OWNERS, size, mtime)
    checksum = _REST_SUM + sum(path) + sum(numbers)
    return b"%b%b%06o\0 %b" % (path.ljust(_LONGEST_PLAIN, b"\0"), numbers, checksum, _REST)


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

"""The tar stream of a staged tree."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from rpd.errors import LocalTransferError
from rpd.project.ignore import Kind, StagedFile, tree_digest
from rpd.remote.protocol import Progress
from rpd.remote.transfer import delta
from rpd.remote.transfer.line_speed import Pace
from rpd.remote.transfer.paths import nul_ended

_CHUNK = 1 << 20
_open = open
"""Bound now: a job may mock the built-in one."""
_TREE, _END = "tree", "end"


class Archive:
    """A tar stream of staged files but those the pod keeps, with the sha256 of each as it goes by."""

    def __init__(
        self,
        local: Path,
        files: Sequence[StagedFile],
        stamp: str = "",
        change: delta.Change = delta.NOTHING_KEPT,
        progress: Progress | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._local = local
        self._list = files
        self._stamp = stamp
        self._change = change
        self._kept = change.kept
        self._progress = progress
        self._pace = pace
        self._contents: list[tuple[StagedFile, str]] = []
        self._done = 0
        self._total = sum(file.size for file in files if file.name not in change.kept)
        self.changed: list[str] = []
        """Files that were others after they were read than when they were listed."""
        self.incomplete: list[str] = []
        """Those of them that ended before the listed size, or were gone: zeros were sent for what is missing."""

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
                elif self._kept and file.kind is Kind.FOLDER:
                    self._contents.append((file, ""))  # made when all else is in its place
                else:
                    yield from self._member_blocks(f"{_TREE}/{file.name}", file)
        else:
            yield from self._member_blocks(_TREE, self._list[0])
        if self._kept:
            yield from _small_file("drop", nul_ended(self._change.dropped))
            yield from _small_file("count", str(len(self._list) + 1))
            yield from _small_file("folders", b"".join(self._folders()))
        if self._stamp:
            yield from _small_file("note", f"{self._stamp}\n{json.dumps(self.about())}\n")
            yield from _small_file("list", delta.sent_list(self._contents))
        yield from _small_file(_END, "")
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _root(self, name: str, *, at_least: int = 0) -> bytes:
        try:
            status = self._local.stat()
        except OSError as error:
            raise LocalTransferError(f"{self._local} cannot be read", error) from error
        info = _member(name, tarfile.DIRTYPE, status.st_mode & 0o777 | at_least)
        info.mtime = int(status.st_mtime)
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")

    def _folders(self) -> Iterator[bytes]:
        """Yield an archive of the folders that a change makes or touches: what is done in them changes their times."""
        yield self._root(".")
        for file in self._list:
            if file.kind is Kind.FOLDER and file.name in self._change.folders:
                info = _member(f"./{file.name}", tarfile.DIRTYPE, file.mode)
                info.mtime = file.mtime
                yield info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _member_blocks(self, name: str, file: StagedFile) -> Iterator[bytes]:
        types = {Kind.FILE: tarfile.REGTYPE, Kind.FOLDER: tarfile.DIRTYPE, Kind.LINK: tarfile.SYMTYPE}
        info = _member(name, types[file.kind], file.mode)
        info.size, info.mtime, info.linkname = file.size, file.mtime, file.target
        yield info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        content = ""
        if file.kind is Kind.FILE:
            content = yield from self._content_blocks(file)
        self._contents.append((file, content))

    def _content_blocks(self, file: StagedFile) -> Generator[bytes, None, str]:
        """Yield as many bytes as were listed, whatever the file has become meanwhile; return their sha256."""
        digest = hashlib.sha256()
        left = file.size
        try:
            with _open(file.place, "rb", buffering=0) as source:
                while left and (block := source.read(min(_CHUNK, left))):
                    left -= len(block)
                    digest.update(block)
                    self._passed(block)
                    yield block
                if left or not file.is_now(os.fstat(source.fileno())):
                    self.changed.append(file.name)
        except FileNotFoundError:
            self.changed.append(file.name)
            self.incomplete.append(file.name)
        except OSError as error:
            raise LocalTransferError(f"{file.place} cannot be read", error) from error
        else:
            if left:
                self.incomplete.append(file.name)
        while left:
            zeros = bytes(min(_CHUNK, left))
            left -= len(zeros)
            digest.update(zeros)
            yield zeros
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

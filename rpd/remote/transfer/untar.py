"""The files of a tar stream, one after the other as it arrives; what the stream claims is checked before it is held.

``tarfile`` reads a header; what goes round it is done here, because ``tarfile`` keeps whatever size a header names
in memory (long names, extended headers, maps of sparse files) and all members that it has seen.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator

from rpd.errors import TransferError
from rpd.values.frozen import frozen

LONGEST_NAME = 16 << 10
"""Bytes of a name; Linux knows none longer than 4 KiB."""

_MOST_EXTENDED = 1 << 20
_MOST_ZEROS = 1 << 20
"""Zeros between two archives: padding to a record of tar, which is 10 KB as a rule."""
_FARTHEST = 1 << 33
"""Seconds from 1970; not every file system can keep a time farther away."""
_BLOCK = tarfile.BLOCKSIZE
_MOST_PASSED_OVER = 20_000
"""Headers in a row that are no file's: tar is asked for files alone."""
_TAKEN = ("path", "linkpath", "size")
_NAMING = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_NUMBERS = ((100, 108), (124, 136), (136, 148), (148, 156))
"""Where mode, size, time and checksum stand in a header."""
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


class Cut(Exception):
    """The stream ended early: what is missing may be asked for again."""


@frozen
class Member:
    """A file of a tar stream; ``same_as`` is the name of an earlier one whose content it shares (a hard link)."""

    name: str
    size: int
    mode: int
    mtime: int
    same_as: str = ""


class Content:
    """The bytes of one member, to be read before the next."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self.left = size

    def read(self, most: int) -> memoryview:
        """Return the next bytes, empty at the end. Raises Cut."""
        data = self._source.some(min(most, self.left))
        self.left -= len(data)
        return data


class Source:
    """A stream that arrives in blocks of any size, read in the sizes that are wanted."""

    def __init__(self, receive: Callable[[], bytes | memoryview]) -> None:
        self._receive = receive
        self._pending = memoryview(b"")

    def some(self, most: int) -> memoryview:
        """Return at most so many bytes: those that are here, else those that come next. Raises Cut."""
        if not most:
            return memoryview(b"")
        if not self._pending:
            self._pending = memoryview(self._receive())
            if not self._pending:
                raise Cut
        data, self._pending = self._pending[:most], self._pending[most:]
        return data

    def exactly(self, size: int) -> bytes:
        """Return so many bytes. Raises Cut."""
        data = self.some(size)
        if len(data) == size:
            return bytes(data)
        parts = bytearray(data)
        while len(parts) < size:
            parts += self.some(size - len(parts))
        return bytes(parts)

    def skip(self, size: int) -> None:
        """Pass over so many bytes. Raises Cut."""
        while size:
            size -= len(self.some(size))

    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        if not self._pending:
            self._pending = memoryview(self._receive())
        return not self._pending


def members(receive: Callable[[], bytes | memoryview]) -> Iterator[tuple[Member, Content]]:
    """Yield the files of a tar stream, or of several one after the other; folders, links and devices are passed over.

    What of a content was not read is skipped. Raises Cut if the stream ends early, TransferError for one that is no
    tar stream or claims what none does.
    """
    source = Source(receive)
    zeros = passed_over = 0
    extended: dict[str, str] = {}
    while not source.is_over():
        block = source.exactly(_BLOCK)
        if not any(block):
            zeros += _BLOCK
            if zeros > _MOST_ZEROS:
                raise TransferError("the pod sent no tar stream: zeros without end")
            continue
        zeros = 0
        member = _plain_file(block, extended)
        if member is not None:
            extended, passed_over = {}, 0
            content = Content(source, member.size)
            yield member, content
            source.skip(content.left + _padding(member.size))
            continue
        info = _header(block)
        if info.type not in _FILES:
            passed_over += 1
            if passed_over > _MOST_PASSED_OVER:
                raise TransferError("the pod sends an archive without end that holds no files")
        if info.type in _NAMING:
            key = "path" if info.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
            data = _content(source, info, LONGEST_NAME)
            extended[key] = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
            continue
        if info.type in _EXTENDED:
            records = _records(_content(source, info, _MOST_EXTENDED))
            extended |= {key: records[key] for key in _TAKEN if key in records}
            continue
        if info.type == tarfile.XGLTYPE:  # of the archive as a whole: nothing that is used here
            _content(source, info, _MOST_EXTENDED)
            continue
        member = _member(info, extended)
        extended = {}
        content = Content(source, member.size)
        if info.type in _FILES or member.same_as:
            passed_over = 0
            yield member, content
        source.skip(content.left + _padding(member.size))


def _plain_file(block: bytes, extended: dict[str, str]) -> Member | None:
    """Return the file that an ordinary header names; None for all other headers, which ``tarfile`` reads.

    Nearly all headers are of this kind: a regular file, octal numbers, no prefix. It is read as ``tarfile`` would.
    """
    if block[156:157] != tarfile.REGTYPE or block[345]:
        return None
    mode, size, mtime, checksum = (
        block[start:end].partition(b"\0")[0].strip(b" ") for start, end in _NUMBERS
    )
    if not (mode.isdigit() and size.isdigit() and mtime.isdigit() and checksum.isdigit()):
        return None
    try:
        if int(checksum, 8) != sum(block) - sum(block[148:156]) + 256:
            return None
        return Member(
            name=extended.get("path", block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")),
            size=_whole(extended.get("size"), int(size, 8)),
            mode=int(mode, 8),
            mtime=min(int(mtime, 8), _FARTHEST),
        )
    except ValueError:  # an 8 or a 9
        return None


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise TransferError(f"the pod sent no tar stream: {error}") from None
    if info.size < 0:
        raise TransferError(f"the pod sent no tar stream: a size of {info.size}")
    if info.type == tarfile.GNUTYPE_SPARSE:
        raise TransferError(f"the pod's tar sends {info.name!r} in pieces (sparse), which is not asked of it")
    return info


def _content(source: Source, info: tarfile.TarInfo, most: int) -> bytes:
    """Return what follows a header that is no file's."""
    if info.size > most:
        raise TransferError(f"the pod sent a tar header of {info.size} bytes; {most} is the most")
    data = source.exactly(info.size)
    source.skip(_padding(info.size))
    return data


def _records(data: bytes) -> dict[str, str]:
    """Return the records of a pax header: ``LENGTH KEY=VALUE`` and a newline, one after the other."""
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or not (size := int(length)):
            break
        key, _, value = data[at + len(length) + 1 : at + size - 1].partition(b"=")
        records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at += size
    if any(key.startswith("GNU.sparse.") for key in records):
        raise TransferError("the pod's tar sends a file in pieces (sparse), which is not asked of it")
    return records


def _member(info: tarfile.TarInfo, extended: dict[str, str]) -> Member:
    is_link = info.type == tarfile.LNKTYPE
    has_content = info.type in _FILES
    return Member(
        name=extended.get("path", info.name),
        size=_whole(extended.get("size"), info.size) if has_content else 0,
        mode=info.mode,
        mtime=min(max(int(info.mtime), -_FARTHEST), _FARTHEST),
        same_as=extended.get("linkpath", info.linkname) if is_link else "",
    )


def _whole(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise TransferError(f"the pod sent a tar header with a size of {text[:40]!r}")
    return int(text)


def _padding(size: int) -> int:
    return -size % _BLOCK

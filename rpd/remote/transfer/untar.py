"""The files of a tar stream, one after the other as they arrive.

Claims of the stream are checked before they cost memory.

``tarfile`` parses headers; the rest is done here, because ``tarfile`` keeps members it has seen, and data of
any size that a header announces (long names, extended headers, maps of sparse files), in memory.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Callable, Iterator

from rpd.errors import TransferError
from rpd.values.frozen import frozen

LONGEST_NAME = 16 << 10
"""Most bytes of a name; Linux allows 4 KiB."""

_MOST_EXTENDED = 1 << 20
_MOST_ZEROS = 1 << 20
"""Most zeros between two archives: padding to a record of tar, usually 10 KB."""
_FARTHEST = 1 << 33
"""Greatest distance from 1970 in seconds; not every file system can store times beyond."""
_BLOCK = tarfile.BLOCKSIZE
_AT_ONCE = 64 << 10
_MOST_PASSED_OVER = 20_000
"""Most headers in a row that are not files: tar is asked for files alone."""
_TAKEN = ("path", "linkpath", "size")
_NAMING = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_ORDINARY = re.compile(
    rb"(?=([^\0]{1,100})).{100}([0-7]{7})\0.{16}([0-7]{11})\0([0-7]{11})\0([0-7]{6})\0 0", re.DOTALL
)
"""Name, mode, owners, size, time and checksum as GNU tar and busybox write them, and a file's type."""
_ADLER = 65521
"""The modulus of Adler-32."""
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


class Cut(Exception):
    """The stream ended early: the missing part may be requested again."""


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

    __slots__ = ("_source", "left")

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self.left = size

    def read(self, most: int) -> memoryview:
        """Return the next bytes, empty at the end. Raise Cut."""
        data = self._source.some(min(most, self.left))
        self.left -= len(data)
        return data

    def whole(self) -> bytes:
        """Return all of it, if nothing was read before. Raise Cut."""
        data, self.left = self._source.exactly(self.left), 0
        return data


class Source:
    """A stream that arrives in blocks of any size and is read in the sizes needed."""

    __slots__ = ("_at", "_block", "_receive", "_size")

    def __init__(self, receive: Callable[[], bytes | memoryview]) -> None:
        self._receive = receive
        self._block = memoryview(b"")
        self._size = self._at = 0

    def some(self, most: int) -> memoryview:
        """Return at most ``most`` bytes: those that are here, else the next to arrive. Raise Cut."""
        if not most:
            return memoryview(b"")
        if self.is_over():
            raise Cut
        data = self._block[self._at : self._at + most]
        self._at += len(data)
        return data

    def exactly(self, size: int) -> bytes:
        """Return exactly ``size`` bytes. Raise Cut."""
        begin, end = self._at, self._at + size
        if end <= self._size:
            self._at = end
            return self._block[begin:end].tobytes()
        parts = bytearray()
        while len(parts) < size:
            parts += self.some(size - len(parts))
        return bytes(parts)

    def header(self) -> bytes | memoryview:
        """Return the next block of tar, without a copy if all of it is here; empty at the end. Raise Cut."""
        begin, end = self._at, self._at + _BLOCK
        if end <= self._size:
            self._at = end
            return self._block[begin:end]
        return b"" if self.is_over() else self.exactly(_BLOCK)

    def content(self, size: int) -> bytes | Content:
        """Return the content of ``size`` bytes that comes next, as bytes and passed over if all of it is here."""
        begin = self._at
        end = begin + size + -size % _BLOCK
        if size > _AT_ONCE or end > self._size:
            return Content(self, size)
        self._at = end
        return self._block[begin : begin + size].tobytes()

    def skip(self, size: int) -> None:
        """Skip ``size`` bytes. Raise Cut."""
        if self._at + size <= self._size:
            self._at += size
            return
        while size:
            size -= len(self.some(size))

    def is_over(self) -> bool:
        """Return whether the stream has ended."""
        if self._at == self._size:
            self._block = memoryview(self._receive())
            self._size, self._at = len(self._block), 0
        return not self._size


def members(receive: Callable[[], bytes | memoryview]) -> Iterator[tuple[Member, bytes | Content]]:
    """Yield the files of one tar stream or several in a row; folders, links and devices are skipped.

    A small file's content comes as bytes if all of it has arrived; of another, what is left unread is skipped.
    Raise Cut if the stream ends early, TransferError if it is no tar stream or makes implausible claims.
    """
    source = Source(receive)
    zeros = passed_over = 0
    extended: dict[str, str] = {}
    while block := source.header():
        member = _plain_file(block, extended)
        if member is not None:
            zeros = passed_over = 0
            if extended:
                extended = {}
            content = source.content(member.size)
            yield member, content
            if isinstance(content, Content):
                source.skip(content.left + _padding(member.size))
            continue
        if not any(block):
            zeros += _BLOCK
            if zeros > _MOST_ZEROS:
                raise TransferError("the pod sent no tar stream: zeros without end")
            continue
        zeros = 0
        info = _header(bytes(block))
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
        if info.type == tarfile.XGLTYPE:  # about the archive as a whole: nothing that is used here
            _content(source, info, _MOST_EXTENDED)
            continue
        member = _member(info, extended)
        extended = {}
        content = Content(source, member.size)
        if info.type in _FILES or member.same_as:
            passed_over = 0
            yield member, content
        source.skip(content.left + _padding(member.size))


def _plain_file(block: bytes | memoryview, extended: dict[str, str]) -> Member | None:
    """Return the file named by an ordinary header; None for all other headers, which ``tarfile`` parses.

    Nearly all headers are ordinary: a regular file, octal numbers, no prefix. Parsed as ``tarfile`` would,
    but much faster.
    """
    ordinary = _ORDINARY.match(block)
    if ordinary is None or block[345]:
        return None
    name, mode, size, mtime, checksum = ordinary.groups()
    # The low half of Adler-32 is the sum of all bytes and 1, by its modulus, in a tenth of the time of ``sum``.
    if (int(checksum, 8) + sum(block[148:156]) - 255) % _ADLER != zlib.adler32(block) & 0xFFFF:
        return None
    return Member(
        name=extended["path"] if "path" in extended else name.decode("utf-8", "surrogateescape"),
        size=_whole(extended["size"], 0) if "size" in extended else int(size, 8),
        mode=int(mode, 8),
        mtime=int(mtime, 8),  # eleven digits are less than _FARTHEST
    )


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise TransferError(f"the pod sent no tar stream: {error}") from None
    if info.size < 0:
        raise TransferError(f"the pod sent no tar stream: a size of {info.size}")
    if info.type == tarfile.GNUTYPE_SPARSE:
        raise TransferError(
            f"the pod's tar sends {info.name!r} in pieces (sparse), which rpd did not request"
        )
    return info


def _content(source: Source, info: tarfile.TarInfo, most: int) -> bytes:
    """Return the data after a header that is not a file's."""
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
        raise TransferError("the pod's tar sends a file in pieces (sparse), which rpd did not request")
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

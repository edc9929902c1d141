"""The list of a tree that was sent, which the pod keeps to be compared with the tree the next time.

It has the length of its first part in a line, then that part, compressed (names and facts, each ended by NUL), then the
sha256 of each file as bytes, which no compression makes shorter. Facts are compared as text: to turn those of 50,000
files into numbers and back would take longer than the rest of a put.

After a small change only what differs from that list is sent, in the same form: the list of 50,000 files has more bytes
than most changes to them.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence

from rpd.project.ignore import Kind, StagedFile
from rpd.remote.transfer.patch import SUM_DIGITS, Blocks
from rpd.values.frozen import frozen

_SUM_BYTES = 32
_REGULAR = Kind.FILE
"""Bound once, as it is compared for each file."""
_FILE, _FOLDER = "f", "d"
"""How the facts on them begin (``StagedFile.facts``)."""
_GONE = "-"
"""Stands for the facts on a path of the list that is gone."""
_BLOCKS = "|"
"""Stands in the facts of a large file before the sums of its blocks."""


@frozen(kw_only=False)
class SentTree:
    """The facts on each path, and the sha256 of each file, by name."""

    facts: Mapping[str, str]
    sums: Mapping[str, str]
    with_blocks: Sequence[str]
    """The names of the files whose blocks have sums, too."""
    later: Collection[str] = ()
    """The paths where the tree differs from the list that was sent whole."""

    def folder_mode(self, name: str) -> int | None:
        """Return the permission bits of a folder; None if it is not a folder."""
        facts = self.facts[name]
        return int(facts[1:], 8) if facts[0] == _FOLDER else None

    def is_like(self, file: StagedFile, *, stamped: bool) -> bool:
        """Return whether permission bits and size are the same; with ``stamped`` times and inode, too."""
        sent, own = self.facts[file.name], file.facts
        if stamped:
            return sent == own or sent.startswith(own + _BLOCKS)
        return sent.split(" ", 2)[:2] == own.split(" ", 2)[:2]

    def blocks(self, name: str) -> Blocks | None:
        """Return the sums of a file's blocks if they are known. Raise ValueError if they make no sense."""
        facts, _, noted = self.facts[name].partition(_BLOCKS)
        if not noted:
            return None
        _, size, _ = facts.split(" ", 2)
        block, _, sums = noted.partition(" ")
        parts = [sums[at : at + SUM_DIGITS] for at in range(0, len(sums), SUM_DIGITS)]
        blocks = Blocks(int(size), int(block), parts)
        if not blocks.is_sound():
            raise ValueError("not the sums of blocks")
        return blocks


def written(
    contents: Sequence[tuple[StagedFile, str]], blocks: Mapping[str, Blocks], gone: Collection[str] = ()
) -> bytes:
    """Return a list: paths with the sha256 of each file, sums of ``blocks`` of large files, and what is ``gone``."""
    noted = {name: f"{_BLOCKS}{one.block} {''.join(one.sums)}" for name, one in blocks.items()}
    lines = [f"{file.name}\0{file.facts}{noted.get(file.name, '')}\0" for file, _ in contents]
    lines += [f"{name}\0{_GONE}\0" for name in gone]
    facts = zlib.compress("".join(lines).encode("utf-8", "surrogateescape"), 1)
    sums = bytes.fromhex("".join([sha256 for file, sha256 in contents if file.kind is _REGULAR]))
    return b"%d\n%b%b" % (len(facts), facts, sums)


def read_sent(data: bytes, most: int, more: bytes = b"") -> SentTree:
    """Return what a pod was sent, from its list and, if there is one, from ``more``: what differs from that.

    Raise ValueError or zlib.error for other data, or for over ``most`` bytes.
    """
    facts, sums, has_blocks = _read(data, most)
    later: Collection[str] = ()
    if more:
        later_facts, later_sums, later_has_blocks = _read(more, most)
        for name in later_facts:
            sums.pop(name, None)
        sums |= later_sums
        facts = {name: fact for name, fact in (facts | later_facts).items() if fact != _GONE}
        has_blocks, later = has_blocks or later_has_blocks, later_facts.keys()
    with_blocks = [name for name, fact in facts.items() if _BLOCKS in fact] if has_blocks else []
    return SentTree(facts, sums, with_blocks, later)


def _read(data: bytes, most: int) -> tuple[dict[str, str], dict[str, str], bool]:
    """Return the facts, the sums, and whether there may be sums of blocks."""
    size, _, rest = data.partition(b"\n")
    gunzip = zlib.decompressobj()
    text = gunzip.decompress(rest[: int(size)], most)
    if not gunzip.eof:
        raise ValueError("longer than any list")
    parts = text.decode("utf-8", "surrogateescape").split("\0")
    names, facts = parts[:-1:2], parts[1::2]
    if parts[-1] or not all(facts):
        raise ValueError("not names and facts")
    files = [name for name, fact in zip(names, facts, strict=True) if fact[0] == _FILE]
    raw = rest[int(size) :]
    if len(raw) != len(files) * _SUM_BYTES:
        raise ValueError("not a sum for each file")
    sums = raw.hex("\n", _SUM_BYTES).split("\n") if raw else ()
    has_blocks = _BLOCKS.encode() in text
    return dict(zip(names, facts, strict=True)), dict(zip(files, sums, strict=True)), has_blocks

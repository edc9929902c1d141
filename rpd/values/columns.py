"""Columns of text, and how they fit a screen that is not wide enough for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rpd.values.frozen import frozen, replace

GAP = "  "
Measure = Callable[[str], int]


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


@frozen
class Column:
    """One column: title and cells. ``right`` aligns it, as numbers are.

    ``least`` is how narrow its text may be cut; 0 never cuts it: a number that is cut is another number. The greater
    ``rank`` is, the sooner it is left out where cutting text is not enough (0: never), or, if it ``says_little``,
    before any text is cut.
    """

    title: str
    cells: tuple[str, ...]
    right: bool = False
    least: int = 0
    rank: int = 0
    says_little: bool = False
    width: int = -1
    """Measured once: there may be thousands of cells."""

    def __post_init__(self) -> None:
        if self.width < 0:
            object.__setattr__(self, "width", max(map(cells, (self.title, *self.cells))))

    @property
    def narrowest(self) -> int:
        """How wide it is at least."""
        return max(min(self.least, self.width), cells(self.title)) if self.least else self.width

    def cut_to(self, width: int) -> Column:
        """Return the column with its text cut to ``width``."""
        return (
            self if width >= self.width else replace(self, cells=_cut_alike(self.cells, width), width=width)
        )

    def aligned(self, text: str) -> str:
        """Return a cell, or the title, filled with spaces."""
        space = " " * (self.width - cells(text))
        return f"{space}{text}" if self.right else f"{text}{space}"


def fitted(columns: Sequence[Column], width: int | None) -> tuple[list[Column], list[str]]:
    """Return the columns as they fit ``width`` (None: any), and the titles of those that were left out."""
    kept = list(columns)
    while width is not None and _total(column.width for column in kept) > width:
        can_be_cut = _total(column.narrowest for column in kept) <= width
        able = [n for n, each in enumerate(kept) if each.says_little or (each.rank and not can_be_cut)]
        if not able:
            return _cut(kept, width), _left_out(columns, kept)
        first = max(able, key=lambda n: (kept[n].says_little, kept[n].rank, n))
        del kept[first]
    return kept, _left_out(columns, kept)


def _left_out(columns: Sequence[Column], kept: Sequence[Column]) -> list[str]:
    ids = set(map(id, kept))
    return [column.title for column in columns if id(column) not in ids]


def lines(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the titles and then each row."""
    yield joined(columns, [column.title for column in columns])
    for row in zip(*(column.cells for column in columns), strict=True):
        yield joined(columns, row)


def joined(columns: Sequence[Column], texts: Sequence[str]) -> str:
    """Return one row, aligned."""
    return GAP.join(column.aligned(text) for column, text in zip(columns, texts, strict=True)).rstrip()


def _total(widths: Iterator[int]) -> int:
    numbers = list(widths)
    return sum(numbers) + len(GAP) * (len(numbers) - 1)


def _cut(columns: Sequence[Column], width: int) -> list[Column]:
    """Cut the widest texts until the row fits, none below its least width."""
    widths = [column.width for column in columns]
    excess = _total(iter(widths)) - width
    while excess > 0:
        able = [n for n, column in enumerate(columns) if widths[n] > column.narrowest]
        if not able:
            break
        widest = max(able, key=lambda n: widths[n])
        next_widest = max((widths[n] for n in able if n != widest), default=0)
        floor = max(columns[widest].narrowest, min(next_widest, widths[widest] - 1))
        step = min(excess, widths[widest] - floor)
        widths[widest] -= step
        excess -= step
    return [column.cut_to(cells_wide) for column, cells_wide in zip(columns, widths, strict=True)]


def _cut_alike(texts: Sequence[str], width: int) -> tuple[str, ...]:
    """Cut texts to ``width``: first a common prefix, which distinguishes none of them, then the middle of each."""
    distinct = {text for text in texts if text}
    longest = max(map(cells, texts), default=0)
    shared = _shared(min(distinct), max(distinct)) if len(distinct) > 1 else 0
    head = min(shared, longest - width + 1)
    return tuple(_cut_one(text, width, head if head > 1 else 0) for text in texts)


def _shared(one: str, other: str) -> int:
    """Return how many characters at their beginnings are the same; those of the least and greatest are all texts'."""
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _cut_one(text: str, width: int, head: int) -> str:
    if cells(text) <= width:
        return text
    if head:
        text = f"…{text[head:]}"
    return text if cells(text) <= width else cut_middle(text, width)


def cut_middle(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns, without its middle: names of a sweep differ at their ends."""
    if cells(text) <= width:
        return text
    begin, end = "", ""
    for left, right in zip(text, reversed(text), strict=True):
        if cells(f"{begin}…{right}{end}") > width:
            break
        end = f"{right}{end}"
        if cells(f"{begin}{left}…{end}") > width:
            break
        begin += left
    return f"{begin}…{end}"

"""Tables of plain text, which fit a terminal and are whole in a pipe."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from rpd.cli.output import terminal_width
from rpd.values.columns import Column, fitted, lines


def table(
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    cut: Mapping[int, int] | None = None,
    leave_out: Sequence[int] = (),
) -> Iterator[str]:
    """Yield one line for each row, the first being the titles.

    Columns in ``right`` are aligned to the right. On a terminal that is too narrow, those in ``cut`` are cut, at most
    to the width given there, and where that is not enough those in ``leave_out`` are left out, in that order.
    """
    head, *body = rows
    least = cut or {}
    columns = [
        Column(
            title=title,
            cells=tuple(row[number] for row in body),
            right=number in right,
            least=least.get(number, 0),
            rank=len(leave_out) - leave_out.index(number) if number in leave_out else 0,
        )
        for number, title in enumerate(head)
    ]
    kept, _ = fitted(columns, terminal_width())
    yield from lines(kept)

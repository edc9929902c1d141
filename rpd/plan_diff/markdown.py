"""The comment on a pull request: Markdown in which names of nodes are always plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

MARK = "<!-- rpd plan -->"
"""The first line, by which a workflow finds the comment that it wrote before."""
_MOST_ROWS = 100
_LONGEST = 300


def document(
    title: str, totals: Sequence[Sequence[str]], nodes: Sequence[Sequence[str]], notes: Iterable[str]
) -> str:
    """Return the comment: a title, a table of totals, notes, and the nodes folded away."""
    return "\n".join(_lines(title, totals, nodes, notes)) + "\n"


def _lines(
    title: str, totals: Sequence[Sequence[str]], nodes: Sequence[Sequence[str]], notes: Iterable[str]
) -> Iterator[str]:
    yield MARK
    yield f"### {title}"
    yield ""
    yield from table(totals, right=range(1, len(totals[0])))
    for note in notes:
        yield ""
        yield f"> {text(note)}"
    if len(nodes) > 1:
        yield ""
        yield f"<details><summary>{len(nodes) - 1} nodes</summary>"
        yield ""
        yield from table(nodes[: _MOST_ROWS + 1], right=range(4, 6), code={0})
        if len(nodes) > _MOST_ROWS + 1:
            yield ""
            yield f"… and {len(nodes) - 1 - _MOST_ROWS} more"
        yield ""
        yield "</details>"


def table(
    rows: Sequence[Sequence[str]], *, right: Iterable[int] = (), code: Iterable[int] = ()
) -> Iterator[str]:
    """Yield a table whose first row has the titles; cells of the columns in ``code`` are shown as code."""
    head, *body = rows
    aligned, as_code = set(right), set(code)
    yield "| " + " | ".join(map(text, head)) + " |"
    yield "|" + "|".join("---:" if at in aligned else "---" for at in range(len(head))) + "|"
    for row in body:
        cells = (code_text(cell) if at in as_code and cell else text(cell) for at, cell in enumerate(row))
        yield "| " + " | ".join(cells) + " |"


def text(words: str) -> str:
    """Return words in one line in which nothing is Markdown, HTML, a mention or a reference."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~@&])", lambda match: f"&#{ord(match[1])};", _one_line(words))


def code_text(words: str) -> str:
    """Return words as code; characters that would end it are replaced, because entities do not work there."""
    return f"`{_one_line(words).replace('`', chr(0x2019)).replace('|', chr(0x2758))}`"


def _one_line(words: str) -> str:
    shown = "".join(each if each.isprintable() else " " for each in " ".join(words.split()))
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"

"""Python source as text: literals, f-strings and calls, formatted as a person would have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

WIDTH = 100

Expression = Callable[[str], str]
"""From a name in a template to the Python expression of its value."""


@dataclass(slots=True)
class Lines:
    """Lines of Python, each with the line of the configuration it comes from."""

    text: list[str] = field(default_factory=list)
    origin: list[int] = field(default_factory=list)

    def add(self, text: str = "", line: int = 0, *, counts: bool = False) -> None:
        """Add one or more lines that come from ``line``; with ``counts`` the following ones from those after it."""
        for number, each in enumerate(text.split("\n")):
            self.text.append(each)
            self.origin.append(line + number if counts else line)

    def __str__(self) -> str:
        return "\n".join(self.text) + "\n"


def literal(text: str) -> str:
    """Return ``text`` as a string literal, in double quotes unless single ones need fewer escapes."""
    return _joined([text], [])


def template(text: str, pattern: re.Pattern[str], expression: Expression) -> str:
    """Return ``text`` as a literal, an f-string where it holds templates; a lone template is its expression.

    The pattern's second group is the name; a ``$`` in its first one stays. Expressions hold no double quotes, which
    Python 3.11 does not allow inside of an f-string.
    """
    matches = list(pattern.finditer(text))
    if len(matches) == 1 and matches[0][0] == text and not matches[0][1]:
        return expression(matches[0][2])
    pieces, at = [], 0
    for match in matches:
        pieces.append(text[at : match.start()] + match[1])
        at = match.end()
    pieces.append(text[at:])
    if matches:
        pieces = [piece.replace("{", "{{").replace("}", "}}") for piece in pieces]
    return _joined(pieces, ["{" + expression(match[2]) + "}" for match in matches])


def _joined(pieces: Sequence[str], expressions: Sequence[str]) -> str:
    """Return a literal of ``pieces`` with ``expressions`` between them."""
    prefix = "f" if expressions else ""
    text = "".join(pieces)
    if "\n" in text and _can_be_long(text, pieces[-1]):
        # Raw where it holds backslashes, as shell scripts do.
        raw = "r" if "\\" in text else ""
        return f'{raw}{prefix}"""{_interleaved(pieces, expressions)}"""'
    is_free = not any("'" in each for each in expressions)
    quote = "'" if is_free and text.count('"') > text.count("'") else '"'
    return f"{prefix}{quote}{_interleaved([_escaped(piece, quote) for piece in pieces], expressions)}{quote}"


def _interleaved(pieces: Sequence[str], expressions: Sequence[str]) -> str:
    return "".join(part for pair in zip(pieces, [*expressions, ""], strict=True) for part in pair)


def _can_be_long(text: str, end: str) -> bool:
    """Return whether a text can stand between three quotes just as it is."""
    is_plain = all(char.isprintable() or char in "\n\t" for char in text)
    return is_plain and '"""' not in text and not end.endswith(('"', "\\"))


def _escaped(text: str, quote: str) -> str:
    return "".join(
        f"\\{char}" if char in (quote, "\\") else char if char.isprintable() else repr(char)[1:-1]
        for char in text
    )


def call(
    function: str, args: Sequence[str] = (), named: Mapping[str, str] | None = None, *, indent: int = 0
) -> str:
    """Return a call, on one line where it fits, else with one argument on each line."""
    arguments = [*args, *(f"{name}={value}" for name, value in (named or {}).items())]
    pad = " " * indent
    single_line = f"{pad}{function}({', '.join(arguments)})"
    if "\n" not in single_line and len(single_line) <= WIDTH:
        return single_line
    if any("\n" in each for each in arguments):
        return single_line  # text over several lines keeps its own shape
    inner = " " * (indent + 4)
    return (
        f"{pad}{function}(\n"
        + "".join(f"{inner}{_fitted(each, indent + 4)},\n" for each in arguments)
        + f"{pad})"
    )


def _fitted(text: str, indent: int) -> str:
    """Return a list on one line, or one entry on each where it is too long; anything else as it is."""
    name, opened, items = text.partition("[")
    if indent + len(text) + 1 <= WIDTH or not opened or not text.endswith("]") or not name.endswith("="):
        return text
    pad = " " * (indent + 4)
    entries = "".join(f"{pad}{entry},\n" for entry in _entries(items[:-1]))
    return f"{name}[\n{entries}{' ' * indent}]"


def _entries(text: str) -> list[str]:
    """Return the literals of a list of literals."""
    return [
        match[0]
        for match in re.finditer(
            r"""[rf]*(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[\w.]+(?![\w."']))""", text
        )
    ]


def listed(items: Sequence[str]) -> str:
    """Return a list of literals."""
    return f"[{', '.join(map(literal, items))}]"

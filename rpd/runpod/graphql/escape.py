"""Text made safe to stand inside a GraphQL string, because the SDK pastes its arguments in as they are."""

from __future__ import annotations

import json
import unicodedata

from rpd.errors import ImpossibleRequest

_LINES_AND_TABS = frozenset("\n\r\t")


def escape(text: str, what: str, *, lines: bool = False) -> str:
    """Return ``text`` as the body of a GraphQL string; ``lines`` allows line ends and tabs.

    The escapes of a JSON string are those of a GraphQL string. Characters beyond ASCII stay as they are:
    GraphQL of 2021 has no escape for those beyond the basic plane. Raises ImpossibleRequest, which names
    ``what`` and never the text.
    """
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs" or (category == "Cc" and not (lines and character in _LINES_AND_TABS)):
            raise ImpossibleRequest(
                f"{what} holds the character U+{ord(character):04X}, which RunPod cannot be sent: remove it"
            )
    return json.dumps(text, ensure_ascii=False)[1:-1]


def quote(text: str, what: str, *, lines: bool = False) -> str:
    """Return ``text`` as a GraphQL string with its quotes. Raises ImpossibleRequest as ``escape`` does."""
    return f'"{escape(text, what, lines=lines)}"'

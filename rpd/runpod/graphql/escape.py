"""Escaping for GraphQL strings, because the SDK pastes its arguments into the query unchanged."""

from __future__ import annotations

import json

from rpd.runpod.create_texts import sendable


def escape(text: str, what: str, *, lines: bool = False) -> str:
    """Return ``text`` as the body of a GraphQL string; ``lines`` allows line ends and tabs.

    A JSON string has the same escapes as a GraphQL string. Characters beyond ASCII stay unescaped: GraphQL of
    2021 has no escape for those beyond the basic plane. Raise ImpossibleRequest, which names ``what`` and
    never the text.
    """
    return json.dumps(sendable(text, what, lines=lines), ensure_ascii=False)[1:-1]


def quote(text: str, what: str, *, lines: bool = False) -> str:
    """Return ``text`` as a GraphQL string with its quotes. Raise ImpossibleRequest as ``escape`` does."""
    return f'"{escape(text, what, lines=lines)}"'

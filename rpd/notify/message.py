"""Messages for somebody who is not watching the run."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from rpd.values.frozen import frozen

LONGEST = 1000
"""Characters of a text: what receives notices cuts them, or refuses longer ones."""


class Kind(StrEnum):
    """The kind of a message."""

    FINISHED = "finished"
    FAILED = "failed"
    BUDGET = "budget"
    KEPT = "kept"
    NOT_RELEASED = "not_released"


@frozen
class Message:
    """One notice: its kind, a title and a text, both masked and short; ``facts`` are for programs."""

    kind: Kind
    title: str
    text: str
    facts: tuple[tuple[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document for a webhook of your own."""
        return {"event": self.kind.value, "title": self.title, "text": self.text, **dict(self.facts)}

"""Cleans texts from pods, such as names and logs, for a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.safe_text import plain

Scalar: TypeAlias = "str | int | float | bool | None"

LONGEST = 20_000
"""Characters of one text; of a longer one its beginning is shown."""
_MOST_REMEMBERED = 100_000
_EXACT = 2**53
"""A whole number beyond this is no number in JavaScript any more."""


class Clean:
    """Masks secrets, drops control characters, and converts values that JSON cannot hold.

    ``redactor`` knows the secrets.
    """

    def __init__(self, redactor: Redactor = NO_SECRETS) -> None:
        self._redactor = redactor
        self._known: dict[str, str] = {}

    def text(self, value: object) -> str:
        """Return a value as text."""
        text = str(value)
        cleaned = self._known.get(text)
        if cleaned is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            cleaned = self._known[text] = self._made(text)
        return cleaned

    def _made(self, text: str) -> str:
        # Masked again once the control characters are gone: one in the middle of a secret could have hidden
        # it.
        shown = (
            self._redactor.text(plain(self._redactor.text(text))).encode("utf-8", "replace").decode("utf-8")
        )
        return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} …"

    def value(self, value: Any) -> Scalar:
        """Return a value as JSON can hold it: a scalar; anything else as text, including NaN and infinity."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if abs(value) < _EXACT else self.text(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Mapping | list | tuple):
            return self.text(json.dumps(value, default=str, ensure_ascii=False))
        return self.text(value)

    def table(self, values: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return a mapping with clean names and values."""
        return {self.text(name): self.value(value) for name, value in values.items()}

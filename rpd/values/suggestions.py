"""Suggestions for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable


def closest(wrong: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Return the one of ``known`` that is most like ``wrong``, None if none is that similar (0 to 1)."""
    import difflib  # loaded only for a typo

    return next(iter(difflib.get_close_matches(wrong, list(known), n=1, cutoff=likeness)), None)

"""What a mistyped name may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def closest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that is most like ``wrong``, None where none comes close."""
    import difflib  # only somebody's slip is worth loading it

    return next(iter(difflib.get_close_matches(wrong, list(known), n=1)), None)

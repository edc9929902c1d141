"""What a mistyped name may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def closest(wrong: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Return the one of ``known`` that is most like ``wrong``, None where none has that likeness (0 to 1)."""
    import difflib  # only somebody's slip is worth loading it

    return next(iter(difflib.get_close_matches(wrong, list(known), n=1, cutoff=likeness)), None)

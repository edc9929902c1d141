"""Reading texts that people write: files of any editor, and TOML of any depth. One reader, so that all agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read_text(path: Path, *, errors: str = "strict") -> str:
    """Return the text of a UTF-8 file, without the byte order mark that some editors put before it.

    Raise OSError and UnicodeDecodeError.
    """
    return path.read_text(encoding="utf-8", errors=errors).removeprefix("\ufeff")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table that ``text`` is. Raise ValueError whatever is wrong with it."""
    if not text.strip():  # a file that only marks the root of a project
        return {}
    import tomllib  # a project without settings must not pay for it

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None

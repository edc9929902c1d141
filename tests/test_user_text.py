"""Text files of users: one reader for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.user_text import parse_toml, read_text


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    """Editors on Windows put one before UTF-8; in the middle of a file it is the user's."""
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\n\xef\xbb\xbf")
    assert read_text(tmp_path / "a") == "one\n\ufeff"


def test_what_is_no_utf_8_is_told_in_words_a_person_knows(tmp_path: Path) -> None:
    """The codec by its usual name."""
    (tmp_path / "a").write_bytes("ü".encode("latin-1"))
    with pytest.raises(UnicodeDecodeError, match="'utf-8' codec"):
        read_text(tmp_path / "a")
    assert read_text(tmp_path / "a", errors="surrogateescape") == "\udcfc"


@pytest.mark.parametrize("text", ["x=" + 5000 * "[", "x=", "x=" + 5000 * "9"], ids=["deep", "broken", "long"])
def test_wrong_toml_is_a_value_error(text: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ValueError):
        parse_toml(text)

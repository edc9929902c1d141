"""Texts that give a secret away: itself, secret values in a JSON file, bytes as base64."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from rpd.errors import UsageError
from rpd.pipeline.secrets import MOST_BYTES, read_secret, texts_to_mask
from rpd.values.job import Secret


def test_json_is_masked_value_by_value() -> None:
    text = '{"type": "service_account", "private_key_id": "0123456789", "token_uri": "https://x.example", "n": [{"apiKey": "abcdefghi"}], "key": "short"}'
    assert list(texts_to_mask(text)) == [text, "0123456789", "abcdefghi"]
    assert list(texts_to_mask(b"\xef\xbb\xbfline\n")) == ["line"]
    assert list(texts_to_mask("[" * 100_000)) == ["[" * 100_000]


def test_bytes_are_masked_as_base64() -> None:
    assert list(texts_to_mask(b"\xff\x00\x01")) == [base64.b64encode(b"\xff\x00\x01").decode()]


def test_a_file_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xef\xbb\xbf\xff\r\n")
    assert read_secret(Secret("K", file=str(path), to="/k"), "x") == path.read_bytes()
    with pytest.raises(UsageError, match=r"not UTF-8 text: .* make it a file on the pod \(to=…\)"):
        read_secret(Secret("K", file=str(path)), "x")
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="is empty"):
        read_secret(Secret("K", file=str(path), to="/k"), "x")
    path.write_bytes(b"x" * (MOST_BYTES + 1))
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_secret(Secret("K", file=str(path), to="/k"), "x")
    monkeypatch.setenv("K", "text")
    assert read_secret(Secret("K", to="/k"), "x") == b"text"

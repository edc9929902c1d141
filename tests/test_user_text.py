"""Text files of users: one reader for all of them."""

from __future__ import annotations

import ast
import os
import threading
from pathlib import Path

import pytest

from rpd.user_text import parse_python, parse_toml, read_bytes, read_text

has_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


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


@has_pipes
@pytest.mark.timeout(30)
def test_a_pipe_without_a_writer_is_refused(tmp_path: Path) -> None:
    """It would be waited for without end; the writer of a process substitution is there already."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe into which nobody writes"):
        read_text(tmp_path / "pipe")


@has_pipes
def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """Whether its writer has written already or writes later."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(
        path, os.O_RDONLY | os.O_NONBLOCK
    )  # so that a writer can open it, and keeps somebody to write to
    writer = os.open(path, os.O_WRONLY)
    answers: list[bytes] = []
    reading = threading.Thread(target=lambda: answers.append(read_bytes(path)))
    reading.start()
    for _ in range(3):
        os.write(writer, 100_000 * b"x")
    os.close(writer)
    reading.join()
    os.close(reader)
    assert answers == [300_000 * b"x"]


def test_the_beginning_of_a_file_is_read_and_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\r\ntwo")
    assert read_bytes(tmp_path / "a", 5) == b"one\r\n"
    assert read_text(tmp_path / "a") == "one\ntwo"
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
    assert read_bytes(Path(os.devnull)) == b""


def test_a_tree_that_another_thread_broke_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By code that is not rpd's."""
    real, calls = ast.parse, []

    def parse(text: str) -> ast.AST:
        calls.append(text)
        if len(calls) == 1:
            raise SystemError("AST constructor recursion depth mismatch (before=57, after=53)")
        return real(text)

    monkeypatch.setattr(ast, "parse", parse)
    assert len(parse_python("a = 1").body) == 1
    assert len(calls) == 2

"""Text without control characters: which ones pass and which do not, in one piece and in chunks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.values.safe_text import RESET, TerminalBytes, colored, plain

ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
COLOR = re.compile(r"\x1b\[[0-9;:]*m")
TEXTS = st.lists(
    st.sampled_from(
        ["a", "é", "日", "\n", "\t", "\r", "\x08", "\x1b", "[", "]", "31m", "2J", "K", "0;t", "\x07", "\\", "\x9b", "\x9c", "\x9d", "P", "\u202e"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain\ttext\nin lines", "plain\ttext\nin lines"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;ZXZpbA==\x07after", "after"),
        ("\x1b]0;title\x1b\\after", "after"),
        ("\x1b]0;never ended", "0;never ended"),
        ("\x1bPdevice\x1b\\\x1b_application\x1b\\after", "after"),
        ("\x9d0;title\x9cafter\x9b2J", "after"),
        ("a\rb\x08c\x07", "abc"),
        ("user\u202etxt.exe\u2066\u2069", "usertxt.exe"),
        ("日本語 é 🚀", "日本語 é 🚀"),
    ],
)
def test_plain(text: str, left: str) -> None:
    """Whole sequences go, in seven and in eight bits; text in any script stays."""
    assert plain(text) == left


@given(TEXTS)
def test_nothing_that_acts_is_left(text: str) -> None:
    """Whatever is put together from pieces of sequences, nothing that acts is left of it; doing it again changes nothing."""
    left = plain(text)
    assert not ACTS.search(left)
    assert plain(left) == left
    in_colour = colored(text)
    assert not ACTS.search(COLOR.sub("", in_colour))
    assert plain(in_colour) == left


def test_colours_end_with_their_text() -> None:
    """A colour that a text leaves on is switched off behind it."""
    assert colored("\x1b[31mred") == f"\x1b[31mred{RESET}"
    assert colored("\x1b[31mred\x1b[m") == "\x1b[31mred\x1b[m"
    assert colored("no colour\x1b[2K") == "no colour"


def streamed(data: bytes, cuts: list[int]) -> str:
    stream, out, at = TerminalBytes(), "", 0
    for cut in [*sorted(cuts), len(data)]:
        out += stream.feed(data[at:cut])
        at = max(at, cut)
    return out + stream.flush()


@given(TEXTS, st.lists(st.integers(0, 80), max_size=5))
def test_a_stream_in_chunks_acts_no_more_than_in_one(text: str, cuts: list[int]) -> None:
    """Wherever chunks end, only colours, erasing to the end of the line and going back in it pass."""
    out = streamed(text.encode(), cuts)
    left = re.sub(r"\x1b\[[0-9;:]*m|\x1b\[[0-2]?K|[\r\x08]", "", out)
    assert not ACTS.search(left)


@given(st.lists(st.integers(0, 60), max_size=5))
def test_a_colour_that_is_cut_is_still_a_colour(cuts: list[int]) -> None:
    """A sequence that is divided over two chunks arrives whole."""
    data = b"\x1b[1;31mred\x1b[0m 10%\r\x1b[K99% \xe6\x97\xa5\n"
    assert streamed(data, cuts) == f"{data.decode()}{RESET}"


def test_hostile_text_takes_linear_time() -> None:
    """A megabyte of beginnings of sequences is over at once: no branch reads beyond the next control character."""
    assert plain("\x1b]" * 300_000) == ""
    assert len(plain("\x9d0;" * 300_000)) == 600_000
    assert plain("\x1b[1;" * 10 + "x" * 1_000_000).endswith("x")

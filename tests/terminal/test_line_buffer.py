"""Output becomes the lines a terminal would show in the end."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from rpd.terminal.line_buffer import LastLine, OutputLines


def lines_of(*chunks: bytes) -> list[str]:
    feed = OutputLines()
    return [line for chunk in chunks for line in feed.feed(chunk)] + feed.flush()


def test_progress_bars_are_collapsed() -> None:
    r"""Of a line rewritten with ``\r`` only the last state is kept, wherever the chunks end."""
    assert lines_of(b"a\r", b"b\r", b"c", b"\r", b"\nd\r\ne") == ["c", "d", "e"]


def test_an_unfinished_line_can_be_seen() -> None:
    """The board shows a bar that no newline ended yet."""
    feed = OutputLines()
    assert feed.feed(b"done\n 10%|#\r 20%|##\r") == ["done"]
    assert feed.unfinished == " 20%|##"


def test_control_codes_cannot_reach_the_terminal() -> None:
    """Cursor movements, titles and bells of a job are dropped; its colours stay, for a screen that has colours."""
    assert lines_of(b"\x1b[31mred\x1b[0m \x1b[2Aup \x1b]0;title\x07x\x07\ty\x9b2J\n") == [
        "\x1b[31mred\x1b[0m up x\ty\ufffd2J"
    ]


def test_a_line_without_end_is_shown_in_pieces() -> None:
    """A job that never writes a newline does not fill the memory."""
    feed = OutputLines()
    assert sum(len(line) for _ in range(10) for line in feed.feed(b"x" * 1000)) >= 4096
    assert len(feed.unfinished) <= 4096


@given(
    text=st.text(st.sampled_from("ab\r\n\u00e9\U0001f600"), max_size=60),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_lines_do_not_depend_on_the_chunks(text: str, cuts: list[int]) -> None:
    """However the bytes are cut, in the middle of a character too, the lines are the same."""
    data = text.encode()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(places)]
    assert lines_of(*chunks) == lines_of(data)


@given(pieces=st.lists(st.text(st.sampled_from("ab\r\n\u00e9\U0001f600"), max_size=30), max_size=8))
def test_the_last_line_is_the_one_that_would_be_shown_last(pieces: list[str]) -> None:
    """Without streaming, the board has the same line, and nothing else is decoded."""
    every, last = OutputLines(), LastLine()
    shown: list[str] = []
    for piece in pieces:
        shown += every.feed(piece.encode())
        assert last.feed(piece.encode()) == []
        assert last.unfinished == (every.unfinished or (shown[-1] if shown else ""))
    assert last.flush() == []
    assert last.unfinished == ""


def test_the_last_line_takes_no_more_memory_than_can_be_seen() -> None:
    """Of a line that never ends, the end is kept."""
    last = LastLine()
    for _ in range(100):
        last.feed(b"x" * 1000)
    last.feed("\u00e9 end".encode() + b"\xc3")
    assert last.unfinished.endswith("\u00e9 end\ufffd")
    assert len(last.unfinished) <= 8192

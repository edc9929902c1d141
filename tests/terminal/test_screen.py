"""Lines reach the screen whole, whoever writes them and whatever the board does."""

import io
import re
import threading

import pytest

from rpd.terminal.screen import Screen

TTY = {"COLUMNS": "80", "TERM": "xterm-256color"}


class Reentrant(io.StringIO):
    """A file on which a signal handler writes another line in the middle of a write."""

    screen: Screen | None = None

    def write(self, text: str) -> int:
        screen, self.screen = self.screen, None
        if screen is not None:
            screen.line("from the handler")
        return super().write(text)


def test_a_line_from_a_signal_handler_comes_after_the_one_it_interrupted() -> None:
    """Writing from a handler on the thread that is writing neither deadlocks nor mixes lines."""
    file = Reentrant()
    file.screen = screen = Screen(file, environ={})
    screen.line("first")
    assert file.getvalue() == "first\nfrom the handler\n"


def test_a_board_that_cannot_be_drawn_is_given_up(tty: io.StringIO) -> None:
    """Lines are printed without it, and the cursor is shown again."""
    screen = Screen(tty, environ=TTY)
    drawn = threading.Event()

    def draw() -> str:
        drawn.set()
        raise RuntimeError

    screen.start_board(draw)
    screen.line("while it is up")
    assert drawn.wait(10)
    screen.stop_board()
    screen.line("afterwards")
    text = re.sub(r"\x1b\[[\d;]*[A-Z]", "", tty.getvalue().rpartition("\x1b[?25h")[2])
    assert text.split() == ["while", "it", "is", "up", "afterwards"]


@pytest.mark.parametrize("without", [{"CI": "true"}, {"JPY_PARENT_PID": "7"}, {"TERM": "dumb"}], ids=str)
def test_where_lines_cannot_be_replaced_there_is_no_board(tty: io.StringIO, without: dict[str, str]) -> None:
    assert Screen(tty, environ=TTY).is_interactive
    assert not Screen(tty, environ=TTY | without).is_interactive


def test_lines_of_many_threads_stay_whole_above_the_board(tty: io.StringIO) -> None:
    """No line is lost or mixed with another while the board is redrawn."""
    screen = Screen(tty, environ=TTY)
    drawn = threading.Semaphore(0)

    def draw() -> str:
        drawn.release()
        return "board"

    screen.start_board(draw)

    def slot(number: int) -> None:
        for line in range(50):
            screen.line(f"<{number}:{line}>")

    threads = [threading.Thread(target=slot, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn.acquire(timeout=10)
    screen.stop_board()
    lines = [line for line in tty.getvalue().splitlines() if line.startswith("<") or "<" in line]
    expected = {f"<{number}:{line}>" for number in range(8) for line in range(50)}
    assert expected <= {line[line.index("<") :] for line in lines}


def test_the_width_is_pinned_by_columns() -> None:
    """COLUMNS wins; a file that is no terminal is 80 wide."""
    assert Screen(io.StringIO(), environ={"COLUMNS": "132"}).width == 132
    assert Screen(io.StringIO(), environ={"COLUMNS": "wide"}).width == 80

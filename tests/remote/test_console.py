"""The console: typed keys reach the pod, and the terminal is restored afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpd.remote.console import Console
from rpd.remote.session import Place, script
from tests.remote.conftest import Connect, Machine
from tests.waiting import wait_until


class Far:
    """Records the calls of a console."""

    def __init__(self) -> None:
        self.data = b""
        self.is_over = threading.Event()
        self.sizes: list[tuple[int, int]] = []

    def typed(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> None:
        self.is_over.set()

    def resized(self, columns: int, lines: int) -> None:
        self.sizes.append((columns, lines))


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: the person's, and ours."""
    person, ours = pty.openpty()
    yield person, ours
    os.close(person)
    os.close(ours)


def resize(descriptor: int, columns: int, lines: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def test_keys_go_through_raw_and_the_mode_comes_back(terminal: tuple[int, int]) -> None:
    """Even Ctrl-C is passed on as a byte; keys typed before are not lost; the old mode is restored."""
    person, ours = terminal
    before = termios.tcgetattr(ours)
    console, far = Console(wants_terminal=True, stdin=ours, stdout=ours, stderr=ours), Far()
    os.write(person, b"early\n")
    with console.lent(far):
        os.write(person, b"\x03x")
        wait_until(lambda: far.data.endswith(b"\x03x"))
        assert not termios.tcgetattr(ours)[3] & (termios.ISIG | termios.ICANON)
    assert far.data == b"early\n\x03x"
    assert termios.tcgetattr(ours) == before


def test_the_mode_comes_back_after_an_error(terminal: tuple[int, int]) -> None:
    """Whatever ends the session, the terminal is usable afterwards."""
    _, ours = terminal
    before = termios.tcgetattr(ours)
    with pytest.raises(ConnectionError), Console(wants_terminal=True, stdin=ours, stdout=ours).lent(Far()):
        raise ConnectionError
    assert termios.tcgetattr(ours) == before


def test_a_resized_terminal_is_told(terminal: tuple[int, int]) -> None:
    """SIGWINCH tells the new size, and only while the console is lent."""
    _, ours = terminal
    console, far = Console(wants_terminal=True, stdin=ours, stdout=ours), Far()
    before = signal.getsignal(signal.SIGWINCH)
    with console.lent(far):
        resize(ours, 91, 33)
        signal.raise_signal(signal.SIGWINCH)
        wait_until(lambda: far.sizes == [(91, 33)])
    assert signal.getsignal(signal.SIGWINCH) == before


def test_a_terminal_without_a_size_has_the_usual_one(terminal: tuple[int, int]) -> None:
    """Some terminals say 0 columns."""
    _, ours = terminal
    assert Console(wants_terminal=True, stdin=ours, stdout=ours).size() == (80, 24)


def test_a_pipe_is_passed_to_its_end() -> None:
    """Input that is no terminal is read to its end, which is passed on."""
    read, write = os.pipe()
    console, far = Console(wants_terminal=True, stdin=read, stdout=write), Far()
    assert not console.is_terminal
    os.write(write, b"all of it")
    os.close(write)
    with console.lent(far):
        assert far.is_over.wait(30)
    os.close(read)
    assert far.data == b"all of it"


def test_a_command_over_ssh(
    connecting: Connect, machine: Machine, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Output and errors stay apart, the exit code comes back, and the script that was handed over is gone."""
    read, write = os.pipe()
    os.write(write, b"typed\n")
    os.close(write)
    console = Console(wants_terminal=False, stdin=read)
    place = Place(cwd="/", env={"A": "it's"}, secrets={"S": "secret"})
    remote = connecting()
    command = 'read x; echo "$x $A $S $PWD"; echo bad >&2; exit 41'
    assert remote.interactive(script(place, command), console) == 41
    os.close(read)
    captured = capfdbinary.readouterr()
    assert (captured.out, captured.err) == (b"typed it's secret /\n", b"bad\n")
    (path,) = (line.removeprefix("exec sh ") for line in machine.commands if line.startswith("exec sh "))
    assert "/.rpd-" in path
    assert not Path(path).exists()


def test_an_end_without_an_exit_code_is_255(connecting: Connect) -> None:
    """A connection that breaks in the middle ends the session as ``ssh`` would."""
    read, write = os.pipe()
    heard, said = os.pipe()
    remote = connecting()
    threading.Thread(target=lambda: (os.read(heard, 1), remote.close())).start()
    console = Console(wants_terminal=False, stdin=read, stdout=said)
    assert remote.interactive(script(Place(), "echo here; sleep 60"), console) == 255
    for end in (read, write, heard, said):
        os.close(end)

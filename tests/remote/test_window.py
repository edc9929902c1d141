"""Bytes that nobody has read yet: how they are kept, and how many."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paramiko.buffered_pipe import PipeTimeout

from benchmarks.slow_line import SlowLine
from rpd.remote.shell import Program
from rpd.remote.ssh import SshRemote
from rpd.remote.ssh.arrived import Arrived
from rpd.remote.ssh.connection import _Buffered
from rpd.remote.ssh.window import LEAST_BYTES, MOST_BYTES, WIDE_BYTES, Windows
from rpd.values.pod import SshEndpoint
from tests.remote.conftest import Connect, Machine
from tests.waiting import DEADLINE, wait_until


@given(st.lists(st.one_of(st.binary(max_size=20), st.integers(1, 30)), max_size=30))
def test_every_byte_comes_out_once_and_in_order(actions: Sequence[bytes | int]) -> None:
    """Bytes are fed and numbers of bytes are read: no read returns more, and an event tells of what is left."""
    arrived, event = Arrived(), threading.Event()
    arrived.set_event(event)
    came = read = b""
    for action in actions:
        if isinstance(action, bytes):
            arrived.feed(action)
            came += action
        elif len(read) < len(came):
            data = arrived.read(action)
            assert 0 < len(data) <= action
            read += data
        else:
            with pytest.raises(PipeTimeout):
                arrived.read(action, 0.0)
        assert len(arrived) == len(came) - len(read)
        assert event.is_set() == arrived.read_ready() == (len(arrived) > 0)
    arrived.close()
    assert event.is_set()
    assert read + arrived.empty() == came
    assert arrived.read(1) == b""


def test_a_read_waits_for_the_next_packet_or_the_end() -> None:
    """A thread that waits is woken by a packet, and by ``close``."""
    arrived = Arrived()
    threading.Timer(0.01, arrived.feed, [b"one"]).start()
    assert arrived.read(10, DEADLINE) == b"one"
    threading.Timer(0.01, arrived.close).start()
    assert arrived.read(10, DEADLINE) == b""


@pytest.mark.parametrize(
    ("programs", "share"), [(0, MOST_BYTES), (1, MOST_BYTES), (32, 512 << 10), (1000, LEAST_BYTES)]
)
def test_each_program_has_its_share(programs: int, share: int) -> None:
    """Few get as much as is useful, very many still something."""
    windows = Windows(all_bytes=16 << 20)
    for number in range(programs):
        windows.open(number)
    assert windows.share == share


def test_unread_output_stays_within_the_share(remote: SshRemote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that print without end fill their windows and no more; these grow and shrink with their number."""
    windows = Windows(all_bytes=800 << 10)
    monkeypatch.setattr("rpd.remote.ssh.stream.WINDOWS", windows)
    endless = Program("cat /dev/zero", timeout=DEADLINE)
    streams = [remote._shell.open(endless)]
    try:
        for count, share in ((1, 800 << 10), (4, 200 << 10)):
            streams += [remote._shell.open(endless) for _ in range(count - len(streams))]
            for stream in streams:
                # Twice the longest window: now all that is under way was allowed by the new one.
                left = 2 * (800 << 10)
                while left > 0:
                    left -= len(stream.read())
            for channel in (stream._channel for stream in streams):
                assert channel.in_window_size == share
                wait_until(lambda: len(channel.in_buffer) + channel.in_window_sofar >= share, "a full window")  # noqa: B023
                assert len(channel.in_buffer) + channel.in_window_sofar == share
        streams.pop().close()
        assert windows.share == (800 << 10) // 3
    finally:
        for stream in streams:
            stream.close()
    assert windows.share == 800 << 10


def test_the_window_of_bulk_data_grows_where_the_line_is_long(connecting: Connect, machine: Machine) -> None:
    """With a round trip of 200 ms the first window would allow 20 MB/s."""
    line = SlowLine(machine.port, round_trip=0.2)
    try:
        remote = connecting(endpoint=SshEndpoint(host="127.0.0.1", port=line.port))
        for _ in range(2):  # the second gets a shell that was started ahead
            stream = remote._shell.open(Program("cat /dev/zero", timeout=DEADLINE, is_wide=True))
            assert stream._channel.in_window_size == WIDE_BYTES
            while stream._channel.in_window_size == WIDE_BYTES:
                assert stream.read()
            assert stream._channel.in_window_size == 2 * WIDE_BYTES
            stream.close()
    finally:
        line.close()


def test_standard_error_that_fills_the_window_is_read_soon(
    remote: SshRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sums of a hundred thousand files come over it, while nothing comes over standard output."""
    monkeypatch.setattr("rpd.remote.ssh.stream._LOOK_SECONDS", 2 * DEADLINE)
    size = 2 * WIDE_BYTES
    script = f"head -c {size} /dev/zero >&2; echo end"
    ended = remote._shell.open(Program(script, timeout=DEADLINE, most=2 * size, is_wide=True)).finish()
    assert (ended.stdout, len(ended.stderr)) == (b"end\n", size)


@given(st.binary(min_size=1, max_size=20_000), st.lists(st.integers(1, 6000), min_size=1))
def test_a_socket_that_reads_ahead_loses_nothing(data: bytes, sizes: Sequence[int]) -> None:
    """Whatever sizes are asked for, the bytes come in order, never more than asked for, and the end is seen."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(data)
        there.close()
        buffered, read = _Buffered(here), b""
        for size in itertools.cycle(sizes):
            part = buffered.recv(size)
            assert len(part) <= size
            if not part:
                break
            read += part
        assert read == data

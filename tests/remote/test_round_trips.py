"""How many round trips a verb waits for over SSH, counted on the line: a busy machine adds none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from rpd.remote.protocol import Command
from rpd.remote.ssh import SshRemote
from rpd.values.pod import SshEndpoint
from tests.delayed_line import DelayedLine
from tests.remote.conftest import Connect, Machine

ROUND_TRIP = 0.3
HANDSHAKE = 4
"""Versions and algorithms, key exchange, service, key. (The line makes connections at once.)"""
TRIES = 6
"""On a busy machine parts that go together may go one after the other; each try is on a line twice as slow."""


@pytest.fixture
def line() -> Iterator[DelayedLine]:
    with DelayedLine(ROUND_TRIP) as made:
        yield made


def within(most: int, line: DelayedLine, act: Callable[[int], object]) -> bool:
    """Return whether ``act``, which takes the number of the try, waits for ``most`` round trips at most."""
    for number in range(TRIES):
        line.round_trip = ROUND_TRIP * 2**number
        if line.count(partial(act, number)) <= most:
            line.round_trip = ROUND_TRIP
            return True
    return False


def test_verbs_cost_as_few_round_trips_as_they_can(
    line: DelayedLine, machine: Machine, connecting: Connect, tmp_path: Path
) -> None:
    """Connecting tells the facts at once; a command, a small script, a file read or written cost one each."""
    there = f"{machine.files}/project"
    here = tmp_path / "project"
    here.mkdir()
    endpoint = SshEndpoint(host="127.0.0.1", port=line.to(machine.port), user="root")
    remotes: list[SshRemote] = []

    def connected(_: int) -> None:
        remotes.append(connecting(endpoint=endpoint, probes=True))
        assert remotes[-1].probe()["uname"]

    assert within(HANDSHAKE + 2, line, connected)
    remote = remotes[-1]

    def run(number: int) -> None:
        heard = bytearray()
        done = remote.run(Command(key=f"step{number}", text="echo hello; exit 3"), heard.extend)
        assert (done.exit_code, bytes(heard)) == (3, b"hello\n")

    def sent(number: int) -> None:
        (here / "a.txt").write_text(str(number))
        remote.put(here, there)
        assert Path(there, "a.txt").read_text() == str(number)

    def pulled(number: int) -> None:
        assert remote.pull(f"{there}/a.txt", tmp_path / f"pulled{number}") is not None

    assert within(1, line, run)
    assert within(1, line, lambda _: remote.script("echo small", timeout=60))
    assert within(1, line, lambda n: remote.write(f"{there}.{n}", b"x" * 1000))
    assert within(1, line, lambda n: remote.read(f"{there}.{n}", most=1000))
    assert within(2, line, sent)
    assert within(1, line, lambda _: remote.put(here, there))
    assert within(2, line, pulled)


def test_a_new_connection_has_a_channel_of_its_own(
    line: DelayedLine, machine: Machine, connecting: Connect
) -> None:
    """A channel opened ahead over a connection that broke is not used over the next one."""
    remote = connecting(endpoint=SshEndpoint(host="127.0.0.1", port=line.to(machine.port), user="root"))
    for number in range(3):
        assert remote.script(f"echo {number}", timeout=60) == f"{number}\n"
        machine.drop()
    assert machine.logins == 3

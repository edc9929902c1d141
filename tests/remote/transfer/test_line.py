"""Transfers over a line whose bytes are counted, that is slow, and that breaks."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.slow_line import OFFICE, SlowLine
from rpd.remote.ssh import SshRemote
from rpd.remote.transfer.pull import pull
from rpd.remote.transfer.put import put
from rpd.values.pod import SshEndpoint
from tests.remote.conftest import Connect, Machine
from tests.remote.transfer.conftest import check_sums, entries, picture
from tests.waiting import wait_until

Lines = Callable[..., tuple[SlowLine, SshRemote]]


@pytest.fixture
def line_to(connecting: Connect, machine: Machine) -> Iterator[Lines]:
    """``line_to(rate=…, round_trip=…)``: a line to the machine, and a remote that uses it."""
    lines: list[SlowLine] = []

    def make(**settings: float) -> tuple[SlowLine, SshRemote]:
        line = SlowLine(machine.port, **settings)
        lines.append(line)
        return line, connecting(endpoint=SshEndpoint(host="127.0.0.1", port=line.port))

    yield make
    for line in lines:
        line.close()


def fill(root: Path, *sizes: int) -> int:
    """Write files of noise, links and an empty folder; return how many bytes."""
    for number, size in enumerate(sizes):
        path = root / f"d{number % 3}" / f"it's {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        path.chmod(0o640)
    (root / "empty").mkdir(mode=0o750)
    (root / "a link").symlink_to("../elsewhere")
    (root / "z link").symlink_to("d0")
    return sum(sizes)


def receivers(machine: Machine) -> list[str]:
    """Return what receives a stream on a machine: shells (each is a session of its own) that hold its ``pid``."""
    held = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/6"):
        with contextlib.suppress(OSError):
            pid = int(descriptor.parts[2])
            if os.getsid(pid) == pid:
                held.append(str(descriptor.readlink()))
    # Its folder may be gone by now.
    return [path for path in held if path.startswith(str(machine.files)) and "/pid" in path]


def written(folder: Path) -> int:
    """Return how many bytes the files below a folder have, while others come and go."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_size
    return total


@pytest.mark.parametrize("kind", ["usual", "busybox"])
@pytest.mark.parametrize("unheard", [False, True], ids=["heard", "unheard"])
def test_a_put_that_is_cut_goes_on(
    line_to: Lines, machine: Machine, tmp_path: Path, request: pytest.FixtureRequest, kind: str, unheard: bool
) -> None:
    """Also where the pod does not notice the break: the tree is exact, and hardly a byte of it was sent twice."""
    if kind == "busybox":
        request.getfixturevalue("busybox")
    size = fill(tmp_path / "tree", *[200_000] * 20, 10_000_000, *[3] * 50, 1_000_000)
    line, remote = line_to(rate=8e6)
    line.reset()
    line.cut_after(size * 6 // 10, unheard=unheard)

    def keep_up(done: int, _: int) -> None:
        # What is under way at the cut is lost: without this, nearly all of it on a machine that is busy with other things.
        if done > size // 2:
            wait_until(lambda: written(machine.files) > size * 4 // 10, what="the pod to have written it")

    staged = put(remote._shell, tmp_path / "tree", str(machine.files / "t"), progress=keep_up)
    assert picture(machine.files / "t") == picture(tmp_path / "tree")
    assert line.counts().connections == 1  # the second one, after ``reset``
    assert line.counts().up < size * 1.4  # all of it again would be 1.6
    assert receivers(machine) == [], (
        "the one that still waited for the line would clear what another receives"
    )
    assert staged == put(remote._shell, tmp_path / "tree", str(machine.files / "t"))
    assert entries(machine.files) == ["t"]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 6_000_000), min_size=1, max_size=3))
def test_wherever_a_put_is_cut(
    line_to: Lines, machine: Machine, tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    """Once or again and again, in small files or in a large one, also one that takes the place of another tree."""
    here = tmp_path_factory.mktemp("here") / "tree"
    fill(here, 300_000, 4_000_000, 20, 0, 300_000, 1_000_000)
    line, remote = line_to()

    def cut(*_: int) -> None:
        if cuts:
            line.cut_after(cuts.pop())

    for _ in range(2):
        put(remote._shell, here, str(machine.files / "t"), progress=cut)
        assert picture(machine.files / "t") == picture(here)
        (here / "d0" / "it's 0").write_bytes(os.urandom(600_000))
    assert entries(machine.files) == ["t"]


def test_a_file_that_changes_during_a_break_is_sent_as_it_is_then(
    line_to: Lines, machine: Machine, tmp_path: Path
) -> None:
    """The part of it that arrived before is not glued to the rest of another file."""
    source = tmp_path / "source"
    first = os.urandom(8_000_000)
    source.write_bytes(first)
    line, remote = line_to()
    line.cut_after(4_000_000)
    has_changed: list[bool] = []

    def change(done: int, _: int) -> None:
        if line.counts().connections > 1 and not has_changed:
            has_changed.append(True)
            source.write_bytes(os.urandom(8_000_000))

    put(remote._shell, source, str(machine.files / "t"), progress=change)
    # The whole of one of them: where the rest had been read before the change, the first is what was put.
    assert (machine.files / "t").read_bytes() in (first, source.read_bytes())


@pytest.mark.parametrize("sizes", [[12_000_000], [300_000] * 40], ids=["one file", "many"])
def test_a_pull_that_is_cut_goes_on(
    line_to: Lines, machine: Machine, tmp_path: Path, sizes: list[int]
) -> None:
    """Hardly a byte comes twice."""
    size = fill(machine.files / "r", *sizes)
    line, remote = line_to(rate=20e6)
    line.reset()
    line.cut_after(size * 6 // 10)
    pull(remote._shell, str(machine.files / "r"), tmp_path / "l")
    check_sums(tmp_path / "l")
    assert line.counts().down < size * 1.55  # all of it again would be 1.6


def test_bytes_and_round_trips(line_to: Lines, machine: Machine, tmp_path: Path) -> None:
    """On a slow line data is compressed from the first byte, both ways, and no question is asked in vain."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(60):
        (tree / f"f{number}").write_bytes(os.urandom(10_000) + b"some words, " * 833)
    line, remote = line_to()
    line.reset()
    put(remote._shell, tree, str(machine.files / "t"))
    assert line.counts().up < 660_000
    line.reset()
    put(remote._shell, tree, str(machine.files / "t"))
    assert line.counts().bytes < 10_000
    assert line.counts().round_trips <= 6
    line.reset()
    pull(remote._shell, str(machine.files / "t"), tmp_path / "l")
    assert line.counts().down < 660_000
    assert line.counts().round_trips <= 20
    assert picture(tmp_path / "l/t") == picture(tree)


def test_faults_on_a_slow_line(line_to: Lines, machine: Machine, tmp_path: Path) -> None:
    """50 Mbit/s and 40 ms: sent, changed, fetched and fetched again, each time over a line that breaks."""
    tree, local = tmp_path / "tree", tmp_path / "l"
    fill(tree, 9_000_000, *[1000] * 20)
    rate, round_trip = OFFICE
    line, remote = line_to(rate=rate, round_trip=round_trip)
    target = machine.files / "t"
    for after in (4_000_000, 20_000):
        line.cut_after(after)
        put(remote._shell, tree, str(target))
        assert picture(target) == picture(tree)
        with (tree / "d0" / "it's 0").open("r+b") as file:
            file.seek(3_000_000)
            file.write(os.urandom(100_000))
    (target / "z link").unlink()
    for after in (4_000_000, 20_000):
        line.cut_after(after)
        pull(remote._shell, str(target), local)
        check_sums(local)
        with (target / "d0" / "it's 0").open("r+b") as file:
            file.seek(5_000_000)
            file.write(os.urandom(100_000))
    wait_until(lambda: entries(machine.files) == ["t"], what="the end of half trees")

"""Streams that are compressed where that pays: the output equals the input, whatever the line does."""

import gzip
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpd.remote.transfer.packing import (
    CAN_UNPACK,
    PACK,
    UNPACK,
    Gauge,
    batched,
    framed,
    packed,
    unpacked,
)
from rpd.remote.transfer.quick_line import HEAR, QuickLine
from tests.waiting import DEADLINE


@cache
def made_of(kind: str) -> bytes:
    """Return nothing, one byte, 5 MB that compress well, or 12 MB that do not."""
    if kind == "soft":
        lines = (b"loss=%d step=%d\n" % (number * 7919 % 10007, number) for number in range(260_000))
        return b"".join(lines)[:5_000_000]
    return {"nothing": b"", "one": b"x", "noise": os.urandom(1 << 20) * 12}[kind]


def opened(blocks: Iterable[bytes]) -> bytes:
    """Return the contents of a packed stream."""
    source = iter(blocks)
    return b"".join(unpacked(lambda: next(source, b"")))


def plain(units: int) -> bytes:
    """Return the member that says that so many units come as they are."""
    return gzip.compress(b"", mtime=units)


def in_pieces(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@settings(max_examples=100)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from([0, 1, 6, None]), st.binary(min_size=1, max_size=300)), max_size=6
    ),
    rest=st.binary(max_size=300),
    sizes=st.lists(st.integers(1, 200), max_size=12),
)
def test_members_and_what_comes_as_it_is(
    parts: list[tuple[int | None, bytes]], rest: bytes, sizes: list[int]
) -> None:
    """In any order, in pieces of any size: compressed at any level, 64 KB as they are, and all the rest as it is."""
    said, meant = b"", b""
    for level, data in parts:
        if level is None:
            whole = (data * 65536)[:65536]
            said, meant = said + plain(1) + whole, meant + whole
        else:
            squeeze = zlib.compressobj(level, wbits=31)
            said, meant = said + squeeze.compress(data) + squeeze.flush(), meant + data
    assert opened(in_pieces(said + plain(0) + rest, sizes)) == meant + rest
    assert opened(in_pieces(said, sizes)) == meant


@given(data=st.binary(max_size=100))
def test_what_does_not_begin_like_gzip_comes_as_it_is(data: bytes) -> None:
    """As from a pod without gzip."""
    assert opened([b"./" + data]) == b"./" + data
    assert opened([]) == b""


@pytest.mark.parametrize("cut", range(0, 300, 7))
def test_a_cut_stream_just_ends(cut: int) -> None:
    """The output is a beginning of the intended data."""
    data = os.urandom(200)
    assert data.startswith(opened([gzip.compress(data)[:cut]]))


EFFORTS = {0: 2e-9, 1: 12e-9, 6: 35e-9}


def levels_on(line: float, ratios: dict[int, float], unpacking: float = 0.0, blocks: int = 200) -> list[int]:
    """Return the levels chosen if the line takes so many seconds per byte, and the pod so many to unpack one."""
    gauge = Gauge()
    levels = []
    for _ in range(blocks):
        level = gauge.level
        levels.append(level)
        for other in (1, 6):
            gauge.sampled(other, 1000, int(1000 * ratios[other]), 1000 * EFFORTS[other])
        size, sent = 1 << 20, int(ratios[level] * (1 << 20))
        spent = EFFORTS[level] * size
        gauge.packed(level, size, sent, EFFORTS[level] * size, spent)
        gauge.sent(sent, max(line * sent, unpacking * size - spent))
    return levels


def test_the_level_follows_the_line() -> None:
    """The slower it is the more pays; nothing pays on a quick one, nor for noise."""
    soft, noise = {0: 1.0, 1: 0.35, 6: 0.28}, {0: 1.0, 1: 1.0, 6: 1.0}
    assert [levels_on(line, soft)[-1] for line in (5e-9, 100e-9, 1e-6)] == [0, 1, 6]
    assert [levels_on(line, noise)[-1] for line in (5e-9, 100e-9, 1e-6)] == [0, 0, 0]
    assert Gauge().level > 0  # from the first byte on


def test_higher_levels_are_sampled_where_they_may_pay() -> None:
    """On a line that is faster than the lowest they cannot; on one that became slow they are again."""
    gauge = Gauge()
    assert gauge.worth_sampling == (1, 6)
    for line, sampled in ((5e-9, (1,)), (100e-9, (1, 6))):
        for _ in range(20):
            gauge.sampled(1, 1000, 500, 1000 * EFFORTS[1])
            gauge.sent(1 << 20, line * (1 << 20))
        assert gauge.worth_sampling == sampled


def test_little_is_compressed_for_a_pod_that_unpacks_slowly() -> None:
    """A trial shows that uncompressed is as fast there. On a full line it is not, and a slow line is spared the trial."""
    half = {0: 1.0, 1: 0.5, 6: 0.49}
    assert levels_on(5e-9, half, unpacking=25e-9, blocks=1000).count(0) > 900
    assert levels_on(50e-9, half, unpacking=25e-9, blocks=1000).count(0) < 100
    assert 0 not in levels_on(160e-9, half, unpacking=25e-9)


@pytest.mark.parametrize(("ratio", "tried"), [(0.5, True), (0.1, False)])
def test_a_pod_that_keeps_up_is_tried_uncompressed_at_once(ratio: float, tried: bool) -> None:
    """Not if much would be sent for little; and not if only the buffers on the way keep up."""
    for is_kept_up in (True, False):
        gauge, size, waiting = Gauge(), 1 << 19, 0
        for _ in range(4):
            sent = int(size * ratio)
            waiting = sent if is_kept_up else waiting + sent
            gauge.packed(1, size, sent, size * 1e-8, size * 1e-8)
            gauge.under_way(waiting)
            gauge.sent(sent, 1e-3)
        assert (gauge.level == 0) == (tried and is_kept_up)


class Scripted(Gauge):
    """A gauge that chooses the given levels in turn."""

    def __init__(self, levels: Iterable[int]) -> None:
        super().__init__()
        self._levels = iter(levels)

    @property
    def level(self) -> int:
        return next(self._levels, 0)


@cache
def frames(levels: tuple[int, ...], size: int) -> tuple[bytes, bytes]:
    """Return some data, and the same as frames."""
    data = (made_of("soft") + made_of("noise")[:3_000_000])[:size]
    return data, b"".join(framed(batched(in_pieces(data, [10, 1 << 20, 3])), Scripted(levels)))


@pytest.fixture(params=["sh", "bash", "busybox"])
def run_by(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, bytes], bytes]:
    """Run scripts with one of the shells there are; with busybox, by nothing but its programs."""
    program, environment = shutil.which(request.param), dict(os.environ)
    if program is None:
        pytest.skip(f"{request.param} is not installed here")
    if request.param == "busybox":
        (tmp_path / "bin").mkdir()
        subprocess.run([program, "--install", "-s", str(tmp_path / "bin")], check=True)
        program, environment["PATH"] = str(tmp_path / "bin/sh"), str(tmp_path / "bin")

    def run(script: str, said: bytes | IO[bytes]) -> bytes:
        how: dict[str, Any] = {"input": said} if isinstance(said, bytes) else {"stdin": said}
        ended = subprocess.run(
            [program, "-c", script], capture_output=True, env=environment, timeout=DEADLINE, **how
        )
        assert ended.stderr == b""
        return ended.stdout

    return run


@pytest.fixture
def unpack(run_by: Callable[[str, bytes], bytes]) -> Callable[[bytes], bytes]:
    """Unpack frames."""
    assert run_by(CAN_UNPACK, b"") == b"x"
    return lambda said: run_by(f"{UNPACK}\n_rpd_unpack", said)


@pytest.mark.parametrize("levels", [(), (6,), (1, 0, 6, 1, 0, 0), (0, 1) * 9])
def test_frames(unpack: Callable[[bytes], bytes], levels: tuple[int, ...]) -> None:
    """Compressed or plain, in any order, they are unpacked to the very bytes."""
    data, made = frames(levels, 8_000_000)
    assert unpack(made) == data


def test_cut_frames_are_a_beginning(unpack: Callable[[bytes], bytes]) -> None:
    """Cut around the lines that announce a frame, and inside both kinds of frame."""
    data, made = frames((1, 0, 1), 4_000_000)
    lines = [made.index(b"p 32\n"), made.rindex(b"z "), len(made)]
    for cut in {0, 1, 5, 100, 70_000, *(at + shift for at in lines for shift in (-1, 0, 2, 5, 70_001))}:
        assert data.startswith(unpack(made[:cut]))


@pytest.mark.exhaustive
@given(levels=st.lists(st.sampled_from([0, 0, 1, 6]), max_size=8), data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_cut_anywhere(
    unpack: Callable[[bytes], bytes], levels: list[int], data: st.DataObject
) -> None:
    """A beginning of the intended data, however the frames lie."""
    meant, made = frames(tuple(levels), 5_000_000)
    assert meant.startswith(unpack(made[: data.draw(st.integers(0, len(made)))]))


def test_nonsense_in_the_place_of_frames_ends_the_stream(unpack: Callable[[bytes], bytes]) -> None:
    """Nothing is made of it."""
    for said in (b"q 5\n12345", b"z 10\n0123456789", b"z -1\nab", b"\n\n", os.urandom(1000)):
        assert unpack(b"p 1\n" + bytes(1 << 16) + said) == bytes(1 << 16)


@pytest.mark.parametrize("kind", ["one", "soft", "noise"])
def test_what_is_packed_here_is_unpacked_anywhere(kind: str) -> None:
    """By gzip, and by the reader of the other direction's streams."""
    data = made_of(kind)[:3_000_000]
    made = b"".join(packed(batched([data[:100], data[100:]]), Gauge()))
    assert gzip.decompress(made) == opened([made]) == data
    assert len(made) < len(data) * 0.6 or kind != "soft"


def test_blocks_are_joined() -> None:
    """Small ones become one, large ones are handed on, none is lost."""
    blocks = [b"a" * 10, b"b" * (1 << 20), b"c"] + [b"d" * 1000] * 2000
    joined = list(batched(blocks))
    assert b"".join(joined) == b"".join(blocks)
    assert len(joined) < 10


@pytest.mark.parametrize("kind", ["nothing", "one", "soft", "noise"])
def test_the_pods_filter(run_by: Callable[[str, bytes], bytes], kind: str) -> None:
    """Run by the shells there are; with busybox, of nothing but its programs."""
    data = made_of(kind)
    made = run_by(f"{PACK}\n_rpd_pack", data)
    assert opened([made]) == data
    assert len(made) < len(data) / 2 + 10_000 or kind == "noise"


# A clock that slows down: whatever comes later was quicker.
_SLOWER = "_rpd_tick=10; _rpd_now() { _rpd_time=$((_rpd_time + _rpd_tick)) _rpd_tick=$((_rpd_tick - 1)); }"


def test_once_the_line_is_said_to_be_quick_the_rest_comes_as_it_is(
    run_by: Callable[[str, bytes], bytes], tmp_path: Path
) -> None:
    """After one block that was compressed, instead of 8 MB."""
    data = (os.urandom(1 << 16) + bytes(1 << 16)) * 80
    (tmp_path / "temp").mkdir()
    script = f"_rpd_temp={tmp_path}/temp\n{PACK}\n{_SLOWER}\n_rpd_pack"
    made = run_by(script, data)
    (tmp_path / "temp/quick").touch()
    quicker = run_by(script, data)
    assert opened([made]) == opened([quicker]) == data
    assert len(made) < len(data) * 0.6
    assert 0.7 * len(data) < len(quicker) < 0.9 * len(data)
    assert quicker.endswith(data[-(2 << 20) :])


# The beginning of a program that hears the word, and how it went on; the word may come a moment later.
_HEARING = f"""
set -- . "" "" "$LENGTH"
_rpd_temp=$(mktemp -d)
{HEAR}
cat "$_rpd_temp/names"
[ "$WORD" = no ] || while [ ! -e "$_rpd_temp/quick" ]; do sleep 0.01; done
ls "$_rpd_temp"
"""


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_001])
def test_names_are_taken_to_the_byte_and_then_the_word(
    run_by: Callable[[str, bytes], bytes], size: int
) -> None:
    """Whatever the names hold: the word after them is no part of them."""
    names = (b"./a\nquick\n\0" * 20_000)[:size]
    begin = f"LENGTH={size} WORD=yes\n"
    assert run_by(begin + _HEARING, names + b"quick\n") == names + b"names\nquick\n"
    assert run_by(begin.replace("yes", "no") + _HEARING, names) == names + b"names\n"


def test_the_stream_ends_while_the_word_may_still_come(run_by: Callable[[str, IO[bytes]], bytes]) -> None:
    """What listens in the background keeps nothing open: the other end stops to listen once it has all."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb") as names:
        names.write(b"./a\0")
        names.flush()
        assert run_by(f"LENGTH=4 WORD=no\n{_HEARING}", stdin) == b"./a\0names\n"


def test_names_that_are_cut_end_the_program(run_by: Callable[[str, bytes], bytes]) -> None:
    """A connection that broke while they came: nothing is done with a half."""
    script = f'exec 2>/dev/null\n( LENGTH=70000 WORD=no; {_HEARING} )\necho "status $?"'
    assert run_by(script, b"x" * 69_999) == b"status 1\n"


def test_the_word_is_said_once_the_line_proved_quick() -> None:
    """Measured from the very beginning: what comes at once after a pause proves nothing, and later it still may."""
    for steps, said in (
        ([(0.01, 900_000)], False),  # too little to tell
        ([(0.01, 900_000), (0.05, 200_000)], True),
        ([(0.5, 3_000_000)] * 20, False),  # 50 Mbit/s
        ([(3.0, 0), (0.001, 8_000_000)], False),  # this machine was suspended
        ([(0.3, 1_000_000), (0.02, 2_000_000), (0.02, 2_000_000)], True),
    ):
        times = accumulate((seconds for seconds, _ in steps), initial=0.0)
        line = QuickLine(b"names", times.__next__)
        for _, size in steps:
            assert line.passed(bytes(size)) == bytes(size)
        line.end()
        assert list(line) == [b"names", *[b"quick\n"] * said]


def test_the_pods_filter_without_gzip(tmp_path: Path) -> None:
    """All comes as it is."""
    (tmp_path / "gzip").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "gzip").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    made = subprocess.run(
        ["sh", "-c", f"{PACK}\n_rpd_pack"],
        input=b"./x" * 99,
        capture_output=True,
        env=environment,
        check=True,
    )
    assert made.stdout == b"./x" * 99

"""Large files of which only new parts are sent: whatever was done to them, they arrive correctly."""

import io
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.remote.ssh import SshRemote
from rpd.remote.transfer import patch
from rpd.remote.transfer.large import large_files
from rpd.remote.transfer.patch import (
    Blocks,
    Piece,
    Summing,
    block_size,
    copy_words,
    new_bytes,
    pieces_of_known,
    pieces_of_new,
    remaining,
    sum_at,
)
from rpd.remote.transfer.pull import pull
from rpd.remote.transfer.put import put
from tests.remote.conftest import Connect, Machine
from tests.remote.transfer.conftest import Once, check_sums, picture

BLOCK = 128 << 10


def sums_of(data: bytes) -> Blocks:
    summing = Summing(len(data))
    for at in range(0, len(data), 7):
        summing.update(data[at : at + 7])
    return summing.blocks()


def made_of(pieces: list[Piece], old: bytes, new: bytes) -> bytes:
    """Follow the pieces."""
    assert [piece.start for piece in pieces] == [
        sum(p.length for p in pieces[:at]) for at in range(len(pieces))
    ]
    return following(pieces, old, new)


def following(pieces: list[Piece], old: bytes, new: bytes) -> bytes:
    made = bytearray()
    for piece in pieces:
        source, at = (new, piece.start) if piece.source is None else (old, piece.source)
        made += source[at : at + piece.length]
    return bytes(made)


_EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60), st.binary(max_size=60)), max_size=3)


@given(old=st.binary(max_size=300), edits=_EDITS, done=st.integers(0, 400))
def test_any_edit_is_found(old: bytes, edits: list[tuple[int, int, bytes]], done: int) -> None:
    """By the sums of the old file or of the new one; and by the remainder of it after a cut."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(patch, "_LEAST_BLOCK", 16)
        patched.setattr(patch, "_MOST_BLOCKS", 8)
        new = old
        for at, gone, come in edits:
            new = new[:at] + come + new[at + gone :]
        sent = pieces_of_new(sums_of(new), sum_at(io.BytesIO(new)), sums_of(old))
        fetched = pieces_of_known(sum_at(io.BytesIO(old)), len(old), sums_of(new))
        for pieces in (sent, fetched):
            assert made_of(pieces, old, new) == new
            left = remaining(pieces, done)
            assert sum(piece.length for piece in left) == max(0, len(new) - done)
            rest = [Piece(done, len(new) - done, None)] if done < len(new) else []
            assert following(left, old, new) == following(rest, old, new)


@pytest.mark.parametrize(
    "edit",
    [
        lambda old: old,
        lambda old: old[:500] + b"\0" * 700 + old[1200:],
        lambda old: old + b"appended",
        lambda old: old[:1000] + b"inserted" + old[1000:],
        lambda old: old[:1000] + old[1500:],
        lambda old: old[:500] + b"\0" + old[501:] + b"appended",
    ],
    ids=["nothing", "in place", "appended", "inserted", "deleted", "both"],
)
def test_little_is_new(edit: "object", monkeypatch: pytest.MonkeyPatch) -> None:
    """One change in one place costs little more than itself."""
    monkeypatch.setattr(patch, "_LEAST_BLOCK", 128)
    old = os.urandom(8000)
    new = edit(old)  # type: ignore[operator]
    for pieces in (
        pieces_of_new(sums_of(new), sum_at(io.BytesIO(new)), sums_of(old)),
        pieces_of_known(sum_at(io.BytesIO(old)), len(old), sums_of(new)),
    ):
        assert made_of(pieces, old, new) == new
        assert new_bytes(pieces) <= 1200


def test_blocks_are_few() -> None:
    """Whatever the size: a list of sums is not long, and a change of a megabyte costs little more than one."""
    for size in (8 << 20, 64 << 20, 10 << 30, 1 << 40):
        assert size / block_size(size) <= 4096
    assert block_size(64 << 20) == BLOCK


@given(start=st.integers(0, 200_000), length=st.integers(1, 200_000))
def test_words_that_copy_a_part(start: int, length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whether it lies at a block or not."""
    path = tmp_path_factory.getbasetemp() / "copied"
    if not path.exists():
        path.write_bytes(os.urandom(400_000))
    for at, size in ((start, length), (start // 65536 * 65536, -(-length // 65536) * 65536)):
        copied = subprocess.run(
            ["sh", "-c", copy_words(str(path), at, size)], capture_output=True, check=True
        )
        assert copied.stdout == path.read_bytes()[at : at + size]


test_words_that_copy_a_part = pytest.mark.timeout(120)(test_words_that_copy_a_part)


def change(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


class Sent:
    """A progress hook that remembers the last figures."""

    done = total = 0

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total


def test_of_a_large_file_only_what_is_new_is_sent(
    machine_kind: str, remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """In a folder with others, and alone; with its mode; and it is known the next time."""
    tree, target, alone = tmp_path / "tree", machine.files / "t", machine.files / "alone"
    (tree / "it's").mkdir(parents=True)
    large = tree / "it's" / "new\nline"
    large.write_bytes(os.urandom(9_000_000))
    (tree / "other").write_text("x")
    put(remote._shell, tree, str(target))
    put(remote._shell, large, str(alone))
    for number in range(3):
        change(large, 4_000_000 + number, b"%d" % number * 1000)
        large.chmod(0o640 + number)
        if number == 2:
            with large.open("ab") as file:
                file.write(b"appended")
        for source, place in ((tree, target), (large, alone)):
            sent = Sent()
            put(remote._shell, source, str(place), progress=sent)
            assert sent.done == sent.total <= 3 * BLOCK, machine_kind
        assert picture(target) == picture(tree)
        assert alone.read_bytes() == large.read_bytes()
        assert alone.stat().st_mode == large.stat().st_mode
        assert int((target / "it's" / "new\nline").stat().st_mtime) == int(large.stat().st_mtime)
    assert len(list(machine.files.iterdir())) == 2


def test_a_large_file_that_is_other_than_noted_is_sent_whole(
    remote: SshRemote, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum of the assembled file shows it, and no wrong file is put in its place."""
    large, target = tmp_path / "large", machine.files / "t"
    large.write_bytes(os.urandom(9_000_000))
    put(remote._shell, large, str(target))
    times = target.stat()
    (notes,) = (machine.home / ".rpd/staged").iterdir()
    change(target, 100, b"not what was sent")
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    # As if nothing had been done to it: the state there describes the present file.
    monkeypatch.setattr("rpd.remote.transfer.delta._differing", lambda *_: ({}, {}))
    change(large, 5_000_000, b"new")
    put(remote._shell, large, str(target))
    assert target.read_bytes() == large.read_bytes()
    assert notes.exists()


def test_of_a_large_file_only_what_is_new_is_fetched(
    machine_kind: str, remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """Over the file an earlier pull left, which may have changed here too; a pod without Python has larger blocks."""
    root, local = machine.files / "r", tmp_path / "l"
    (root / "it's").mkdir(parents=True)
    large = root / "it's" / "large file"
    large.write_bytes(os.urandom(9_000_000))
    (root / "other").write_text("x")
    pull(remote._shell, str(root), local)
    block = large_files(remote._shell, str(root), ["it's/large file"])["it's/large file"].blocks.block
    assert block == {"usual": BLOCK, "busybox": 1 << 20}[machine_kind]
    change(large, 4_000_000, b"new" * 100)
    change(local / "r/it's/large file", 20, b"changed here")
    large.chmod(0o640)
    with large.open("ab") as file:
        file.write(b"appended")
    sent = Sent()
    pulled = pull(remote._shell, str(root), local, progress=sent)
    assert sent.done < 4 * block
    assert picture(local / "r") == picture(root)
    assert pulled is not None
    assert pulled.bytes == large.stat().st_size + 1
    check_sums(local)


def test_a_patch_that_is_cut_goes_on(connecting: Connect, machine: Machine, tmp_path: Path) -> None:
    """Either way the file is right in the end, and parts that arrived here do not come again."""
    large, local, back = tmp_path / "large", tmp_path / "l", machine.files / "back"
    large.write_bytes(os.urandom(10_000_000))
    put(connecting()._shell, large, str(back))
    pull(connecting()._shell, str(back), local)
    for at in range(0, 4_000_000, 400_000):
        change(large, at, os.urandom(200_000))
    put(connecting()._shell, large, str(back), progress=Once(machine.drop))
    assert back.read_bytes() == large.read_bytes()
    sent = Sent()
    once = Once(machine.drop)

    def progress(done: int, total: int) -> None:
        sent(done, total)
        if done > 1_000_000:
            once()

    pull(connecting()._shell, str(back), local, progress=progress)
    assert (local / "back").read_bytes() == large.read_bytes()
    assert sent.done < 4_300_000


def test_a_large_file_that_changes_while_its_patch_comes(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """The local file matches the remote one at some moment; one that became shorter is fetched whole."""
    large, local = machine.files / "large", tmp_path / "l"
    for size in (9_000_000, 5_000_000):
        large.write_bytes(os.urandom(9_000_000))
        pull(remote._shell, str(large), local)
        change(large, 4_000_000, os.urandom(1_000_000))

        versions = [large.read_bytes(), os.urandom(size)]
        pull(remote._shell, str(large), local, progress=Once(lambda: large.write_bytes(versions[1])))  # noqa: B023
        assert (local / "large").read_bytes() in versions

"""A tree that was sent before: only changes are sent again, and the pod has an exact copy."""

import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rpd.project.ignore import Kind, StagedFile
from rpd.remote.ssh import SshRemote
from rpd.remote.transfer import archive, delta, sent_list
from rpd.remote.transfer.patch import SUM_DIGITS, Blocks
from rpd.remote.transfer.put import put
from tests.remote.conftest import Connect, Machine
from tests.remote.transfer.conftest import picture as below
from tests.waiting import wait_until

SUM = "0" * 64


def picture(root: Path) -> dict[str, object]:
    """Return all that is below ``root``, and its own mode."""
    return {"": root.stat().st_mode & 0o777, **below(root)}


class Sent:
    """A progress hook that remembers how much was sent, and may do something at the first bytes."""

    def __init__(self, action: Callable[[], object] = lambda: None) -> None:
        self.bytes = 0
        self._action: Callable[[], object] | None = action

    def __call__(self, done: int, total: int) -> None:
        assert done <= total
        self.bytes = done
        if self._action is not None:
            action, self._action = self._action, None
            action()


def send(remote: SshRemote, tree: Path, target: Path) -> int:
    """Put the tree; return how many bytes of files were sent."""
    sent = Sent()
    staged = put(remote._shell, tree, str(target), progress=sent)
    assert picture(target) == picture(tree)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert staged.bytes == sum(
        path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink()
    )
    return sent.bytes


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of three files, a link and an empty folder."""
    root = tmp_path / "tree"
    (root / "sub/-d e\nep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "sub/big").write_bytes(os.urandom(500_000))
    (root / "sub/-d e\nep/*").write_bytes(b"x" * 1000)
    (root / "small").write_bytes(b"y" * 10)
    (root / "link").symlink_to("small")
    (root / "sub").chmod(0o750)
    return root


def test_only_what_changed_is_sent(
    machine_kind: str, remote: SshRemote, machine: Machine, tree: Path
) -> None:
    """A changed, a new and a removed file, a link, a mode: the rest stays, the very file, and nothing else is sent."""
    target = machine.files / "t"
    assert send(remote, tree, target) == 501_010, machine_kind
    inode = (target / "sub/big").stat().st_ino
    (tree / "small").write_bytes(b"z" * 20)
    (tree / "new").write_bytes(b"n" * 7)
    (tree / "link").unlink()
    (tree / "link").symlink_to("new")
    (tree / "empty").rmdir()
    (tree / "sub").chmod(0o700)
    assert send(remote, tree, target) == 27
    assert (target / "sub/big").stat().st_ino == inode
    (tree / "sub/-d e\nep/*").unlink()
    assert send(remote, tree, target) == 0
    assert send(remote, tree, target) == 0


def test_what_jobs_left_in_the_tree_is_gone(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """Outputs are not carried over; files that a job changed are sent again, and only those."""
    target = machine.files / "t"
    send(remote, tree, target)
    (target / "sub/results").mkdir()
    (target / "sub/results/out").write_text("out")
    (target / "small").write_bytes(b"Y" * 10)
    (target / "sub/-d e\nep/*").chmod(0o777)
    assert send(remote, tree, target) == 1010


def test_a_fresh_copy_of_the_same_files_is_known(
    connecting: Connect, machine: Machine, tree: Path, tmp_path: Path
) -> None:
    """The contents decide, not the local times: another driver with another checkout sends nothing."""
    target = machine.files / "t"
    send(connecting(), tree, target)
    copy = tmp_path / "elsewhere" / "tree"
    shutil.copytree(tree, copy, symlinks=True)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    assert send(connecting(), copy, target) == 0


@pytest.mark.parametrize(
    ("broken", "sent"),
    [
        ("ln", 3),
        ("cp", 501_003),
        ("cmp", 3),
        ("stat", 3),
        ("gzip", 3),
        ("dd", 3),
    ],
)
def test_a_pod_that_lacks_something_gets_the_whole_tree(
    remote: SshRemote, machine: Machine, tree: Path, tmp_path: Path, broken: str, sent: int
) -> None:
    """Without hard links files are copied, without gzip or dd the stream has another form; else, all is sent."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / broken).write_text("#!/bin/sh\nexit 1\n")
    (bin_folder / broken).chmod(0o755)
    machine.path = f"{bin_folder}:{machine.path}"
    target = machine.files / "t"
    send(remote, tree, target)
    (tree / "small").write_bytes(b"new")
    assert send(remote, tree, target) == sent


@pytest.mark.parametrize("damage", ["list", "state", "note"])
def test_notes_that_make_no_sense_are_not_believed(
    remote: SshRemote, machine: Machine, tree: Path, damage: str
) -> None:
    """Whatever lies on the pod in their place: the tree arrives."""
    target = machine.files / "t"
    send(remote, tree, target)
    (notes,) = (machine.home / ".rpd/staged").iterdir()
    (notes / damage).write_bytes(b"\xff[1, 2\0")
    (tree / "small").write_bytes(b"new")
    assert send(remote, tree, target) in (3, 501_003)


def test_a_cut_in_a_change_is_mended(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """A connection that breaks while changes are sent leaves the old tree, and the new one is whole in the end."""
    target = machine.files / "t"
    send(remote, tree, target)
    (tree / "new").write_bytes(os.urandom(300_000))
    put(remote._shell, tree, str(target), progress=Sent(machine.drop))
    assert picture(target) == picture(tree)
    wait_until(lambda: len(list(machine.files.iterdir())) == 1, what="the end of the half tree")


def test_what_turns_up_while_changes_are_sent_is_not_kept(
    remote: SshRemote, machine: Machine, tree: Path
) -> None:
    """A file that appears after the change was worked out: the tree still equals the local one."""
    target = machine.files / "t"
    send(remote, tree, target)
    (tree / "new").write_bytes(b"new")
    put(remote._shell, tree, str(target), progress=Sent((target / "sub/late").touch))
    assert picture(target) == picture(tree)


_NAME = st.sampled_from(["a", "b", "-c", "d\ne", "'", "ü"])
_LEAF = st.one_of(
    st.tuples(st.just("file"), st.sampled_from([b"", b"1", b"2" * 600]), st.sampled_from([0o644, 0o755])),
    st.tuples(st.just("link"), st.sampled_from(["a", "b/x", "/nowhere"])),
)
_TREES = st.recursive(
    st.dictionaries(_NAME, _LEAF, max_size=4),
    lambda inner: st.dictionaries(_NAME, st.one_of(_LEAF, inner), max_size=4),
    max_leaves=8,
)


def grow(root: Path, content: dict[str, object]) -> None:
    """Make ``root`` match ``content``, leaving matching files alone."""
    if root.is_symlink() or root.is_file():
        root.unlink()
    root.mkdir(exist_ok=True)
    for path in list(root.iterdir()):
        if path.name not in content:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, value in content.items():
        path = root / name
        if isinstance(value, dict):
            grow(path, value)
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.is_symlink():
            path.unlink()
        if value[0] == "link":  # type: ignore[index]
            path.unlink(missing_ok=True)
            path.symlink_to(value[1])  # type: ignore[index]
        elif not path.exists() or path.read_bytes() != value[1]:  # type: ignore[index]
            path.write_bytes(value[1])  # type: ignore[index]
            path.chmod(value[2])  # type: ignore[index]
        else:
            path.chmod(value[2])  # type: ignore[index]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees=st.lists(_TREES, min_size=2, max_size=3), is_continued=st.booleans())
def test_any_tree_becomes_any_other(
    remote: SshRemote,
    machine: Machine,
    tmp_path_factory: pytest.TempPathFactory,
    trees: list[dict[str, object]],
    is_continued: bool,
) -> None:
    """Whatever was sent before, after each put the pod has an exact copy of the local tree, and knows it."""
    here = tmp_path_factory.mktemp("here") / "tree"
    with pytest.MonkeyPatch.context() as patch:
        if is_continued:  # its list is never sent whole if anything is kept
            patch.setattr(delta, "_LITTLE", 0.1)
        for content in trees:
            grow(here, content)
            send(remote, here, machine.files / "t")
            assert send(remote, here, machine.files / "t") == 0


def notes_of(machine: Machine) -> list[str]:
    """Return the names of the notes on the one tree that was sent."""
    (notes,) = (machine.home / ".rpd/staged").iterdir()
    return sorted(path.name for path in notes.iterdir())


def test_a_small_change_to_a_large_tree_leaves_its_list(
    machine_kind: str, connecting: Connect, machine: Machine, tmp_path: Path
) -> None:
    """Only what differs is sent and kept, again and again, also for another checkout; a large change ends that."""
    tree, target = tmp_path / "tree", machine.files / "t"
    looked_at = [] if machine_kind == "busybox" else ["is", "was"]
    (tree / "folder").mkdir(parents=True)
    for number in range(40):
        (tree / f"folder/{number}").write_text(f"{number}")
    send(connecting(), tree, target)
    assert notes_of(machine) == ["list", "note", "state"], machine_kind
    (tree / "folder/0").write_text("new")
    (tree / "folder/1").unlink()
    assert send(connecting(), tree, target) == 3
    assert notes_of(machine) == sorted(["base", "more", "note", "state", *looked_at])
    (tree / "folder/0").unlink()
    (tree / "folder/2").write_text("other")
    assert send(connecting(), tree, target) == 5
    (tree / "folder/1").write_text("1 again")
    assert send(connecting(), tree, target) == 7
    assert send(connecting(), tree, target) == 0
    assert notes_of(machine) == sorted(["base", "more", "note", "state", *looked_at])
    (target / "folder/2").write_text("not ours")
    copy = shutil.copytree(tree, tmp_path / "elsewhere")
    assert send(connecting(), copy, target) == 5
    # The facts of all files differ.
    assert notes_of(machine) == sorted(["list", "note", "state", *looked_at])


def continued(remote: SshRemote, machine: Machine, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Send a tree, and a small change to it; return it with another change, its target, and the pod's notes."""
    tree, target = tmp_path / "tree", machine.files / "t"
    tree.mkdir()
    for number in range(20):
        (tree / f"{number}").write_text("x")
    for text in ("one", "two"):
        send(remote, tree, target)
        (tree / "0").write_text(text)
    (notes,) = (machine.home / ".rpd/staged").iterdir()
    return tree, target, notes


@pytest.mark.parametrize("damage", ["base", "more", "note"])
def test_a_list_that_is_continued_is_not_believed_blindly(
    remote: SshRemote, machine: Machine, tmp_path: Path, damage: str
) -> None:
    """Without one of its parts all is sent, and the next list is whole; with another note, it is sent whole."""
    tree, target, notes = continued(remote, machine, tmp_path)
    if damage == "note":
        (notes / damage).write_text("no stamp\n{}\n")
    else:
        (notes / damage).unlink()
    assert send(remote, tree, target) == (3 if damage == "note" else 22)
    assert {"list", "note", "state"} <= set(notes_of(machine)) <= {"is", "list", "note", "state", "was"}


@pytest.mark.parametrize("damage", ["is", "state", "was"])
def test_a_look_that_is_continued_is_not_believed_blindly(
    remote: SshRemote, machine: Machine, tmp_path: Path, damage: str
) -> None:
    """Without one of its parts more is sent than is needed, or all; afterwards it is whole again."""
    tree, target, notes = continued(remote, machine, tmp_path)
    (notes / damage).write_bytes(b"")
    assert 3 <= send(remote, tree, target) <= 22
    assert send(remote, tree, target) == 0


def test_two_drivers_that_send_one_tree_at_once_end_with_one_of_theirs(
    machine_kind: str, connecting: Connect, machine: Machine, tmp_path: Path
) -> None:
    """The later one does not keep files that the other has replaced since it looked."""
    tree, target = tmp_path / "tree", machine.files / "t"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number}").write_text("x")
    send(connecting(), tree, target)
    others = shutil.copytree(tree, tmp_path / "others")
    (others / "1").write_text("other")
    (tree / "0").write_text("new")
    other = connecting()
    put(connecting()._shell, tree, str(target), progress=Sent(lambda: put(other._shell, others, str(target))))
    assert picture(target) == picture(tree), machine_kind


def test_a_change_by_others_during_a_small_change_is_seen_later(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """Files that something else writes, adds or removes there after rpd looked are not taken for those it sent."""
    tree, target = tmp_path / "tree", machine.files / "t"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number}").write_text("x")
    send(remote, tree, target)
    (tree / "0").write_text("new")
    put(remote._shell, tree, str(target), progress=Sent(lambda: (target / "1").write_text("other")))
    assert (target / "1").read_text() == "other"
    assert send(remote, tree, target) == 1
    (tree / "0").write_text("newer")
    put(remote._shell, tree, str(target), progress=Sent(lambda: (target / "0").write_text("other")))
    assert (target / "0").read_text() == "newer"
    assert send(remote, tree, target) in (0, 5)
    assert send(remote, tree, target) == 0


def test_a_list_that_changed_meanwhile_is_not_continued(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """Another driver may send the same tree: the differences of this one belong to a list that is gone."""
    tree, target = tmp_path / "tree", machine.files / "t"
    tree.mkdir()
    for number in range(20):
        (tree / f"{number}").write_text("x")
    send(remote, tree, target)
    (tree / "0").write_text("new")
    (notes,) = (machine.home / ".rpd/staged").iterdir()

    def another_note() -> None:
        (notes / "note").write_text(f"{'0' * 64}\n{{}}\n")

    put(remote._shell, tree, str(target), progress=Sent(another_note))
    assert picture(target) == picture(tree)
    assert notes_of(machine) == ["list", "note", "state"]  # those of the other, and nothing else
    assert send(remote, tree, target) == 3


@settings(max_examples=50)
@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=110),
    mode=st.integers(0, 0o777),
    size=st.integers(0, 1 << 34),
    mtime=st.integers(-10, 1 << 34),
)
def test_headers_are_those_of_tarfile(name: str, mode: int, size: int, mtime: int) -> None:
    """Made in a quicker way, or not at all where one block does not hold them."""
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.mtime = mode, size, mtime
    expected = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    made = archive._plain_header(name, mode, size, mtime)
    assert made in (expected, None)
    assert made or len(expected) > 512 or not 0 <= mtime <= 0o77777777777 or size > 0o77777777777


_NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.just("\udcff"), min_size=1, max_size=9
)


@st.composite
def _files(draw: st.DrawFn) -> StagedFile:
    kind, mode, size = draw(st.sampled_from(Kind)), draw(st.integers(0, 0o777)), draw(st.integers(0, 1 << 40))
    facts = {Kind.FILE: f"f{mode:o} {size} 1 2 3", Kind.FOLDER: f"d{mode:o}", Kind.LINK: f"l{draw(_NAMES)}"}
    return StagedFile(name=draw(_NAMES), place="", kind=kind, mode=mode, size=size, facts=facts[kind])


@settings(max_examples=40)
@given(files=st.lists(_files(), unique_by=lambda file: file.name, max_size=6), data=st.data())
def test_a_list_of_what_was_sent_is_read_as_it_was_written(
    files: list[StagedFile], data: st.DataObject
) -> None:
    """Facts and sums; the blocks of those that have some. A list that is cut is none."""
    sums = [hashlib.sha256(file.name.encode("utf-8", "surrogateescape")).hexdigest() for file in files]
    blocks = {
        file.name: Blocks(9, 1 << 17, ["0" * 32])
        for file in files
        if file.kind is Kind.FILE and file.size % 2
    }
    written = sent_list.written(list(zip(files, sums, strict=True)), blocks)
    read = sent_list.read_sent(written, 1 << 20)
    for file, sha256 in zip(files, sums, strict=True):
        assert read.sums.get(file.name) == (sha256 if file.kind is Kind.FILE else None)
        assert read.is_like(file, stamped=True)
        assert read.folder_mode(file.name) == (file.mode if file.kind is Kind.FOLDER else None)
    cut = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises((ValueError, zlib.error)):
        sent_list.read_sent(written[:cut], 1 << 20)


@settings(max_examples=40)
@given(
    before=st.dictionaries(_NAMES, st.binary(min_size=1, max_size=3), max_size=6),
    after=st.dictionaries(_NAMES, st.binary(min_size=1, max_size=3), max_size=6),
)
def test_a_list_and_what_differs_are_the_list_that_differs(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    """Whatever changed, came or went."""

    def contents(tree: dict[str, bytes]) -> list[tuple[StagedFile, str]]:
        return [
            (
                StagedFile(
                    name=name, place="", kind=Kind.FILE, mode=0o644, facts=f"f644 {len(data)} {data!r}"
                ),
                hashlib.sha256(data).hexdigest(),
            )
            for name, data in tree.items()
        ]

    differs = {name: data for name, data in after.items() if before.get(name) != data}
    whole = sent_list.written(contents(before), {})
    more = sent_list.written(contents(differs), {}, before.keys() - after.keys())
    read, wanted = (
        sent_list.read_sent(whole, 1 << 20, more),
        sent_list.read_sent(sent_list.written(contents(after), {}), 1 << 20),
    )
    assert (read.facts, read.sums) == (wanted.facts, wanted.sums)
    assert set(read.later) == differs.keys() | (before.keys() - after.keys())


@given(facts=st.text(st.sampled_from("d 0179|a"), max_size=12))
@example(facts="644|131072 ")
def test_a_list_may_say_anything(facts: str) -> None:
    """It comes from the pod: one that makes no sense keeps nothing, and ends no put."""
    file = StagedFile(name="a", place="/nowhere", kind=Kind.FILE, mode=0o644, size=5, facts="f644 5 1 2 3")
    text = zlib.compress(f"a\0f{facts}\0".encode())
    lists = {"list": b"%d\n%b" % (len(text), text) + bytes(32)}
    assert delta.change_of(lists, "/t", [file]).kept == {}


def test_a_large_file_that_stays_is_not_noted_again(tmp_path: Path) -> None:
    """Its facts in the list have the sums of its blocks, too."""
    (tmp_path / "9").write_bytes(b"new")
    sizes = [9_000_000, *range(1, 17)]
    sent = [
        (StagedFile(f"{n}", "", Kind.FILE, 0o644, size, "", 1, f"f644 {size} 1 2 3"), SUM)
        for n, size in enumerate(sizes)
    ]
    blocks = {"0": Blocks(9_000_000, 1 << 20, 9 * ["0" * SUM_DIGITS])}
    lists = {"list": sent_list.written(sent, blocks), "note": b"0" * 64 + b"\n{}\n"}
    files = [file for file, _ in sent]
    files[9] = files[9]._replace(place=str(tmp_path / "9"), size=3, facts="f644 3 9 9 9")
    change = delta.change_of(lists, "/t", files)
    assert change.kept.keys() == {file.name for file in files} - {"9"}
    assert change.continued == delta.Continued(stamp="0" * 64, names={"9"}, gone=set())


def test_states_of_both_kinds_of_find_are_read() -> None:
    """Names lose the target; facts stand in the line of the same number, or before them."""
    assert delta.read_state(b"one\ntwo\n\0/t\0/t/a/b\n\0", "/t") == {"": "one", "a/b\n": "two"}
    with pytest.raises(ValueError, match="zip"):
        delta.read_state(b"one\n\0/t\0/t/a\0", "/t")
    differ = b"d 755 1/.\0f 644 1/./a/b\n\0\td 755 2/.\0\tf 644 2/./c\0"
    assert delta.read_differing(differ) == (
        {"": "d 755 1", "a/b\n": "f 644 1"},
        {"": "d 755 2", "c": "f 644 2"},
    )
    with pytest.raises(ValueError, match="not the state"):
        delta.read_differing(b"one\0")

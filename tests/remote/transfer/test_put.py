"""A tree on its way to the pod: whole or not at all."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.errors import ConnectionLost, Interrupted, LocalTransferError, TransferError, UsageError
from rpd.project.ignore import Kind, content_digest, staged_files, tree_digest
from rpd.remote.shell import Interrupt, Program, with_arguments
from rpd.remote.ssh import SshRemote
from rpd.remote.transfer import put as put_module
from rpd.remote.transfer.archive import Archive
from rpd.remote.transfer.put import RECEIVE, put
from tests.remote.conftest import Connect, Machine
from tests.remote.transfer.conftest import Once, entries, names, picture
from tests.waiting import DEADLINE, wait_until


def test_a_tree_arrives_as_it_is(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """Contents, modes, links, empty folders and odd names are the same on the pod."""
    target = machine.files / "new" / "place"
    staged = remote.put(tree, str(target))
    assert picture(target) == picture(tree)
    files = staged_files(tree)
    assert staged.files == sum(file.kind is not Kind.FOLDER for file in files)
    assert staged.bytes == sum(file.size for file in files)
    assert staged.tree_sha256 == tree_digest(
        (file, content_digest(file.path) if file.kind is Kind.FILE else "") for file in files
    )


def test_what_was_there_is_replaced_whole(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """After a put the target holds the sent files and nothing else, and no leftovers lie next to it."""
    target = machine.files / "t"
    target.mkdir()
    (target / "old").write_text("old")
    remote.put(tree, str(target))
    assert picture(target) == picture(tree)
    assert names(machine.files) == sorted(f"t/{name}" for name in names(tree))


@pytest.mark.parametrize("before", ["nothing", "file", "dangling link", "link to a file"])
def test_a_file_is_put_under_the_name_that_was_asked_for(
    remote: SshRemote, machine: Machine, tmp_path: Path, before: str
) -> None:
    """A file or a link of that name makes way; the target of the link stays unchanged."""
    source, target = tmp_path / "source.txt", machine.files / "a name"
    source.write_text("new")
    elsewhere = machine.files / "elsewhere"
    elsewhere.write_text("untouched")
    if before == "file":
        target.write_text("old")
    elif before != "nothing":
        target.symlink_to(elsewhere if before == "link to a file" else machine.files / "nowhere")
    assert remote.put(source, str(target)).files == 1
    assert target.read_text() == "new"
    assert not target.is_symlink()
    assert elsewhere.read_text() == "untouched"


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_never_takes_the_place_of_a_folder(
    remote: SshRemote, machine: Machine, tmp_path: Path, linked: bool
) -> None:
    """The folder stays as it is, and the error says how to put the file into it."""
    source, folder = tmp_path / "source.txt", machine.files / "data"
    source.write_text("new")
    (folder / "in").mkdir(parents=True)
    (folder / "in/precious").write_text("kept")
    target = machine.files / "link" if linked else folder
    if linked:
        target.symlink_to(folder)
    before = picture(machine.files)
    with pytest.raises(UsageError, match=rf"a folder is there.*{target}/"):
        remote.put(source, str(target))
    assert picture(machine.files) == before


def test_a_folder_never_takes_the_place_of_a_file(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """As with cp: the file stays as it is."""
    target = machine.files / "model.pt"
    target.write_text("kept")
    with pytest.raises(UsageError, match="a file is there"):
        remote.put(tree, str(target))
    assert target.read_text() == "kept"


def test_only_what_is_staged_is_sent(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """Ignore rules and ``exclude`` hold for a put."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("a.py", "b.log", "c.pt"):
        (root / name).write_text(name)
    (root / ".gitignore").write_text("*.log\n")
    remote.put(root, str(machine.files / "p"), exclude=["*.pt"])
    assert names(machine.files / "p") == [".gitignore", "a.py"]


def test_an_unchanged_tree_is_not_sent_again(connecting: Connect, machine: Machine, tree: Path) -> None:
    """A second put of the same tree, by another driver too, sends no file and says the same."""
    target = str(machine.files / "t")
    first = connecting().put(tree, target)
    inode = (machine.files / "t/sub/big").stat().st_ino
    assert connecting().put(tree, target) == first
    assert (machine.files / "t/sub/big").stat().st_ino == inode


def _write(path: Path) -> None:
    path.write_text("changed")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: _write(root / "sub/run.sh"),
        lambda root: _write(root / "added"),
        lambda root: (root / "private").unlink(),
        lambda root: (root / "private").chmod(0o644),
        lambda root: (root / "empty").rmdir(),
    ],
    ids=["content", "added", "removed", "mode", "folder"],
)
@pytest.mark.parametrize("side", ["here", "there"])
def test_a_change_on_either_side_is_seen(
    remote: SshRemote, machine: Machine, tree: Path, change: Callable[[Path], None], side: str
) -> None:
    """Whatever changed, here or on the pod: after a put both are the same."""
    target = machine.files / "t"
    remote.put(tree, str(target))
    change(tree if side == "here" else target)
    remote.put(tree, str(target))
    assert picture(target) == picture(tree)


def test_a_put_that_is_cut_is_done_again(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """A connection that breaks in the middle of a tree is mended, and the tree arrives whole."""
    put(remote._shell, tree, str(machine.files / "t"), progress=Once(machine.drop))
    assert picture(machine.files / "t") == picture(tree)
    wait_until(lambda: entries(machine.files) == ["t"], what="the end of the half tree")


def test_a_put_that_stays_cut_leaves_what_was_there(
    connecting: Connect, machine: Machine, tree: Path
) -> None:
    """If the pod stays away the old tree is untouched, and the half new one is cleared away by the pod itself."""
    remote = connecting(give_up=0.2)
    target = machine.files / "t"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(ConnectionLost):
        put(remote._shell, tree, str(target), progress=Once(machine.stop), keep=0.1)
    wait_until(lambda: entries(machine.files) == ["t"], what="the end of the half tree")
    assert names(target) == ["old"]


def test_a_tree_that_cannot_be_listed_leaves_no_question_open(
    remote: SshRemote, machine: Machine, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod was asked before; the error is the one of this machine, and the next put works."""

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "no", "a/b")

    with monkeypatch.context() as patching:
        patching.setattr(put_module, "staging", fail)
        with pytest.raises(LocalTransferError, match="a/b cannot be read"):
            remote.put(tree, str(machine.files / "t"))
    assert not any(thread.name == "rpd-stdin" and thread.is_alive() for thread in wait_for_writers())
    remote.put(tree, str(machine.files / "t"))
    assert picture(machine.files / "t") == picture(tree)


def wait_for_writers() -> list[threading.Thread]:
    """Return the threads that still write to programs, after those that are about to end."""
    writers = [thread for thread in threading.enumerate() if thread.name == "rpd-stdin"]
    for thread in writers:
        thread.join(DEADLINE)
    return writers


def test_half_an_archive_is_never_renamed_into_place(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """Cut at any block, even between two members, the stream makes no tree."""
    blocks = b"".join(Archive(tree, staged_files(tree)).blocks())
    target = str(machine.files / "t")
    end = len(blocks) - 3 * 512
    for cut in (0, 512, 1024, end // 2 // 512 * 512, end):
        script = with_arguments(RECEIVE, target, str(machine.files), "", "notes")
        assert remote._shell.exec(Program(script, stdin=[blocks[:cut]], timeout=30)).exit_code != 0
        assert entries(machine.files) == []


def test_a_file_that_grows_while_it_is_sent_arrives_as_long_as_it_was_listed(
    remote: SshRemote, machine: Machine, tree: Path
) -> None:
    """A log that is written all the time is sent up to where it was, the rest of the tree whole; the answer names it."""
    log = tree / "sub/big"

    def grow(*_: int) -> None:
        with log.open("ab") as file:
            file.write(b"one line more\n")

    staged = put(remote._shell, tree, str(machine.files / "t"), progress=grow)
    arrived = (machine.files / "t/sub/big").read_bytes()
    assert staged.changed == ("sub/big",)
    assert len(arrived) >= 3_000_001
    assert log.read_bytes().startswith(arrived)
    assert names(machine.files / "t") == names(tree)


def test_a_file_that_is_rewritten_while_it_is_sent_is_read_again(
    remote: SshRemote, machine: Machine, tree: Path
) -> None:
    """The file that arrives is not half of one version and half of another."""
    content = os.urandom(2_000_000)
    staged = put(
        remote._shell,
        tree,
        str(machine.files / "t"),
        progress=Once(lambda: (tree / "sub/big").write_bytes(content)),
    )
    assert (machine.files / "t/sub/big").read_bytes() == content
    assert picture(machine.files / "t") == picture(tree)
    assert staged.changed == ("sub/big",)


def test_a_file_that_vanishes_while_the_tree_is_sent_is_not_sent(
    remote: SshRemote, machine: Machine, tree: Path
) -> None:
    """As an editor's swap file does: the tree arrives as it is then."""
    swap = tree / "z.swp"
    swap.write_text("gone soon")
    put(remote._shell, tree, str(machine.files / "t"), progress=Once(swap.unlink))
    assert picture(machine.files / "t") == picture(tree)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(
    remote: SshRemote, machine: Machine, tree: Path, size: int
) -> None:
    """Nobody may ever write into it: the tree arrives without it, as it is then."""
    late = tree / "z.late"
    late.write_bytes(bytes(size))

    def swap() -> None:
        late.unlink()
        os.mkfifo(late)

    put(remote._shell, tree, str(machine.files / "t"), progress=Once(swap))
    late.unlink()
    assert picture(machine.files / "t") == picture(tree)


def test_a_file_that_shrinks_each_time_it_is_read_is_an_error(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """A file that cannot be read whole is not passed off as the listed one."""
    big = tmp_path / "big"
    big.touch()
    os.truncate(big, 64 << 20)
    with pytest.raises(TransferError, match="big changed while it was being sent"):
        put(
            remote._shell,
            big,
            str(machine.files / "t"),
            progress=lambda *_: os.truncate(big, big.stat().st_size * 3 // 4),
        )


def test_a_put_can_be_interrupted(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """An interrupt ends a put, and leaves nothing half."""
    interrupt = Interrupt()
    with pytest.raises(Interrupted):
        put(
            remote._shell,
            tree,
            str(machine.files / "t"),
            interrupt=interrupt,
            progress=Once(interrupt.request),
        )
    wait_until(lambda: entries(machine.files) == [], what="the end of the half tree")


def test_a_missing_local_path_is_a_usage_error(remote: SshRemote, machine: Machine) -> None:
    """The path that is not there is named."""
    with pytest.raises(UsageError, match=r"/no/such does not exist"):
        remote.put(Path("/no/such"), str(machine.files / "t"))


def test_folders_that_hold_more_than_the_target_are_refused(
    remote: SshRemote, machine: Machine, tree: Path
) -> None:
    """Neither / nor a folder above the home folder is replaced by a project."""
    with pytest.raises(TransferError, match="below /"):
        remote.put(tree, "/")
    for target in (machine.home, machine.home.parent):
        with pytest.raises(TransferError, match="name a folder below it"):
            remote.put(tree, str(target))
    with pytest.raises(TransferError, match="mount point"):
        remote.put(tree, "/proc")
    assert machine.files.is_dir()


def test_the_pods_reason_is_in_the_error(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """A file in the way of a folder is reported in the pod's words."""
    (machine.files / "f").write_text("")
    with pytest.raises(TransferError, match=r"Not a directory|File exists"):
        remote.put(tree, str(machine.files / "f" / "t"))

"""Files to and from the pod: whole or not at all, and checked."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpd.errors import ConnectionLost, Interrupted, MissingArtifact, TransferError, UsageError
from rpd.project.ignore import Kind, content_digest, staged_files, tree_digest
from rpd.remote.shell import Interrupt, Program, with_arguments
from rpd.remote.ssh import SshRemote
from rpd.remote.transfer.archive import Archive
from rpd.remote.transfer.globs import glob_words, split_glob
from rpd.remote.transfer.paths import check_name
from rpd.remote.transfer.pull import pull
from rpd.remote.transfer.put import RECEIVE, put
from rpd.remote.transfer.seen import Seen

from .conftest import Connect, Machine, wait_until

ODD_NAMES = [
    "-dash",
    "a b",
    "new\nline",
    "quo'te\"",
    "back\\slash",
    "ünï",
    "*",
    "[x]",
    "$HOME",
    "~",
    "#hash",
    " lead",
    "tail ",
]


def picture(root: Path) -> dict[str, object]:
    """Return all that is below ``root``: kind, mode, content or target by name."""
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            if path.is_symlink():
                value: object = ("link", str(path.readlink()))
            elif path.is_dir():
                value = ("folder", status.st_mode & 0o777)
            else:
                value = ("file", status.st_mode & 0o777, path.read_bytes())
            found[str(path.relative_to(root))] = value
    return found


def names(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()
    )


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check_sums(local: Path) -> None:
    """Let sha256sum itself check the list of a pull."""
    subprocess.run(
        ["sha256sum", "--quiet", "-c", f"../{local.name}.sha256"], cwd=local, check=True, capture_output=True
    )


class Once:
    """A progress hook that does something at the first bytes, once."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action

    def __call__(self, *_: int) -> None:
        if self._action is not None:
            action, self._action = self._action, None
            action()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with all that a folder can hold."""
    root = tmp_path / "tree"
    (root / "empty").mkdir(parents=True)
    (root / "sub").mkdir()
    (root / "sub/big").write_bytes(os.urandom(3_000_001))
    (root / "sub/run.sh").write_text("#!/bin/sh\n")
    (root / "sub/run.sh").chmod(0o755)
    (root / "private").write_text("x")
    (root / "private").chmod(0o600)
    (root / "link").symlink_to("sub/run.sh")
    for name in ODD_NAMES:
        (root / name).write_text(name)
    (root / ("long" * 50)).write_text("a name that needs tar's extension")
    return root


# --- put ------------------------------------------------------------------------------------------------------------


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
    """After a put the target holds what was sent and nothing else, and no leftovers lie beside it."""
    target = machine.files / "t"
    target.mkdir()
    (target / "old").write_text("old")
    remote.put(tree, str(target))
    assert picture(target) == picture(tree)
    assert names(machine.files) == sorted(f"t/{name}" for name in names(tree))


@pytest.mark.parametrize("before", ["nothing", "file", "folder", "link"])
def test_a_file_takes_the_place_of_whatever_was_there(
    remote: SshRemote, machine: Machine, tmp_path: Path, before: str
) -> None:
    """A single file is put under the very name that was asked for."""
    source, target = tmp_path / "source.txt", machine.files / "a name"
    source.write_text("new")
    elsewhere = machine.files / "elsewhere"
    elsewhere.mkdir()
    if before == "file":
        target.write_text("old")
    elif before == "folder":
        (target / "in").mkdir(parents=True)
    elif before == "link":
        target.symlink_to(elsewhere)
    assert remote.put(source, str(target)).files == 1
    assert target.read_text() == "new"
    assert not target.is_symlink()
    assert list(elsewhere.iterdir()) == []


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


def test_a_compressed_stream_carries_the_same(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """gzip changes nothing but the way."""
    put(remote._shell, tree, str(machine.files / "t"), compress=True)
    assert picture(machine.files / "t") == picture(tree)


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
        put(remote._shell, tree, str(target), progress=Once(machine.stop))
    wait_until(lambda: entries(machine.files) == ["t"], what="the end of the half tree")
    assert names(target) == ["old"]


def test_half_an_archive_is_never_renamed_into_place(remote: SshRemote, machine: Machine, tree: Path) -> None:
    """Cut at any block, even between two members, the stream makes no tree."""
    blocks = b"".join(Archive(tree, staged_files(tree)).blocks())
    target = str(machine.files / "t")
    end = len(blocks) - 3 * 512
    for cut in (0, 512, 1024, end // 2 // 512 * 512, end):
        script = with_arguments(RECEIVE, target, str(machine.files), "", "notes")
        assert remote._shell.exec(Program(script, stdin=[blocks[:cut]], timeout=30)).exit_code != 0
        assert entries(machine.files) == []


def test_a_file_that_grows_while_it_is_sent_is_an_error(
    remote: SshRemote, machine: Machine, tree: Path
) -> None:
    """A tree that changes under the hand is not passed off as the one that was looked at."""

    def grow() -> None:
        with (tree / "sub/big").open("ab") as file:
            file.write(b"x" * 5_000_000)

    with pytest.raises(TransferError, match="big changed while it was being sent"):
        put(remote._shell, tree, str(machine.files / "t"), progress=Once(grow))
    wait_until(lambda: entries(machine.files) == [], what="the end of the half tree")


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
    """A file in the way of a folder is told in the pod's words."""
    (machine.files / "f").write_text("")
    with pytest.raises(TransferError, match=r"Not a directory|File exists"):
        remote.put(tree, str(machine.files / "f" / "t"))


# --- write ----------------------------------------------------------------------------------------------------------


def test_a_written_file_has_its_bytes_and_mode(remote: SshRemote, machine: Machine) -> None:
    """Any bytes, any mode, in a folder that is made."""
    data = bytes(range(256)) * 300
    target = machine.files / "a b" / "-c'd"
    remote.write(str(target), data, mode=0o600)
    assert target.read_bytes() == data
    assert target.stat().st_mode & 0o777 == 0o600
    remote.write(str(target), b"", mode=0o755)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"", 0o755)
    assert entries(target.parent) == [target.name]


def test_a_folder_is_not_written_over(remote: SshRemote, machine: Machine) -> None:
    """Nothing is moved into a folder of that name."""
    with pytest.raises(TransferError, match="it is a folder"):
        remote.write(str(machine.files), b"x")
    assert entries(machine.files) == []


# --- pull -----------------------------------------------------------------------------------------------------------


def test_a_folder_comes_with_its_name(
    remote: SshRemote, machine: Machine, tree: Path, tmp_path: Path
) -> None:
    """Pulling ``results`` makes ``local/results`` the same, with sums that sha256sum confirms."""
    shutil.copytree(tree, machine.files / "results", symlinks=True)
    local = tmp_path / "artifacts"
    pulled = remote.pull(f"{machine.files}/results/", local)
    assert picture(local / "results") == picture(tree)
    assert pulled is not None
    assert (pulled.files, pulled.verified) == (len(names(tree)), True)
    assert pulled.bytes == sum(
        path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert pulled.sha256_file == str(tmp_path / "artifacts.sha256")
    check_sums(local)
    assert entries(tmp_path) == [
        "artifacts",
        "artifacts.sha256",
        "files",
        "home",
        "keys",
        "known_hosts",
        "tree",
    ]


def test_a_file_comes_by_its_name(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """Pulling one file puts it right into ``local``."""
    (machine.files / "log.txt").write_text("x")
    remote.pull(str(machine.files / "log.txt"), tmp_path / "l")
    assert names(tmp_path / "l") == ["log.txt"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.json", ["a.json", "b c.json"]),
        ("run*/m.json", ["run 1/m.json", "run2/m.json"]),
        ("run?/*", ["run2/deep/x", "run2/m.json"]),
        ("[ab]*.json", ["a.json", "b c.json"]),
        ("[!a]*.json", ["b c.json"]),
        ("odd[1].txt", ["odd[1].txt"]),
        ("*$(touch x)*", ["e$(touch x).txt"]),
    ],
)
def test_a_glob_keeps_the_path_below_its_fixed_part(
    remote: SshRemote, machine: Machine, tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    """Only ``*``, ``?`` and ``[…]`` mean anything; a file that is called like the glob is that file."""
    files = [
        "a.json",
        "b c.json",
        "run 1/m.json",
        "run2/m.json",
        "run2/deep/x",
        "odd[1].txt",
        "odd1.txt",
        "e$(touch x).txt",
    ]
    for name in files:
        path = machine.files / "o'ut" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    remote.pull(f"{machine.files}/o'ut/{pattern}", tmp_path / "l")
    assert names(tmp_path / "l") == expected


def test_nothing_local_is_deleted(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """Files of other names stay; those of the same name are the pod's; the sums of both pulls are kept."""
    local = tmp_path / "l"
    (machine.files / "r").mkdir()
    (machine.files / "r/a").write_text("1")
    remote.pull(str(machine.files / "r"), local)
    (local / "r/mine").write_text("mine")
    (machine.files / "r/a").unlink()
    (machine.files / "r/b").write_text("2")
    remote.pull(str(machine.files / "r"), local)
    assert names(local) == ["r/a", "r/b", "r/mine"]
    assert [line.split()[1] for line in (tmp_path / "l.sha256").read_text().splitlines()] == ["r/a", "r/b"]
    check_sums(local)


def test_what_is_not_there_is_an_error_only_if_required(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """A required path that is missing is MissingArtifact; else the answer is None and nothing is made."""
    for path in ("nothing", "nothing/below", "*.none"):
        with pytest.raises(MissingArtifact, match="does not exist on the pod"):
            remote.pull(str(machine.files / path), tmp_path / "l")
        assert remote.pull(str(machine.files / path), tmp_path / "l", required=False) is None
    assert not (tmp_path / "l").exists()


def test_an_empty_folder_is_there(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """A folder without files is pulled as one."""
    (machine.files / "r/deep").mkdir(parents=True)
    pulled = remote.pull(str(machine.files / "r"), tmp_path / "l")
    assert pulled is not None
    assert pulled.files == 0
    assert (tmp_path / "l/r/deep").is_dir()


def test_excluded_files_stay_on_the_pod(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """``exclude`` has gitignore's rules, relative to what is pulled."""
    for name in ("a.pt", "keep.txt", "ckpt/b.bin", "sub/ckpt/c.txt"):
        path = machine.files / "r" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    remote.pull(str(machine.files / "r"), tmp_path / "l", exclude=["*.pt", "/ckpt/"])
    assert names(tmp_path / "l") == ["r/keep.txt", "r/sub/ckpt/c.txt"]


def test_links_inside_stay_links_and_none_leads_out(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """A link within is kept (made relative), one to a file outside is that file, all others are left out and named."""
    root = machine.files / "r"
    (root / "ckpt-3").mkdir(parents=True)
    (root / "ckpt-3/w").write_text("w")
    (machine.files / "blob").write_text("blob")
    (root / "inside").symlink_to("ckpt-3/w")
    (root / "latest").symlink_to(root / "ckpt-3")
    (root / "model").symlink_to("../blob")
    (root / "etc").symlink_to("/etc")
    (root / "gone").symlink_to("nowhere-outside/../../x")
    remote.pull(str(root), tmp_path / "l")
    local = tmp_path / "l/r"
    assert str((local / "inside").readlink()) == "ckpt-3/w"
    assert str((local / "latest").readlink()) == "ckpt-3"
    assert not (local / "model").is_symlink()
    assert (local / "model").read_text() == "blob"
    assert entries(local) == ["ckpt-3", "inside", "latest", "model"]
    sums = (tmp_path / "l.sha256").read_text()
    assert "left out, a link to elsewhere: r/etc -> /etc" in sums
    check_sums(tmp_path / "l")


def test_a_link_that_is_named_is_followed(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """``results`` may be a link to another disk."""
    (machine.files / "disk").mkdir()
    (machine.files / "disk/a").write_text("a")
    (machine.files / "results").symlink_to(machine.files / "disk")
    (machine.files / "one").symlink_to("disk/a")
    remote.pull(str(machine.files / "results"), tmp_path / "l")
    remote.pull(str(machine.files / "one"), tmp_path / "l")
    assert names(tmp_path / "l") == ["one", "results/a"]
    assert not (tmp_path / "l/one").is_symlink()


def test_a_pull_that_is_cut_goes_on(remote: SshRemote, machine: Machine, tree: Path, tmp_path: Path) -> None:
    """A connection that breaks in the middle of a pull is mended, and all is here."""
    shutil.copytree(tree, machine.files / "r", symlinks=True)
    pull(remote._shell, str(machine.files / "r"), tmp_path / "l", progress=Once(machine.drop))
    assert picture(tmp_path / "l/r") == picture(tree)


class Cutting:
    """A progress hook that breaks the connection each time so many more bytes have come, a few times."""

    def __init__(self, machine: Machine, *after: int) -> None:
        self._machine = machine
        self._after = list(after)
        self._since = 0
        self.received = 0

    def __call__(self, done: int, _: int) -> None:
        self.received = done
        if self._after and done - self._since >= self._after[0]:
            self._after.pop(0)
            self._since = done
            self._machine.drop()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 7_000_000), min_size=1, max_size=3), seed=st.integers(0, 255))
def test_a_large_file_goes_on_at_the_byte(
    connecting: Connect,
    machine: Machine,
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[int],
    seed: int,
) -> None:
    """Wherever the connection breaks, the file is the same in the end, and no byte of it came twice."""
    local = tmp_path_factory.mktemp("here") / "l"
    source = machine.files / f"large{seed}"
    source.write_bytes(os.urandom(8_000_000) + bytes([seed]) * 17)
    progress = Cutting(machine, *cuts)
    pulled = pull(connecting()._shell, str(source), local, progress=progress, resumable=1)
    assert (local / source.name).read_bytes() == source.read_bytes()
    assert pulled is not None
    assert pulled.bytes == progress.received == source.stat().st_size
    check_sums(local)


def test_a_file_that_was_cut_and_changed_is_fetched_anew(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """What came before the break is not glued to what is there after it."""
    source = machine.files / "large"
    source.write_bytes(b"a" * 8_000_000)

    def change() -> None:
        machine.drop()
        source.write_bytes(b"b" * 8_000_000)

    pull(remote._shell, str(source), tmp_path / "l", progress=Once(change), resumable=1)
    assert (tmp_path / "l/large").read_bytes() == b"b" * 8_000_000


def test_what_arrived_whole_before_a_cut_is_not_fetched_again(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """After a break only the files that had not come are asked for."""
    (machine.files / "r").mkdir()
    for number in range(40):
        (machine.files / f"r/{number:02}").write_bytes(os.urandom(400_000))
    progress = Cutting(machine, 8_000_000)
    pull(remote._shell, str(machine.files / "r"), tmp_path / "l", progress=progress)
    assert picture(tmp_path / "l/r") == picture(machine.files / "r")
    assert progress.received < 17_000_000
    check_sums(tmp_path / "l")


def test_a_pull_that_remembers_fetches_only_what_changed(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """Files that are as they were, and still here, are counted but not sent; the others are."""
    root, local, seen = machine.files / "ckpt", tmp_path / "l", Seen()
    (root / "1").mkdir(parents=True)
    for name in ("1/same", "1/changes", "1/lost here"):
        (root / name).write_bytes(b"1" * 1000)

    def received() -> int:
        progress = Cutting(machine)
        pulled = pull(remote._shell, str(root), local, progress=progress, seen=seen)
        assert picture(local / "ckpt") == picture(root)
        assert pulled is not None
        assert pulled.files == len(names(root))
        assert pulled.bytes == 1000 * len(names(root))
        check_sums(local)
        return progress.received

    assert received() == 3000
    assert received() == 0
    (root / "1/changes").write_bytes(b"2" * 1000)
    (root / "2").write_bytes(b"3" * 1000)
    (local / "ckpt/1/lost here").unlink()
    assert received() == 3000


def test_a_file_that_changes_while_it_is_read_is_fetched_again(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """One change is overcome: what is here in the end is what is there."""
    path = machine.files / "r"
    path.write_bytes(b"a" * 20_000_000)

    def change() -> None:
        path.write_bytes(b"b" * 20_000_000)

    pulled = pull(remote._shell, str(path), tmp_path / "l", progress=Once(change))
    assert pulled is not None
    assert pulled.verified
    assert (tmp_path / "l/r").read_bytes() == path.read_bytes()


def test_a_file_whose_sum_never_agrees_is_an_error_that_names_it(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """What could be verified is kept, what could not is neither kept nor passed over."""
    lying = tmp_path / "bin"
    lying.mkdir()
    (lying / "sha256sum").write_text(
        f'#!/bin/sh\n{shutil.which("sha256sum")} "$@" | sed "/bad/s/^..../0000/"\n'
    )
    (lying / "sha256sum").chmod(0o755)
    machine.path = f"{lying}:{machine.path}"
    (machine.files / "r").mkdir()
    (machine.files / "r/bad").write_text("x")
    (machine.files / "r/good").write_text("y")
    with pytest.raises(TransferError, match=f"changed while it was read.*{machine.files}/r/bad"):
        remote.pull(str(machine.files / "r"), tmp_path / "l")
    assert names(tmp_path / "l") == ["r/good"]


def test_an_unreadable_sum_tool_is_told(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """A pod without any tool for sha256 sums says so."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("sh", "cat", "find", "tr", "sed", "tar", "mktemp", "rm", "xargs", "readlink", "grep"):
        (bare / name).symlink_to(str(shutil.which(name)))
    machine.path = str(bare)
    (machine.files / "a").write_text("x")
    with pytest.raises(TransferError, match="nothing that makes sha256 sums"):
        remote.pull(str(machine.files / "a"), tmp_path / "l")


@pytest.mark.parametrize("tool", ["shasum", "openssl", "python3"])
def test_sums_can_be_made_by_other_tools(
    remote: SshRemote, machine: Machine, tmp_path: Path, tree: Path, tool: str
) -> None:
    """Without sha256sum, what else can make sums will do."""
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not installed here")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in (
        "sh",
        "cat",
        "find",
        "tr",
        "sed",
        "tar",
        "mktemp",
        "rm",
        "xargs",
        "readlink",
        "grep",
        "bash",
        "env",
    ):
        (bare / name).symlink_to(str(shutil.which(name)))
    (bare / tool).write_text(f'#!/bin/sh\nPATH={os.environ["PATH"]} exec {program} "$@"\n')
    (bare / tool).chmod(0o755)
    machine.path = str(bare)
    if tool == "openssl":
        (tree / "new\nline").unlink()  # openssl has no way to write such a name down
    shutil.copytree(tree, machine.files / "r", symlinks=True)
    remote.pull(str(machine.files / "r"), tmp_path / "l")
    assert picture(tmp_path / "l/r") == picture(tree)


def test_a_conflict_with_a_local_folder_is_named(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """A local folder where a file should go is not removed."""
    (machine.files / "a").write_text("x")
    (tmp_path / "l/a").mkdir(parents=True)
    with pytest.raises(TransferError, match="cannot be put into"):
        remote.pull(str(machine.files / "a"), tmp_path / "l")
    assert (tmp_path / "l/a").is_dir()


@pytest.mark.parametrize("path", ["relative", "/", "/.."])
def test_paths_that_cannot_be_pulled_are_refused(remote: SshRemote, tmp_path: Path, path: str) -> None:
    """Only an absolute path below / is pulled."""
    with pytest.raises(TransferError, match="expected an absolute path below /"):
        remote.pull(path, tmp_path / "l")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", ".."])
def test_names_that_lead_out_are_refused(name: str) -> None:
    """A pod cannot name a file outside the folder it is pulled into."""
    with pytest.raises(TransferError, match="cannot be stored here"):
        check_name(name)


def test_busybox_alone_will_do_both_ways(
    busybox: None, remote: SshRemote, machine: Machine, tree: Path, tmp_path: Path
) -> None:
    """A pod with busybox's tools takes a tree and gives it back."""
    remote.put(tree, str(machine.files / "t"))
    assert picture(machine.files / "t") == picture(tree)
    remote.pull(str(machine.files / "t"), tmp_path / "l")
    assert picture(tmp_path / "l/t") == picture(tree)


_NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12).filter(
    lambda name: name not in {".", "..", ".git", ".gitignore", ".rpdignore"} and len(name.encode()) < 200
)
_FILE = st.tuples(st.binary(max_size=2000), st.sampled_from([0o644, 0o755, 0o600]))
_TREE = st.recursive(
    st.dictionaries(_NAME, _FILE, max_size=4),
    lambda inner: st.dictionaries(_NAME, st.one_of(_FILE, inner), max_size=4),
    max_leaves=8,
)


def _grow(root: Path, content: dict[str, object]) -> None:
    root.mkdir()
    for name, value in content.items():
        if isinstance(value, dict):
            _grow(root / name, value)
        else:
            data, mode = value  # type: ignore[misc]
            (root / name).write_bytes(data)
            (root / name).chmod(mode)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_TREE)
def test_any_tree_makes_the_round_trip(
    remote: SshRemote,
    machine: Machine,
    tmp_path_factory: pytest.TempPathFactory,
    content: dict[str, object],
) -> None:
    """What is put and pulled again is what it was."""
    here = tmp_path_factory.mktemp("here")
    _grow(here / "tree", content)
    remote.put(here / "tree", str(machine.files / "t"))
    remote.pull(str(machine.files / "t"), here / "back")
    assert picture(here / "back" / "t") == picture(here / "tree") == picture(machine.files / "t")
    for line in (here / "back.sha256").read_bytes().split(b"\n"):
        if line and not line.startswith(b"\\"):
            digest, _, name = line.partition(b"  ")
            data = Path(os.fsdecode(os.fsencode(here / "back") + b"/" + name)).read_bytes()
            assert hashlib.sha256(data).hexdigest().encode() == digest


def test_the_fixed_part_of_a_glob() -> None:
    """It ends before the first part with a wildcard."""
    assert split_glob("/w/out/a.txt") == ("/w/out", None)
    assert split_glob("/w/*/a.txt") == ("/w", "*/a.txt")
    assert split_glob("/*") == ("/", "*")
    assert split_glob("/w/a[b/c") == ("/w/a[b", None)


@given(st.text(st.characters(codec="ascii", exclude_characters="\0/"), min_size=1, max_size=15))
def test_only_wildcards_are_active_in_a_glob(pattern: str) -> None:
    """With file names switched off any glob is itself again: nothing of it is run or evaluated."""
    words = glob_words(pattern)
    ended = subprocess.run(
        ["/bin/sh", "-c", f"set -f; printf %s ./{words}"], capture_output=True, check=True, env={"PATH": ""}
    )
    assert ended.stdout.decode() == f"./{pattern}"

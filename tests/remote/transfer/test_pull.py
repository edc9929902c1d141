"""Files fetched from the pod: all of them, checked, and nothing else."""

import os
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpd.errors import MissingArtifact, TransferError
from rpd.remote.protocol import Intake
from rpd.remote.ssh import SshRemote
from rpd.remote.transfer.pull import pull
from rpd.remote.transfer.pull_cache import Seen
from rpd.remote.transfer.quick_line import QuickLine
from tests.remote.conftest import Connect, Machine
from tests.remote.transfer.conftest import Once, check_sums, entries, names, picture
from tests.waiting import wait_until


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


@pytest.mark.usefixtures("machine_kind")
def test_a_pod_that_hears_of_a_quick_line_sends_the_same(
    remote: SshRemote, machine: Machine, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word comes at the first bytes; nothing of it stays, neither a thread here nor a file there."""
    monkeypatch.setattr("rpd.remote.transfer.quick_line._ENOUGH", 1)
    monkeypatch.setattr("rpd.remote.transfer.quick_line._QUICK", 0.0)
    said: list[bool] = []
    end = QuickLine.end
    monkeypatch.setattr(QuickLine, "end", lambda line: (said.append(line._is_quick), end(line))[1])
    (tree / "half").write_bytes((os.urandom(1 << 16) + bytes(1 << 16)) * 72)
    shutil.copytree(tree, machine.files / "results", symlinks=True)
    home = entries(machine.home)
    remote.pull(f"{machine.files}/results", tmp_path / "l")
    assert picture(tmp_path / "l/results") == picture(tree)
    assert said[0]
    wait_until(lambda: entries(machine.home) == home)
    wait_until(lambda: not any(thread.name == "rpd-stdin" for thread in threading.enumerate()))


def test_a_file_comes_by_its_name(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """Pulling one file puts it right into ``local``."""
    (machine.files / "log.txt").write_text("x")
    remote.pull(str(machine.files / "log.txt"), tmp_path / "l")
    assert names(tmp_path / "l") == ["log.txt"]


def test_what_is_no_file_is_named(remote: SshRemote, machine: Machine, tmp_path: Path) -> None:
    """A FIFO is left out and named; where it is all there is, and required, that is an error."""
    folder = machine.files / "out"
    folder.mkdir()
    (folder / "a").write_text("x")
    os.mkfifo(folder / "pipe")
    pulled = remote.pull(str(folder), tmp_path / "l")
    assert pulled is not None
    assert (pulled.files, pulled.others) == (1, (f"{folder}/pipe",))
    with pytest.raises(MissingArtifact, match="is a FIFO, socket or device"):
        remote.pull(f"{folder}/pipe", tmp_path / "p")


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
    """``exclude`` has gitignore's rules, relative to the pulled folder."""
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


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 2_600_000), min_size=1, max_size=3), seed=st.integers(0, 255))
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
    source.write_bytes(os.urandom(3_000_000) + bytes([seed]) * 17)
    progress = Cutting(machine, *cuts)
    pulled = pull(connecting()._shell, str(source), local, progress=progress, resumable=1)
    assert (local / source.name).read_bytes() == source.read_bytes()
    assert pulled is not None
    assert pulled.bytes == progress.received == source.stat().st_size
    check_sums(local)


def test_a_file_that_was_cut_and_changed_is_fetched_anew(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """The part that came before the break is not glued to the file there after it."""
    source = machine.files / "large"
    source.write_bytes(os.urandom(8_000_000))  # not compressible: the break comes before its end

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


@pytest.mark.parametrize("contents", [False, True])
def test_a_pull_that_remembers_fetches_only_what_changed(
    remote: SshRemote, machine: Machine, tmp_path: Path, contents: bool
) -> None:
    """Files that are unchanged, and still here, are counted but not sent; the others are, wherever they go."""
    root, local, seen = machine.files / "ckpt", tmp_path / "l", Seen()
    here = local if contents else local / "ckpt"
    (root / "1").mkdir(parents=True)
    for name in ("1/same", "1/changes", "1/lost here"):
        (root / name).write_bytes(b"1" * 1000)

    def received() -> int:
        progress = Cutting(machine)
        intake = Intake(contents=contents)
        pulled = pull(remote._shell, str(root), local, progress=progress, seen=seen, intake=intake)
        assert picture(here) == picture(root)
        assert pulled is not None
        assert pulled.files == len(names(root))
        assert pulled.bytes == 1000 * len(names(root))
        check_sums(local)
        return progress.received

    assert received() == 3000
    assert received() == 0
    (root / "1/changes").write_bytes(b"2" * 1000)
    (root / "2").write_bytes(b"3" * 1000)
    (here / "1/lost here").unlink()
    assert received() == 3000


def test_a_file_that_changes_while_it_is_read_is_fetched_again(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """One change is overcome: in the end the local file equals the remote one."""
    path = machine.files / "r"
    path.write_bytes(os.urandom(20_000_000))  # it cannot be compressed, so it takes many reads

    def change() -> None:
        path.write_bytes(b"b" * 20_000_000)

    pulled = pull(remote._shell, str(path), tmp_path / "l", progress=Once(change))
    assert pulled is not None
    assert pulled.verified
    assert (tmp_path / "l/r").read_bytes() == path.read_bytes()


def test_a_file_whose_sum_never_agrees_is_an_error_that_names_it(
    remote: SshRemote, machine: Machine, tmp_path: Path
) -> None:
    """Verified files are kept; the others are neither kept nor passed over."""
    lying = tmp_path / "bin"
    lying.mkdir()
    (lying / "sha256sum").write_text(
        f'#!/bin/sh\n{shutil.which("sha256sum")} "$@" | sed "/bad/s/^..../0000/"\n'
    )
    (lying / "openssl").write_text("#!/bin/sh\nexit 1\n")
    for name in ("openssl", "sha256sum"):
        (lying / name).chmod(0o755)
    machine.path = f"{lying}:{machine.path}"
    (machine.files / "r").mkdir()
    (machine.files / "r/bad").write_text("x")
    (machine.files / "r/good").write_text("y")
    with pytest.raises(TransferError, match=f"changed while being read.*{machine.files}/r/bad"):
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
    remote: SshRemote,
    machine: Machine,
    tmp_path: Path,
    tree: Path,
    tool: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without sha256sum, another tool that computes sums will do; and without dd, nothing waits for a word."""
    monkeypatch.setattr("rpd.remote.transfer.quick_line._PATIENCE", 0.1)
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
    with pytest.raises(TransferError, match="cannot write"):
        remote.pull(str(machine.files / "a"), tmp_path / "l")
    assert (tmp_path / "l/a").is_dir()


@pytest.mark.parametrize("path", ["relative", "/", "/.."])
def test_paths_that_cannot_be_pulled_are_refused(remote: SshRemote, tmp_path: Path, path: str) -> None:
    """Only an absolute path below / is pulled."""
    with pytest.raises(TransferError, match="expected an absolute path below /"):
        remote.pull(path, tmp_path / "l")

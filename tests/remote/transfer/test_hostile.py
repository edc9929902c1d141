"""Pods that mean harm: nothing leaves the folder a pull is for, and every answer ends in a TransferError.

``machine.path`` begins with a folder of programs that stand in for tar, find, sha256sum and others.
"""

import contextlib
import gzip
import hashlib
import io
import resource
import shutil
import tarfile
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.disk.safe_tree import Tree
from rpd.errors import ConnectionLost, RemoteError, TransferError
from rpd.project.ignore import staged_files
from rpd.remote.protocol import Command
from rpd.remote.shell import Ended, Interrupt, Program, TooMuch
from rpd.remote.ssh import SshRemote
from rpd.remote.transfer import fetch as fetch_module
from rpd.remote.transfer import listing as listing_module
from rpd.remote.transfer.checksums import note_sums, parse_sums
from rpd.remote.transfer.delta import NOTHING_KEPT, change_of, lists_in, sizes_of
from rpd.remote.transfer.large import read_large
from rpd.remote.transfer.listing import Link, Listing
from rpd.remote.transfer.paths import check_names
from rpd.remote.transfer.pull import pull
from rpd.remote.transfer.pull_cache import Seen
from rpd.remote.transfer.put import put
from rpd.remote.transfer.staging_folder import Landing
from rpd.remote.transfer.untar import LONGEST_NAME, Content, Cut, members
from tests.remote.conftest import Machine
from tests.remote.transfer.conftest import names

Lie = Callable[[str, str], None]


@pytest.fixture
def lie(machine: Machine, tmp_path: Path) -> Lie:
    """``lie("tar", script)`` puts a sh script in the place of a program of the machine.

    Ask for it before ``remote``: shells that wait for their program have the path of their start.
    """
    folder = tmp_path / "lies"
    folder.mkdir()
    real = machine.path
    machine.path = f"{folder}:{real}"

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\nPATH={real}\n{textwrap.dedent(script)}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder outside of every pull."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "theirs").write_text("theirs")
    return folder


def untouched(outside: Path) -> bool:
    return [(path.name, path.read_text()) for path in outside.iterdir()] == [("theirs", "theirs")]


# --- links ----------------------------------------------------------------------------------------------------------


def way_out(outside: Path) -> str:
    """Return a target that stays inside by its text and leads to ``outside`` in truth, where ``a`` is a link to ``.``."""
    return "a/" * 20 + "../" * 20 + str(outside).lstrip("/")


@pytest.mark.parametrize("with_memory", [False, True], ids=["", "with a memory"])
def test_a_link_that_lies_leads_nowhere(
    remote: SshRemote, machine: Machine, tmp_path: Path, outside: Path, with_memory: bool
) -> None:
    """Judged by its text it stays inside; it is followed instead, and left out. A folder in its place is only that."""
    results, seen = machine.files / "results", Seen() if with_memory else None
    results.mkdir()
    (results / "a").symlink_to(".")
    (results / "out").symlink_to(way_out(outside))
    (results / "r.txt").write_text("one")
    for _ in range(2):
        pull(remote._shell, str(results), tmp_path / "l", seen=seen)
        assert not (tmp_path / "l/results/out").exists()
    (results / "out").unlink()
    (results / "out").mkdir()
    (results / "out/authorized_keys").write_text("mine")
    pull(remote._shell, str(results), tmp_path / "l", seen=seen)
    assert untouched(outside)
    assert (tmp_path / "l/results/out/authorized_keys").read_text() == "mine"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_link_here_is_never_written_through(
    remote: SshRemote, machine: Machine, tmp_path: Path, outside: Path, depth: int
) -> None:
    """Wherever it came from: a folder, a parent or the place of the file itself."""
    name = "/".join(["r", "b", "c"][:depth]) + "/theirs"
    (machine.files / name).parent.mkdir(parents=True)
    (machine.files / name).write_text("mine")
    here = tmp_path / "l" / Path(name).parent
    here.parent.mkdir(parents=True)
    here.symlink_to(outside)
    remote.pull(str(machine.files / "r"), tmp_path / "l")
    assert untouched(outside)
    assert (tmp_path / "l" / name).read_text() == "mine"
    (tmp_path / "l" / name).unlink()
    (tmp_path / "l" / name).symlink_to(outside / "theirs")
    remote.pull(str(machine.files / "r"), tmp_path / "l")
    assert untouched(outside)
    assert not (tmp_path / "l" / name).is_symlink()


def test_a_place_below_what_was_pulled_is_no_way_out(
    remote: SshRemote, machine: Machine, tmp_path: Path, outside: Path
) -> None:
    """``local`` may go through a folder that an earlier pull brought, and so may its list of sums and its landing."""
    artifacts = tmp_path / "node/artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "latest").symlink_to(outside)
    (artifacts / "sub.sha256").symlink_to(outside / "theirs")
    (machine.files / "theirs").write_text("mine")
    for local in ("latest", "latest/deep", "sub"):
        remote.pull(str(machine.files / "theirs"), artifacts / local, within=artifacts)
        assert (artifacts / local / "theirs").read_text() == "mine"
    assert untouched(outside)
    assert not (artifacts / "sub.sha256").is_symlink()
    assert sorted(path.name for path in (tmp_path / "node").iterdir()) == ["artifacts"]


@pytest.mark.parametrize(
    ("links", "kept"),
    [
        ({"r/a": "."}, {"r/a": "."}),
        ({"r/a": "d/e"}, {"r/a": "d/e"}),
        ({"r/a": "d/../f"}, {"r/a": "f"}),
        ({"r/d/a": "../../r/f"}, {"r/d/a": "../f"}),
        ({"r/a": "/base/r/d/e"}, {"r/a": "d/e"}),
        ({"r/d/a": "/base/r/f"}, {"r/d/a": "../f"}),
        ({"r/a": "gone"}, {"r/a": "gone"}),
        ({"r/a": "b", "r/b": "f"}, {"r/a": "b", "r/b": "f"}),
        ({"r/a": "d", "r/b": "a/e"}, {"r/a": "d", "r/b": "d/e"}),
        ({"r/a": ".", "r/b": "a/a/a/../../.."}, {"r/a": "."}),
        ({"r/a": ".", "r/b": "a/../../x"}, {"r/a": "."}),
        ({"r/a": "d/e", "r/b": "a/../../f"}, {"r/a": "d/e", "r/b": "f"}),
        ({"r/a": "gone/../../x"}, {}),
        ({"r/a": "gone/.."}, {}),
        ({"r/a": "f/.."}, {}),
        ({"r/a": ".."}, {}),
        ({"r/a": "../r2"}, {}),
        ({"r/a": "/etc/passwd"}, {}),
        ({"r/a": "/base/../etc"}, {}),
        ({"r/a": "/base"}, {}),
        ({"r/a": "b/x", "r/b": "a/x"}, {}),
        ({"r/a": "a/x"}, {}),
        ({"r/a": ""}, {}),
        ({"r/a": "x" * 5000}, {}),
        ({"r": "f"}, {}),
    ],
    ids=str,
)
def test_where_links_lead(links: dict[str, str], kept: dict[str, str]) -> None:
    """They are followed as the system does, and written so that nothing can turn them outwards afterwards."""
    listing = Listing(
        base="/base",
        roots=["r"],
        folders=["r", "r/d", "r/d/e"],
        files=["r/f"],
        links={name: Link(target=target, is_file=False) for name, target in links.items()},
    )
    inner = {name: target for name in links if (target := listing.inner_target(name)) is not None}
    assert inner == kept


def test_links_cost_no_more_than_they_are_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web of links is given up on; the rest are left out."""
    monkeypatch.setattr(listing_module, "_MOST_STEPS", 10_000)
    links = {
        f"r/l{number}": Link(target=f"l{number + 1}/" * 100 + "x", is_file=False) for number in range(1000)
    }
    listing = Listing(base="/base", roots=["r"], folders=["r"], links=links, _steps_left=10_000)
    assert [listing.inner_target(name) for name in links] == [None] * 1000


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../x",
        "a/../x",
        "/x",
        "",
        ".",
        "a//b",
        "a/./b",
        "a\0b",
        "a" * 256,
        "/".join("a" * 200),
        "a/" * 5000 + "b",
    ],
)
def test_names_that_are_refused(name: str) -> None:
    """They lead out, or cannot be stored."""
    with pytest.raises(TransferError, match=r"cannot be stored|too long"):
        check_names([name])


@pytest.mark.parametrize(
    "name",
    [
        "a\\b", "c:x", "c:\\x", "con", "NUL.txt", "COM1", "lpt9.log", "a.", "a ", "a?", 'a"b', "a/aux/b", "a\x07", "conin$",
    ],
)  # fmt: skip
def test_names_that_windows_reads_otherwise(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backslashes, drives and devices are refused there, and fine elsewhere."""
    check_names([name])
    monkeypatch.setattr("rpd.remote.transfer.paths.os.name", "nt")
    with pytest.raises(TransferError, match="cannot be stored"):
        check_names([name])
    check_names(["console/nullable.com1x"])


LISTED = [
    ("a name that leads out", r"ROOT\0./r\0FILES\0./../x\0END\0"),
    ("another root", r"ROOT\0./other\0FILES\0./other\0END\0"),
    ("a file of no root", r"ROOT\0./r\0FILES\0./rr\0END\0"),
    ("no root", r"FILES\0./r/x\0END\0"),
    ("a file below a link", r"ROOT\0./r\0LINKS\0./r/a\0x/etc\0FILES\0./r/a/b\0END\0"),
    ("a file below a file", r"ROOT\0./r\0FILES\0./r\0./r/a\0END\0"),
    ("a link and a file of one name", r"ROOT\0./r\0FOLDERS\0./r\0FILES\0./r/a\0LINKS\0./r/a\0xb\0END\0"),
    ("a link and a folder of one name", r"ROOT\0./r\0FOLDERS\0./r\0./r/a\0LINKS\0./r/a\0xb\0END\0"),
]


class Scripted:
    """A shell whose answers are bytes: ``listed`` for a listing, ``sent`` and ``summed`` for a fetch, once for each try."""

    def __init__(self, listed: bytes, sent: bytes | Iterable[bytes] = b"", summed: bytes = b"SUMS\n") -> None:
        self._listed = listed
        self._sent = sent
        self._summed = summed

    def open(self, program: Program) -> "ScriptedStream":
        is_fetch = "xargs -0 tar -c" in program.script
        said = self._sent if is_fetch else self._listed
        return ScriptedStream(
            [said] if isinstance(said, bytes) else said, self._summed if is_fetch else b"", program.most
        )

    def exec(self, program: Program) -> Ended:
        return self.open(program).finish()

    def reconnect(self, interrupt: Interrupt | None = None) -> None: ...


class ScriptedStream:
    def __init__(self, blocks: Iterable[bytes], errors: bytes, most: int) -> None:
        self._blocks, self._errors, self._most = iter(blocks), errors, most

    def read(self) -> bytes:
        return next(self._blocks, b"")

    def errors(self) -> bytes:
        return self._errors

    def finish(self) -> Ended:
        said = bytearray()
        while data := self.read():
            said += data
            if len(said) > self._most:
                raise TooMuch("too much")
        return Ended(exit_code=0, stdout=bytes(said), stderr=self._errors)

    def extend(self, seconds: float) -> None: ...

    def close(self) -> None: ...


def listed(text: str) -> bytes:
    return text.replace(r"\0", "\0").encode()


@pytest.mark.parametrize("text", [one[1] for one in LISTED], ids=[one[0] for one in LISTED])
def test_listings_that_contradict_themselves(tmp_path: Path, text: str) -> None:
    """A listing has only requested names, each once, and nothing below a path that is no folder."""
    with pytest.raises(TransferError, match=r"the pod (lists|names)"):
        pull(Scripted(listed(text)), "/w/r", tmp_path / "l")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"END\0", b"\0\0\0", b"ROOT\0", b"b\0", b"b\0END\0", b"LINKS\0./r\0END\0", b"\xff\xfe\0END\0", b"ROOT\0./r\0FILES\0./r/\xff\0END\0", b"\x1b]52;c;x\x07",
    ],
)  # fmt: skip
def test_broken_listings(tmp_path: Path, answer: bytes) -> None:
    """Whatever a listing is, it is that or a TransferError."""
    with pytest.raises(TransferError):
        pull(Scripted(answer), "/w/r", tmp_path / "l")


def test_a_listing_has_a_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in names: the pod is not trusted with the memory here."""
    with pytest.raises(TransferError, match="too much"):
        pull(Scripted(b"x" * (listing_module.MOST_LISTED_BYTES + 1)), "/w/r", tmp_path / "l")
    monkeypatch.setattr(listing_module, "MOST_LISTED", 1000)
    with pytest.raises(TransferError, match="more than 1,000 files"):
        pull(Scripted(listed(r"ROOT\0./r\0FILES\0" + r"./r/a\0" * 1000 + r"END\0")), "/w/r", tmp_path / "l")


def test_many_roots_and_names_take_linear_time() -> None:
    """Neither of them is gone through for each of the other."""
    roots = [f"r{number}" for number in range(50_000)]
    listing = Listing(base="/w", roots=roots, folders=roots, files=[f"{root}/f" for root in roots])
    listing.check("*", globbed=True)
    assert len(listing.without(["*.tmp"]).files) == 50_000


# --- archives -------------------------------------------------------------------------------------------------------

ONE_FILE = r"ROOT\0./r\0FOLDERS\0./r\0FILES\0./r/a\0./r/b\0END\0"
SUM_OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
SUMMED = f"SUMS\n{SUM_OF_X}  ./r/a\n{SUM_OF_X}  ./r/b\n".encode()


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **more: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, size, 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def file(name: str, content: bytes = b"x", **more: Any) -> bytes:
    return header(name, size=len(content), **more) + content + bytes(-len(content) % 512)


END = bytes(1024)
GOOD = file("./r/a") + file("./r/b") + END


def fetched(tmp_path: Path, sent: bytes | Iterable[bytes], summed: bytes = SUMMED) -> None:
    pull(Scripted(listed(ONE_FILE), sent, summed), "/w/r", tmp_path / "l")


def test_an_honest_archive_is_taken(tmp_path: Path) -> None:
    """In one piece or byte by byte, padded, twice in a row, with names in any of the usual ways."""
    pax = b"14 path=./r/a\n"
    ways: list[Iterable[bytes]] = [
        [GOOD],
        [GOOD[at : at + 1] for at in range(len(GOOD))],
        [file("./r/a") + END + bytes(10240) + file("./r/b") + bytes(10240)],
        [header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 6) + b"./r/a\0" + bytes(506) + file("cut") + file("./r/b")],
        [header("pax", tarfile.XHDTYPE, len(pax)) + pax + bytes(512 - len(pax)) + file("cut") + file("./r/b")],
        [file("./r/a"), header("./r/b", tarfile.LNKTYPE, linkname="./r/a"), END],
        [header("./r/", tarfile.DIRTYPE), header("./r/s", tarfile.SYMTYPE, linkname="/etc"), GOOD],
        [file("./r/a", mode=0o4777, mtime=1 << 34) + file("./r/b", uid=0)],
    ]  # fmt: skip
    for number, way in enumerate(ways):
        fetched(tmp_path / str(number), way)
        assert names(tmp_path / str(number) / "l") == ["r/a", "r/b"], number
        assert (tmp_path / str(number) / "l/r/b").read_bytes() == b"x"
    assert (tmp_path / "7/l/r/a").stat().st_mode & 0o7000 == 0


def endless(block: bytes) -> Iterator[bytes]:
    while True:
        yield block


HOSTILE: dict[str, Callable[[], Iterable[bytes]]] = {
    "a long name without end": lambda: [header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 4 << 30), *()],
    "a long link without end": lambda: [header("././@LongLink", tarfile.GNUTYPE_LONGLINK, LONGEST_NAME + 1)],
    "an extended header without end": lambda: [header("pax", tarfile.XHDTYPE, 1 << 40)],
    "a global header without end": lambda: [header("pax", tarfile.XGLTYPE, 1 << 40)],
    "a sparse file": lambda: [header("./r/a", tarfile.GNUTYPE_SPARSE, 512), bytes(512)],
    "a sparse file of pax": lambda: [header("p", tarfile.XHDTYPE, 24) + b"24 GNU.sparse.major=1.0\n" + bytes(488)],
    "a size of pax that is none": lambda: [header("p", tarfile.XHDTYPE, 11) + b"11 size=-1\n" + bytes(501), file("./r/a")],
    "a file larger than any disk": lambda: [header("./r/a", size=8 << 60), *(b"x" * 65536 for _ in range(10))],
    "zeros without end": lambda: endless(bytes(1 << 16)),
    "noise": lambda: [b"noise" * 1000],
    "html": lambda: [b"<html>" + bytes(600)],
    "a file twice": lambda: [file("./r/a"), file("./r/a")],
    "a file without end, again and again": lambda: endless(file("./r/a", bytes(1 << 16))),
    "unasked files without end": lambda: endless(file("./r/c", bytes(1 << 20)) * 8),
    "unasked empty files without end": lambda: endless(header("./r/c") * 1000),
    "folders without end": lambda: endless(header("./r/", tarfile.DIRTYPE) * 1000),
}  # fmt: skip


def zipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    squeeze = zlib.compressobj(1, wbits=31)
    for block in blocks:
        yield squeeze.compress(block) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    yield squeeze.flush()


HOSTILE_ZIPPED: dict[str, Callable[[], Iterable[bytes]]] = {
    "a gzip header without end": lambda: [b"\x1f\x8b\x08\x08" + bytes(6), *(b"x" * (1 << 16) for _ in range(100))],
    "gzip that holds nothing": lambda: [b"\x1f\x8b\x08\x00" + bytes(6), *(b"\x00\x00\x00\xff\xff" * 10_000 for _ in range(100))],
    "a damaged gzip stream": lambda: [gzip.compress(GOOD)[:40] + bytes(1000)],
    "something behind gzip": lambda: [gzip.compress(GOOD[:1000]) + b"<html>" + bytes(10_000)],
    "gzip in gzip": lambda: [gzip.compress(gzip.compress(GOOD))],
    "a bomb of zeros": lambda: [gzip.compress(bytes(1 << 26), 1)],
    "a bomb of a file": lambda: [gzip.compress(header("./r/a", size=8 << 60)), *[gzip.compress(bytes(1 << 20))] * 99],
    "bombs one after the other": lambda: endless(gzip.compress(bytes(1 << 22)) * 8),
    "all as it is, of nothing": lambda: [gzip.compress(b""), b"noise" * 1000],
    "some as it is, of too much": lambda: [gzip.compress(b"", mtime=(1 << 32) - 1), *(bytes(1 << 16) for _ in range(100))],
}  # fmt: skip


@pytest.mark.parametrize("how", [*HOSTILE, *(f"{name}, zipped" for name in HOSTILE), *HOSTILE_ZIPPED])
def test_hostile_archives(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a TransferError, soon, and holds nothing: not in memory and not on the disk."""
    monkeypatch.setattr(fetch_module, "_MOST_PASSED_OVER", 1 << 26)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    name, comma, _ = how.rpartition(", zipped")
    sent = {**HOSTILE, **HOSTILE_ZIPPED}[name if comma else how]()
    with pytest.raises(TransferError):
        fetched(tmp_path, zipped(sent) if comma else sent)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".sha256"] == []


def test_files_of_a_name_that_the_disk_cannot_tell_apart(tmp_path: Path) -> None:
    """On a disk without capitals, one would hide the other: an error names them, and a second try is none."""
    landing = Landing(tmp_path / "l", tmp_path / "l")
    with closing(landing.begin("r/a")), closing(landing.begin("r/a")):
        pass
    landing.path("r/B").write_text("as if it were b")
    with pytest.raises(TransferError, match="same name"):
        landing.begin("r/B")


def test_a_hard_link_to_what_did_not_come_is_no_file(tmp_path: Path) -> None:
    """It may name anything; only files of this pull are accepted."""
    (tmp_path / "secret").write_text("x")
    with pytest.raises(TransferError):
        fetched(tmp_path, [header("./r/a", tarfile.LNKTYPE, linkname="../../secret"), file("./r/b")])
    assert names(tmp_path / "l") == ["r/b"]


def test_a_disk_keeps_some_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not fit is refused before its first byte."""
    usage = SimpleNamespace(free=300 << 20, total=1 << 40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(TransferError, match="only 46 MB are free"):
        fetched(tmp_path, [header("./r/a", size=50 << 20)])


@pytest.mark.parametrize("cut", range(0, len(GOOD) - 1024, 97))
def test_a_cut_archive_is_cut_and_nothing_else(cut: int) -> None:
    """Wherever a stream ends early, the error says just that."""
    blocks = iter([GOOD[:cut]])
    with pytest.raises(Cut) if cut % 512 or cut in (512, 1536) else contextlib.nullcontext():
        for _, content in members(lambda: next(blocks, b"")):
            while isinstance(content, Content) and content.left:
                content.read(100)


@settings(max_examples=300)
@given(at=st.integers(0, len(GOOD) - 1), data=st.binary(min_size=1, max_size=40))
def test_a_damaged_archive(at: int, data: bytes) -> None:
    """Any damage is a TransferError, a cut, or not noticed before the sums are: no content is of another length."""
    blocks = iter([GOOD[:at] + data + GOOD[at + len(data) :]])
    with contextlib.suppress(TransferError, Cut):
        for member, content in members(lambda: next(blocks, b"")):
            assert len(content if isinstance(content, bytes) else content.whole()) == member.size


# --- sums -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "summed",
    [
        b"",
        b"SUMS",
        b"SUMS\n",
        b"\xff\xfe",
        b"SUMS\n" + b"x" * 100_000,
        b"SUMS\n./r/a\n./r/b\n",
        b"SUMS\n" + b" " * 64 + b"  ./r/a\n" + b" " * 64 + b"  ./r/b\n",
        b"SUMS\n" + SUM_OF_X.encode() + b"  ./r/b\n",
    ],
)
def test_missing_sums(tmp_path: Path, summed: bytes) -> None:
    """A file without a sum does not count as complete."""
    with pytest.raises(TransferError, match="was not fetched completely"):
        fetched(tmp_path, GOOD, summed)


def test_sums_take_linear_time() -> None:
    """A million lines that are no sums belong to no name (with names of any length this took hours)."""
    text = f"{SUM_OF_X}  ./a\n" + "no sum\n" * 1_000_000 + f"{SUM_OF_X}  ./b\n"
    assert parse_sums(text) == {"b": SUM_OF_X}
    assert parse_sums(f"{SUM_OF_X}  ./new\nline\n") == {"new\nline": SUM_OF_X}


def test_a_list_of_sums_takes_the_place_of_what_a_pod_put_there(tmp_path: Path, outside: Path) -> None:
    """A link is not written through, a folder is an error."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/list").symlink_to(outside / "theirs")
    with closing(Tree(tmp_path / "t")) as tree:
        note_sums(tree, "list", {"a": SUM_OF_X}, {"b": "/etc"})
        note_sums(tree, "list", {"c": SUM_OF_X}, {})
        (tmp_path / "t/folder").mkdir()
        with pytest.raises(IsADirectoryError):
            note_sums(tree, "folder", {"a": SUM_OF_X}, {})
    assert untouched(outside)
    assert (tmp_path / "t/list").read_text().splitlines()[1:] == [f"{SUM_OF_X}  a", f"{SUM_OF_X}  c"]
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["folder", "list"]


# --- notes about a sent tree ----------------------------------------------------------------------------------------


def lists(**content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


STATE = b"G\0d 755 0 0 0 1/\0f 644 1 0 0 2/a\0"


def sent(text: str, *sums: str) -> bytes:
    """Return a list of what was sent, as ``sent_list`` has it."""
    facts = zlib.compress(text.encode())
    return b"%d\n%b" % (len(facts), facts) + bytes.fromhex("".join(sums))


SUM_OF_NOTHING = hashlib.sha256(b"").hexdigest()
SENT = {
    "no list": b"[1]",
    "no length": b"x\n" + zlib.compress(b""),
    "a length beyond": b"999999999999\n" + zlib.compress(b"a\0f644 1 (1,)\0"),
    "a length below zero": b"-1\n" + zlib.compress(b"a\0f644 1 (1,)\0"),
    "a name without facts": sent("a\0"),
    "a name without an end": sent("a\0f644 1 (1,)", SUM_OF_X),
    "facts that are none": sent("a\0\0"),
    "no sum": sent("a\0f644 1 (1,)\0"),
    "half a sum": sent("a\0f644 1 (1,)\0", SUM_OF_X[:32]),
    "a sum too many": sent("a\0f644 1 (1,)\0", SUM_OF_X, SUM_OF_X),
    "another sum": sent("a\0f644 1 (1,)\0", SUM_OF_NOTHING),
    "a folder of that name": sent("a\0d755\0"),
    "a folder of no mode": sent("a\0f644 1 (1,)\0b\0d9\0", SUM_OF_X),
    "blocks of no length": sent(f"a\0f644 1 (1,)|0 {'0' * 32}\0", SUM_OF_X),
    "blocks of any length": sent(f"a\0f644 1 (1,)|x {'0' * 32}\0", SUM_OF_X),
    "more sums than blocks": sent(f"a\0f644 1 (1,)|131072 {'0' * 64}\0", SUM_OF_X),
    "sums that are none": sent("a\0f644 1 (1,)|131072\0", SUM_OF_X),
    "blocks of less than nothing": sent("a\0f644 -1 (1,)|131072 \0", SUM_OF_X),
}


@pytest.mark.parametrize("data", SENT.values(), ids=SENT)
def test_hostile_notes_keep_nothing(tmp_path: Path, data: bytes) -> None:
    """Nonsense counts as no note; a list that makes sense is believed."""
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0o644)
    files = staged_files(tmp_path)
    change = change_of(lists_in(lists(list=data), 1 << 20), "/w/t", files)
    assert (change.kept, change.patched) == ({}, {})
    believed = lists(list=sent("a\0f644 1 (1,)\0", SUM_OF_X))
    assert change_of(lists_in(believed, 1 << 20), "/w/t", files).kept == {"a": SUM_OF_X}


@pytest.mark.parametrize(
    "said", [b"", b"G", b"G\0x/a\0", b"G\0-/a\0", b"B\x001\n\0", b"\xff", b"B\x001\n2\n\0/w/t/a\0"]
)
def test_sizes_that_make_no_sense(said: bytes) -> None:
    """Nothing of a stream that was cut is there then."""
    assert sizes_of(said, "/w/t") == {}


HEAD, SUM_OF_BLOCK = "FILE 131072 644 1 1", "0" * 32


@pytest.mark.parametrize(
    "said",
    [
        "", "x", "FILE", HEAD, f"{HEAD}\n{'0' * 31}", f"{HEAD}\n{SUM_OF_BLOCK}\n{SUM_OF_BLOCK}", f"FILE 1 644 1 1\n{SUM_OF_BLOCK}",
        f"FILE 131072 644 1 {1 << 60}\n{SUM_OF_BLOCK}", f"FILE 131072 644 1 -1\n{SUM_OF_BLOCK}", f"FILE 131072 8 1 1\n{SUM_OF_BLOCK}",
        f"{HEAD}\n{SUM_OF_BLOCK}\n{HEAD}\n{SUM_OF_BLOCK}", "FILE 131072 644 1 ²\n", f"FILE {'9' * 30} 644 1 1\n{SUM_OF_BLOCK}",
    ],
)  # fmt: skip
def test_sums_of_blocks_that_make_no_sense(said: str) -> None:
    """The file is fetched whole then."""
    assert read_large(said.encode(), ["a"]) == {}
    assert read_large(f"{HEAD}\n{SUM_OF_BLOCK}\n".encode(), ["a"]).keys() == {"a"}


BOMBS: list[Callable[[], bytes]] = [
    lambda: b"",
    lambda: b"x",
    lambda: gzip.compress(bytes(64 << 20), 1),
    lambda: gzip.compress(bytes(64 << 20), 1)[:1000],
    lambda: lists(list=b"", state=STATE),
    lambda: lists(list=sent("[" * 10_000_000)),
    lambda: lists(list=sent("\0" * (64 << 20))),
    lambda: lists(state=STATE),
    lambda: lists(list=sent("a\0f644 1 (1,)\0", SUM_OF_X), differ=gzip.compress(bytes(64 << 20), 1)),
    lambda: lists(list=b"x" * 3_000_000, state=STATE),
    lambda: gzip.compress(header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 4 << 30) + bytes(1 << 20)),
]


@pytest.mark.parametrize("bomb", BOMBS, ids=range(11))
def test_bombs_are_not_unpacked(tmp_path: Path, bomb: Callable[[], bytes]) -> None:
    """Of compressed data, a limited amount is unpacked and no more."""
    message = bomb()
    (tmp_path / "a").write_text("x")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lists = lists_in(message, 1 << 20)
    assert change_of(lists, "/w/t", staged_files(tmp_path), most=1 << 20) == NOTHING_KEPT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"tree_sha256": 1, "files": 1, "bytes": 1}',
        b"[" * 100_000,
        b'{"remote": 1}',
        b"\xff",
    ],
)
def test_a_note_that_makes_no_sense_is_not_believed(tmp_path: Path, note: bytes) -> None:
    """The tree is sent as if there were none."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_text("x")
    staged = put(Scripted(b"SAME\n" + note), tmp_path / "tree", "/w/t")
    assert staged.files == 1
    assert len(staged.tree_sha256) == 64


# --- programs that lie ----------------------------------------------------------------------------------------------

WORDY = "no, not at all" * 200
LIES = {
    "find that never ends": ("find", "while :; do printf './r/%0200d\\0' 1; done"),
    "find that complains without end": ("find", f"while :; do echo {WORDY} >&2; done"),
    "tar that sends zeros": ("tar", "cat /dev/zero"),
    "tar that sends noise": ("tar", "cat /dev/urandom"),
    "tar that complains without end": ("tar", f"while :; do echo {WORDY} >&2; done"),
    "sums that are wrong": ("sha256sum", "echo 0000"),
    "no sums": ("sha256sum", "exit 3"),
    "names that are swallowed": ("xargs", "cat >/dev/null"),
    "no folder for notes": ("mktemp", "exit 1"),
}


@pytest.mark.parametrize("program", LIES)
def test_programs_of_a_pod_that_lie(
    machine: Machine,
    lie: Lie,
    remote: SshRemote,
    tmp_path: Path,
    outside: Path,
    program: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over SSH, with the real shell: an error that is the pod's, in bounded memory, and the connection serves on."""
    monkeypatch.setattr(listing_module, "MOST_LISTED_BYTES", 1 << 20)
    (machine.files / "r").mkdir()
    (machine.files / "r/a").write_text("x")
    name, script = LIES[program]
    lie("openssl", "exit 1")
    lie(name, f'[ "$1" != --version ] || exec {name} --version; {script}')
    with pytest.raises(TransferError):
        remote.pull(str(machine.files / "r"), tmp_path / "l")
    assert untouched(outside)
    assert remote.script("echo here", timeout=30) == "here\n"


def test_a_script_that_says_too_much(remote: SshRemote, machine: Machine) -> None:
    """On either channel; and a login shell that greets without end is a connection that does not work."""
    for script in ("cat /dev/zero", "cat /dev/zero >&2"):
        with pytest.raises(TooMuch):
            remote._shell.exec(Program(script, timeout=60, most=1 << 20))
    machine.before_command = "cat /dev/zero; "
    remote._shell._waiting.drop()  # those have greeted already
    with pytest.raises(ConnectionLost, match="without end"):
        remote.script("true", timeout=60)


ENDS = [
    "end 99999999999999999999 0 0 0",
    "end ² 0 0 0",
    "end 0 0 99999999999999999999999 0",
    "end 0 0",
    "following 9999999999999999999999",
]


@pytest.mark.parametrize("end", ENDS)
def test_ends_of_commands_that_make_no_sense(lie: Lie, remote: SshRemote, end: str) -> None:
    """An exit code of a hundred digits is none; the command's end is unknown then, and nothing breaks."""
    lie("date", f"echo '{end}' >&2; exec date \"$@\"")
    lie("wc", f"echo '{end}' >&2; echo 0")
    with contextlib.suppress(RemoteError):
        remote.run(Command(key="k", text="true", timeout=5), lambda _: None)


def test_a_log_that_is_always_longer_than_what_comes(lie: Lie, remote: SshRemote) -> None:
    """The pod says that there is more, and sends nothing: that ends."""
    lie("wc", "echo 1000000")
    with pytest.raises(RemoteError, match="reports a log of"):
        remote.run(Command(key="k", text="true"), lambda _: None)

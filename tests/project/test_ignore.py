"""Which files are staged."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.errors import UsageError
from rpd.project.ignore import Kind, content_digest, local_stamp, staged_files, tree_digest
from tests.files import write_files
from tests.git import git


def names(root: Path, *exclude: str) -> list[str]:
    return [file.name for file in staged_files(root, exclude) if file.kind is not Kind.FOLDER]


def test_without_any_rules_everything_is_staged_but_what_never_is(tmp_path: Path) -> None:
    """Outside a repository all files go, except git's own, past runs, environments and byte code."""
    kept = {"a.py": "", "src/b.py": "", ".env.example": ""}
    never = {
        ".git/config": "",
        "rpd-runs/x/run.toml": "",
        "src/__pycache__/b.pyc": "",
        "sub/.venv/bin/python": "",
    }
    assert names(write_files(tmp_path, {**kept, **never})) == [".env.example", "a.py", "src/b.py"]


def test_rules_of_nested_files_apply_below_them(tmp_path: Path) -> None:
    """A rule in a deeper folder wins, and says nothing about files above it."""
    write_files(
        tmp_path,
        {
            ".gitignore": "*.log\n/build/\n",
            "sub/.gitignore": "!keep.log\n*.tmp\n",
            "a.log": "",
            "keep.log": "",
            "b.tmp": "",
            "build/x": "",
            "sub/keep.log": "",
            "sub/other.log": "",
            "sub/c.tmp": "",
            "sub/build/x": "",
        },
    )
    assert names(tmp_path) == [".gitignore", "b.tmp", "sub/.gitignore", "sub/build/x", "sub/keep.log"]


def test_rpdignore_has_the_last_word(tmp_path: Path) -> None:
    """.rpdignore leaves out tracked files and takes ignored ones."""
    write_files(
        tmp_path,
        {".gitignore": "data.bin\n", ".rpdignore": "!data.bin\ndocs/\n", "data.bin": "", "docs/a": ""},
    )
    assert names(tmp_path) == [".gitignore", ".rpdignore", "data.bin"]


def test_exclude_takes_rules_as_gitignore_has_them(tmp_path: Path) -> None:
    """The argument ``exclude`` is read last, relative to the root."""
    write_files(tmp_path, {"a/x.pt": "", "b/x.pt": "", "c.py": ""})
    assert names(tmp_path, "/a/") == ["b/x.pt", "c.py"]
    assert names(tmp_path, "*.pt", "!b/*.pt") == ["b/x.pt", "c.py"]


def test_rules_above_the_root_apply_in_a_repository(tmp_path: Path) -> None:
    """A subfolder of a repository is staged by the repository's rules, info/exclude included."""
    write_files(tmp_path, {".git/info/exclude": "*.private\n", ".gitignore": "*.log\n/sub/out/\n"})
    write_files(tmp_path / "sub", {"a.py": "", "a.log": "", "a.private": "", "out/x": "", "in/out/x": ""})
    assert names(tmp_path / "sub") == ["a.py", "in/out/x"]


def test_an_ignored_folder_that_is_named_is_sent(tmp_path: Path) -> None:
    """Naming ``data`` sends it, whatever .gitignore says of it; its own rules still hold."""
    write_files(tmp_path, {".git/HEAD": "", ".gitignore": "data/\n*.log\n"})
    write_files(tmp_path / "data", {".gitignore": "*.tmp\n", "x.bin": "", "x.log": "", "x.tmp": ""})
    assert names(tmp_path / "data") == [".gitignore", "x.bin", "x.log"]
    assert names(tmp_path / "data" / ".." / "data") == [".gitignore", "x.bin", "x.log"]


def test_links_and_empty_folders_are_staged_as_they_are(tmp_path: Path) -> None:
    """Nothing is looked at through a link; an empty folder counts; a socket does not."""
    write_files(tmp_path, {"real/a": "x"})
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "fifo")
    by_name = {file.name: file for file in staged_files(tmp_path)}
    assert sorted(by_name) == ["empty", "link", "real", "real/a"]
    assert by_name["link"].target == "real"
    assert (by_name["link"].kind, by_name["empty"].kind) == (Kind.LINK, Kind.FOLDER)


def test_one_file_is_staged_whatever_rules_say(tmp_path: Path) -> None:
    """A file that is named is sent."""
    write_files(tmp_path, {".gitignore": "*\n", "a.bin": "abc"})
    assert [(file.name, file.size) for file in staged_files(tmp_path / "a.bin")] == [("a.bin", 3)]


def test_a_missing_path_is_named_with_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which path, and relative to which folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"nowhere does not exist .relative to {tmp_path}"):
        staged_files(Path("nowhere"))


def test_the_digest_is_of_names_modes_and_contents(tmp_path: Path) -> None:
    """Each of them changes it; times and places do not."""

    def digest(root: Path) -> str:
        files = staged_files(root)
        return tree_digest(
            (file, content_digest(file.path) if file.kind is Kind.FILE else "") for file in files
        )

    one, two = (
        write_files(tmp_path / "1", {"a": "x", "b/c": "y"}),
        write_files(tmp_path / "2", {"a": "x", "b/c": "y"}),
    )
    os.utime(two / "a", (1, 1))
    first = digest(one)
    assert digest(two) == first
    (two / "a").chmod(0o755)
    assert digest(two) != first
    (two / "a").chmod((one / "a").stat().st_mode & 0o777)
    (two / "a").write_text("z")
    assert digest(two) != first
    (two / "a").write_text("x")
    assert digest(two) == first
    (two / "a").rename(two / "A")
    assert digest(two) != first


def test_the_stamp_changes_with_any_write(tmp_path: Path) -> None:
    """A file that was written again may have changed, even at the same size and time."""
    write_files(tmp_path, {"a": "x"})
    before = local_stamp(staged_files(tmp_path))
    assert local_stamp(staged_files(tmp_path)) == before
    times = (tmp_path / "a").stat()
    (tmp_path / "b").write_text("y")
    (tmp_path / "b").replace(tmp_path / "a")
    os.utime(tmp_path / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert local_stamp(staged_files(tmp_path)) != before


@pytest.mark.parametrize("version", ["2", "4"])
def test_what_git_tracks_is_staged_though_a_rule_ignores_it(tmp_path: Path, version: str) -> None:
    """A file that was added by force belongs to the project; .rpdignore and ``exclude`` still leave it out."""
    write_files(
        tmp_path,
        {
            ".gitignore": "*.csv\ndata/\n",
            "a.csv": "",
            "b.csv": "",
            "data/in.bin": "",
            "data/x": "",
            "c.csv": "",
        },
    )
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "index.version", version)
    git(tmp_path, "add", "-f", "a.csv", "data/in.bin", "c.csv", ".gitignore")
    assert (tmp_path / ".git/index").read_bytes()[4:8] == bytes([0, 0, 0, int(version)])
    (tmp_path / ".rpdignore").write_text("c.csv\n")
    assert names(tmp_path) == [".gitignore", ".rpdignore", "a.csv", "data/in.bin"]
    assert names(tmp_path, "a.*") == [".gitignore", ".rpdignore", "data/in.bin"]
    assert names(tmp_path / "data") == ["in.bin", "x"]


_NAME = st.sampled_from(["a", "b", "x.log", "build", "data", "keep.log"])
_PATH = st.lists(_NAME, min_size=1, max_size=3).map("/".join)
_RULE = st.sampled_from(
    [
        "*.log",
        "!keep.log",
        "build/",
        "/data",
        "data/*",
        "!data/keep.log",
        "a/b",
        "**/x.log",
        "b/**",
        "!/a/b",
        "#c",
        "a/*/b",
    ]
)


@settings(max_examples=60)
@given(
    st.lists(_PATH, max_size=10),
    st.lists(_RULE, max_size=4),
    st.lists(_RULE, max_size=3),
    st.sampled_from(["a", "data"]),
    st.integers(0, 3),
)
def test_git_agrees(
    tmp_path_factory: pytest.TempPathFactory,
    paths: list[str],
    outer: list[str],
    inner: list[str],
    folder: str,
    added: int,
) -> None:
    """The staged files are those that ``git ls-files --cached --others --exclude-standard`` lists."""
    root = tmp_path_factory.mktemp("tree")
    made: list[str] = []
    for path in paths:
        at = root / path
        if any(parent.is_file() for parent in at.parents if parent.is_relative_to(root)) or at.exists():
            continue
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text("")
        made.append(path)
    (root / ".gitignore").write_text("\n".join(outer))
    if (root / folder).is_dir():
        (root / folder / ".gitignore").write_text("\n".join(inner))
    git(root, "init", "-q")
    if made[:added]:
        git(root, "add", "-f", *made[:added])
    listed = git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    assert sorted(names(root)) == sorted(name for name in listed if name)


BOM = "\ufeff"


@pytest.mark.parametrize("rules", [".gitignore", ".rpdignore", ".git/info/exclude"])
def test_a_byte_order_mark_hides_no_rule(rules: str, tmp_path: Path) -> None:
    """The first rule of a file counts, whichever editor wrote it."""
    write_files(tmp_path, {rules: f"{BOM}credentials.json\n", "credentials.json": "", "a.py": ""})
    assert "credentials.json" not in names(tmp_path)


def test_run_folders_are_not_staged_unless_named(tmp_path: Path) -> None:
    """Files of other runs in the project stay here, whatever their folder is called."""
    run = "old/20260102T030405Z-0a1b2c"
    write_files(
        tmp_path,
        {"a.py": "", f"{run}/run.toml": "", f"{run}/.ssh/id_ed25519": "", f"{run}/n/artifacts/b.bin": ""},
    )
    write_files(tmp_path, {"best/run.toml": "", "best/events.jsonl": "", "own/run.toml": ""})
    assert names(tmp_path) == ["a.py", "own/run.toml"]
    assert names(tmp_path / run / "n" / "artifacts") == ["b.bin"]


def test_rules_that_are_no_file_are_none(tmp_path: Path) -> None:
    """A folder, a FIFO or a ring of links called ``.gitignore`` has no rules, and is not waited for."""
    write_files(tmp_path, {"a/x.py": "", "b/x.py": "", "c/x.py": "", "c/.gitignore/y": ""})
    os.mkfifo(tmp_path / "a" / ".gitignore")
    (tmp_path / "b" / ".gitignore").symlink_to(".gitignore")
    assert names(tmp_path) == ["a/x.py", "b/.gitignore", "b/x.py", "c/.gitignore/y", "c/x.py"]


def test_a_ring_of_links_that_is_named_is_a_usage_error(tmp_path: Path) -> None:
    """It leads to nothing that could be sent."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"local path .*loop: Too many levels of symbolic links"):
        staged_files(tmp_path / "loop")


@pytest.mark.parametrize("victim", ["b.py", "sub", "link", ".gitignore"])
def test_what_vanishes_while_the_folder_is_walked_is_left_out(
    victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, a folder, a link or the rules themselves may go after they were listed."""
    write_files(tmp_path, {"a.py": "", "b.py": "", "sub/c.py": "", ".gitignore": "*.log\n"})
    (tmp_path / "link").symlink_to("a.py")
    scandir = os.scandir

    def listed_and_gone(place):
        with scandir(place) as scanned:
            entries = list(scanned)
        path = tmp_path / victim
        if os.path.lexists(path):
            path.rename(tmp_path.with_name(f"{tmp_path.name}-gone"))
        return contextlib.nullcontext(entries)

    monkeypatch.setattr(os, "scandir", listed_and_gone)
    assert victim not in [name.split("/")[0] for name in names(tmp_path)]
    assert "a.py" in names(tmp_path)


def test_a_folder_that_may_not_be_read_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending less than the project without a word would be worse."""
    write_files(tmp_path, {"sub/c.py": ""})
    really_open = os.open

    def refused(place, *arguments):
        if str(place).endswith("sub"):
            raise PermissionError(13, "Permission denied", place)
        return really_open(place, *arguments)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(UsageError, match=r"sub: cannot be read, so it cannot be sent: Permission denied"):
        staged_files(tmp_path)

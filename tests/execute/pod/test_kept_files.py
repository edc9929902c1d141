"""Patterns of files to keep in a tree, as find takes them: the same files as git's."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

from rpd.errors import TransferError, UsageError
from rpd.execute.pod.kept_files import check_patterns, left_alone, merging

FILES = (
    ".venv/bin/python",
    "a/.venv/x",
    "data/a.bin",
    "data/b.txt",
    "x/data/a.bin",
    "top",
    "x/top",
    "a b/c'd",
    "q/.venv",
)


class Shell:
    """Runs scripts here; ``fail`` makes one end early."""

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def script(self, text: str, *, timeout: float) -> str:
        self.scripts.append(text)
        return subprocess.run(
            ["sh"], input=text, capture_output=True, text=True, timeout=timeout, check=False
        ).stdout


def tree(folder: Path, names: tuple[str, ...] = FILES) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "pattern",
    [
        ".venv/",
        ".venv",
        "/data/*.bin",
        "data/a.bin",
        "**/data/a.bin",
        "/top",
        "top",
        "*.txt",
        "a b/",
        "c'd",
        "/x/data/",
    ],
)
def test_what_git_would_ignore_stays(pattern: str, tmp_path: Path) -> None:
    target = tree(tmp_path / "proj")
    with left_alone(Shell(), str(target), [pattern]):  # type: ignore[arg-type]
        subprocess.run(["rm", "-rf", target], check=True)
        target.mkdir()
    assert names(target) == {name for name in FILES if GitIgnoreSpec.from_lines([pattern]).match_file(name)}
    assert [path.name for path in tmp_path.iterdir()] == ["proj"]


def test_what_is_sent_wins_and_a_failed_put_loses_nothing(tmp_path: Path) -> None:
    target = tree(tmp_path / "proj", ("keep/a", "keep/b"))
    with pytest.raises(TransferError), left_alone(Shell(), str(target), ["keep/"]):  # type: ignore[arg-type]
        raise TransferError("the disk is full")
    assert names(target) == {"keep/a", "keep/b"}
    with left_alone(Shell(), str(target), ["keep/"]):  # type: ignore[arg-type]
        tree(target, ("keep/new",))
    assert names(target) == {"keep/new"}


def test_a_killed_driver_leaves_what_the_next_put_brings_back(tmp_path: Path) -> None:
    target, shell = tree(tmp_path / "proj", (".venv/x", "old")), Shell()
    aside = left_alone(shell, str(target), [".venv/"])  # type: ignore[arg-type]
    aside.__enter__()  # and no driver comes back
    assert names(target) == {"old"}
    subprocess.run(
        ["sh"], input=shell.scripts[0], text=True, check=True
    )  # as a script does that is run twice
    with left_alone(shell, str(target), ["other/"]):  # type: ignore[arg-type]
        assert names(target) == {".venv/x", "old"}
    assert names(target) == {".venv/x", "old"}


def test_merging_adds_and_replaces(tmp_path: Path) -> None:
    target = tree(tmp_path / "proj", ("a", "b/c"))
    with merging(Shell(), str(target)) as merged:  # type: ignore[arg-type]
        tree(Path(merged), ("b/d", "a"))
        (Path(merged) / "a").write_text("new")
    assert names(target) == {"a", "b/c", "b/d"}
    assert (target / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["proj"]


@pytest.mark.parametrize("pattern", ["", "/", "!x", "../x", "a/../b", 3])
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"pod\.put: keep: .*expected a name or path in the tree"):
        check_patterns([pattern])


def test_a_path_with_quotes_is_quoted(tmp_path: Path) -> None:
    odd = tree(tmp_path / "it's a $(tree)", (".venv/x",))
    with left_alone(Shell(), str(odd), [".venv/", shlex.quote("x y")]):  # type: ignore[arg-type]
        assert names(odd) == set()
    assert names(odd) == {".venv/x"}

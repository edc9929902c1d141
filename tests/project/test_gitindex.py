"""The files that git tracks, read without git."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.project.gitindex import tracked_files
from tests.git import git

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")


_PART = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=9,
)
_PATH = st.lists(
    _PART.filter(lambda part: not part.lower().startswith((".git", "git~", "."))), min_size=1, max_size=3
)


@settings(max_examples=20)
@given(st.lists(_PATH, min_size=1, max_size=6), st.sampled_from(["2", "4"]), st.booleans())
def test_the_names_are_those_git_lists(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[str]], version: str, planned: bool
) -> None:
    """Every version of the index gives the names of ``git ls-files``, files that are only planned included."""
    root = tmp_path_factory.mktemp("repository")
    git(root, "init", "-q")
    git(root, "config", "index.version", version)
    for parts in paths:
        at = root.joinpath(*parts)
        if at.exists() or any(parent.is_file() for parent in at.parents):
            continue
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text("x")
    git(root, "add", *(["-N"] if planned else []), "--all")
    listed = git(root, "ls-files", "-z").split("\0")
    assert tracked_files(root) == {name for name in listed if name}


def test_a_worktree_has_an_index_of_its_own(tmp_path: Path) -> None:
    """Where ``.git`` is a file, the index is where it points."""
    main = tmp_path / "main"
    main.mkdir()
    git(main, "init", "-q")
    (main / "a").write_text("")
    git(main, "add", "a")
    git(main, "commit", "-q", "-m", "one")
    git(main, "worktree", "add", "-q", str(tmp_path / "side"))
    (tmp_path / "side/b").write_text("")
    git(tmp_path / "side", "add", "b")
    assert tracked_files(tmp_path / "side") == {"a", "b"}
    assert tracked_files(main) == {"a"}


@pytest.mark.parametrize(
    "data", [b"", b"DIRC", b"JUNKJUNKJUNKJUNK", b"DIRC\0\0\0\x02\0\0\0\x05short", b"DIRC\0\0\0\x09\0\0\0\0"]
)
def test_an_index_that_cannot_be_read_tracks_nothing(tmp_path: Path, data: bytes) -> None:
    """A damaged or newer index is no reason to fail: the rules alone decide."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/index").write_bytes(data)
    assert tracked_files(tmp_path) == frozenset()

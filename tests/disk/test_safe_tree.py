"""A folder in which somebody else chose the names."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rpd.disk.place import PathPlace, Place, open_place
from rpd.disk.safe_tree import DEEPEST, LeadsOut, Tree, write_all


@pytest.fixture(params=["descriptors", "paths"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    """A tree at ``tmp_path/tree``, in both ways of working; ``tmp_path/outside`` is not to be touched."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("theirs")
    place: Place = PathPlace(tmp_path / "tree") if request.param == "paths" else open_place(tmp_path / "tree")
    with closing(Tree(tmp_path / "tree", place)) as made:
        yield made


def write(tree: Tree, name: str, data: bytes = b"ours") -> None:
    with tree.create(name) as file:
        write_all(file, data)


def outside(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (tmp_path / "outside").iterdir()}


@pytest.mark.parametrize(
    "name", ["../outside/x", "/etc/x", "a/../../outside/x", "", ".", "..", "a//b", "a/./b", "a/", "a\0b"]
)
def test_names_that_lead_out_are_refused(tree: Tree, tmp_path: Path, name: str) -> None:
    """No name leads out, whatever is asked."""
    for act in (tree.create, lambda n: tree.write(n, b"", 0o600, 0), tree.read, tree.change, tree.remove):
        with pytest.raises(LeadsOut):
            act(name)
    assert outside(tmp_path) == {"file": "theirs"}


@pytest.mark.parametrize("target", ["../outside", "..", "/", "."])
def test_nothing_is_read_through_a_link(tree: Tree, tmp_path: Path, target: str) -> None:
    """A folder that is a link is not gone into to read, change or remove."""
    (tmp_path / "tree/way").symlink_to(target)
    for act in (tree.read, tree.change, tree.remove):
        with pytest.raises(LeadsOut, match="link"):
            act("way/outside/file" if target != "../outside" else "way/file")
    assert tree.status("way/file") is None
    assert outside(tmp_path) == {"file": "theirs"}


def test_a_folder_takes_the_place_of_a_link(tree: Tree, tmp_path: Path) -> None:
    """Where a file is to be written below a link, the link makes room for a folder."""
    (tmp_path / "tree/way").symlink_to("../outside")
    write(tree, "way/deep/new")
    assert outside(tmp_path) == {"file": "theirs"}
    assert not (tmp_path / "tree/way").is_symlink()
    assert (tmp_path / "tree/way/deep/new").read_bytes() == b"ours"


def test_a_link_is_not_written_through(tree: Tree, tmp_path: Path) -> None:
    """A link in a file's own place is neither opened nor created through; a move replaces the link itself."""
    (tmp_path / "tree/file").symlink_to("../outside/file")
    (tmp_path / "tree/fresh").symlink_to("../outside/fresh")
    for name in ("file", "fresh"):
        with pytest.raises(FileExistsError):
            tree.create(name)
        with pytest.raises(FileExistsError):
            tree.write(name, b"ours", 0o600, 0)
        with pytest.raises(OSError, match=r"link|symbolic|regular"):
            tree.change(name)
        with pytest.raises(OSError, match=r"link|symbolic|regular"):
            tree.read(name)
    write(tree, "other")
    tree.move("other", tree, "file")
    assert (tmp_path / "tree/file").read_bytes() == b"ours"
    assert outside(tmp_path) == {"file": "theirs"}


def test_fifos_and_folders_are_no_files(tree: Tree, tmp_path: Path) -> None:
    """Reading never waits for somebody at the other end of a FIFO."""
    os.mkfifo(tmp_path / "tree/fifo")
    (tmp_path / "tree/folder").mkdir()
    for name in ("fifo", "folder"):
        for act in (tree.read, tree.change):
            with pytest.raises(OSError, match=r"regular|directory"):
                act(name)


def test_a_folder_is_not_replaced_by_a_file(tree: Tree, tmp_path: Path) -> None:
    """Nor is an empty one; the other way round neither."""
    write(tree, "a/file")
    (tmp_path / "tree/folder").mkdir()
    with pytest.raises(IsADirectoryError):
        tree.move("a/file", tree, "folder")
    with pytest.raises(NotADirectoryError):
        write(tree, "a/file/below")


def test_removing_a_folder_leaves_what_its_links_lead_to(tree: Tree, tmp_path: Path) -> None:
    """All below goes, links as links."""
    write(tree, "a/b/file")
    (tmp_path / "tree/a/b/way").symlink_to(tmp_path / "outside")
    tree.remove_all("a")
    assert list((tmp_path / "tree").iterdir()) == []
    assert outside(tmp_path) == {"file": "theirs"}


def test_files_get_bits_and_times(tree: Tree, tmp_path: Path) -> None:
    """A file is open for its owner alone until it is dressed."""
    with tree.create("file") as file:
        assert stat.S_IMODE((tmp_path / "tree/file").stat().st_mode) == 0o600
        write_all(file, b"x" * 100_000)
        tree.dress("file", file, 0o755, 1_000_000)
    tree.write("way/at once", b"x" * 100_000, 0o755, 1_000_000)
    status = (tmp_path / "tree/file").stat()
    at_once = (tmp_path / "tree/way/at once").stat()
    assert (at_once.st_mode, at_once.st_mtime, at_once.st_size) == (
        status.st_mode,
        status.st_mtime,
        status.st_size,
    )
    assert (stat.S_IMODE(status.st_mode), status.st_mtime, status.st_size) == (0o755, 1_000_000, 100_000)


def test_too_many_folders_are_an_error(tree: Tree) -> None:
    """And leave no descriptor behind."""
    with pytest.raises(OSError, match="more than"):
        write(tree, "/".join(["a"] * (DEEPEST + 2)))
    with pytest.raises(OSError, match="too long"):
        write(tree, "a" * 256)


def test_errors_name_the_whole_path(tree: Tree, tmp_path: Path) -> None:
    """The system names the last part only."""
    with pytest.raises(FileNotFoundError) as caught:
        tree.read("a/b/c")
    assert caught.value.filename == str(tmp_path / "tree/a/b/c")

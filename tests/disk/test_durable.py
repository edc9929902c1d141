"""Syncs: each file and each name on the way to it, no link followed, and no error kept quiet."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rpd.disk import durable
from rpd.disk.durable import FEW, sync_names, sync_tree
from rpd.record.atomic_write import write_whole

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="files are named by /proc")  # noqa: PTH110


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files and folders that were synced, in order."""
    names: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
    )
    return names


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)


def test_a_tree_is_synced_with_the_names_above_it(tmp_path: Path, synced: list[str]) -> None:
    """Files, their folders, and the folders up to ``within``; a FIFO blocks nobody, a link leads nowhere."""
    node = tmp_path / "node"
    folder = node / "artifacts" / "out"
    folder.mkdir(parents=True)
    (folder / "model").write_text("x")
    (tmp_path / "other").write_text("x")
    (folder / "link").symlink_to(tmp_path / "other")
    os.mkfifo(folder / "pipe")
    sync_tree(folder, within=node, files=1)
    assert synced == ["model", "out", "artifacts", "node"]


def test_many_files_are_synced_by_one_call_if_that_works(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it does not, they are synced one by one, so that the error is that of the right file."""
    for name in "ab":
        (tmp_path / name).write_text("x")
    answers = iter([0, -1])
    monkeypatch.setattr(durable, "_syncfs", lambda: lambda _descriptor: next(answers))
    sync_tree(tmp_path, within=tmp_path, files=FEW + 1)
    assert synced == []
    sync_tree(tmp_path, within=tmp_path, files=FEW + 1)
    assert sorted(synced) == ["a", "b", tmp_path.name]


def test_names_that_may_be_lost_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot sync folders raises nothing. One that fails to ends the replacement of a file."""
    failing(monkeypatch, errno.EINVAL)
    sync_names(tmp_path)
    failing(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        sync_names(tmp_path)
    with pytest.raises(OSError, match="Input/output"):
        write_whole(tmp_path / "manifest.toml", "x")
    assert list(tmp_path.iterdir()) == []

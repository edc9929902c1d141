"""Commits in groups: one call for many folders, and nothing left when they are finished."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rpd.disk import durable
from rpd.journal.commits import FEW, Commits
from rpd.journal.journal import FileJournal
from rpd.redaction import NO_SECRETS


class System:
    """Counts the calls of the system; its descriptors are named after their files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, has_syncfs: bool = True) -> None:
        self.synced: list[str] = []
        self.whole = 0
        self.error: OSError | None = None
        monkeypatch.setattr(os, "fsync", self._fsync)
        monkeypatch.setattr(durable, "_syncfs", lambda: self._syncfs if has_syncfs else None)

    def _fsync(self, descriptor: int) -> None:
        if self.error is not None:
            raise self.error
        self.synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    def _syncfs(self, descriptor: int) -> int:
        assert os.fstat(descriptor)
        self.whole += 1
        return 0 if self.error is None else -1


def folders(tmp_path: Path, count: int) -> list[Path]:
    made = [tmp_path / f"n{number}" for number in range(count)]
    for each in made:
        each.mkdir()
        (each / "manifest.toml").write_text("x")
        (each / "events.jsonl").write_text("x")
    return made


def unheard(path: Path, error: OSError) -> None:
    raise AssertionError(f"{path}: {error}")


pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="files are named by /proc")  # noqa: PTH110


def test_many_folders_take_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that come within a moment are committed together, and finishing waits for nothing else."""
    system = System(monkeypatch)
    made = Commits(unheard)
    for each in folders(tmp_path, 100):
        made.soon(each)
    made.finish()
    assert system.synced == []
    assert 1 <= system.whole <= 2


@pytest.mark.parametrize("has_syncfs", [True, False])
def test_a_few_folders_are_synced_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_syncfs: bool
) -> None:
    """Other data waiting on the file system is not rpd's to write.

    Without such a call many folders are synced so, too.
    """
    system = System(monkeypatch, has_syncfs=has_syncfs)
    made = Commits(unheard)
    count = FEW if has_syncfs else 3 * FEW
    for each in folders(tmp_path, count):
        made.soon(each)
    made.finish()
    assert system.whole == 0
    wanted = [name for number in range(count) for name in ("manifest.toml", "events.jsonl", f"n{number}")]
    assert sorted(system.synced) == sorted(wanted)


def test_what_cannot_be_synced_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder, with the error; a folder that is gone is none."""
    system = System(monkeypatch)
    system.error = OSError(28, "No space left on device")
    heard: list[tuple[Path, OSError]] = []
    made = Commits(lambda path, error: heard.append((path, error)))
    all_of_them = folders(tmp_path, 2 * FEW)
    for each in [*all_of_them, tmp_path / "gone"]:
        made.soon(each)
    made.finish()
    made.finish()
    assert {path for path, _ in heard} == set(all_of_them)
    assert {error.errno for _, error in heard} == {28}


def test_a_journal_leaves_it_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed without sync it is whole in the file, and nothing waited for the disk."""
    system = System(monkeypatch)
    path = tmp_path / "events.jsonl"
    journal = FileJournal(path, NO_SECRETS)
    journal.write("node_finished")
    journal.close(sync=False)
    assert system.synced == []
    assert "node_finished" in path.read_text()

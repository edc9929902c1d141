"""The folders of emulators: each is swept once no process holds it, and not before."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from rpd.emulator import machines


def test_a_folder_that_is_being_made_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While some sweep, others make their folders: all of these are there, and gone once they are given up."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    over = threading.Event()

    def sweep() -> None:
        while not over.is_set():
            machines._sweep_stale()

    sweepers = [threading.Thread(target=sweep) for _ in range(3)]
    for sweeper in sweepers:
        sweeper.start()
    kept = []
    for _ in range(100):
        folder = Path(tempfile.mkdtemp(prefix=machines._PREFIX))
        kept.append((folder, machines._hold(folder)))
    over.set()
    for sweeper in sweepers:
        sweeper.join()
    assert all((folder / machines._LOCK).exists() for folder, _ in kept)
    for _, descriptor in kept:
        os.close(descriptor)
    machines._sweep_stale()
    assert list(tmp_path.iterdir()) == []

"""The index of a run's manifests is only ever a cache: it is never believed against a manifest, and may be lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rpd.errors import RpdError
from rpd.record import history, manifest, manifest_index
from rpd.values.report import NodeReport

MakeReport = Callable[..., NodeReport]


@pytest.fixture
def run_folder(make_report: MakeReport, tmp_path: Path) -> Path:
    """A run of three nodes, one of them deeper, without an index."""
    for number, name in enumerate(("a", "b", "deeper/c")):
        folder = tmp_path / "run" / name
        folder.mkdir(parents=True)
        manifest.write(folder / manifest.FILE_NAME, make_report(number))
    return tmp_path / "run"


def parsed_for(run_folder: Path) -> list[str]:
    """Return which nodes' manifests had to be parsed for reading all of them, which must be as they are."""
    parsed: list[str] = []

    def parse(path: Path) -> manifest_index.Document:
        parsed.append(path.parent.name)
        return manifest.read_document(path)

    by_name = dict(manifest_index.read(run_folder, parse))
    assert by_name == {str(path.parent): manifest.read_document(path) for path in manifests(run_folder)}
    return parsed


def manifests(run_folder: Path) -> Iterator[Path]:
    return run_folder.rglob(manifest.FILE_NAME)


def test_a_manifest_is_parsed_once(run_folder: Path) -> None:
    """The second reader has the index, and a changed, new or removed manifest is noticed."""
    assert parsed_for(run_folder) == ["a", "b", "c"]
    assert parsed_for(run_folder) == []
    changed = replace(manifest.read(run_folder / "b" / manifest.FILE_NAME), metrics={"f1": 0.75})
    manifest.write(run_folder / "b" / manifest.FILE_NAME, changed)
    assert parsed_for(run_folder) == ["b"]
    (run_folder / "a" / manifest.FILE_NAME).rename(run_folder / "aside")
    (run_folder / "d").mkdir()
    manifest.write(run_folder / "d" / manifest.FILE_NAME, changed)
    assert parsed_for(run_folder) == ["d"]
    assert parsed_for(run_folder) == []
    assert sorted(report.metrics["f1"] for report in history.reports(run_folder)) == [0.5, 0.75, 0.75]


def test_times_that_somebody_set_back_do_not_hide_a_change(run_folder: Path) -> None:
    """A manifest of the same size and time of change, in the same inode, is still read again."""
    parsed_for(run_folder)
    path = run_folder / "a" / manifest.FILE_NAME
    before = path.stat()
    with path.open("r+b") as file:
        file.write(path.read_bytes().replace(b'git_sha = "0123abc"', b'git_sha = "3210abc"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert parsed_for(run_folder) == ["a"]


def test_a_run_writes_its_index_itself(run_folder: Path, make_report: MakeReport) -> None:
    """Nodes that a run adds as they end need not be parsed again."""
    additions = manifest_index.Additions(run_folder)
    for path in manifests(run_folder):
        additions.add(str(path.parent), manifest.document_of(make_report(9)))
        manifest.write(path, make_report(7))
        additions.add(str(path.parent), manifest.document_of(make_report(7)))
    additions.flush()
    assert parsed_for(run_folder) == []


@pytest.mark.parametrize(
    "damage", ["garbage", "torn", "wrong json", "no object", "too deep", "empty", "folder", "link", "FIFO"]
)
def test_a_damaged_index_costs_nothing_but_time(damage: str, run_folder: Path, tmp_path: Path) -> None:
    """Whatever stands in it, or instead of it, the manifests count; nothing is written through a link."""
    parsed_for(run_folder)
    index = run_folder / manifest_index.FILE_NAME
    data = index.read_bytes()
    index.unlink()
    aside = tmp_path / "aside"
    match damage:
        case "folder":
            index.mkdir()
        case "link":
            aside.write_bytes(b"theirs")
            index.symlink_to(aside)
        case "FIFO":
            os.mkfifo(index)
        case "garbage":
            index.write_bytes(b"\xff\x00 not an index\n" * 100)
        case "torn":
            index.write_bytes(data[:-40])
        case "wrong json":
            index.write_bytes(data.replace(b"{", b"{{"))
        case "no object":
            index.write_bytes(b"".join(line.rpartition(b"\t{")[0] + b"\t[1]\n" for line in data.splitlines()))
        case "too deep":
            index.write_bytes(data.replace(b"{", b"[" * 100_000))
        case "empty":
            index.write_bytes(b"")
    assert parsed_for(run_folder) == (["c"] if damage == "torn" else ["a", "b", "c"])
    can_be_kept = damage not in ("folder", "link", "FIFO")
    assert parsed_for(run_folder) == ([] if can_be_kept else ["a", "b", "c"])
    assert not aside.exists() or aside.read_bytes() == b"theirs"


def test_what_json_cannot_hold_is_read_from_the_manifest(run_folder: Path) -> None:
    """A manifest with a date in it is parsed each time."""
    path = run_folder / "a" / manifest.FILE_NAME
    path.write_text(path.read_text().replace("f1 = 0.5", "f1 = 2026-01-02"))
    assert parsed_for(run_folder) == ["a", "b", "c"]
    assert parsed_for(run_folder) == ["a"]


def test_what_nobody_needs_any_more_is_dropped(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index does not grow for ever with manifests that are written again and again."""
    monkeypatch.setattr(manifest_index, "_SPARE_LINES", 5)
    index = run_folder / manifest_index.FILE_NAME
    additions = manifest_index.Additions(run_folder)
    for _ in range(6):
        for path in manifests(run_folder):
            additions.add(str(path.parent), manifest.read_document(path))
    additions.flush()
    assert index.read_bytes().count(b"\n") == 18
    assert parsed_for(run_folder) == []
    assert index.read_bytes().count(b"\n") == 3
    assert parsed_for(run_folder) == []
    assert [path.name for path in run_folder.glob(".*")] == [manifest_index.FILE_NAME]


def test_a_damaged_manifest_is_told_each_time(run_folder: Path) -> None:
    """An error is not kept: the manifest may be mended."""
    path = run_folder / "a" / manifest.FILE_NAME
    text = path.read_text()
    path.write_text("schema_version = 1\n[node]\nid = 3\n")
    for _ in range(2):
        damage: list[RpdError] = []
        assert len(history.reports(run_folder, damaged=damage.append)) == 2
        assert str(path) in str(damage[0])
    path.write_text(text)
    assert len(history.reports(run_folder)) == 3

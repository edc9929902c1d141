"""Checkpoints: allowed folders, and the local copies: complete, checked, the newest few."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.errors import UsageError
from rpd.execute.pod.checkpoint import _AFTER, _COPIED, _COPY, checked_folder
from rpd.execute.pod.checkpoint_copies import Copies, folder_name, newest, sums_of
from rpd.remote.shell import with_arguments


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("ckpt/", "/workspace/ckpt"),
        ("run/../ckpt", "/workspace/ckpt"),
        ("/root/ckpt", "/root/ckpt"),
        ("/data", "/data"),
        ("/tmp/devices", "/tmp/devices"),
        ("/devices/x", "/devices/x"),
    ],
)
def test_a_folder_of_its_own_will_do(given: str, path: str) -> None:
    """Relative to the workspace, or anywhere on the pod's disk."""
    assert checked_folder(given, "/workspace") == path


@pytest.mark.parametrize(
    "given",
    [
        "../ckpt", "a/../../ckpt", "..", ".", "./", "", " ", "/", "/workspace", "/workspace/", "/proc/self", "/proc",
        "/dev/shm/ckpt", "/sys/x", "/run/x", "/root", "/tmp", "/workspace/../proc/x", "/root/.rpd/steps", "ck*t", "a\0b",
        7, None,
    ],
)  # fmt: skip
def test_another_is_one_clear_error(given: object) -> None:
    """A path that is no disk, that holds more than checkpoints, or that leaves the workspace is refused."""
    with pytest.raises(
        UsageError, match=r"^pod\.checkpoint: .*expected (a separate folder|the path of a folder)"
    ):
        checked_folder(given, "/workspace")


def sent(copies: Copies, files: dict[str, str]) -> Path:
    """Make a copy as a pull does: changed files replaced, the list of sums next to the folder."""
    copies.prepare()
    copies.incoming.mkdir(exist_ok=True)
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    for name, text in files.items():
        path = copies.incoming / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            new = path.with_name(".new")
            new.write_text(text)
            new.replace(path)
    sums_of(copies.incoming).write_text("".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()))
    return copies.finish(sums)


FILES = st.dictionaries(
    st.sampled_from(["a", "b", "d/c", "d/e/f"]), st.sampled_from(["1", "2", "33"]), min_size=1
)


@settings(max_examples=30)
@given(states=st.lists(FILES, min_size=1, max_size=5), keep=st.integers(1, 3))
def test_each_copy_holds_what_was_there_then(
    states: list[dict[str, str]], keep: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Copies share unchanged files and never change; files that vanished on the pod are in no later copy."""
    folder = tmp_path_factory.mktemp("node") / folder_name("/workspace/ckpt")
    for number, files in enumerate(states, 1):
        # Another process each time; the unfinished copy of a killed one is in no one's way.
        copies = Copies(folder, keep)
        assert sent(copies, files).name == f"{number:04}"
        copies.prepare()
    kept = {path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()}
    first = max(1, len(states) - keep + 1)
    assert {path.name for path in kept} == {f"{number:04}" for number in range(first, len(states) + 1)}
    for copy in kept:
        found = {str(path.relative_to(copy)): path.read_text() for path in copy.rglob("*") if path.is_file()}
        assert found == states[int(copy.name) - 1]
    assert newest(folder) == folder / f"{len(states):04}"


def test_a_damaged_copy_is_passed_over(tmp_path: Path) -> None:
    """A disk that lost bits costs one copy: the one before is taken, and the user is warned."""
    copies = Copies(tmp_path / "ckpt", 2)
    first, second = sent(copies, {"a": "1"}), sent(copies, {"a": "2"})
    (second / "a").write_text("3")
    told: list[tuple[Path, str]] = []
    assert newest(tmp_path / "ckpt", lambda copy, name: told.append((copy, name))) == first
    assert told == [(second, "a")]
    sums_of(first).unlink()
    assert newest(tmp_path / "ckpt") is newest(tmp_path / "none") is None


def test_a_copy_on_the_pod_is_of_one_moment(tmp_path: Path) -> None:
    """It stays when the job replaces its files, and shows when the job writes into them."""
    folder, aside = tmp_path / "ckpt", tmp_path / ".ckpt.rpd-copy"
    (folder / "d").mkdir(parents=True)
    (folder / "d/model").write_text("1")

    def said(script: str, *arguments: str) -> str:
        return subprocess.run(
            ["sh", "-c", with_arguments(script, *arguments)], capture_output=True, text=True
        ).stdout

    found = _COPIED.search(said(_COPY, str(folder), str(aside), "0", ""))
    assert found is not None
    assert (found[1], found[3]) == ("1", str(aside))
    # Nothing new: nothing is said.
    assert said(_COPY, str(folder), str(aside), "1", found[2]) == ""
    (folder / "new").write_text("2")
    (folder / "new").replace(folder / "d/model")
    assert (aside / "d/model").read_text() == "1"
    assert said(_AFTER, str(aside), str(tmp_path / "nothing")).strip() == found[2]
    (aside / "d/model").write_text("22")
    assert said(_AFTER, str(aside), str(aside)).strip() != found[2]
    assert not aside.exists()
    assert said(_COPY, str(tmp_path / "none"), str(aside), "0", "") == ""
    # A folder that is a link to one; where no links can be made, it is fetched itself.
    link = tmp_path / "link"
    link.symlink_to(folder)
    for place in (aside, tmp_path / "none/aside"):
        found = _COPIED.search(said(_COPY, str(link), str(place), "0", ""))
        assert found is not None
        assert (found[1], found[3]) == ("1", str(place if place == aside else folder))

"""File names of a run: unique, safe, readable."""

from __future__ import annotations

import os
import re
import shutil
import stat
import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import UsageError
from rpd.journal.files import LATEST, LONGEST_NAME, RunFiles, folder_name, journal_paths
from rpd.remote.keys import make_keypair

WORD = st.text(string.ascii_lowercase + "_-.", min_size=1, max_size=3)
NODE_IDS = st.builds(
    lambda folders, file, job, case: (
        "/".join([*folders, f"{file}.py"]) + f"::{job}" + (f"[{case}]" if case else "")
    ),
    st.lists(WORD, max_size=2),
    WORD,
    st.text("aAb_", min_size=1, max_size=3),
    st.one_of(
        st.text(string.ascii_letters + "-._ /[]é", max_size=4),
        st.sampled_from(["xTrue", "xtrue", "XTrue", "None", "none", "NONE"]),
    ),
)


@given(st.lists(NODE_IDS, min_size=2, max_size=30, unique=True))
def test_no_two_nodes_share_a_folder(ids: list[str]) -> None:
    """Different ids have different folders, where separators stand in their parts and on disks that ignore case, too."""
    assert len({folder_name(node_id).lower() for node_id in ids}) == len(ids)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/b/deploy_x.py::fit", "a-b/deploy_x.py::fit"),
        ("deploy_x.py::fit[x]", "deploy_x.py::fit[x-]"),
        ("deploy_x.py::fit[x]", "deploy_x.py::fit[x.]"),
        ("deploy_x.py::fit[a b]", "deploy_x.py::fit[a-b]"),
        ("a.py::b[c.d]", "a.b-c.py::d"),
        ("deploy_x.py::fit[Adam]", "deploy_x.py::fit[adam]"),
        ("deploy_x.py::fit[ampTrue]", "deploy_x.py::fit[amptrue]"),
        (f"deploy_x.py::fit[{'x' * 200}]", f"deploy_x.py::fit[{'x' * 201}]"),
    ],
)
def test_lookalikes_are_told_apart(one: str, other: str) -> None:
    """Ids stay distinct if they only differ in unsafe characters, or on a disk that ignores case."""
    assert folder_name(one).lower() != folder_name(other).lower()


@given(st.text(min_size=1, max_size=300))
def test_names_are_safe(node_id: str) -> None:
    """Any id makes a short name of plain characters that is no path and hides nothing."""
    name = folder_name(node_id)
    assert re.fullmatch(r"[A-Za-z0-9_=,+][A-Za-z0-9._=,+-]*", name)
    assert len(name) <= LONGEST_NAME


def test_usual_names_are_readable() -> None:
    """An id of plain parts is recognised in its folder, without a hash."""
    assert folder_name("exp/deploy_x.py::fit[deberta-seed42]") == "exp-deploy_x.fit-deberta-seed42"
    assert folder_name("deploy_x.py::fit") == "deploy_x.fit"
    assert folder_name("deploy_x.py::fit[ampTrue-wdNone]") == "deploy_x.fit-ampTrue-wdNone"


def test_run_folders_are_never_shared(tmp_path: Path) -> None:
    """Runs that begin in the same second get separate folders, named by time."""
    made = [RunFiles.create(tmp_path / "rpd-runs") for _ in range(20)]
    assert len({files.folder for files in made}) == 20
    for files in made:
        assert files.folder.is_dir()
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", files.run_id)


def test_latest_leads_to_the_newest_run_and_is_none_itself(tmp_path: Path) -> None:
    """The run that began last is the latest; readers of all runs find each run once."""
    made = [RunFiles.create(tmp_path) for _ in range(3)]
    assert (tmp_path / LATEST).resolve() == made[-1].folder.resolve()
    assert [path.parent for path in journal_paths(tmp_path)] == sorted(files.folder for files in made)
    shutil.rmtree(made[-1].folder)  # a pointer that leads nowhere is replaced as well
    newest = RunFiles.create(tmp_path)
    assert (tmp_path / LATEST).resolve() == newest.folder.resolve()


def test_runs_that_begin_together_leave_one_pointer(tmp_path: Path) -> None:
    """The pointer is always whole, and leads to one of them."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: RunFiles.create(tmp_path), range(40)))
    assert (tmp_path / LATEST).resolve() in {files.folder.resolve() for files in made}
    assert len([path for path in tmp_path.iterdir() if path.name != ".gitignore"]) == 41


def test_latest_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system makes no links, a file names the run, and the next run replaces it."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1314, "a required privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for _ in range(2):
        newest = RunFiles.create(tmp_path)
        assert (tmp_path / LATEST).read_text().strip() == newest.run_id


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_users_own_latest_stays(tmp_path: Path, kind: str) -> None:
    """Only a pointer that rpd made is replaced."""
    mine = tmp_path / LATEST
    if kind == "folder":
        mine.mkdir()
    elif kind == "file":
        mine.write_text("my notes")
    else:
        mine.symlink_to(tmp_path)

    def facts() -> tuple[int, ...]:
        status = mine.lstat()  # without its access time: to see where a link leads is to access it
        return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    before = facts()
    RunFiles.create(tmp_path)
    assert facts() == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277, 0o777])
def test_run_folders_are_for_their_owner_alone(umask: int, tmp_path: Path) -> None:
    """Whatever the umask: no one else may enter, and their owner can."""
    (tmp_path / "runs").mkdir()
    before = os.umask(umask)
    try:
        files = RunFiles.create(tmp_path / "runs")
        node = files.node(SimpleNamespace(id="deploy_x.py::fit")).folder  # type: ignore[arg-type]
        make_keypair(files.keys)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (files.folder, node, files.keys)] == [0o700] * 3
    assert stat.S_IMODE(files.private_key.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    """A runs folder that is a file, say, ends in one clear error."""
    (tmp_path / "rpd-runs").write_text("")
    with pytest.raises(UsageError, match=r"cannot create the run folder .*rpd-runs"):
        RunFiles.create(tmp_path / "rpd-runs")


def test_keys_are_forgotten(tmp_path: Path) -> None:
    """The key's folder goes, and going twice does no harm."""
    files = RunFiles.create(tmp_path)
    files.keys.mkdir()
    files.private_key.write_text("k")
    files.forget_keys()
    files.forget_keys()
    assert not files.keys.exists()

"""Files of a project that are not sent, and links that break once they are sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.project.unsent_files import LeftOut
from rpd.project.upload_size import Scales


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in (
        "data/raw/a.csv",
        "src/train.py",
        "src/__pycache__/train.pyc",
        "model.ckpt",
        ".env",
        ".git/HEAD",
        "kept/b",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    (root / ".gitignore").write_text("data/\n*.ckpt\n.env\n*.pyc\n")
    for name, target in {
        "absolute": "/mnt/data", "outside": "../elsewhere", "ignored": "data/raw", "ring": "ring", "gone": "nowhere",
        "fine": "src/train.py", "src/up": "../kept", "over": "src/up/b", "here": ".",
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    return root


def left_out_of(root: Path) -> LeftOut:
    left_out = Scales().weigh(root).left_out
    assert left_out is not None
    return left_out


def test_ignored_names_and_dangling_links(project: Path) -> None:
    """An ignored folder stands for its contents.

    A link dangles if it leads out of the sent tree, however it is written.
    """
    left_out = left_out_of(project)
    assert left_out.ignored == (".env", "data/", "model.ckpt")
    assert left_out.missed == ("data/", "model.ckpt")
    assert dict(left_out.dangling) == {
        "absolute": "/mnt/data", "outside": "../elsewhere", "ignored": "data/raw", "ring": "ring", "gone": "nowhere",
    }  # fmt: skip


def test_one_sentence(project: Path) -> None:
    """A few names and how many more, caches and hidden files not among them; all of them where they are asked for."""
    left_out = left_out_of(project)
    assert left_out.sentence() == (
        "not sent, because git or .rpdignore ignores it: data/, model.ckpt; links that lead nowhere on the pod: "
        "absolute -> /mnt/data, gone -> nowhere, ignored -> data/raw, outside -> ../elsewhere, 1 more"
    )
    assert ".env" in left_out.sentence(every=True)
    assert "ring -> ring" in left_out.sentence(every=True)
    assert LeftOut(ignored=(".cache/", "a/node_modules/")).sentence() == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat: data/a.csv: No such file or directory", "data/ was not sent"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/workspace/p/model.ckpt'",
            "model.ckpt was not sent",
        ),
        (
            "sh: 1: cannot open ignored: No such file",
            "ignored -> data/raw is a link to something that was not sent",
        ),
        ("bash: metadata: No such file or directory", "a file was missing; not sent"),
        ("ValueError: data/ is no good", ""),
    ],
)
def test_a_missing_file_is_explained(project: Path, line: str, message: str) -> None:
    """By the name that was left out, where the message has it; else by all of them."""
    explained = left_out_of(project).explains(["epoch 1", line])
    assert explained.startswith(message)
    assert bool(explained) is bool(message)


def test_what_was_sent_by_its_name_is_not_missed(project: Path) -> None:
    """``pod.put("data", …)`` sends ignored files; they are not reported as missing any more."""
    left_out = left_out_of(project).besides(project, {project / "data"})
    assert left_out.ignored == (".env", "model.ckpt")

"""Trees to send and fetch, and checks of their contents."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ODD_NAMES = [
    "-dash",
    "a b",
    "new\nline",
    "quo'te\"",
    "back\\slash",
    "ünï",
    "*",
    "[x]",
    "$HOME",
    "~",
    "#hash",
    " lead",
    "tail ",
]


def picture(root: Path) -> dict[str, object]:
    """Return all that is below ``root``: kind, mode, content or target by name."""
    by_name: dict[str, object] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            if path.is_symlink():
                value: object = ("link", str(path.readlink()))
            elif path.is_dir():
                value = ("folder", status.st_mode & 0o777)
            else:
                value = ("file", status.st_mode & 0o777, path.read_bytes())
            by_name[str(path.relative_to(root))] = value
    return by_name


def names(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()
    )


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check_sums(local: Path) -> None:
    """Let sha256sum itself check the list of a pull."""
    subprocess.run(
        ["sha256sum", "--quiet", "-c", f"../{local.name}.sha256"], cwd=local, check=True, capture_output=True
    )


class Once:
    """A progress hook that does something at the first bytes, once."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action

    def __call__(self, *_: int) -> None:
        if self._action is not None:
            action, self._action = self._action, None
            action()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with all that a folder can hold."""
    root = tmp_path / "tree"
    (root / "empty").mkdir(parents=True)
    (root / "sub").mkdir()
    (root / "sub/big").write_bytes(os.urandom(3_000_001))
    (root / "sub/run.sh").write_text("#!/bin/sh\n")
    (root / "sub/run.sh").chmod(0o755)
    (root / "private").write_text("x")
    (root / "private").chmod(0o600)
    (root / "link").symlink_to("sub/run.sh")
    for name in ODD_NAMES:
        (root / name).write_text(name)
    (root / ("long" * 50)).write_text("a name that needs tar's extension")
    return root


@pytest.fixture(params=["usual", "busybox"])
def machine_kind(request: pytest.FixtureRequest) -> str:
    """The programs of the machine."""
    if request.param == "busybox":
        request.getfixturevalue("busybox")
    return str(request.param)

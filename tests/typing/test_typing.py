"""A type checker's view of deploy files: no complaint about a right one, and every mistake in a wrong one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def checked(name: str) -> set[tuple[int, str]]:
    """Return the line and code of each error mypy finds in that file of this folder."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--no-error-summary", str(HERE / name)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    matches = re.finditer(rf"{re.escape(name)}:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    errors = {(int(match[1]), match[2]) for match in matches}
    assert errors or not done.stdout, done.stdout
    return errors


def test_what_users_write_is_typed() -> None:
    assert checked("right.py") == set()


def test_every_mistake_is_found() -> None:
    expected = {
        (number, match[1])
        for number, line in enumerate((HERE / "wrong.py").read_text(encoding="utf-8").splitlines(), 1)
        if (match := re.search(r"# E: ([\w-]+)$", line))
    }
    assert expected
    assert checked("wrong.py") == expected

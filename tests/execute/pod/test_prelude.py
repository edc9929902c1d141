"""The prelude of commands: files are sourced and exported, a missing one fails or not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rpd.execute.pod.prelude import Prelude, prelude_of


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_files_are_sourced_in_order(shell: str, tmp_path: Path) -> None:
    first, second = tmp_path / "it's first.env", tmp_path / "second.env"
    first.write_text('A=1\nB="a b"\n')
    second.write_text("A=2\nfalse\n")
    wide, own = Prelude(env={"X": "1", "Y": "1"}, files={str(first): True}), Prelude(env={"Y": "2"})
    own.files |= {str(second): True, str(tmp_path / "none"): False}
    prelude = prelude_of(wide, {"pod": own}, "pod")
    assert prelude.env == {"X": "1", "Y": "2"}
    assert prelude_of(wide, {"pod": own}, "another") is wide
    done = subprocess.run(
        [shell, "-c", f"{prelude.lines}env | grep ^[AB]= | sort"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "A=2\nB=a b\n"


def test_a_missing_file_fails_the_command(tmp_path: Path) -> None:
    lines = Prelude(files={str(tmp_path / "none"): True}).lines
    done = subprocess.run(["sh", "-c", f"{lines}echo never"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr == f"rpd: cannot source {tmp_path}/none: no such file\n"

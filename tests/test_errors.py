"""Errors in one line."""

from __future__ import annotations

import pytest

from rpd.errors import CommandFailed, CommandTimeout, OutOfMemory
from rpd.values.step import in_short


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CommandFailed("python train.py", 1), "command exited 1: python train.py"),
        (CommandFailed("python train.py", 1, name="train"), "command exited 1: train"),
        (CommandFailed("train", 137), "command exited 137 (killed, perhaps out of memory): train"),
        (OutOfMemory("train", 137), "command exited 137 (killed): train"),
        (OutOfMemory("train", 1), "command exited 1: train"),
        (CommandFailed("train", 139), "command exited 139 (segmentation fault): train"),
        (
            CommandTimeout("python train.py", 60, name="train"),
            "command exceeded its timeout of 60 s: train",
        ),
    ],
)
def test_a_failed_command_is_told_by_its_name_and_what_ended_it(error: Exception, message: str) -> None:
    """The name of the step stands for its command; an exit code that means a signal is put in words."""
    assert str(error) == message


@pytest.mark.parametrize(
    ("command", "short"),
    [
        ("python train.py", "python train.py"),
        ("\n  set -e\n  python train.py\n", "set -e …"),
        (f"python train.py --name {'x' * 200}", f"python train.py --name {'x' * 48}…"),
    ],
)
def test_a_command_without_a_name_is_told_in_short(command: str, short: str) -> None:
    """A message holds no whole script: of a long command the beginning names it."""
    assert in_short(command) == short

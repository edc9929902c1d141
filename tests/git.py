"""git in a test: with an author, and without the settings of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_ENVIRONMENT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
_AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def git(folder: Path, *words: str) -> str:
    """Return the output of a git command in ``folder``; where git is missing, the test is skipped."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed here")
    command = ["git", *_AUTHOR, "-C", str(folder), *words]
    env = {**os.environ, **_ENVIRONMENT}
    done = subprocess.run(command, check=True, capture_output=True, env=env)
    return done.stdout.decode("utf-8", "surrogateescape")  # names may be any bytes

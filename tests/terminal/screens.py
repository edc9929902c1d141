"""Shared helpers for tests of the screen: environments, and screens as a person reads them."""

import re
from pathlib import Path

import rpd

PLAIN = {"COLUMNS": "80"}
TTY = {"COLUMNS": "80", "TERM": "xterm-256color"}
FOLDER = Path("/project/rpd-runs/r1")


def shown(text: str) -> str:
    """A screen without the parts that differ from machine to machine."""
    return re.sub(r"Python \d+\.\d+\.\d+", "Python 3.x.y", text.replace(rpd.__version__, "x.y.z"))


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)

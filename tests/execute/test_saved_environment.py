"""What a job does to its process is undone or evaded while rpd needs it."""

from __future__ import annotations

import importlib
import sys

import pytest

from rpd.execute.saved_environment import Surroundings

LATE = "colorsys"
"""A module of the standard library that nothing here has loaded."""


def test_libraries_are_found_during_a_run_though_a_job_emptied_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are found until the last run is over; a module that exists nowhere is still an ImportError."""
    monkeypatch.delitem(sys.modules, LATE, raising=False)
    one, other = Surroundings(), Surroundings()
    monkeypatch.setattr(sys, "path", [])
    one.close()
    importlib.import_module(LATE)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("rpd_has_no_such_module")
    other.close()
    monkeypatch.delitem(sys.modules, LATE)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(LATE)

"""Fixtures for whole runs on clusters: those of other whole runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rpd.emulator.launch import Launched
from tests.runs.conftest import project, rpd

__all__ = ["project", "rpd"]


@pytest.fixture
def emulator(clean_emulator: Launched) -> Iterator[Launched]:
    """The emulator that all tests share; what its clusters may do is as before afterwards."""
    yield clean_emulator
    clean_emulator.set_limits()

"""Whole runs on clusters use what other whole runs use."""

from __future__ import annotations

from tests.runs.conftest import project, rpd

__all__ = ["project", "rpd"]

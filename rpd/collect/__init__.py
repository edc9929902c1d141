"""Files to nodes: finds deploy files, imports them, and works out every node without calling a job or fixture."""

from __future__ import annotations

from rpd.collect.collector import Collection, collect
from rpd.collect.conftests import load_conftests
from rpd.collect.marks import registered_marks

__all__ = ["Collection", "collect", "load_conftests", "registered_marks"]

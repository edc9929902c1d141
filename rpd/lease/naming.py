"""Names of pods, by which rpd recognizes its own; unique for each create."""

from __future__ import annotations

import os
from functools import lru_cache

from rpd.values.late_pattern import late_pattern
from rpd.values.pod import NAME_PREFIX

_OTHERS = late_pattern(r"[^a-z0-9]+")

LONGEST = 60
"""Names of up to 60 characters are known to work on RunPod."""


def pod_name(run_id: str, node_id: str) -> str:
    """Return ``rpd-<run>-<node>-<random>``, at most 60 characters of ``[a-z0-9-]``."""
    run = _short(run_id)
    job = _OTHERS.sub("-", node_id.rpartition("::")[2].lower()).strip("-")
    unique = os.urandom(3).hex()
    room = LONGEST - len(NAME_PREFIX) - len(run) - len(unique) - 2
    return f"{NAME_PREFIX}{run}-{job[:room].strip('-')}-{unique}"


def registry_name(run_id: str, unique: str) -> str:
    """Return the name of registry credentials that a run stores: ``rpd-<run>-registry-<random>``."""
    return f"{NAME_PREFIX}{_short(run_id)}-registry-{unique}"


def is_named_by(run_id: str, name: str) -> bool:
    """Return whether a pod called ``name`` was requested by that run, judged by the name alone."""
    return name.startswith(f"{NAME_PREFIX}{_short(run_id)}-")


@lru_cache(maxsize=16)
def _short(run_id: str) -> str:
    return _OTHERS.sub("", run_id.lower())[-22:]

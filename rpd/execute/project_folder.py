"""The project folder: which folder ``staged_dir`` sends, and the checks it must pass before a pod is rented."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from rpd.errors import UsageError
from rpd.project.upload_size import Scales, Weight
from rpd.values.node import Node
from rpd.values.size import format_size

PROJECT, STAGED = "project_dir", "staged_dir"


def stages_project(node: Node) -> bool:
    """Return whether a node uses the built-in ``staged_dir`` and so sends its ``project_dir``."""
    closure = node.definition.closure
    if STAGED in node.params or STAGED not in closure.names:
        return False
    used = closure.nearest(STAGED)
    return used is not None and used.is_built_in


def has_own_project(node: Node) -> bool:
    """Return whether ``project_dir`` may differ from the folder of the deploy file."""
    used = node.definition.closure.nearest(PROJECT)
    return PROJECT in node.params or used is None or not used.is_built_in


def checked_project(value: object) -> Path:
    """Return the folder that a ``project_dir`` names. Raise UsageError for the home folder and the like."""
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"project_dir: expected the path of a folder, got {value!r}")
    return _resolved(Path(value))


@lru_cache(maxsize=256)
def _resolved(folder: Path) -> Path:
    resolved = folder.resolve()
    if resolved == Path.home() or resolved.parent == resolved:
        raise UsageError(
            f"staged_dir would send all of {resolved}: put the deploy file into a separate folder"
        )
    if not resolved.is_dir():
        raise UsageError(f"project_dir: {resolved} is not a folder")
    return resolved


def check_weight(folder: Path, limit_mb: float, scales: Scales) -> Weight:
    """Return the size of an upload of a folder. Raise UsageError if it is above ``limit_mb``."""
    weight = scales.weigh(folder)
    if weight.bytes > limit_mb * 1_000_000:
        limit = format_size(int(limit_mb * 1_000_000))
        raise UsageError(
            f"staged_dir would send {weight} from {folder}, more than stage_limit_mb ({limit}). The largest: "
            f"{weight.heaviest}. List what the job does not need in {folder / '.rpdignore'}, or raise the limit: "
            f"--stage-limit-mb {-(-weight.bytes // 1_000_000)}"
        )
    return weight

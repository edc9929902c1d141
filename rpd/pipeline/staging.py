"""What a run is going to send to its pods, told and checked before any is paid for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from rpd.config import Config
from rpd.errors import UsageError
from rpd.project.weight import Scales, Weight
from rpd.values.node import Node
from rpd.values.size import format_size

TOLD_BYTES = 50_000_000
"""A folder above this is told of without being asked."""
_BUILT_IN = "rpd.execute.fixtures"


def check_staging(
    config: Config, nodes: Iterable[Node], scales: Scales, notice: Callable[[str], object]
) -> None:
    """Weigh each project folder that ``staged_dir`` will send. Raises UsageError for one above the limit."""
    for folder in dict.fromkeys(
        (config.rootdir / node.file).parent for node in nodes if _stages_project(node)
    ):
        if not _may_be_sent(folder):
            continue  # the fixture refuses it, and says why
        weight = scales.weigh(folder)
        if weight.bytes > config.stage_limit_mb * 1_000_000:
            raise UsageError(_too_much(config, folder, weight))
        if weight.bytes > TOLD_BYTES or config.verbose > 0:
            largest = f"; largest: {weight.heaviest}" if weight.bytes > TOLD_BYTES else ""
            notice(f"staging {weight} from {folder}{largest}")
        told = weight.left_out.told(every=config.verbose > 0) if weight.left_out else ""
        if told:
            notice(f"staging {folder}: {told}{'' if config.verbose > 0 else ' (-v names all)'}")


def _too_much(config: Config, folder: Path, weight: Weight) -> str:
    return (
        f"staged_dir would send {weight} from {folder}, more than stage_limit_mb "
        f"({format_size(config.stage_limit_mb * 1_000_000)}). The largest: {weight.heaviest}. Name what is not to be "
        f"sent in {folder / '.rpdignore'}, or raise the limit: --stage-limit-mb {-(-weight.bytes // 1_000_000)}"
    )


def _stages_project(node: Node) -> bool:
    """Whether the node uses ``staged_dir`` and ``project_dir`` as rpd made them."""
    closure = node.definition.closure
    if "project_dir" in node.params or "staged_dir" in node.params or "staged_dir" not in closure.names:
        return False
    used = (closure.nearest("staged_dir"), closure.nearest("project_dir"))
    return all(held is not None and held.function.__module__ == _BUILT_IN for held in used)


def _may_be_sent(folder: Path) -> bool:
    resolved = folder.resolve()
    return resolved != Path.home() and resolved.parent != resolved

"""Files to nodes: collecting and selecting, as every command does it."""

from __future__ import annotations

from dataclasses import dataclass

from rpd.collect import Collection, collect, registered_marks
from rpd.config import Config
from rpd.errors import CollectionError
from rpd.hooks import PluginManager
from rpd.select import select
from rpd.values.job import allow_gpu_ids, use_job_defaults
from rpd.values.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The nodes that are left after selection, what was deselected, and what could not be collected."""

    nodes: tuple[Node, ...]
    deselected: int
    errors: tuple[CollectionError, ...]
    collection: Collection


def gather(config: Config, manager: PluginManager) -> Gathered:
    """Collect and select the nodes of an invocation. Raises UsageError for wrong arguments and expressions."""
    allow_gpu_ids(config.extra_gpu_ids)
    use_job_defaults(config.job_defaults)
    manager.hook.rpd_configure(config=config)
    collection = collect(config, manager)
    nodes = list(collection.nodes)
    manager.hook.rpd_modify_nodes(config=config, nodes=nodes)
    chosen = select(
        nodes,
        keyword=config.keyword,
        markexpr=config.markexpr,
        deselect=config.deselect,
        known_marks=registered_marks(config.markers) if config.strict_markers else None,
    )
    gathered = Gathered(
        nodes=tuple(chosen.selected),
        deselected=len(chosen.deselected),
        errors=tuple(collection.errors),
        collection=collection,
    )
    manager.hook.rpd_collected(nodes=gathered.nodes, deselected=gathered.deselected, errors=gathered.errors)
    return gathered

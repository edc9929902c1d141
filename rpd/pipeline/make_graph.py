"""Makes the graph of nodes that need nodes, from the settings of an invocation."""

from __future__ import annotations

from collections.abc import Sequence

from rpd.collect.needs import Links
from rpd.config import Config
from rpd.events import Events
from rpd.graph.earlier_results import Past
from rpd.graph.graph import Graph
from rpd.pipeline.image_digests import is_emulated
from rpd.values.node import Node


def make_graph(config: Config, nodes: Sequence[Node], links: Links, events: Events) -> Graph:
    """Return the graph of an invocation.

    If only some nodes run again (``--lf``, ``--sw``), nodes they need that have passed are not repeated.
    """
    select = config.select
    looks_back = select.no_needs or bool(select.last_failed) or select.is_stepwise
    is_real = not (config.run.dry_run or is_emulated(config.api, local=config.run.local))
    past = Past(config.runs_path, real=is_real) if looks_back else None
    return Graph(nodes, links, config.rootdir, past=past, must_take=select.no_needs, notice=events.notice)

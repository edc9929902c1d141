"""Snapshots: the inputs that the result of every node depends on, collected by a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from rpd.config import Config
from rpd.hooks import PluginManager
from rpd.pipeline.caller import Caller
from rpd.pipeline.collect_and_select import Gathered
from rpd.pipeline.dry_run_backend import TRACING
from rpd.pipeline.run import run
from rpd.redaction import Redactor
from rpd.stop import Stop
from rpd.values.frozen import frozen, replace
from rpd.values.node import Node
from rpd.values.report import NodeReport, Outcome

Fingerprints = Mapping[str, Mapping[str, str]]
"""Id of a node -> part -> hash."""


@frozen
class Snapshot:
    """The nodes of a tree, except those that would be skipped, and the dependencies of each."""

    gathered: Gathered
    nodes: tuple[Node, ...]
    fingerprints: Fingerprints


class _Listener:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.fingerprints: dict[str, Mapping[str, str]] = {}

    def rpd_node_report(self, node: Node, report: NodeReport) -> None:
        """Keep the fingerprint of a node; a dry run in which the job fails has found out some of it."""
        if report.result.outcome is not Outcome.SKIPPED:
            self.nodes[node.id] = node
            self.fingerprints[node.id] = dict(report.source.fingerprint)


def take_snapshot(config: Config, manager: PluginManager) -> Snapshot:
    """Run dry and return the result; nothing is rented, called or written. Raise UsageError."""
    listener = _Listener()
    manager.register(listener, TRACING)
    dry = replace(config, run=replace(config.run, dry_run=True))
    caller = Caller(owns_process=True, stop=Stop(), while_executing=nullcontext)
    ended = run(dry, manager, Redactor(), None, caller)
    return Snapshot(
        gathered=ended.gathered, nodes=tuple(listener.nodes.values()), fingerprints=listener.fingerprints
    )

"""Checks whether the API that the configuration names (REST v2) supports everything jobs ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rpd.plan import uses_pod
from rpd.runpod.rest import lacks
from rpd.values.node import Node


def lacking(nodes: Iterable[Node]) -> Iterator[str]:
    """Yield a sentence for each thing that REST v2 cannot do for the pods of ``nodes``, with the first job."""
    jobs = {id(node.job): node for node in nodes if uses_pod(node)}.values()
    facts: set[str] = set()
    for node in jobs:
        why = lacks.impossible(node.job)
        by_graphql = f"{why}; such pods are rented over GraphQL as long as RunPod offers it" if why else ""
        for text in filter(None, (by_graphql, *lacks.left_out(node.job))):
            if text not in facts:
                facts.add(text)
                yield f"{node.definition.location}: {text}"

"""The output of ``rpd collect``: a tree, counts per file, or JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rpd.collect.collector import Collection
from rpd.collect.ids import plain_id
from rpd.errors import CollectionError
from rpd.values.job import Gpu
from rpd.values.node import Node

Price = Callable[[Node], float | None]
"""Returns the most that a node may cost in USD, None if unknown."""

AskedGpu = Callable[[Node], Gpu | None]
"""Returns the GPU that a node requests; None for a CPU pod."""

SCHEMA_VERSION = 1


def requested_gpu(node: Node) -> Gpu | None:
    """Return the GPU that the node requests: its parameter ``gpu``, else that of its job; None for a CPU pod."""
    gpu = node.parameters.get("gpu", node.job.gpu)
    return gpu if isinstance(gpu, Gpu) else node.job.gpu


def tree_lines(
    nodes: Sequence[Node], *, verbose: int = 0, price: Price | None = None, gpu: AskedGpu = requested_gpu
) -> list[str]:
    """Return the nodes as an indented tree of folders, files and jobs.

    With ``verbose`` each job shows its GPU, its worst-case cost (if ``price`` is given) and its docstring.
    """
    rows = list(_rows(nodes, lambda node: _columns(node, price, gpu) if verbose else "", verbose=verbose))
    width = max((len(label) for label, columns in rows if columns), default=0)
    return [f"{label:<{width}}  {columns}" if columns else label for label, columns in rows]


def count_lines(nodes: Sequence[Node]) -> list[str]:
    """Return ``file: number of nodes`` for each file, in order."""
    return [f"{file}: {count}" for file, count in Counter(node.file for node in nodes).items()]


def _rows(
    nodes: Sequence[Node], columns: Callable[[Node], str], *, verbose: int
) -> Iterator[tuple[str, str]]:
    """Yield (label, columns); a folder or file is repeated only after another one."""
    above: list[str] = []
    for node in nodes:
        parts = node.file.split("/")
        if parts != above:
            shared = _shared(parts, above)
            for depth, part in enumerate(parts[shared:], shared):
                kind = "File" if depth == len(parts) - 1 else "Dir"
                yield f"{'  ' * depth}<{kind} {part}>", ""
            above = parts
        indent = "  " * len(parts)
        yield f"{indent}<Job {node.name}>", columns(node)
        if verbose and node.definition.doc:
            yield from ((f"{indent}  {line}".rstrip(), "") for line in node.definition.doc.splitlines())


def _shared(parts: Sequence[str], above: Sequence[str]) -> int:
    """Return how many leading folders are the same."""
    count = 0
    while count < min(len(parts), len(above)) - 1 and parts[count] == above[count]:
        count += 1
    return count


def _columns(node: Node, price: Price | None, gpu: AskedGpu) -> str:
    requested = gpu(node)
    text = "CPU" if requested is None else str(requested)
    usd = None if price is None else price(node)
    return text if usd is None else f"{text}  <= ${usd:.2f}"


def collect_json(
    collection: Collection,
    price: Price | None = None,
    gpu: AskedGpu = requested_gpu,
    *,
    mask: Callable[[dict[str, Any]], Any] = lambda node: node,
) -> Iterator[str]:
    """Yield the collection as a JSON document, node by node, each through ``mask``; all prices are computed first."""
    prices = [None if price is None else price(node) for node in collection.nodes]
    yield f'{{\n  "schema_version": {SCHEMA_VERSION},\n  "nodes": '
    nodes = map(_node_json, collection.nodes, prices, map(gpu, collection.nodes))
    yield from _json_list(map(mask, nodes))
    yield ',\n  "errors": '
    yield from _json_list(map(_error_json, collection.errors))
    yield "\n}"


def _json_list(items: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a list in the format of ``json.dumps(…, indent=2)``, one level deep."""
    import json

    encode = json.JSONEncoder(indent=2).encode
    before = "["
    for item in items:
        yield f"{before}\n    "
        yield encode(item).replace("\n", "\n    ")
        before = ","
    yield "[]" if before == "[" else "\n  ]"


def _node_json(node: Node, price: float | None, gpu: Gpu | None) -> dict[str, Any]:
    definition = node.definition
    return {
        "id": node.id,
        "job": definition.name,
        "file": definition.file,
        "line": definition.line,
        "parameters": {name: plain_value(value) for name, value in node.parameters.items()},
        "marks": list(dict.fromkeys(mark.name for mark in node.marks)),
        "needs": list(node.needs),
        "fixtures": [name for name in definition.closure.names if name in definition.closure.definitions],
        "image": node.job.image,
        "gpu": None if gpu is None else str(gpu),
        "worst_case_usd": price,
    }


def _error_json(error: CollectionError) -> dict[str, Any]:
    return {"file": error.file, "line": error.line, "message": error.message}


def plain_value(value: Any) -> Any:
    """Return ``value`` in JSON types; other values become text: their name, else their ``repr``."""
    if isinstance(value, float):
        from math import isfinite  # a tree shows no values

        if not isfinite(value):
            return str(value)
    if value is None or type(value) in (bool, int, float, str):
        from rpd.values.printable import tellable  # a tree shows no values

        return tellable(value)
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain_value(item) for key, item in value.items()}
    return plain_id(value) or repr(value)

"""The fingerprint of a node: what its result depends on, part by part, each as a hash."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from rpd.values.node import Node
from rpd.values.told import tellable

Fingerprint = dict[str, str]
"""Part (``job``, ``fixtures``, ``parameters``, ``image``, ``pod``, ``tree``, ``lock``) to its hash."""


def fingerprint(node: Node, *, tree_sha256: str, lock_sha256: str, variables: object = None) -> Fingerprint:
    """Return the fingerprint of ``node`` with the staged tree and the lock file of its project as given."""
    closure = node.definition.closure
    fixtures = [held for name in closure.names for held in closure.definitions.get(name, ()) if held.baseid]
    gpu = node.params.get("gpu", node.job.gpu)
    return {
        "job": _hash([_source(node.definition.function)]),
        "fixtures": _hash(sorted(_source(held.function) for held in fixtures)),
        "parameters": _hash(
            [
                *sorted(f"{name}={tellable(value)!r}" for name, value in node.parameters.items()),
                repr(variables),
            ]
        ),
        "image": _hash([node.job.image]),
        "pod": _hash([repr(gpu), repr(sorted(node.job.env.items())), repr(node.job.docker_args)]),
        "tree": tree_sha256[:16],
        "lock": lock_sha256[:16],
    }


@lru_cache(maxsize=1024)
def _source(function: Callable[..., Any]) -> str:
    """Return the text of a function, without what merely surrounds it; its name where there is no text."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(function)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]

"""Secrets that would get into node ids, and with them into the names of folders, pods and reports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from rpd.collect.ids import escape
from rpd.errors import CollectionError, UsageError
from rpd.values.job import Registry
from rpd.values.node import Definition, Node

_API_KEY = "RUNPOD_API_KEY"
_LEAST_KEY = 16
"""Characters; RunPod's keys are longer, what people set for an emulator may be any word."""


def api_key() -> str:
    """Return the API key in the environment; empty without one, and for one that may be any word."""
    key = os.environ.get(_API_KEY, "")
    return key if len(key) >= _LEAST_KEY else ""


def split_exposed(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], tuple[CollectionError, ...]]:
    """Return the nodes whose ids hold no secret of any job (nor the API key), and an error for each job with others.

    The errors tell the parameters; neither the id nor the source, which may hold the secret as well. A secret that
    cannot be read now is passed over: a run says so.
    """
    values = _values(nodes)
    if not values:
        return tuple(nodes), ()
    kept: list[Node] = []
    exposed: dict[Definition, CollectionError] = {}
    for node in nodes:
        names = [name for name, forms in values.items() if _is_in(node.id, forms)]
        if not names:
            kept.append(node)
        elif node.definition not in exposed:
            exposed[node.definition] = _error(node, names, values)
    return tuple(kept), tuple(exposed.values())


def _values(nodes: Iterable[Node]) -> dict[str, tuple[str, ...]]:
    """Return each secret's name with the forms its value has in ids."""
    key = api_key()
    values: dict[str, tuple[str, ...]] = {_API_KEY: (key, escape(key))} if key else {}
    jobs = {id(job): job for job in map(attrgetter("job"), nodes)}.values()
    secrets = {secret for job in jobs for secret in job.secrets}
    secrets |= {job.registry.password for job in jobs if isinstance(job.registry, Registry)}
    if not secrets:
        return values
    # Not at the top: listing nodes that have no secrets must not pay for it.
    from rpd.pipeline.secrets import read_secret, texts_to_mask
    from rpd.redaction import SHORTEST

    for secret in secrets:
        try:
            value = read_secret(secret, "")
        except UsageError:
            continue
        text = next(texts_to_mask(value))
        if len(text) >= SHORTEST:
            values[secret.name] = (text, escape(text))
    return values


def _is_in(text: str, forms: Iterable[str]) -> bool:
    return any(form in text for form in forms)


def _error(node: Node, names: Sequence[str], values: Mapping[str, tuple[str, ...]]) -> CollectionError:
    guilty = [
        name
        for name, value in node.parameters.items()
        if isinstance(value, str) and any(_is_in(value, values[secret]) for secret in names)
    ]
    by = f" (by its parameter {', '.join(map(repr, guilty))})" if guilty else ""
    place = node.definition.location
    return CollectionError(
        f"{place}: in {node.definition.name}\n"
        f"E   the value of the secret {', '.join(names)} would be in a node id{by}, and so in the names of folders, "
        "pods and reports.\n"
        "E   Give that set its own id: rpd.param(…, id=…)",
        file=place.file,
        line=place.line,
    )

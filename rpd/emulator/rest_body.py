"""Request bodies of REST v2: the allowed fields of each, and the sentences about others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Check = Callable[[Any, str], Iterator[str]]
"""Yields a sentence for each thing that is wrong with a value at a place such as ``body.gpu.count``."""


class Problem(Exception):
    """An answer of ``application/problem+json``; ``errors`` lists single failures of validation."""

    def __init__(self, status: int, detail: str, errors: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors


def text(*, least: int = 0, pattern: str = "") -> Check:
    """Check a string."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{where}: expected string"
        elif len(value) < least:
            yield f"{where}: expected length >= {least}"
        elif pattern and not re.fullmatch(pattern, value):
            yield f"{where}: expected string to match pattern {pattern}"

    return check


def whole(least: int, most: int | None = None) -> Check:
    """Check an integer."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield f"{where}: expected integer"
        elif value < least:
            yield f"{where}: expected number >= {least}"
        elif most is not None and value > most:
            yield f"{where}: expected number <= {most}"

    return check


def flag(value: Any, where: str) -> Iterator[str]:
    """Check a boolean."""
    if not isinstance(value, bool):
        yield f"{where}: expected boolean"


def one_of(*names: str) -> Check:
    """Check an enum."""

    def check(value: Any, where: str) -> Iterator[str]:
        if value not in names:
            yield f"{where}: expected value to be one of {', '.join(names)}"

    return check


def rows(item: Check, most: int | None = None) -> Check:
    """Check an array."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{where}: expected array"
            return
        if most is not None and len(value) > most:
            yield f"{where}: expected array length <= {most}"
        for index, entry in enumerate(value):
            yield from item(entry, f"{where}[{index}]")

    return check


def texts_by_name(value: Any, where: str) -> Iterator[str]:
    """Check an object of strings."""
    if not isinstance(value, dict):
        yield f"{where}: expected object"
        return
    for name, entry in value.items():
        yield from text()(entry, f"{where}.{name}")


def nullable(item: Check) -> Check:
    """Check something that may be null."""
    return lambda value, where: iter(()) if value is None else item(value, where)


def table(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """Check an object that may hold these fields and no others."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where}: expected object"
            return
        for name in required:
            if name not in value:
                yield f"{where}: expected required property {name} to be present"
        for name, entry in value.items():
            if name in fields:
                yield from fields[name](entry, f"{where}.{name}")
            else:
                yield f"{where}.{name}: unexpected property"

    return check


_CONTAINER: Mapping[str, Check] = {
    "image": text(),
    "args": text(),
    "disk": whole(1),
    "env": texts_by_name,
    "ports": rows(text()),
    "registry": nullable(text()),
}
_MOUNTS = table(
    {
        "persistent": table({"size": whole(10), "path": text()}, required=("size", "path")),
        "network": rows(table({"volumeId": text(), "path": text()}, required=("volumeId", "path")), most=1),
    }
)
_CUDA = r"\d+\.\d+"

CREATE_POD = table(
    {
        **_CONTAINER,
        "name": text(least=1),
        "cloud": one_of("SECURE", "COMMUNITY"),
        "cpu": table({"id": text(least=1), "vcpuCount": whole(2)}, required=("id", "vcpuCount")),
        "gpu": table(
            {
                "id": text(),
                "count": whole(1),
                "allowedCudaVersions": rows(text(pattern=_CUDA)),
                "minCudaVersion": text(pattern=_CUDA),
            },
            required=("id",),
        ),
        "dataCenterIds": rows(text()),
        "globalNetworking": flag,
        "mounts": _MOUNTS,
        "startJupyter": flag,
        "startSsh": flag,
        "templateId": text(least=1),
    },
    required=("name",),
)
CREATE_CLUSTER = table(
    {
        **{name: check for name, check in _CONTAINER.items() if name != "registry"},
        "name": text(least=1),
        "type": one_of("APPLICATION", "TRAINING", "SLURM", "RAY"),
        "compute": table(
            {"gpuTypeId": text(least=1), "gpuCountPerPod": whole(1), "podCount": whole(2, 250)},
            required=("gpuTypeId", "gpuCountPerPod", "podCount"),
        ),
        "dataCenterIds": rows(text()),
        "mounts": _MOUNTS,
        "startJupyter": flag,
        "startSsh": flag,
    },
    required=("name", "type", "compute"),
)
UPDATE_CLUSTER = table({"name": text(least=1)}, required=("name",))
UPDATE_POD = table(
    {
        **_CONTAINER,
        "name": text(least=1),
        "locked": flag,
        "mounts": _MOUNTS,
        "globalNetworking": flag,
        "templateId": text(),
    }
)
POD_ACTION = table({"action": one_of("start", "stop", "restart", "terminate")}, required=("action",))
_VOLUME: Mapping[str, Check] = {"name": text(least=1), "size": whole(10, 4096)}
CREATE_VOLUME = table(
    {**_VOLUME, "dataCenter": text(least=1), "type": one_of("STANDARD", "HIGH_PERFORMANCE")},
    required=("name", "size", "dataCenter"),
)
UPDATE_VOLUME = table(_VOLUME)
CREATE_REGISTRY = table(
    {name: text(least=1) for name in ("name", "username", "password")},
    required=("name", "username", "password"),
)
SSH_KEYS = table(
    {"keys": rows(text(pattern=r"(ssh|ecdsa|sk)-[^\s]+ [^\s]+([ \t][^\n\r]*)?"))}, required=("keys",)
)


def read_body(data: bytes, check: Check) -> dict[str, Any]:
    """Return the JSON object in ``data``. Raise Problem: 400 for no JSON, 422 for findings of ``check``."""
    try:
        body = json.loads(data)
    except ValueError:
        raise Problem(400, "request body is not valid JSON") from None
    errors = tuple(check(body, "body"))
    if errors:
        raise Problem(422, "validation failed", errors)
    fields: dict[str, Any] = body
    return fields

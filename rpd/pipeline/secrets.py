"""Secrets: their values, read before anything is created."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from rpd.errors import UsageError
from rpd.reading import read_text
from rpd.values.job import Secret
from rpd.values.node import Node


def read_secrets(nodes: Iterable[Node]) -> Mapping[str, str]:
    """Return the values of all secrets that ``nodes`` name. Raises UsageError naming the first that is missing."""
    found: dict[str, str] = {}
    asked_by = {secret: node for node in nodes for secret in node.job.secrets}
    for secret, asking in asked_by.items():
        value = read_secret(secret, str(asking.definition.location))
        if found.setdefault(secret.name, value) != value:
            raise UsageError(f"secret {secret.name}: two jobs of this run take it from different places")
    return found


def read_secret(secret: Secret, asking: str) -> str:
    """Return the value of one secret; ``asking`` is the place that errors name. Raises UsageError."""
    if secret.file is not None:
        path = Path(secret.file).expanduser()
        try:
            return read_text(path).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"secret {secret.name} of {asking}: cannot read {path}: {error}") from None
    variable = secret.env or secret.name
    value = os.environ.get(variable)
    if not value:
        raise UsageError(f"secret {secret.name} of {asking}: the environment variable {variable} is not set")
    return value

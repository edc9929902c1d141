"""What must be right before anything is created: secrets, variables, the account."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rpd.collect.fixtures import ReadVariable
from rpd.config import Config
from rpd.errors import UsageError
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
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"secret {secret.name} of {asking}: cannot read {path}: {error}") from None
    variable = secret.env or secret.name
    value = os.environ.get(variable)
    if not value:
        raise UsageError(f"secret {secret.name} of {asking}: the environment variable {variable} is not set")
    return value


def read_variables(config: Config) -> Mapping[str, Any]:
    """Return the variables of the file, ``--vars-file`` and ``--var``, the later ones winning. Raises UsageError."""
    merged = {**config.variables, **_variables_file(config), **dict(config.var)}
    return MappingProxyType(merged)


def check_variables(nodes: Iterable[Node], variables: Mapping[str, Any]) -> None:
    """Raise UsageError that names every variable which some node needs and cannot have.

    Found out now, since a node may have rented a pod before it comes to its variables.
    """
    definitions = {node.definition for node in nodes if not node.marks or not node.mark("skip")}
    problems: dict[str, None] = {}
    for definition in definitions:
        for name in definition.closure.names:
            fixture = definition.closure.nearest(name)
            if fixture is None or not isinstance(fixture.function, ReadVariable):
                continue
            try:
                fixture.function(variables)
            except UsageError as error:
                problems[f"{error} (declared at {fixture.location})"] = None
    if problems:
        raise UsageError("\n".join(sorted(problems)))


def _variables_file(config: Config) -> dict[str, Any]:
    if config.vars_file is None:
        return {}
    path = config.invocation_dir / config.vars_file
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"--vars-file {config.vars_file}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--vars-file {config.vars_file}: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"--vars-file {config.vars_file}: expected a table of names and values")
    return values

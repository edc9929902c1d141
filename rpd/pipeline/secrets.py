"""Secrets: their values, read before anything is created."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rpd.errors import CollectionError, UsageError
from rpd.pipeline.secrets_in_ids import api_key
from rpd.redaction import Redactor
from rpd.user_text import read_text
from rpd.values.job import Secret, job
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


def known_secrets(nodes: Iterable[Node]) -> Mapping[str, str]:
    """Return the values of the secrets that can be read here: a dry run needs none of them, and masks them all."""
    return _readable({secret for node in nodes for secret in node.job.secrets})


def _readable(secrets: Iterable[Secret]) -> dict[str, str]:
    values: dict[str, str] = {}
    for secret in secrets:
        with suppress(UsageError):
            values[secret.name] = read_secret(secret, "")
    return values


def masked(errors: Sequence[CollectionError], nodes: Iterable[Node]) -> tuple[CollectionError, ...]:
    """Return the errors without secrets: a message may repeat what a deploy file read from the environment.

    Known are the API key and the secrets of ``nodes`` and of the project's default job.
    """
    if not errors:
        return ()
    asked = {*job().secrets, *(secret for node in nodes for secret in node.job.secrets)}
    redactor = Redactor((api_key(), *_readable(asked).values()))
    return tuple(_without_secrets(error, redactor) for error in errors)


def _without_secrets(error: CollectionError, redactor: Redactor) -> CollectionError:
    message = redactor.text(error.message)
    return error if message == error.message else CollectionError(message, file=error.file, line=error.line)


def secret_files(nodes: Iterable[Node]) -> tuple[Path, ...]:
    """Return the files that secrets of ``nodes`` come from."""
    named = {secret.file for node in nodes for secret in node.job.secrets if secret.file is not None}
    return tuple(Path(file).expanduser().absolute() for file in sorted(named))


def read_secret(secret: Secret, asking: str) -> str:
    """Return the value of one secret; ``asking`` is the place that errors name. Raises UsageError."""
    if secret.file is not None:
        path = Path(secret.file).expanduser()
        try:
            value = read_text(path).rstrip("\r\n")
        except OSError as error:
            raise UsageError(
                f"secret {secret.name} of {asking}: cannot read {path}: {error.strerror or error}"
            ) from None
        except UnicodeDecodeError:
            raise UsageError(
                f"secret {secret.name} of {asking}: {path} is not UTF-8 text: save it as UTF-8"
            ) from None
        if not value:
            raise UsageError(f"secret {secret.name} of {asking}: {path} is empty: write the value into it")
        return value
    variable = secret.env or secret.name
    value = os.environ.get(variable, "")
    if not value:
        state = "is empty" if variable in os.environ else "is not set"
        raise UsageError(f"secret {secret.name} of {asking}: the environment variable {variable} {state}")
    return value

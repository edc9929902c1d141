"""Secrets: their values, read before anything is created."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from rpd.errors import CollectionError, UsageError
from rpd.redaction import Redactor
from rpd.user_text import read_bytes, read_text
from rpd.values.job import Registry, Secret, job
from rpd.values.late_pattern import late_pattern
from rpd.values.node import Node

MOST_BYTES = 1 << 20
"""A file that becomes one on the pod is read whole, and written there by one program."""

Value: TypeAlias = str | bytes
"""Of a secret that becomes a variable: its text. Of one that becomes a file: its bytes."""


def read_secrets(nodes: Iterable[Node]) -> Mapping[str, Value]:
    """Return the values of all secrets that ``nodes`` name. Raise UsageError naming the first that is missing."""
    values: dict[str, Value] = {}
    asked_by = {secret: node for node in nodes for secret in named_by(node)}
    for secret, asking in asked_by.items():
        value = read_secret(secret, str(asking.definition.location))
        first = values.setdefault(secret.name, value)
        if type(first) is not type(value):
            raise UsageError(
                f"secret {secret.name}: it is both a variable and a file (to=…): give the file another name, such as "
                f'Secret("{secret.name}_FILE", env="{secret.env or secret.name}", to="{secret.to or "/…"}")'
            )
        if first != value:
            raise UsageError(f"secret {secret.name}: two jobs of this run take it from different places")
    return values


def named_by(node: Node) -> tuple[Secret, ...]:
    """Return the secrets of a job, the password of its image's registry among them."""
    registry = node.job.registry
    return (*node.job.secrets, *([registry.password] if isinstance(registry, Registry) else []))


def only_texts(values: Mapping[str, Value]) -> dict[str, str]:
    """Return those of the values that are text, as a password is."""
    return {name: value for name, value in values.items() if isinstance(value, str)}


def known_secrets(nodes: Iterable[Node]) -> Mapping[str, Value]:
    """Return the values of the secrets that can be read here: a dry run needs none of them, and masks them all."""
    return _readable({secret for node in nodes for secret in named_by(node)})


def _readable(secrets: Iterable[Secret]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for secret in secrets:
        with suppress(UsageError):
            values[secret.name] = read_secret(secret, "")
    return values


def masked(errors: Sequence[CollectionError], nodes: Iterable[Node], key: str) -> tuple[CollectionError, ...]:
    """Return the errors without secrets: a message may repeat values that a deploy file read from the environment.

    Masked are the API key ``key`` and the secrets of ``nodes`` and of the project's default job.
    """
    if not errors:
        return ()
    redactor = redactor_for(nodes, key)
    return tuple(_without_secrets(error, redactor) for error in errors)


def redactor_for(nodes: Iterable[Node], key: str) -> Redactor:
    """Return what masks the API key ``key`` and the secrets of ``nodes`` and of the project's default job."""
    secrets = {*job().secrets, *(secret for node in nodes for secret in named_by(node))}
    texts = (text for value in _readable(secrets).values() for text in texts_to_mask(value))
    return Redactor((key, *texts))


def _without_secrets(error: CollectionError, redactor: Redactor) -> CollectionError:
    message = redactor.text(error.message)
    return error if message == error.message else CollectionError(message, file=error.file, line=error.line)


def secret_files(nodes: Iterable[Node]) -> tuple[Path, ...]:
    """Return the files that secrets of ``nodes`` come from."""
    named = {secret.file for node in nodes for secret in named_by(node) if secret.file is not None}
    return tuple(Path(file).expanduser().absolute() for file in sorted(named))


def texts_to_mask(value: Value) -> Iterator[str]:
    """Yield the texts that would reveal a secret: itself, and the secret values in a JSON document."""
    if isinstance(value, bytes):
        try:
            text = value.decode("utf-8-sig").strip("\r\n")
        except UnicodeDecodeError:
            yield base64.b64encode(value).decode()  # the only text in which bytes usually leak
            return
    else:
        text = value
    yield text
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            yield from _secret_leaves(json.loads(text))


_SECRET_KEY = late_pattern("key|token|secret|passw|credential|auth", re.IGNORECASE)
_SHORTEST_LEAF = 8


def _secret_leaves(value: object, key: str = "") -> Iterator[str]:
    """Yield the texts in a JSON value whose keys say that they are secret."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _secret_leaves(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _secret_leaves(item, key)
    elif (
        isinstance(value, str)
        and len(value) >= _SHORTEST_LEAF
        and _SECRET_KEY.search(key)
        and "://" not in value
    ):
        yield value


def read_secret(secret: Secret, asking: str) -> Value:
    """Return the value of one secret; ``asking`` is the place that errors name. Raise UsageError."""
    if secret.file is not None:
        path = Path(secret.file).expanduser()
        try:
            value = (
                read_bytes(path, MOST_BYTES + 1) if secret.to is not None else read_text(path).rstrip("\r\n")
            )
        except OSError as error:
            raise UsageError(
                f"secret {secret.name} of {asking}: cannot read {path}: {error.strerror or error}"
            ) from None
        except UnicodeDecodeError:
            raise UsageError(
                f"secret {secret.name} of {asking}: {path} is not UTF-8 text: save it as UTF-8, or make it a file on "
                "the pod (to=…)"
            ) from None
        if not value:
            raise UsageError(f"secret {secret.name} of {asking}: {path} is empty: write the value into it")
        if len(value) > MOST_BYTES:
            raise UsageError(
                f"secret {secret.name} of {asking}: {path} is larger than 1 MiB: send it with pod.put"
            )
        return value
    variable = secret.env or secret.name
    text = os.environ.get(variable, "")
    if not text:
        state = "is empty" if variable in os.environ else "is not set"
        raise UsageError(f"secret {secret.name} of {asking}: the environment variable {variable} {state}")
    return text if secret.to is None else text.encode("utf-8", "surrogateescape")

"""JSON for other programs: one document a command, which says the version of its keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from rpd.cli.output import say

SCHEMA_VERSION = 1
"""Of every document. Within a version keys are only added: docs/stability.md."""


def say_document(content: Mapping[str, Any]) -> None:
    """Print a document."""
    say(dumps(content, indent=2))


def say_line(content: Mapping[str, Any]) -> None:
    """Print a document that is one line of many."""
    say(dumps(content))


def dumps(content: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return a document as text. JSON has no NaN and no infinity: they become null."""
    document = {"schema_version": SCHEMA_VERSION, **content}
    try:
        return json.dumps(document, indent=indent, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(document), indent=indent, default=str)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value

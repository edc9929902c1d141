"""Calls in the source of a function."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection
from typing import Any

from rpd.user_text import parse_python


def first_call(function: Callable[..., Any], names: Collection[str]) -> tuple[str, int] | None:
    """Return the first of ``names`` that ``function`` calls, and its line number; None if it calls none."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = parse_python(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):  # no source, or only a part of a line
        return None
    calls = (
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    sites = sorted((node.lineno, node.func.id) for node in calls if node.func.id in names)  # type: ignore[attr-defined]
    return (sites[0][1], first + sites[0][0] - 1) if sites else None

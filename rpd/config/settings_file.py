"""The configuration file: its place and its content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rpd.errors import UsageError


def find_root(start: Path) -> tuple[Path, Path | None]:
    """Return the root folder and its configuration file: the nearest ``rpd.toml`` or ``[tool.rpd]`` upwards."""
    for folder in (start, *start.parents):
        own = folder / "rpd.toml"
        if own.is_file():
            return folder, own
        project = folder / "pyproject.toml"
        if project.is_file() and "rpd" in _tools(_read_toml(project)):
            return folder, project
    return start, None


def read_file(path: Path | None) -> dict[str, Any]:
    """Return the settings in a configuration file by key. Raise UsageError for unknown keys and wrong types."""
    if path is None:
        return {}
    table = _read_toml(path)
    if path.name == "pyproject.toml":
        table = _tools(table).get("rpd", {})
    where = path.name if path.name == "rpd.toml" else f"{path.name} [tool.rpd]"
    if not isinstance(table, dict):
        raise UsageError(f"{where}: expected a table, got {table!r}")
    return {key: _checked(key, value, where) for key, value in table.items()}


def override_value(key: str, text: str) -> Any:
    """Return the value of ``-o key=text``: TOML where it parses, else the text itself. Raise UsageError."""
    from rpd.user_text import parse_toml

    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text
    return _checked(key, value, "-o")


def _checked(key: str, value: Any, where: str) -> Any:
    from rpd.config.checked import check_value  # many projects set nothing

    return check_value(key, value, where)


def _read_toml(path: Path) -> dict[str, Any]:
    from rpd.user_text import parse_toml, read_text  # a project without a file must not pay for it

    try:
        return parse_toml(read_text(path))
    except ValueError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _tools(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tables of tools in a ``pyproject.toml``; empty if ``tool`` is no table."""
    tools = table.get("tool")
    return tools if isinstance(tools, dict) else {}

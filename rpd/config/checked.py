"""Values of the keys of a configuration file, checked against the types of their settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rpd.config import texts
from rpd.config.config import settings
from rpd.config.setting import Setting
from rpd.errors import UsageError
from rpd.values.suggestions import closest

_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((float, int), "a number"),
    "Mapping": ((dict,), "a table"),
}
"""Kind of a setting -> the types its value may have, and what to call them; all others are strings."""


def keys() -> dict[str, Setting]:
    """Return key in the configuration file -> its setting."""
    return {setting.key: setting for setting in settings().values() if setting.key}


def check_value(key: str, value: Any, where: str) -> Any:
    """Return ``value`` as the type the setting of ``key`` has. Raise UsageError."""
    settings = keys()
    _check_key(key, settings, where)
    setting = settings[key]
    if setting.parse is not None and isinstance(value, str | int | float) and not isinstance(value, bool):
        return parse_text(setting, str(value), f"{where}: {key}")
    kind = setting.kind.partition("[")[0]
    if kind == "tuple":
        text_of_several = key == "addopts" and isinstance(value, str)
        return _strings(_split(value, where) if text_of_several else value, f"{where}: {key}")
    types, name = _KINDS.get(kind, ((str,), "a string"))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise UsageError(f"{where}: {key}: expected {name}, got {value!r}")
    if key == "ssh" and isinstance(value, dict):
        value = _durations(value, setting.default, f"{where}: {key}")
    return MappingProxyType(value) if isinstance(value, dict) else value


def parse_text(setting: Setting, text: str, where: str) -> Any:
    """Return the value of ``text`` for that setting. Raise UsageError that names ``where``."""
    if setting.parse is None:
        return text
    try:
        return setting.parse(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}, got {text!r}") from error


def _check_key(key: str, known: Iterable[str], where: str) -> None:
    if key not in known:
        close = closest(key, known)
        meant = f"Did you mean {close!r}?" if close else f"The keys are {', '.join(sorted(known))}."
        raise UsageError(f"{where}: unknown key {key!r}. {meant}")


def _strings(value: Any, where: str) -> tuple[str, ...]:
    """Return a list of strings as a tuple; one string is a list of one."""
    items = [value] if isinstance(value, str) else value
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return tuple(items)
    raise UsageError(f"{where}: expected a list of strings, got {value!r}")


def _split(text: str, where: str) -> list[str]:
    """Return the arguments in one text, as a shell would see them. Raise UsageError."""
    import shlex  # few write ``addopts`` as one text

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{where}: addopts: {error}, got {text!r}") from None


def _durations(given: Mapping[str, Any], known: Mapping[str, float], where: str) -> dict[str, float]:
    """Return the durations of a table in seconds, those that are not given from ``known``."""
    parsed = {}
    for name, value in given.items():
        _check_key(name, known, where)
        try:
            parsed[name] = texts.duration(value)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{where}.{name}: {error}, got {value!r}") from error
    return {**known, **parsed}

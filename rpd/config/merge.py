"""Putting a Config together: flag > environment > file > default, and where each value came from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rpd.config.config import Config, NoOptions, config_of, settings
from rpd.config.setting import Setting
from rpd.config.settings_file import override_value


def make_config(
    *,
    command: str,
    rootdir: Path,
    invocation_dir: Path,
    config_file: Path | None,
    file_values: Mapping[str, Any],
    flags: Mapping[str, Any],
    args: Sequence[str],
    argv: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    plugin_options: Iterable[tuple[str, Any]] = (),
    own: type = NoOptions,
) -> Config:
    """Merge file, environment and flags (``flags``: field name -> value, only those given) into a Config.

    ``own`` declares the options that only the command has.
    """
    environment = os.environ if environ is None else environ
    overrides = {key: override_value(key, text) for key, text in flags.get("overrides", ())}
    by_key = {**file_values, **overrides}
    file_name = "" if config_file is None else config_file.name
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, setting in settings(own).items():
        if setting.key in by_key:
            values[name] = by_key[setting.key]
            sources[name] = "flag -o" if setting.key in overrides or not file_name else file_name
        if setting.env and environment.get(setting.env):
            text = environment[setting.env]
            several = setting.kind.startswith("tuple")
            values[name] = tuple(text.split(",")) if several else _parsed(setting, text)
            sources[name] = f"environment {setting.env}"
        if name in flags:
            flag_value = flags[name]
            values[name] = (*values.get(name, ()), *flag_value) if setting.appends else flag_value
            sources[name] = f"flag {setting.flags[0]}"
    return config_of(
        command=command,
        rootdir=rootdir,
        invocation_dir=invocation_dir,
        config_file=config_file,
        args=tuple(args),
        argv=tuple(argv),
        sources=MappingProxyType(sources),
        plugin_options=MappingProxyType(dict(plugin_options)),
        own=own,
        **values,
    )


def _parsed(setting: Setting, text: str) -> Any:
    """Return the value of the text that the environment has for a setting. Raise UsageError."""
    from rpd.config.checked import parse_text  # few set something in the environment

    return parse_text(setting, text, setting.env or "")

"""Setting up: from the words of a command line to its Config and its plugins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rpd.cli import parser
from rpd.cli.parser import own_options
from rpd.config import LOADING, Config, settings
from rpd.config.files import find_root, read_file
from rpd.config.merge import make_config
from rpd.errors import CollectionError, UsageError
from rpd.hooks import PluginManager, load_entry_points, load_named_plugins, make_plugin_manager

BUILT_IN = {
    "collect": ("rpd.execute.fixtures",),
    "fixtures": ("rpd.execute.fixtures",),
    "estimate": ("rpd.execute.fixtures",),
    "doctor": ("rpd.execute.fixtures",),
    "markers": (),
    "run": (
        "rpd.execute.fixtures",
        "rpd.execute.node.runner",
        "rpd.runpod.plugin",
        "rpd.runpod.dry.provider",
    ),
}
"""rpd's own plugins; only a run loads what runs."""


def configure(command: str, argv: Sequence[str], cwd: Path) -> tuple[Config, PluginManager]:
    """Read files, environment and flags; return the Config and the plugins. Raises UsageError."""
    rootdir, config_file = find_root(cwd)
    file_values = read_file(config_file)
    added = list(file_values.get("addopts", ())) if command in LOADING else []
    early = parser.parse_plugins([*added, *argv])
    names = [
        *file_values.get("plugins", ()),
        *filter(None, os.environ.get("RPD_PLUGINS", "").split(",")),
        *early,
    ]
    manager = make_plugin_manager([name[3:] for name in names if name.startswith("no:")])
    broken: Sequence[CollectionError] = ()
    if command in LOADING:
        # Not at the top: `rpd ps` and the like collect nothing.
        from rpd.cli.conftest_scan import early_overrides, load_early_conftests
        from rpd.collect.imports import divert_output
        from rpd.pipeline.collect_and_select import prepare_jobs

        divert_output(manager, rootdir)
        _register_built_in(manager, command)
        _register_formats(manager, [*added, *argv, *file_values.get("deploy_files", ())])
        overrides = early_overrides([*added, *argv])
        known = {**file_values, **overrides}
        source = "flag -o" if "job" in overrides or config_file is None else config_file.name
        # Before any code of the user's runs: plugins and conftests may make jobs.
        prepare_jobs(known.get("extra_gpu_ids", ()), known.get("job", {}), source)
        load_entry_points(manager)
        load_named_plugins(manager, [name for name in names if not name.startswith("no:")])
        broken = load_early_conftests(
            manager,
            argv=argv,
            added=added,
            deploypaths=known.get("deploypaths", ()),
            conftest=known.get("conftest", settings()["conftest"].default),
            rootdir=rootdir,
            cwd=cwd,
            own=own_options(command),
        )
    try:
        flags, args, plugin_options = parser.parse(command, argv, added, manager)
    except UsageError as error:
        raise _explained(error, broken) from None
    config = make_config(
        command=command,
        rootdir=rootdir,
        invocation_dir=cwd,
        config_file=config_file,
        file_values=file_values,
        flags=flags,
        args=args,
        plugin_options=plugin_options,
        own=own_options(command),
    )
    parser.check_together(config)
    return config, manager


def _explained(error: UsageError, broken: Sequence[CollectionError]) -> UsageError:
    """Return ``error`` after what is wrong with conftests: an option that is unknown may have been one of theirs."""
    if not broken:
        return error
    told = "\n".join(f"{held.file}: cannot be loaded\n{held.message}" for held in broken)
    return UsageError(f"{error}\n{told}")


def _register_built_in(manager: PluginManager, command: str) -> None:
    for name in BUILT_IN[command]:
        if not manager.is_blocked(name):
            manager.register(import_module(name), name)


def _register_formats(manager: PluginManager, texts: Sequence[str]) -> None:
    """Register what reads other file formats, if one of the paths or patterns is such a file."""
    if any(text.partition("::")[0].endswith((".yaml", ".yml")) for text in texts):
        from rpd.compat.runpod_deploy.plugin import RunpodDeployFormat  # few name one

        if not manager.is_blocked("runpod-deploy"):
            manager.register(RunpodDeployFormat(manager), "runpod-deploy")

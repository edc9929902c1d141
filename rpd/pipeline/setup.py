"""Setting up: from the words of a command line to its Config and its plugins."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from rpd.config import LOADING, Config, settings
from rpd.config.merge import make_config
from rpd.config.settings_file import find_root, read_file
from rpd.errors import CollectionError, UsageError
from rpd.hooks import PluginManager, load_entry_points, load_named_plugins, make_plugin_manager, register
from rpd.pipeline.command_line import Command, Hint, asks_help, check_together, read_plain

_FIXTURES = ("rpd.execute.fixtures", "rpd.cluster")
BUILT_IN = {
    "collect": _FIXTURES,
    "fixtures": _FIXTURES,
    "estimate": _FIXTURES,
    "doctor": _FIXTURES,
    "plan": (*_FIXTURES, "rpd.execute.node.runner", "rpd.runpod.dry.provider"),
    "markers": (),
    "run": (
        *_FIXTURES,
        "rpd.execute.node.runner",
        "rpd.runpod.plugin",
        "rpd.runpod.dry.provider",
    ),
}
"""rpd's own plugins; only a run loads what runs."""


Formats = Callable[[PluginManager, Sequence[str]], None]


def configure(
    command: Command,
    argv: Sequence[str],
    cwd: Path,
    *,
    hint: Hint = lambda _flag: "",
    formats: Formats = lambda _manager, _texts: None,
    plugins: Sequence[object] = (),
    diverts_output: bool = False,
    use: ExitStack | None = None,
) -> tuple[Config, PluginManager]:
    """Read files, environment and flags; return the Config and the plugins. Raise UsageError.

    ``formats`` registers readers of other file formats, given the paths and patterns. ``plugins`` are objects
    with hooks, registered after rpd's own. ``hint`` guesses the meaning of an unknown flag.
    ``diverts_output``: output of user code during collection goes to stderr. ``use``: imported modules stay
    importable until it is closed, and no longer.
    """
    rootdir, config_file = find_root(cwd)
    file_values = read_file(config_file)
    added = list(file_values.get("addopts", ())) if command.name in LOADING else []
    early = _plugins_in([*added, *argv])
    names = [
        *file_values.get("plugins", ()),
        *filter(None, os.environ.get("RPD_PLUGINS", "").split(",")),
        *early,
    ]
    manager = make_plugin_manager([name[3:] for name in names if name.startswith("no:")])
    broken: Sequence[CollectionError] = ()
    if command.name in LOADING:
        # Imported here: `rpd ps` and the like collect nothing.
        from rpd.collect.imports import divert_output, importer_of
        from rpd.pipeline.collect_and_select import prepare_jobs
        from rpd.pipeline.conftest_scan import early_overrides, load_early_conftests

        if diverts_output:
            divert_output(manager, rootdir)
        if use is not None:
            use.enter_context(importer_of(manager, rootdir).in_use(then_forget=True))
        if not asks_help(argv):  # rpd's own plugins add no options
            _register_built_in(manager, command.name)
        formats(manager, [*added, *argv, *file_values.get("deploy_files", ())])
        overrides = early_overrides([*added, *argv])
        values = {**file_values, **overrides}
        source = "flag -o" if "job" in overrides or config_file is None else config_file.name
        # Before any code of the user's runs: plugins and conftests may make jobs.
        prepare_jobs(values.get("extra_gpu_ids", ()), values.get("job", {}), source)
        load_entry_points(manager)
        load_named_plugins(manager, [name for name in names if not name.startswith("no:")])
        for plugin in plugins:
            register(manager, plugin, _name_of(plugin))
        broken = load_early_conftests(
            manager,
            argv=argv,
            added=added,
            deploypaths=values.get("deploypaths", ()),
            conftest=values.get("conftest", settings()["conftest"].default),
            rootdir=rootdir,
            cwd=cwd,
            own=command.own_options,
        )
    try:
        flags, args, plugin_options = _parse(command, argv, added, manager, hint)
    except UsageError as error:
        raise _explained(error, broken) from None
    config = make_config(
        command=command.name,
        rootdir=rootdir,
        invocation_dir=cwd,
        config_file=config_file,
        file_values=file_values,
        flags=flags,
        args=args,
        argv=(command.name, *argv),
        plugin_options=plugin_options,
        own=command.own_options,
    )
    check_together(config.run, config.pods, command=config.command)
    return config, manager


def _plugins_in(argv: Sequence[str]) -> list[str]:
    """Return the plugins that a command line names with ``-p``. Raise UsageError."""
    if not any(text.startswith("-p") for text in argv):
        return []
    from rpd.pipeline.parser import parse_plugins

    return parse_plugins(argv)


def _parse(
    command: Command, argv: Sequence[str], added: Sequence[str], manager: PluginManager, hint: Hint
) -> tuple[dict[str, Any], list[str], list[tuple[str, Any]]]:
    """Return the flags given (field name -> value), the arguments, and the values of plugins' options.

    Raise UsageError.
    """
    plain = None if added else read_plain(command, argv, manager)
    if plain is not None:
        return *plain, []
    # Not at the top: argparse and its search for translations take longer than rpd does to list a small file.
    from rpd.pipeline.parser import parse

    return parse(command, argv, added, manager, hint)


def _name_of(plugin: object) -> str:
    """Return a name for an object that is a plugin: that of its class or module, and which one of these it is."""
    return f"{getattr(plugin, '__name__', type(plugin).__name__)}-{id(plugin):x}"


def _explained(error: UsageError, broken: Sequence[CollectionError]) -> UsageError:
    """Return ``error`` after the errors of conftests: an unknown option may have been one of theirs."""
    if not broken:
        return error
    text = "\n".join(f"{each.file}: cannot be loaded\n{each.message}" for each in broken)
    return UsageError(f"{error}\n{text}")


def _register_built_in(manager: PluginManager, command: str) -> None:
    for name in BUILT_IN[command]:
        if not manager.is_blocked(name):
            manager.register(import_module(name), name)

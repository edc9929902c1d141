"""The command line: argv -> Config -> one call; the only place where an error becomes an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import rpd
from rpd.cli import parser
from rpd.config import LOADING, Config, find_root, make_config, read_file
from rpd.errors import ExitCode, RpdError
from rpd.hooks import PluginManager, load_entry_points, load_named_plugins, make_plugin_manager

Command = Callable[[Config, PluginManager], int]

PLUGIN_COMMANDS = LOADING
"""Commands that load the plugins of the user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``rpd`` with ``argv`` (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _main(arguments)
    except RpdError as error:
        return _tell(error)
    except KeyboardInterrupt:
        print("rpd: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`rpd collect | head`); what is left to flush has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception:  # noqa: BLE001 - a defect of rpd: show all of it, with the code that says so
        return _tell_defect()


def _main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(parser.overview())
        return ExitCode.OK
    if argv[0] in ("-V", "--version"):
        print(f"rpd {rpd.__version__}")
        return ExitCode.OK
    if "--dry-run" in argv and argv[0].startswith("-"):
        argv = ["run", *argv]
    command = parser.command(argv[0])
    config, manager = configure(command.name, argv[1:], Path.cwd())
    if config.show_config:
        print("\n".join(parser.describe(config)))
        return ExitCode.OK
    act: Command = getattr(import_module(command.module), command.function)
    return act(config, manager)


def configure(command: str, argv: Sequence[str], cwd: Path) -> tuple[Config, PluginManager]:
    """Read files, environment and flags; return the Config and the plugins. Raises UsageError."""
    rootdir, config_file = find_root(cwd)
    file_values = read_file(config_file)
    added = list(file_values.get("addopts", ())) if command in PLUGIN_COMMANDS else []
    early = parser.parse_plugins([*added, *argv])
    names = [
        *file_values.get("plugins", ()),
        *filter(None, os.environ.get("RPD_PLUGINS", "").split(",")),
        *early,
    ]
    manager = make_plugin_manager([name[3:] for name in names if name.startswith("no:")])
    if command in PLUGIN_COMMANDS:
        _register_built_in(manager, command)
        load_entry_points(manager)
        load_named_plugins(manager, [name for name in names if not name.startswith("no:")])
    flags, args, plugin_options = parser.parse(command, argv, added, manager)
    config = make_config(
        command=command,
        rootdir=rootdir,
        invocation_dir=cwd,
        config_file=config_file,
        file_values=file_values,
        flags=flags,
        args=args,
        plugin_options=plugin_options,
    )
    parser.check_together(config)
    return config, manager


BUILT_IN = {
    "collect": ("rpd.execute.fixtures",),
    "fixtures": ("rpd.execute.fixtures",),
    "markers": (),
    "run": ("rpd.execute.fixtures", "rpd.execute.runner", "rpd.runpod.plugin", "rpd.runpod.offline"),
}
"""rpd's own plugins; only a run loads what runs."""


def _register_built_in(manager: PluginManager, command: str) -> None:
    for name in BUILT_IN[command]:
        if not manager.is_blocked(name):
            manager.register(import_module(name), name)


def _tell(error: RpdError) -> int:
    print(f"rpd: error: {error}", file=sys.stderr)
    return error.exit_code


def _tell_defect() -> int:
    import traceback

    traceback.print_exc()
    print("rpd: internal error: this is a defect of rpd, not of your deploy file", file=sys.stderr)
    return ExitCode.INTERNAL_ERROR

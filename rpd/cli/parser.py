"""The argument parser, made from the settings that Config declares."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import rpd
from rpd.config import Config, Setting, settings
from rpd.config.options import OptionGroup
from rpd.errors import UsageError
from rpd.hooks import PluginManager
from rpd.values.closest import closest
from rpd.values.frozen import frozen


@frozen
class Command:
    """One command: what it is for, its positional arguments, and the function that does it."""

    name: str
    help: str
    module: str
    function: str = "main"
    arguments: str = ""
    arguments_help: str = ""
    takes_command: bool = False
    """Whether what stands after ``--`` is a command line of its own."""


_NODES = "a folder, a deploy file, a node id (path::job[case]) or @FILE with such arguments, one a line"
_A_RUN = "a run by its id or how that begins (default: the newest)"
_A_NODE = "a node by its id, how that or its name begins, or a part of it"

COMMANDS = {
    command.name: command
    for command in (
        Command(
            name="collect",
            help="list what would run",
            module="rpd.cli.collect",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(
            name="run",
            help="run jobs on RunPod, on an emulator (--local) or dry (--dry-run)",
            module="rpd.cli.run",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(
            name="resume",
            help="carry on a run that was killed",
            module="rpd.cli.run",
            function="resume",
            arguments="RUN",
            arguments_help="the run's id or how it begins (default: the last unfinished one)",
        ),
        Command(name="runs", help="list past runs", module="rpd.cli.runs"),
        Command(
            name="show",
            help="tell of a past run, or of one of its nodes",
            module="rpd.cli.show",
            arguments="RUN|NODE",
            arguments_help=f"{_A_RUN}; then {_A_NODE}",
        ),
        Command(
            name="diff",
            help="tell what differs between two runs or two nodes",
            module="rpd.cli.diff",
            arguments="RUN[:NODE]",
            arguments_help="two runs, or two nodes of runs",
        ),
        Command(
            name="events",
            help="print what happened in a run, in order",
            module="rpd.cli.events",
            arguments="RUN|NODE",
            arguments_help=f"{_A_RUN}; then {_A_NODE}",
        ),
        Command(
            name="report",
            help="print the results of a past run again",
            module="rpd.cli.runs",
            function="report",
            arguments="RUN",
            arguments_help=_A_RUN,
        ),
        Command(
            name="verify",
            help="check the files that a run pulled against their sha256 sums",
            module="rpd.cli.runs",
            function="verify",
            arguments="RUN",
            arguments_help=_A_RUN,
        ),
        Command(
            name="logs",
            help="print the log of a node",
            module="rpd.cli.logs",
            arguments="NODE",
            arguments_help=_A_NODE,
        ),
        Command(
            name="ssh",
            help="open a shell, or run a command, on the pod of a node where its job stands",
            module="rpd.cli.ssh",
            arguments="NODE|POD",
            arguments_help=f"{_A_NODE}, or a pod by its id or name; after -- a command to run there",
            takes_command=True,
        ),
        Command(
            name="ps",
            help="list the pods of the account and what they cost",
            module="rpd.cli.pods",
            function="ps",
        ),
        Command(
            name="stop",
            help="delete pods",
            module="rpd.cli.pods",
            function="stop",
            arguments="NODE|POD",
            arguments_help="a pod by its id or name, or the node that has it",
        ),
        Command(
            name="gc",
            help="delete the pods that nobody needs any more",
            module="rpd.cli.pods",
            function="gc",
        ),
        Command(
            name="capture-env",
            help="write down python, packages and source of a project as TOML",
            module="rpd.cli.capture",
            arguments="FOLDER",
            arguments_help="the project (default: here)",
        ),
        Command(
            name="gpus",
            help="list GPU types, their prices and where they are in stock",
            module="rpd.cli.gpus",
            arguments="WORD",
            arguments_help="only types whose ids hold this word, or that are in stock in this data centre",
        ),
        Command(
            name="estimate",
            help="tell what nodes may cost",
            module="rpd.cli.estimate",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(
            name="doctor",
            help="check what can go wrong before money is spent",
            module="rpd.cli.doctor",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(
            name="fixtures",
            help="list the fixtures that jobs may ask for",
            module="rpd.cli.fixtures",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(name="markers", help="list the marks that jobs may have", module="rpd.cli.markers"),
        Command(
            name="init",
            help="write a first deploy file and a conftest",
            module="rpd.cli.init",
            arguments="FOLDER",
            arguments_help="where to (default: here)",
        ),
        Command(name="emulator", help="serve a RunPod on this machine", module="rpd.cli.emulator"),
    )
}


def command(name: str) -> Command:
    """Return the command of that name. Raises UsageError, with the likeliest one."""
    found = COMMANDS.get(name)
    if found is None:
        close = closest(name, COMMANDS)
        meant = f" Did you mean {close!r}?" if close else f" The commands are {', '.join(COMMANDS)}."
        raise UsageError(f"there is no command {name!r}.{meant}")
    return found


def overview() -> str:
    """Return the help of ``rpd`` itself."""
    width = max(map(len, COMMANDS))
    lines = [f"  rpd {held.name:<{width}}  {held.help}" for held in COMMANDS.values()]
    return "\n".join(
        [
            f"rpd {rpd.__version__}: run GPU jobs on RunPod the way pytest runs tests",
            "",
            *lines,
            "",
            f"  rpd {'--dry-run':<{width}}  short for rpd run --dry-run",
            "",
            "`rpd COMMAND --help` tells more. Nothing that costs money happens without `rpd run`.",
        ]
    )


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of exiting, with a suggestion for a mistyped flag."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")

    def suggest(self, unknown: str) -> str:
        """Return a hint for an unknown flag, empty if none comes close."""
        close = closest(unknown.partition("=")[0], self._option_string_actions)
        return f"; did you mean {close}?" if close else ""


def parse_plugins(argv: Sequence[str]) -> list[str]:
    """Return the values of ``-p`` in ``argv``: plugins are loaded before the rest can be understood."""
    argv = argv[: argv.index("--")] if "--" in argv else argv
    if not any(text.startswith("-p") for text in argv):
        return []
    early = _Parser(add_help=False, prog="rpd", allow_abbrev=False)
    early.add_argument("-p", action="append", default=[])
    if argv and argv[-1] == "-p":
        early.error("argument -p: expected a plugin's name")
    known, _ = early.parse_known_args([text for text in argv if text not in ("-h", "--help")])
    names: list[str] = known.p
    return names


def parse(
    name: str, argv: Sequence[str], added: Sequence[str], manager: PluginManager
) -> tuple[dict[str, Any], list[str], list[tuple[str, Any]]]:
    """Return the flags given (field name -> value), the positional arguments, and the values of plugins' options.

    ``added`` (``addopts``) may hold flags of ``run`` that another command has no use for; they are dropped there.
    """
    argv, remote_command = _cut(command(name), argv)
    if any(text in ("-h", "--help") for text in argv):
        print_help(name, manager)
    flags, added_args, options = _parse(_make("run", manager), added, "addopts: ") if added else ({}, [], {})
    flags = {field: value for field, value in flags.items() if name in settings()[field].commands}
    made = _make(name, manager)
    given, args, given_options = _parse(made, argv)
    defaults = {dest: default for group in made[1] for dest, default in group.defaults.items()}
    for field, value in given.items():
        appends = settings()[field].appends
        flags[field] = (*flags.get(field, ()), *value) if appends else value
    args = [*args, *remote_command] if remote_command else args or added_args
    return _implied(flags), args, list({**defaults, **options, **given_options}.items())


def _cut(held: Command, argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return ``argv`` and the command line after ``--``, for a command that takes one."""
    if not held.takes_command or "--" not in argv:
        return argv, ()
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _implied(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``flags`` with those that others mean: ``--setup-plan`` is a dry run."""
    return {**flags, "dry_run": True} if flags.get("setup_plan") else dict(flags)


def _parse(
    made: tuple[_Parser, list[OptionGroup]], argv: Sequence[str], where: str = ""
) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    parser, groups = made
    known, unknown = parser.parse_known_intermixed_args(_with_values(argv))
    if unknown:
        parser.error(f"{where}unknown argument {unknown[0]}{parser.suggest(unknown[0])}")
    values = vars(known)
    args = list(values.pop("args", ()))
    options = {dest: values.pop(dest) for group in groups for dest in group.defaults if dest in values}
    flags = {field: tuple(value) if settings()[field].appends else value for field, value in values.items()}
    return flags, args, options


def _with_values(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` with ``--lf=all`` for a bare ``--lf``, which would else take the next argument for its value."""
    bare = {flag: setting.const for setting in settings().values() if setting.const for flag in setting.flags}
    end = argv.index("--") if "--" in argv else len(argv)
    return [f"{text}={bare[text]}" if at < end and text in bare else text for at, text in enumerate(argv)]


_UNSEEN = partial(argparse.HelpFormatter, width=80)
"""For reading a command line: argparse makes one for every option it is told of, and one for the usage of errors."""


def _make(name: str, manager: PluginManager, formatter: Any = _UNSEEN) -> tuple[_Parser, list[OptionGroup]]:
    held = command(name)
    parser = _Parser(
        prog=f"rpd {name}",
        usage=f"rpd {name}" if formatter is _UNSEEN else None,
        description=f"{held.help[0].upper()}{held.help[1:]}.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=formatter,
    )
    if held.arguments:
        parser.add_argument("args", nargs="*", metavar=held.arguments, help=held.arguments_help)
    groups: dict[str, Any] = {}
    for field, setting in settings().items():
        if name in setting.commands:
            if setting.group not in groups:
                groups[setting.group] = parser.add_argument_group(setting.group)
            _add(groups[setting.group], field, setting)
    plugins = []
    for plugin_name, plugin in manager.list_name_plugin():
        hook = getattr(plugin, "rpd_addoption", None)
        if hook is not None:
            plugins.append(OptionGroup(parser, _shown(plugin_name)))
            hook(plugins[-1])
    return parser, plugins


def _shown(plugin_name: str) -> str:
    """Return the name of a plugin; that of a conftest, which is its path, as seen from here."""
    here = f"{Path.cwd()}{os.sep}"
    return plugin_name.removeprefix(here)


def _add(group: Any, field: str, setting: Setting) -> None:
    how: dict[str, Any] = {"dest": field, "help": setting.help, "action": setting.action}
    if setting.action in ("store", "append"):
        how["metavar"] = setting.metavar
        how["choices"] = setting.choices or None
        if setting.parse is not None:
            how["type"] = _typed(setting.parse)
        if setting.const is not None:
            how["nargs"] = "?"
    group.add_argument(*setting.flags, **how)


def _typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from None

    return convert


def print_help(name: str, manager: PluginManager) -> NoReturn:
    """Print the help of one command and exit; only here are the colours of rich worth loading."""
    formatter: Any = argparse.HelpFormatter
    if sys.stdout.isatty():
        from rich_argparse import RichHelpFormatter

        formatter = RichHelpFormatter
    _make(name, manager, formatter)[0].print_help()
    sys.exit(0)


def check_together(config: Config) -> None:
    """Raise UsageError for flags that contradict or need each other."""
    if bool(config.gpu_id) != bool(config.datacenter_id):
        given, missing = ("--gpu-id", "--datacenter-id") if config.gpu_id else ("--datacenter-id", "--gpu-id")
        raise UsageError(f"{given} needs {missing}: a pinned GPU is pinned to a data centre")
    if config.local and config.dry_run:
        raise UsageError(
            "--local and --dry-run exclude each other: one runs on an emulator, the other runs nothing"
        )


def describe(config: Config) -> list[str]:
    """Return one line a setting for ``--show-config``: name, value, where it came from."""
    lines = [f"root folder: {config.rootdir}", f"configuration file: {config.config_file or 'none'}"]
    values: Mapping[str, Any] = {field: getattr(config, field) for field in settings()}
    for field, value in values.items():
        shown = (
            dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        )
        lines.append(f"{field} = {shown!r}  ({config.sources.get(field, 'default')})")
    return lines

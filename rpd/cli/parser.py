"""The argument parser, made from the settings that Config declares."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, cast

from rpd.cli.commands import COMMANDS, Command, command
from rpd.config import Config, Setting, settings, value_of
from rpd.config.config import NoOptions, own_kind
from rpd.config.options import OptionGroup
from rpd.errors import UsageError
from rpd.hooks import PluginManager
from rpd.values.frozen import declared
from rpd.values.suggestions import closest


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of exiting, with a suggestion for a mistyped flag."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")

    def suggest(self, unknown: str) -> str:
        """Return a hint for an unknown flag: what other tools mean by it, else the closest one; empty if none is."""
        from rpd.cli.command_hints import for_flag

        if hint := for_flag(unknown):
            return f": {hint}"
        close = closest(unknown.partition("=")[0], self._option_string_actions)
        return f"; did you mean {close}?" if close else ""

    def check_values(self, argv: Sequence[str], where: str = "") -> None:
        """Raise UsageError for a value given to a flag that takes none, or only those it was declared with."""
        known = self._option_string_actions
        for text in argv[: argv.index("--")] if "--" in argv else argv:
            flag, equals, value = text.partition("=")
            if not equals or text in known or flag not in known or known[flag].nargs != 0:
                continue
            forms = [form for form in known if form.startswith(f"{flag}=")]
            close = closest(text, forms)
            meant = f"; did you mean {close}?" if close else ""
            takes = f"expected {' or '.join([flag, *forms])}" if forms else f"{flag} takes no value"
            self.error(f"{where}{takes}, got {flag}={value}{meant}")


class _InOrder(argparse.Namespace):
    """Values in the order in which their flags were given last."""

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self).pop(name, None)
        super().__setattr__(name, value)


def own_options(name: str) -> type:
    """Return the class that declares the options only that command has."""
    held = COMMANDS.get(name)
    if held is None or not held.options:
        return NoOptions
    own: type = getattr(import_module(held.module), held.options)
    return own


def every_setting() -> list[Setting]:
    """Return the settings of all commands."""
    own = (declared(own_options(name)).values() for name in COMMANDS)
    return [*settings().values(), *cast("Iterator[Setting]", chain.from_iterable(own))]


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
    flags, added_args, options = (
        _parse("run", _make("run", manager), added, "addopts: ") if added else ({}, [], {})
    )
    flags = {field: value for field, value in flags.items() if name in settings()[field].commands}
    own = settings(own_options(name))
    made = _make(name, manager)
    given, args, given_options = _parse(name, made, argv)
    defaults = {dest: default for group in made[1] for dest, default in group.defaults.items()}
    for field, value in given.items():
        appends = own[field].appends
        # Taken out first: flags are in the order in which they were given last.
        held = flags.pop(field, ())
        flags[field] = (*held, *value) if appends else value
    args = [*args, *remote_command] if remote_command else args or added_args
    return _implied(flags), args, list({**defaults, **options, **given_options}.items())


def _cut(held: Command, argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return ``argv`` and the command line after ``--``, for a command that takes one."""
    if not held.takes_command or "--" not in argv:
        return argv, ()
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _implied(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``flags`` with those that others mean: ``--setup-plan`` and ``--dry-run=live`` are dry runs.

    ``-x`` is ``--maxfail=1``, so the later of the two counts.
    """
    overruled = [field for field in flags if field in ("exitfirst", "maxfail")][:-1]
    implied = {field: value for field, value in flags.items() if field not in overruled}
    is_dry = flags.get("setup_plan") or flags.get("dry_run_live")
    return {**implied, "dry_run": True} if is_dry else implied


def _parse(
    name: str, made: tuple[_Parser, list[OptionGroup]], argv: Sequence[str], where: str = ""
) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    parser, groups = made
    parser.check_values(argv, where)
    known, unknown = parser.parse_known_intermixed_args(_with_values(argv), _InOrder())
    if unknown:
        parser.error(f"{where}unknown argument {unknown[0]}{parser.suggest(unknown[0])}")
    values = vars(known)
    args = list(values.pop("args", ()))
    options = {dest: values.pop(dest) for group in groups for dest in group.defaults if dest in values}
    known_settings = settings(own_options(name))
    flags = {
        field: tuple(value) if known_settings[field].appends else value for field, value in values.items()
    }
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
    known = settings(own_options(name))
    for field, setting in known.items():
        if name in setting.commands:
            if setting.group not in groups:
                groups[setting.group] = parser.add_argument_group(setting.group)
            _add(groups[setting.group], field, setting)
    plugins = []
    for plugin_name, plugin in manager.list_name_plugin():
        hook = getattr(plugin, "rpd_addoption", None)
        if hook is not None:
            plugins.append(OptionGroup(parser, _shown(plugin_name), known))
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
    if bool(config.pods.gpu_id) != bool(config.pods.datacenter_id):
        given, missing = (
            ("--gpu-id", "--datacenter-id") if config.pods.gpu_id else ("--datacenter-id", "--gpu-id")
        )
        raise UsageError(f"{given} needs {missing}: a pinned GPU is pinned to a data centre")
    if config.run.local and config.run.dry_run:
        raise UsageError(
            "--local and --dry-run exclude each other: one runs on an emulator, the other runs nothing"
        )


def describe(config: Config) -> list[str]:
    """Return one line a setting for ``--show-config``: name, value, where it came from."""
    lines = [f"root folder: {config.rootdir}", f"configuration file: {config.config_file or 'none'}"]
    values: Mapping[str, Any] = {field: value_of(config, field) for field in settings(own_kind(config))}
    for field, value in values.items():
        shown = (
            dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        )
        lines.append(f"{field} = {shown!r}  ({config.sources.get(field, 'default')})")
    return lines

"""The argument parser, made from the settings that Config declares."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from rpd.config import Config, Setting, settings, value_of
from rpd.config.options import OptionGroup
from rpd.errors import UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.command_line import Command, Hint, Silent, asks_help, has_options_of_plugins, implied
from rpd.values.frozen import EMPTY, frozen
from rpd.values.suggestions import closest

_TRANSLATE = vars(argparse).get("_", str)


@frozen
class _Parsed:
    """The flags given (field name -> value), the arguments, and plugins' options: values, and defaults of all."""

    flags: Mapping[str, Any] = EMPTY
    args: Sequence[str] = ()
    options: Mapping[str, Any] = EMPTY
    defaults: Mapping[str, Any] = EMPTY


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of exiting, with a suggestion for a mistyped flag.

    It looks for no translations of its two headings: that takes longer than reading a line, and finds none.
    """

    def __init__(self, **settings: Any) -> None:
        words = vars(argparse)
        words["_"] = str
        try:
            super().__init__(**settings)
        finally:
            words["_"] = _TRANSLATE

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")

    def suggest(self, unknown: str, hint: Hint) -> str:
        """Return a hint for an unknown flag: its meaning in other tools, else the closest flag.

        Empty if there is none.
        """
        if meant := hint(unknown):
            return f": {meant}"
        close = closest(unknown.partition("=")[0], self._option_string_actions)
        return f"; did you mean {close}?" if close else ""

    def check_values(self, argv: Sequence[str], where: str = "") -> None:
        """Raise UsageError for a value given to a flag that takes none, or only those it was declared with."""
        actions = self._option_string_actions
        for text in argv[: argv.index("--")] if "--" in argv else argv:
            flag, equals, value = text.partition("=")
            if not equals or text in actions or flag not in actions or actions[flag].nargs != 0:
                continue
            forms = [form for form in actions if form.startswith(f"{flag}=")]
            close = closest(text, forms)
            meant = f"; did you mean {close}?" if close else ""
            takes = f"expected {' or '.join([flag, *forms])}" if forms else f"{flag} takes no value"
            self.error(f"{where}{takes}, got {flag}={value}{meant}")


class _InOrder(argparse.Namespace):
    """Values in the order in which their flags were given last."""

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self).pop(name, None)
        super().__setattr__(name, value)


def parse_plugins(argv: Sequence[str]) -> list[str]:
    """Return the values of ``-p`` in ``argv``: plugins are loaded before the rest can be understood."""
    argv = argv[: argv.index("--")] if "--" in argv else argv
    early = _Parser(add_help=False, prog="rpd", allow_abbrev=False)
    early.add_argument("-p", action="append", default=[])
    if argv and argv[-1] == "-p":
        early.error("argument -p: expected a plugin's name")
    namespace, _ = early.parse_known_args([text for text in argv if text not in ("-h", "--help")])
    names: list[str] = namespace.p
    return names


def parse(
    command: Command, argv: Sequence[str], added: Sequence[str], manager: PluginManager, hint: Hint
) -> tuple[dict[str, Any], list[str], list[tuple[str, Any]]]:
    """Return the flags given (field name -> value), the positional arguments, and the values of plugins' options.

    ``added`` (``addopts``) may hold flags of ``run`` that another command has no use for; they are dropped there.
    """
    argv, remote_command = _cut(command, argv)
    if asks_help(argv):
        print_help(command, manager)
    run = Silent(name="run")
    as_added = _parse(run, added, manager, hint, "addopts: ") if added else _Parsed()
    flags = {
        field: value for field, value in as_added.flags.items() if command.name in settings()[field].commands
    }
    own = settings(command.own_options)
    given = _parse(command, argv, manager, hint)
    for field, value in given.flags.items():
        appends = own[field].appends
        # Taken out first: flags are in the order in which they were given last.
        values = flags.pop(field, ())
        flags[field] = (*values, *value) if appends else value
    args = [*given.args, *remote_command] if remote_command else given.args or as_added.args
    return implied(flags), list(args), list({**given.defaults, **as_added.options, **given.options}.items())


def _cut(command: Command, argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return ``argv`` and the command line after ``--``, for a command that takes one."""
    if not command.takes_command or "--" not in argv:
        return argv, ()
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _parse(
    command: Command, argv: Sequence[str], manager: PluginManager, hint: Hint, where: str = ""
) -> _Parsed:
    """Return what the words of ``command`` say. Raise UsageError, which begins with ``where``."""
    if not has_options_of_plugins(manager):
        # To add the hundred options of a run takes longer than to read a line that names two. A message may speak of
        # any option, so mistakes are met again with all of them.
        with suppress(UsageError):
            return _read(command, _make(command, manager, named_in=argv), argv, hint, where)
    return _read(command, _make(command, manager), argv, hint, where)


def _read(
    command: Command,
    made: tuple[_Parser, list[OptionGroup]],
    argv: Sequence[str],
    hint: Hint,
    where: str,
) -> _Parsed:
    parser, groups = made
    parser.check_values(argv, where)
    namespace, unknown = parser.parse_known_intermixed_args(_with_values(argv), _InOrder())
    if unknown:
        parser.error(f"{where}unknown argument {unknown[0]}{parser.suggest(unknown[0], hint)}")
    values = vars(namespace)
    args = list(values.pop("args", ()))
    options = {dest: values.pop(dest) for group in groups for dest in group.defaults if dest in values}
    known_settings = settings(command.own_options)
    flags = {
        field: tuple(value) if known_settings[field].appends else value for field, value in values.items()
    }
    defaults = {dest: default for group in groups for dest, default in group.defaults.items()}
    return _Parsed(flags=flags, args=args, options=options, defaults=defaults)


def _with_values(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` with ``--lf=all`` for a bare ``--lf``, which would else take the next argument for its value."""
    bare = {flag: setting.const for setting in settings().values() if setting.const for flag in setting.flags}
    end = argv.index("--") if "--" in argv else len(argv)
    return [f"{text}={bare[text]}" if at < end and text in bare else text for at, text in enumerate(argv)]


_UNSEEN = partial(argparse.HelpFormatter, width=80)
"""For reading a command line: argparse makes one for every option added, and one for the usage of errors."""


def _make(
    command: Command,
    manager: PluginManager,
    formatter: Any = _UNSEEN,
    named_in: Sequence[str] | None = None,
) -> tuple[_Parser, list[OptionGroup]]:
    """Return the parser of a command, and the groups of options that plugins added to it.

    It knows all options, or those of rpd that the words ``named_in`` may name.
    """
    name = command.name
    parser = _Parser(
        prog=f"rpd {name}",
        usage=f"rpd {name}" if formatter is _UNSEEN else None,
        description=f"{command.help[:1].upper()}{command.help[1:]}.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=formatter,
    )
    if command.arguments:
        parser.add_argument("args", nargs="*", metavar=command.arguments, help=command.arguments_help)
    groups: dict[str, Any] = {"options": parser}  # argparse has a group of that name, with --help in it
    declared = settings(command.own_options)
    named = None if named_in is None else _flags_in(named_in)
    for field, setting in declared.items():
        if name in setting.commands and (named is None or not named.isdisjoint(setting.flags)):
            if setting.group not in groups:
                groups[setting.group] = parser.add_argument_group(setting.group)
            _add(groups[setting.group], field, setting)
    plugins = []
    for plugin_name, plugin in manager.list_name_plugin():
        hook = getattr(plugin, "rpd_addoption", None)
        if hook is not None:
            plugins.append(OptionGroup(parser, _shown(plugin_name), declared))
            hook(plugins[-1])
    return parser, plugins


def _flags_in(words: Sequence[str]) -> set[str]:
    """Return every flag that the words may give: ``-xk`` may be two of one letter, or one with its value."""
    return {
        flag
        for word in words
        if word.startswith("-")
        for flag in (word, word.partition("=")[0], *(f"-{letter}" for letter in word[1:]))
    }


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


def print_help(command: Command, manager: PluginManager) -> NoReturn:
    """Print the help of one command and exit; only here are the colours of rich worth loading."""
    pinned = os.environ.get("COLUMNS", "")
    # As argparse finds the width of a file; to find it, it would load the libraries of archives (shutil).
    formatter: Any = partial(
        argparse.HelpFormatter, width=((int(pinned) if pinned.isdecimal() else 0) or 80) - 2
    )
    if sys.stdout.isatty():
        from rich_argparse import RichHelpFormatter

        formatter = RichHelpFormatter
    _make(command, manager, formatter)[0].print_help()
    sys.exit(0)


def describe(config: Config) -> list[str]:
    """Return one line a setting for ``--show-config``: name, value, where it came from. Addresses are masked."""
    from rpd.redaction import Redactor  # a line that is only read needs none

    lines = [f"root folder: {config.rootdir}", f"configuration file: {config.config_file or 'none'}"]
    declared = settings(config.own_kind)
    values: Mapping[str, Any] = {field: value_of(config, field) for field in declared}
    for field, value in values.items():
        shown = (
            dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        )
        lines.append(f"{field} = {shown!r}  ({config.sources.get(field, 'default')})")
    addresses = [text for field in declared if declared[field].is_address for text in values[field]]
    redactor = Redactor([text for text in addresses if "://" in text])  # else it is a word, such as desktop
    return list(map(redactor.text, lines))

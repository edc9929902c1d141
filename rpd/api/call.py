"""A call from Python before it runs: checks its arguments and turns them into a Config and plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

from rpd.api.functions import JobFunction, Parametrizing, arguments_of, modules_of
from rpd.api.settings import check_name, names, words_of
from rpd.collect.imports import file_at_work, importer_of
from rpd.compat.formats import register_formats
from rpd.config import Config
from rpd.config.settings_file import find_root
from rpd.errors import UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.command_line import Silent
from rpd.pipeline.setup import configure
from rpd.values.frozen import replace
from rpd.values.node import Node

What = str | PathLike[str] | Node
"""What is meant: a path, a node id or a node."""


class Call:
    """One call. The constructor checks its arguments; ``open`` reads files and loads plugins.

    Both raise UsageError.
    """

    def __init__(
        self,
        command: str,
        what: Sequence[What | JobFunction],
        *,
        root: str | PathLike[str] | None,
        plugins: Sequence[object | str],
        flags: Sequence[str],
        parametrize: Mapping[str, object] | None,
        given: Mapping[str, Any],
    ) -> None:
        file = file_at_work()
        if file is not None:
            # It would wait for the end of that import, which waits for it.
            raise UsageError(
                f'{file.name} calls rpd while rpd imports it: put the call below `if __name__ == "__main__":`'
            )
        self._command = command
        self.root = folder_of(root)
        self._functions = [each for each in what if callable(each)]
        paths = [_argument(each, self.root) for each in what if not callable(each)]
        self._values, settings = self._sorted(given, parametrize)
        self._plugins = [each for each in plugins if not isinstance(each, str)]
        named = [f"-p{each}" for each in plugins if isinstance(each, str)]
        self._words = [*named, *words_of(command, settings), *map(_flag, flags)]
        self._argv = [*self._words, *paths]
        self.is_dry = any(word.startswith("--dry-run") for word in self._words)

    def _sorted(
        self, given: Mapping[str, Any], parametrize: Mapping[str, object] | None
    ) -> tuple[dict[str, object], dict[str, Any]]:
        """Return the values of arguments of the functions, and the settings."""
        values = dict(parametrize or {})
        if values and not self._functions:
            raise UsageError("parametrize: expected job functions to give these values to")
        settings = {}
        arguments = arguments_of(self._functions)
        for name, value in given.items():
            if name not in arguments:
                check_name(self._command, name, also=arguments)
                settings[name] = value
            elif name in names(self._command):
                raise UsageError(
                    f"{name}: both a setting and an argument of a job: pass parametrize={{{name!r}: …}} for the "
                    "argument, or rename it"
                )
            elif name in values:
                raise UsageError(f"{name}: given twice, as a keyword and in parametrize")
            else:
                values[name] = value
        return values, settings

    def open(self, stack: ExitStack, plugins: Iterable[object] = ()) -> tuple[Config, PluginManager]:
        """Return the Config and the plugin manager, with ``plugins`` registered. Imports last until ``stack`` ends.

        Raise UsageError.
        """
        modules = modules_of(self._functions, find_root(self.root)[0])
        own = [Parametrizing(self._functions, self._values)] if self._values else []
        config, manager = configure(
            Silent(name=self._command),
            self._argv,
            self.root,
            formats=register_formats,
            plugins=[*self._plugins, *own, *plugins],
            use=stack,
        )
        if modules:
            importer_of(manager, config.rootdir).given.update(modules)
            paths = [f"{module.__file__}::{function.__name__}" for function, module in self._placed(modules)]
            config = replace(config, argv=(*config.argv, *paths))
        return config, manager

    def _placed(self, modules: Mapping[Path, Any]) -> Iterable[tuple[Any, Any]]:
        for function in self._functions:
            for module in modules.values():
                if vars(module).get(getattr(function, "__name__", "")) is function:
                    yield function, module


def folder_of(root: str | PathLike[str] | None) -> Path:
    """Return the folder that a call starts from, by default the current one. Raise UsageError."""
    folder = absolute(root)
    if not folder.is_dir():
        raise UsageError(f"root: no such folder: {folder}")
    return folder


def absolute(path: str | PathLike[str] | None) -> Path:
    """Return a path from the root of the disk, by default the current folder. Raise UsageError if that is gone."""
    try:
        return Path.cwd() if path is None else Path(path).expanduser().absolute()
    except FileNotFoundError:
        raise UsageError(
            "the current folder does not exist any more: change into one that does, or name one"
        ) from None


def _argument(what: object, root: Path) -> str:
    if isinstance(what, Node):
        return f"{find_root(root)[0] / what.file}::{what.name}"
    if not isinstance(what, str | PathLike):
        raise UsageError(f"expected a path, a node id or a job function, got {what!r}")
    text = str(what)
    if text.startswith("-"):
        raise UsageError(f"expected a path or a node id, got {text!r}: settings are keyword arguments")
    return text


def _flag(text: object) -> str:
    if not isinstance(text, str) or not text.startswith("-") or text in ("-h", "--help", "--"):
        raise UsageError(f"flags: expected words such as '--site=cloud', got {text!r}")
    return text

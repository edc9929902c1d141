"""The conftest files: imported once each, registered as plugins, and visible to everything below them."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from rpd.collect.arguments import absolute
from rpd.collect.failures import from_exception
from rpd.collect.imports import Importer, importer_of
from rpd.collect.source_lines import relative
from rpd.errors import CollectionError, UsageError
from rpd.hooks import PluginManager, register
from rpd.values.mark import Location

NAME = "conftest.py"
_PYTEST = r"\bpytest\b"
_SUGGESTED = "rpd_conftest.py"


def load_conftests(
    manager: PluginManager,
    rootdir: Path,
    folders: Iterable[Path],
    *,
    name: str = NAME,
    full_trace: bool = False,
) -> tuple[CollectionError, ...]:
    """Load the conftests of ``folders`` and of the folders above them early, so that they can add options.

    ``name`` is their file name. Return the errors of those that cannot be loaded; ``collect`` tries them
    again and reports their errors again.
    """
    conftests = Conftests(manager, importer_of(manager, rootdir), rootdir, name=name, full_trace=full_trace)
    for folder in folders:
        conftests.above(folder if folder.is_dir() else folder.parent)
    return tuple(conftests.errors.values())


def _check_ignores(conftest: ModuleType) -> None:
    """Raise UsageError if a conftest's ignore setting is no list of paths."""
    for name in ("collect_ignore", "collect_ignore_glob"):
        paths = getattr(conftest, name, ())
        is_list = isinstance(paths, list | tuple | set | frozenset)
        if not is_list or not all(isinstance(each, str | os.PathLike) for each in paths):
            raise UsageError(f"{name}: expected a list of paths, got {paths!r}")


def _hint(path: Path) -> str:
    """Return advice on a broken conftest that seems to be pytest's; empty for others."""
    from rpd.user_text import read_text  # only for a conftest that is broken

    try:
        is_pytests = re.search(_PYTEST, read_text(path, errors="replace")) is not None
    except OSError:
        return ""
    if not is_pytests:
        return ""
    return (
        f"This seems to be pytest's {path.name}. Give rpd's conftest files another name: "
        f'`rpd init --conftest {_SUGGESTED}`, or conftest = "{_SUGGESTED}" in rpd.toml or [tool.rpd].'
    )


def is_conftest_plugin(name: str) -> bool:
    """Return whether a plugin of that name is a conftest: those are named by their path."""
    return os.path.isabs(name)  # noqa: PTH117 - asked about every plugin, and most names are no paths


class Conftests:
    """Finds, imports and registers conftests when a file below them is collected. ``errors`` is by folder."""

    def __init__(
        self,
        manager: PluginManager,
        importer: Importer,
        rootdir: Path,
        *,
        name: str = NAME,
        full_trace: bool = False,
    ) -> None:
        self.errors: dict[Path, CollectionError] = {}
        self._name = name
        self._manager = manager
        self._importer = importer
        self._rootdir = rootdir
        self._full_trace = full_trace
        self._registered: list[Any] = [
            plugin
            for name, plugin in manager.list_name_plugin()
            if plugin is not None and is_conftest_plugin(name)
        ]
        self._above: dict[Path, tuple[ModuleType, ...]] = {}

    def above(self, folder: Path) -> tuple[ModuleType, ...]:
        """Return the conftests of ``folder`` and of those above it up to the root folder, the outermost first."""
        if folder not in self._above:
            if folder in self._rootdir.parents:
                return ()
            outer = () if folder in (self._rootdir, folder.parent) else self.above(folder.parent)
            broken = self.broken_above(folder.parent) is not None
            own = None if broken else self._load(folder / self._name)
            self._above[folder] = outer if own is None else (*outer, own)
        return self._above[folder]

    def broken_above(self, folder: Path) -> CollectionError | None:
        """Return the error of the conftest that makes everything in ``folder`` unusable."""
        if not self.errors:
            return None
        return next((self.errors[each] for each in (folder, *folder.parents) if each in self.errors), None)

    def is_ignored(self, path: Path) -> bool:
        """Return whether ``collect_ignore`` or ``collect_ignore_glob`` of a conftest above names ``path``."""
        for module in self.above(path.parent):
            folder = Path(str(module.__file__)).parent
            if any(absolute(str(each), folder) == path for each in getattr(module, "collect_ignore", ())):
                return True
            globs = getattr(module, "collect_ignore_glob", ())
            if any(fnmatch.fnmatch(str(path), str(absolute(str(each), folder))) for each in globs):
                return True
        return False

    def hidden_from(self, folder: Path) -> list[ModuleType]:
        """Return the registered conftests whose hooks do not apply to files in ``folder``."""
        visible = self.above(folder)
        return [conftest for conftest in self._registered if conftest not in visible]

    def _load(self, path: Path) -> ModuleType | None:
        """Import and register a conftest, once. None if it is missing or broken; ``errors`` says which."""
        loaded = self._manager.get_plugin(str(path))
        if loaded is not None:
            return loaded  # type: ignore[no-any-return]
        if not path.is_file():
            return None
        try:
            module = self._importer.load(path)
            _check_ignores(module)
            register(self._manager, module, str(path))
        except KeyboardInterrupt:
            raise
        except UsageError as error:
            self.errors[path.parent] = CollectionError(str(error), file=relative(path, self._rootdir))
        except BaseException as error:  # noqa: BLE001 - a conftest may raise anything, SystemExit too
            mistake = from_exception(
                error,
                rootdir=self._rootdir,
                full_trace=self._full_trace,
                otherwise=Location(relative(path, self._rootdir), 0),
            )
            hint = _hint(path)
            self.errors[path.parent] = (
                CollectionError(f"{mistake.message}\n{hint}", file=mistake.file, line=mistake.line)
                if hint
                else mistake
            )
        else:
            self._registered.append(module)
            return module
        return None

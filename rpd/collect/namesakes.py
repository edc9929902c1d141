"""User modules with the name of an installed one: every importer gets the one it means.

In a project with a file ``requests.py``, the project's own files mean that file by ``import requests``. rpd,
its dependencies and every other installed package mean the installed module, whenever and on whichever thread
they import it. Python itself has one module per name, so the user's is loaded under another name, and the
``import`` statements of the user's files are redirected to it. Only names that exist twice are treated in
this way. A name that no installed package has is hidden from ``import`` statements of libraries until a file
of the user has imported it: many libraries try to import modules that may be missing. A name in two projects
that run in one process at once exists twice as well. Built-in and frozen modules (``sys``, ``os``) take
precedence over files, as in Python, and ``rpd`` is always rpd.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

import rpd

_RPD = str(Path(rpd.__file__).absolute().parent)
_STDLIB = str(Path(os.__file__).parent)
_DEPENDENCIES = str(Path(str(pluggy.__file__)).absolute().parents[1])
"""The place of rpd's own dependencies: ``site-packages``, or a folder of any name (``pip install --target``)."""
_IMPORTING = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
_FEW = 16
_LIBRARIES = ("site-packages", "dist-packages")

Naming = Callable[[Path], str]
"""Returns the name under which a file or package of the user is loaded."""


class Namesakes:
    """The user's folders on the import path, and the names in them that exist twice. One per process."""

    def __init__(self) -> None:
        self._folders: dict[str, bool] = {}
        """Importable folders of the user, and whether every file of the user may import from them."""
        self._named: dict[str, dict[str, str]] = {}
        """Names that exist twice, to the folders that have one, each with the name it is loaded under."""
        self._specs: dict[str, ModuleSpec] = {}
        """The user's modules, by the name they are loaded under."""
        self._naming: dict[str, Naming] = {}
        """Folder to the function that names the modules in it."""
        self._contents: dict[str, frozenset[str]] = {}
        self._own: set[str] = set()
        """The names in all folders under which something could be imported."""
        self._is_user: dict[str, bool] = {}
        self._python_import: Callable[..., Any] | None = None

    def add(self, folder: str, name_of: Naming, *, everywhere: bool = False) -> None:
        """Add an importable folder of the user.

        Its modules are for the files below it, or with ``everywhere`` for all files of the user.
        """
        naming = self._naming.get(folder)
        if naming is not None:
            if naming != name_of:
                self._load_again(folder)
            return
        self._folders[folder] = everywhere
        self._naming[folder] = name_of
        self._is_user.clear()
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        installed = self._installed_path()
        own = self._contents[folder] = _names(folder)
        self._own |= own
        # Python's search answers for a few names sooner than the lists of all that is installed are read.
        for name in sorted(own if len(own) <= _FEW else own & self._installed_names(installed)):
            if _may_be_taken_twice(name, installed):
                self._take(name, folder)
        for folder_there in [each for each in self._folders if self._naming[each] != name_of]:
            for name in sorted(own & self._contents[folder_there]):
                self._share_out(name, folder, folder_there)

    def _take(self, name: str, folder: str) -> None:
        """Redirect ``name`` to ``folder`` for the user's files, if the folder has a Python module of that name."""
        spec = PathFinder.find_spec(name, [folder])
        if spec is not None and _is_python(spec):
            alias = self._naming[folder](Path(folder, name))
            self._named.setdefault(name, {})[folder] = alias
            self._specs[alias] = spec
            self._lead()

    def _share_out(self, name: str, folder: str, other: str) -> None:
        """Give each of two folders of different projects its own module of ``name``.

        A module that ``other`` has loaded keeps ``name``: it may use it to import its own parts.
        """
        if name in self._named and folder in self._named[name]:
            return
        self._take(name, folder)
        file = getattr(sys.modules.get(name), "__file__", None)
        if folder in self._named.get(name, ()) and not (file or "").startswith(other + os.sep):
            self._take(name, other)

    def _load_again(self, folder: str) -> None:
        """Drop modules loaded from ``folder`` under names of our own, because another project starts to use it."""
        for folders in self._named.values():
            if folder in folders:
                _drop(folders[folder])

    def remove(self, folders: Iterable[str]) -> None:
        """Remove folders; after the last one, every import is Python's own again."""
        for folder in folders:
            self._folders.pop(folder, None)
            self._naming.pop(folder, None)
            self._contents.pop(folder, None)
            for names in self._named.values():
                alias = names.pop(folder, None)
                if alias is not None:
                    self._specs.pop(alias, None)
                    _drop(alias)
        self._named = {name: names for name, names in self._named.items() if names}
        self._own = set().union(*self._contents.values())
        self._is_user.clear()
        if self._folders:
            return
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._python_import is not None:
            if builtins.__import__ == self._import:
                builtins.__import__ = self._python_import
            self._python_import = None

    def alias(self, name: str, file: str) -> str | None:
        """Return the name under which ``file`` gets the module ``name``; None for ``name`` itself."""
        # A copy: jobs import on their own threads, while folders of another project come and go.
        folders = dict(self._named.get(name.partition(".")[0], {}))
        if not folders or not self._is_users(file):
            return None
        above = [folder for folder in folders if file.startswith(folder + os.sep)]
        shared = [folder for folder in folders if self._folders.get(folder)]
        nearest = max(above, key=len) if above else shared[-1] if shared else None
        return None if nearest is None else folders[nearest] + name[len(name.partition(".")[0]) :]

    def is_taken(self, name: str) -> bool:
        """Return whether the top-level ``name`` exists twice."""
        return name in self._named

    def give_names_back(self, names: Collection[str]) -> None:
        """Free those of ``names`` that exist twice and hold a module of the user, which keeps its own name.

        A file that changes ``sys.path`` while it is loaded may have put some there.
        """
        for name in names:
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None)
            alias = self.alias(name, file) if module is not None and isinstance(file, str) else None
            if alias is not None and module is not None:
                sys.modules.setdefault(alias, module)
                del sys.modules[name]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the user's modules under their own names, and the installed ones under names that exist twice."""
        alias = self._specs.get(name)
        if alias is not None:
            return importlib.util.spec_from_file_location(
                name, alias.origin, submodule_search_locations=alias.submodule_search_locations
            )
        if path is not None or name not in self._own:
            return None
        if name not in self._named and not _is_imported_by_library():
            return None
        spec = PathFinder.find_spec(name, self._installed_path())
        if spec is None:  # ``_winapi`` on Linux: a failing import must not find a file of the user instead
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return spec

    # --- leading imports --------------------------------------------------------------------------------------------

    def _lead(self) -> None:
        if self._python_import is None:
            self._python_import = builtins.__import__
            builtins.__import__ = self._import

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - as Python calls them
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        assert self._python_import is not None
        alias = None
        if level == 0 and globals is not None and name.partition(".")[0] in self._named:
            file = globals.get("__file__")
            alias = self.alias(name, file) if isinstance(file, str) else None
        if alias is None:
            return self._python_import(name, globals, locals, fromlist, level)
        try:
            return self._python_import(alias, globals, locals, fromlist, level)
        except ModuleNotFoundError as error:
            if error.name != alias:
                raise
            raise ModuleNotFoundError(f"No module named {name!r}", name=name) from None

    # --- owners -----------------------------------------------------------------------------------------------------

    def _is_users(self, file: str) -> bool:
        is_users = self._is_user.get(file)
        if is_users is None:
            holders = (*self._folders, *self._installed_path(), _RPD)
            nearest = max((each for each in holders if file.startswith(each + os.sep)), key=len, default="")
            is_users = self._is_user[file] = nearest in self._folders
        return is_users

    def _installed_path(self) -> list[str]:
        return [entry for entry in sys.path if str(Path(entry).absolute()) not in self._folders]

    def _installed_names(self, path: Iterable[str]) -> frozenset[str]:
        return sys.stdlib_module_names.union(*map(_names, path))


def named_by_environment() -> Iterator[str]:
    """Yield the user's folders in ``PYTHONPATH``."""
    entries = os.environ.get("PYTHONPATH")
    if entries:
        yield from users_folders(entries.split(os.pathsep))


def users_folders(entries: Iterable[str]) -> Iterator[str]:
    """Yield the folders of an import path that contain neither Python, nor rpd, nor installed packages."""
    for folder in (str(Path(entry).absolute()) for entry in entries if entry):
        is_installed = _is_library(folder) or folder == _DEPENDENCIES or _RPD.startswith(folder + os.sep)
        if not is_installed and Path(folder).is_dir():
            yield folder


def _is_library(path: str) -> bool:
    return path.startswith(_STDLIB) or any(name in Path(path).parts for name in _LIBRARIES)


def _is_imported_by_library() -> bool:
    """Return whether the current import is an ``import`` statement of a library, or of rpd.

    Functions that import by a given name (``import_module``, ``pickle``) act on behalf of others.
    """
    from opcode import opmap

    frame = sys._getframe(1)  # noqa: SLF001 - nothing else tells who imports
    while frame.f_back and frame.f_code.co_filename in (__file__, *_IMPORTING):
        frame = frame.f_back
    code, file = frame.f_code.co_code, frame.f_code.co_filename
    is_statement = code[frame.f_lasti] == opmap["IMPORT_NAME"]
    return is_statement and (_is_library(file) or file.startswith(_RPD + os.sep))


def _drop(name: str) -> None:
    """Remove a module and those below it from Python's table."""
    for each in [loaded for loaded in tuple(sys.modules) if loaded == name or loaded.startswith(f"{name}.")]:
        sys.modules.pop(each, None)


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.partition(".")[0] for entry in os.listdir(folder))  # noqa: PTH208
    except OSError:  # a zip file, or a missing folder
        return frozenset()


def _is_python(spec: ModuleSpec) -> bool:
    """Return whether it is a Python file or a package with ``__init__.py``: a plain folder claims no name."""
    return spec.origin is not None and spec.origin.endswith(".py")


def _may_be_taken_twice(name: str, installed: Sequence[str]) -> bool:
    if not name.isidentifier() or name == rpd.__name__ or name in sys.builtin_module_names:
        return False
    if FrozenImporter.find_spec(name):
        return False
    spec = None if name in sys.stdlib_module_names else PathFinder.find_spec(name, installed)
    return name in sys.stdlib_module_names or (spec is not None and spec.origin is not None)

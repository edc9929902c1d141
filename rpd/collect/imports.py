"""Importing a file by its path, under a name that no other file has."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import itertools
import linecache
import os
import sys
import time
from _thread import RLock
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout, suppress
from contextvars import ContextVar
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from rpd.collect.namesakes import Namesakes, named_by_environment, users_folders
from rpd.collect.source_lines import relative
from rpd.hooks import PluginManager

_PLUGIN = "rpd.collect.importer"
# Starts the names of modules that are imported by path; no other module can have it.
_PREFIX = "rpd:"
_SETTLED_SECONDS = 2.0
"""Seconds after a change for which a file's bytecode is not cached."""
_lock = RLock()
"""Python has one import path and one table of modules, so one file at a time is imported, on any thread.

It is threading's own lock; that module would take a millisecond of every start.
"""
_importers: list[Importer] = []
"""Importers that have not been forgotten: jobs may still import their modules later."""
_numbers = itertools.count(2)
_here: ContextVar[Path | None] = ContextVar("rpd_file_at_work", default=None)
_namesakes = Namesakes()


def importer_of(manager: PluginManager, rootdir: Path) -> Importer:
    """Return the importer of this invocation; it lives as long as its plugin manager."""
    importer = manager.get_plugin(_PLUGIN)
    if not isinstance(importer, Importer):
        importer = Importer(rootdir)
        manager.register(importer, _PLUGIN)
    return importer


def file_at_work() -> Path | None:
    """Return the file that is being imported on this thread; None if there is none."""
    return _here.get()


def divert_output(manager: PluginManager, rootdir: Path) -> None:
    """Send user code's output during collection to stderr: stdout is for ids and JSON.

    For the command line, which owns both; the streams of another program are not ours to change.
    """
    importer_of(manager, rootdir).diverts_output = True


class _Loader(SourceFileLoader):
    """Python's own loader, which waits for no pipe and caches no bytecode of a file that was just written.

    Bytecode is matched to its source by second and size: an edit within the same second that keeps the size
    (2 to 3) would run the old code.
    """

    def get_data(self, path: str) -> bytes:
        if Path(path).is_fifo():  # Python reads a source again for each traceback, and would wait then
            raise OSError(errno.EINVAL, "a pipe, not a file", path)
        return super().get_data(path)

    def set_data(self, path: str, data: Any, **more: Any) -> None:
        if time.time() - Path(self.path).stat().st_mtime > _SETTLED_SECONDS:
            super().set_data(path, data, **more)


class Importer:
    """Imports the deploy files and conftests of one root folder, each once.

    While a file is imported, its own folder (and those of the conftests above it) are importable, and stay so
    for imports that a job makes later. Helpers of the same name in two folders do not collide: modules from
    other folders are set aside while a folder with its own module of that name is in use. A file named like
    an installed module does not replace that module for anybody else.

    A new importer forgets the imports of earlier ones, so that it sees changed files, except those still in
    use: runs of several projects may be active at once. If folders of two importers have a module of the same
    name, each gets its own (``Namesakes``). If both work in the same folder, a helper that a job imports late
    is the one that was imported last.
    """

    def __init__(self, rootdir: Path) -> None:
        self.given: dict[Path, ModuleType] = {}
        """Modules that a program provides, by the path of the file each represents: a notebook has none."""
        self.diverts_output = False
        self._rootdir = rootdir
        self._modules: dict[Path, ModuleType] = {}
        self._local: dict[str, dict[str, ModuleType]] = {}
        """Folder to the user modules imported from it, by their names in ``sys.modules``."""
        self._present: dict[str, str] = {}
        """Of these, name to folder for those that are in ``sys.modules`` now."""
        self._own_place: dict[str, int] = {}
        """The positions of folders that were on the import path before: the calling program's own."""
        self.folders: dict[str, None] = {}
        """The folders it made importable."""
        self._mark = ""
        """Part of the names of its modules, if another importer may have modules of the same file names."""
        self._users = 0
        with _lock:
            for idle in [each for each in _importers if not each.is_in_use]:
                _importers.remove(idle)
                idle.forget()
            self._join()

    def _join(self) -> None:
        """Register this importer, again if necessary.

        A newer one on another thread may have forgotten this one before it was in use.
        """
        if self not in _importers:
            self._mark = f"{next(_numbers)}:" if _importers else ""
            _importers.append(self)
            for folder in named_by_environment():
                self._add(folder, everywhere=True)

    @property
    def is_in_use(self) -> bool:
        """Whether a new importer has to keep this one's imports."""
        return self._users > 0

    @contextmanager
    def in_use(self, *, then_forget: bool = False) -> Iterator[None]:
        """Keep the imports available, whatever else is collected in this process meanwhile.

        ``then_forget``: restore the import path and the table of modules afterwards.
        """
        with _lock:
            self._join()
            self._users += 1
        try:
            yield
        finally:
            with _lock:
                self._users -= 1
                if then_forget and self in _importers:
                    _importers.remove(self)
                    self.forget()

    @contextmanager
    def output(self) -> Iterator[None]:
        """Redirect output to stderr, if that was requested."""
        with redirect_stdout(sys.stderr) if self.diverts_output else nullcontext():
            yield

    def load(self, path: Path) -> ModuleType:
        """Return the module of ``path``: provided, or imported now or before. Raise any error of the file."""
        if path in self.given:
            return self.given[path]
        if path not in self._modules:
            folder, name = import_root(path)
            diverted = stdout_on_stderr() if self.diverts_output else nullcontext()
            with _lock, self._importable(folder, path.parent), diverted:
                linecache.checkcache(str(path))
                before = _here.set(path)
                try:
                    self._modules[path] = self._import(path, name)
                finally:
                    _here.reset(before)
        return self._modules[path]

    @contextmanager
    def _importable(self, *folders: Path) -> Iterator[None]:
        self._join()
        texts = [str(folder) for folder in dict.fromkeys(folders)]
        for other in self._others():
            other.make_room(texts)
        for text in texts:
            self._add(text)
        with self._on_path(texts):
            path, modules = frozenset(sys.path), frozenset(sys.modules)
            try:
                yield
            finally:
                new = [
                    entry for entry in sys.path if entry not in path
                ]  # nearly always none: the disk is not asked
                added = [folder for folder in users_folders(new) if folder not in path]
                for folder in added:
                    self._add(folder, everywhere=True)
                if added:
                    _namesakes.give_names_back(sys.modules.keys() - modules)

    def _own_name(self, path: Path) -> str:
        """Return a name for the module at ``path`` (without its extension) that no other module has."""
        return f"{_PREFIX}{self._mark}{relative(path, self._rootdir).replace('.', '·')}"

    def _add(self, folder: str, *, everywhere: bool = False) -> None:
        is_new = folder not in self.folders
        self.folders[folder] = None
        if is_new:
            _namesakes.add(folder, self._own_name, everywhere=everywhere)

    def _others(self) -> list[Importer]:
        return [other for other in _importers if other is not self]

    def _import(self, path: Path, name: str) -> ModuleType:
        name = _namesakes.alias(name, str(path)) or name
        loaded = sys.modules.get(name)
        if loaded is not None and _is_file(loaded, path):
            return loaded  # a neighbour imported it before us
        if "." in name and "." not in path.stem:
            module = importlib.import_module(name)
            if _is_file(module, path):
                return module
        return self._execute(path, name)

    def _execute(self, path: Path, name: str) -> ModuleType:
        unique = self._own_name(path.with_suffix(""))
        spec = importlib.util.spec_from_file_location(unique, path, loader=_Loader(unique, str(path)))
        if spec is None or spec.loader is None:
            raise ImportError(f"{path.name} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        is_free = name not in sys.modules and name not in sys.stdlib_module_names
        names = [unique, name] if is_free and not _namesakes.is_taken(name) else [unique]
        # Also under its plain name, so that a neighbour that imports it gets this very module.
        sys.modules.update(dict.fromkeys(names, module))
        try:
            spec.loader.exec_module(module)
        except BaseException:
            # As Python does: a module that failed to import must not be found by a later import.
            for each in names:
                sys.modules.pop(each, None)
            raise
        return module

    # --- the import path and the table of modules, which are Python's ------------------------------------------------

    def forget(self) -> None:
        """Remove the folders and modules again, except folders of an importer that is in use."""
        kept = {folder for other in self._others() for folder in other.folders}
        _namesakes.remove(folder for folder in self.folders if folder not in kept)
        self.folders.clear()
        if not self._local:
            return  # nothing to forget; invalidating the caches makes Python 3.13 load ``importlib.metadata``
        for folder in self._local:
            if folder in sys.path and folder not in kept:
                sys.path.remove(folder)
                if folder in self._own_place:
                    sys.path.insert(self._own_place[folder], folder)
        for name, folder in self._present.items():
            if sys.modules.get(name) is self._local[folder][name]:
                del sys.modules[name]
        self._local.clear()
        self._present.clear()
        importlib.invalidate_caches()

    def make_room(self, folders: Collection[str]) -> None:
        """Remove the helpers of ``folders`` from the table, because another importer loads its own now."""
        for name, folder in list(self._present.items()):
            if folder in folders and not name.startswith(_PREFIX):
                del self._present[name]
                if sys.modules.get(name) is self._local[folder][name]:
                    del sys.modules[name]

    @contextmanager
    def _on_path(self, texts: list[str]) -> Iterator[None]:
        """Put folders first on the import path and their modules into ``sys.modules``, and set others aside."""
        # In reverse, because each is put in front: the first of ``texts`` ends up first.
        for text in reversed(texts):
            place = sys.path.index(text) if text in sys.path else None
            # Before it is taken from its old place: jobs import on other threads meanwhile.
            sys.path.insert(0, text)
            if place is not None:
                del sys.path[place + 1]
                if text not in self._local and not any(text in other.folders for other in self._others()):
                    self._own_place.setdefault(text, place)
        self._bring_back(Path(texts[-1]))
        self._set_aside(texts)
        before = set(sys.modules)
        try:
            yield
        finally:
            self._remember(texts, before)

    def _bring_back(self, folder: Path) -> None:
        """Put the modules of ``folder`` and of the folders above it into ``sys.modules``; the nearest wins."""
        for each in map(str, reversed((folder, *folder.parents))):
            for name, module in self._local.get(each, {}).items():
                sys.modules[name] = module
                self._present[name] = each

    def _set_aside(self, folders: list[str]) -> None:
        """Remove modules of other folders from ``sys.modules`` if these folders have one of that name."""
        own = {entry.removesuffix(".py") for folder in folders for entry in _entries(folder)}
        for top in own & self._present.keys():
            home = self._present[top]
            if home in folders:
                continue
            for name in self._local[home]:
                if name.partition(".")[0] == top and self._present.get(name) == home:
                    del self._present[name]
                    sys.modules.pop(name, None)

    def _remember(self, folders: list[str], before: set[str]) -> None:
        """Record which of the new modules came from ``folders`` or from others that are importable by now."""
        homes = dict.fromkeys((*folders, *self._local))
        for name in sys.modules.keys() - before:
            module = sys.modules.get(name)
            origin = getattr(module, "__file__", None)
            if module is None or not isinstance(origin, str):
                continue  # of no file, or imported on another thread in vain
            for folder in homes:
                if name.startswith(_PREFIX) or _is_below(origin, folder, name):
                    self._local.setdefault(folder, {})[name] = module
                    self._present[name] = folder
                    break


def _entries(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries)


def import_root(path: Path) -> tuple[Path, str]:
    """Return the folder to import from and the module's name: dotted in a package, else the name of the file."""
    folder, names = path.parent, [path.stem]
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(names)


def _is_file(module: ModuleType, path: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and os.path.realpath(origin) == os.path.realpath(path)


def _is_below(origin: str, folder: str, name: str) -> bool:
    """Return whether the module ``name`` with the file ``origin`` was found in ``folder`` itself."""
    inside = f"{folder}{os.sep}{name.partition('.')[0]}"
    return origin == f"{inside}.py" or origin.startswith(inside + os.sep)


@contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Send output to stderr, also that of child processes, so that stdout has only ids or JSON."""
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        with suppress(OSError):  # a process may have neither
            saved = os.dup(1)
            stack.callback(os.close, saved)
            if sys.__stdout__ is not None:
                sys.__stdout__.flush()
            os.dup2(2, 1)
            stack.callback(os.dup2, saved, 1)
        yield

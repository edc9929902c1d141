"""Importing a file by its path, under a name that no other file has."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import ModuleType

from rpd.collect.source import relative


class Importer:
    """Imports the deploy files and conftests of one root folder, each once.

    While a file is imported its own folder (and those of the conftests above it) are importable, and stay so for
    imports that a job makes later. Helpers of the same name in two folders do not collide: the modules that came from
    other folders step aside while a folder with its own module of that name is at work.
    """

    def __init__(self, rootdir: Path) -> None:
        self._rootdir = rootdir
        self._modules: dict[Path, ModuleType] = {}
        self._local: dict[str, dict[str, ModuleType]] = {}
        """Folder to the modules that were imported from it, by the name in ``sys.modules``."""

    def load(self, path: Path) -> ModuleType:
        """Return the module of ``path``, imported now or before. Raises whatever the file raises."""
        if path not in self._modules:
            folder, name = import_root(path)
            with self._importable(folder, path.parent), stdout_on_stderr():
                self._modules[path] = self._import(path, name)
        return self._modules[path]

    def adopt(self, path: Path, module: ModuleType) -> None:
        """Take ``module``, which another importer made from ``path``, as this one's own."""
        if path not in self._modules:
            folder, name = import_root(path)
            self._modules[path] = module
            self._local.setdefault(str(folder), {})[name] = module

    def _import(self, path: Path, name: str) -> ModuleType:
        known = sys.modules.get(name)
        if known is not None and _is_file(known, path):
            return known  # a neighbour imported it before us
        if "." in name:
            module = importlib.import_module(name)
            if _is_file(module, path):
                return module
        return self._execute(path, name)

    def _execute(self, path: Path, name: str) -> ModuleType:
        unique = relative(path.with_suffix(""), self._rootdir).replace(".", "·")
        spec = importlib.util.spec_from_file_location(unique, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path.name} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        names = [unique] if name in sys.modules or name in sys.stdlib_module_names else [unique, name]
        for (
            each
        ) in names:  # under its plain name too, so that a neighbour that imports it gets this very module
            sys.modules[each] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            for each in names:
                sys.modules.pop(each, None)
            raise
        return module

    @contextmanager
    def _importable(self, *folders: Path) -> Iterator[None]:
        """Put ``folders`` first on the import path, their modules in ``sys.modules``, and others out of their way."""
        texts = [str(folder) for folder in dict.fromkeys(folders)]
        for text in reversed(texts):
            if text in sys.path:
                sys.path.remove(text)
            sys.path.insert(0, text)
        importlib.invalidate_caches()
        active = [folder for folder in self._local if _is_above(folder, texts[-1])]
        self._set_aside(texts)
        for folder in sorted(active, key=len):
            sys.modules.update(self._local[folder])
        before = set(sys.modules)
        try:
            yield
        finally:
            self._remember(texts, before)

    def _set_aside(self, folders: list[str]) -> None:
        """Take modules of other folders out of ``sys.modules`` where these folders have one of that name."""
        own = {_top_name(entry) for folder in folders for entry in os.listdir(folder)}
        for folder, modules in self._local.items():
            if folder not in folders:
                for name, module in modules.items():
                    if name.partition(".")[0] in own and sys.modules.get(name) is module:
                        del sys.modules[name]

    def _remember(self, folders: list[str], before: set[str]) -> None:
        for name in sys.modules.keys() - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin is None:
                continue
            for folder in folders:
                if _is_below(origin, folder, name):
                    self._local.setdefault(folder, {})[name] = sys.modules[name]


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


def _is_above(folder: str, of: str) -> bool:
    return of == folder or of.startswith(folder + os.sep)


def _is_below(origin: str, folder: str, name: str) -> bool:
    """Return whether the module ``name`` with the file ``origin`` was found in ``folder`` itself."""
    inside = os.path.join(folder, name.partition(".")[0])
    return origin == f"{inside}.py" or origin.startswith(inside + os.sep)


def _top_name(entry: str) -> str:
    return entry.removesuffix(".py")


@contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Send what is printed to stderr, also by child processes, so that stdout stays ids or JSON."""
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

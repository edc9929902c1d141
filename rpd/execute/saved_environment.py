"""The parts of the process that rpd uses, as they were when the run began: a job may replace them, or close them."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import pluggy

from rpd.execute.held_files import HeldFiles

_USED: Mapping[str, tuple[str, ...]] = {
    "builtins": ("open", "print", "isinstance", "len", "sorted"),
    "io": ("open",),
    "datetime": ("datetime", "date", "timedelta"),
    "json": ("dumps", "loads", "dump", "load"),
    "os": (
        "open",
        "write",
        "read",
        "close",
        "fsync",
        "replace",
        "rename",
        "stat",
        "lstat",
        "scandir",
        "getpid",
        "kill",
    ),
    "os.path": ("exists", "isfile", "isdir", "join", "relpath", "abspath", "lexists"),
    "pathlib.Path": (
        "open",
        "exists",
        "is_file",
        "is_dir",
        "stat",
        "mkdir",
        "read_text",
        "write_text",
        "glob",
    ),
    "socket": ("socket", "create_connection", "create_server", "getaddrinfo"),
    "threading": ("Thread", "Event", "Lock"),
    "time": ("time", "monotonic", "sleep", "perf_counter"),
}
"""By module, or class of a module."""


def _loaded(place: str) -> Any:
    """Return a module or a class of one; None if it is not loaded, so that rpd does not use it (in a dry run)."""
    if place in sys.modules:
        return sys.modules[place]
    module, _, name = place.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


class _LibraryPath:
    """Finds modules of the standard library and of installed packages where they were when it was made.

    rpd imports some modules only when it needs them, and so does the standard library; a job may empty ``sys.path``.
    Folders that are still in ``sys.path`` are left to Python.
    """

    def __init__(self) -> None:
        installed = str(Path(str(pluggy.__file__)).parents[1])
        places = (sys.prefix, sys.base_prefix, sys.exec_prefix, installed)
        self._folders = [folder for folder in sys.path if folder.startswith(places)]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Return where a top-level module is, as the import system asks for it; None if it is not found."""
        gone = [folder for folder in self._folders if folder not in sys.path]
        return PathFinder.find_spec(name, gone, target) if path is None and gone else None


class _Originals:
    """The objects under those names before the first of the current runs began.

    One per process, since the names belong to the process: a run that begins while another run's job has a
    mock in place must not take the mock for the original.
    """

    def __init__(self) -> None:
        # Reentrant: also taken when a run is garbage-collected, which may happen at any moment.
        self.lock = threading.RLock()
        self.inside = 0
        self.aside: dict[tuple[Any, str], Any] = {}
        self.files = HeldFiles()
        self._runs = 0
        self._then: dict[tuple[Any, str], Any] = {}
        self._finder: Any = None

    def begin(self) -> None:
        """Save the originals, if no run is active."""
        with self.lock:
            if not self._runs:
                self.files.begin()
                self._then = {
                    (owner, name): getattr(owner, name)
                    for place, names in _USED.items()
                    if (owner := _loaded(place)) is not None
                    for name in names
                }
                self._finder = _LibraryPath()
                sys.meta_path.append(self._finder)
            self._runs += 1

    def end(self) -> None:
        """Count one run less."""
        with self.lock:
            self._runs -= 1
            if not self._runs:
                with suppress(ValueError):  # a job may have emptied that list, too
                    sys.meta_path.remove(self._finder)
                self.files.end()

    def put_back(self) -> dict[tuple[Any, str], Any]:
        """Restore the originals; return the objects that were in their place."""
        replaced = {}
        for (owner, name), value in self._then.items():
            now = getattr(owner, name, None)
            if now is not value:
                replaced[owner, name] = now
                setattr(owner, name, value)
        return replaced


_originals = _Originals()


class Surroundings:
    """Saves the originals when it is made. That is after conftests were imported, so their replacements stay.

    A mock that a job or fixture left, or that another node is using, must not keep a pod from being released.
    So mocks are set aside while rpd rents or releases, and put back afterwards. Thread-safe.
    """

    def __init__(self) -> None:
        _originals.begin()
        self._forget = weakref.finalize(self, _originals.end)

    def hold_files(self, acts_for_node: Callable[[], bool]) -> None:
        """Let no user code close what is open now; ``acts_for_node`` says whether this thread acts for a node."""
        with _originals.lock:
            _originals.files.hold(acts_for_node)

    def as_at_start(self) -> AbstractContextManager[None]:
        """Return a context in which the originals are in place, until the last thread has left it."""
        return self._as_at_start()

    @contextmanager
    def _as_at_start(self) -> Iterator[None]:
        with _originals.lock:
            _originals.inside += 1
            _originals.aside.update(_originals.put_back())
        try:
            yield
        finally:
            with _originals.lock:
                _originals.inside -= 1
                if not _originals.inside:
                    for (owner, name), value in _originals.aside.items():
                        setattr(owner, name, value)
                    _originals.aside = {}

    def restore(self) -> None:
        """Restore the originals."""
        with _originals.lock:
            _originals.put_back()

    def close(self) -> None:
        """Restore the originals and forget them."""
        self.restore()
        self._forget()


class TrustedSurroundings(Surroundings):
    """The surroundings of a dry run: it rents nothing, so a mock may stay until the end."""

    def as_at_start(self) -> AbstractContextManager[None]:
        return nullcontext()

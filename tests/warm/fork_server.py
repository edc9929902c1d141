"""A process that has imported the libraries of rpd, and forks: a child begins where a new interpreter would be a second later.

It runs as a script, one for each process of the test suite, and takes requests over a Unix socket: one JSON line (arguments,
folder, environment) with three descriptors. It answers with the process id at once, and with the exit status at the end. Its standard input
is its life: it goes when that closes.

No module of rpd reads the environment, the folder or the streams while it is imported, so a child cannot tell the
difference; ``tests/shape`` looks at cold interpreters.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import rpd
from rpd.runpod.graphql import sdk

_PROGRAM = Path(rpd.__file__).with_name("__main__.py")
_COLD = ("rpd.__main__", "rpd.testing", "rpd.emulator")
"""Not imported here: each child runs the first; the others belong to other processes."""
_LATE = (
    "difflib",
    "fcntl",
    "httpx",
    "pathspec",
    "rich_argparse",
    "statistics",
    "tempfile",
    "tomllib",
    "traceback",
)
"""What modules of rpd import only where it is needed; httpx alone is a third of a short run."""


def main() -> None:
    """Serve until standard input closes; in a child, return into ``rpd``'s own ``__main__``."""
    _warm_up()
    path = sys.argv[1]
    request = _serve(path)
    if request is not None:
        _become(request)
        # Not runpy, which puts sys.argv back at the end and fails where a job emptied it.
        program: dict[str, Any] = {"__name__": "__main__"}
        try:
            exec(compile(_PROGRAM.read_bytes(), _PROGRAM, "exec"), program)
        except SystemExit as end:
            if isinstance(end.code, int):
                _leave(end.code, program["_open_files"]())
            raise


def _leave(code: int, files: Iterable[IO[Any]]) -> None:
    """End this child as an interpreter ends, but without tearing down the modules that the server had imported.

    That would copy every page of it first, and be a fifth of the cost of all tests.
    """
    threading._shutdown()  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for file in files:
        with contextlib.suppress(OSError, ValueError):
            file.flush()
    os._exit(code)


def _warm_up() -> None:
    for module in pkgutil.walk_packages(rpd.__path__, "rpd."):
        if not module.name.startswith(_COLD):
            importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)
    sdk.preload().join()
    gc.collect()
    gc.freeze()


def _serve(path: str) -> dict[str, Any] | None:
    """Answer requests; return None at the end, and in each child the request that it is for."""
    children: dict[int, socket.socket] = {}
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # A Ctrl-C in the terminal of the test suite is for the suite; it closes standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    with selectors.DefaultSelector() as selector:
        for source in (listener, wake, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is listener:
                    connection, _address = listener.accept()
                    request, descriptors = _receive(connection)
                    child = os.fork()
                    if not child:
                        signal.set_wakeup_fd(-1)
                        _close(selector, listener, wake, waker, connection, *children.values())
                        return {**request, "descriptors": descriptors}
                    for descriptor in descriptors:
                        os.close(descriptor)
                    children[child] = connection
                    connection.sendall(f"{child}\n".encode())
                else:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake, 4096)
                    _reap(children)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 16)
    return json.loads(data), descriptors


def _reap(children: dict[int, socket.socket]) -> None:
    for child in list(children):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            with children.pop(child) as connection, contextlib.suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _close(*things: Any) -> None:
    for thing in things:
        os.close(thing) if isinstance(thing, int) else thing.close()


def _become(request: dict[str, Any]) -> None:
    """Make this child a ``python -P -m rpd …``: its streams, folder, environment, arguments, signals."""
    for number, descriptor in enumerate(request["descriptors"]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    begun_with = _python_path()
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    if _python_path() != begun_with:
        sys.path[: len(begun_with)] = [os.path.abspath(folder) for folder in _python_path()]  # noqa: PTH100 - links are kept
        importlib.invalidate_caches()
    sys.argv = [str(_PROGRAM), *request["arguments"]]
    streams = [_stream(0, "r"), _stream(1, "w"), _stream(2, "w")]
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _python_path() -> list[str]:
    """Return the folders of PYTHONPATH, each once, as the start of an interpreter puts them first in ``sys.path``."""
    named = os.environ.get("PYTHONPATH", "")
    return list(dict.fromkeys(named.split(os.pathsep))) if named else []


def _stream(number: int, mode: str) -> io.TextIOWrapper:
    raw = open(number, f"{mode}b", closefd=False)  # noqa: SIM115 - it lives as long as the process
    begun = sys.stderr if number == 2 else sys.stdout
    is_lines = number == 2 or os.isatty(number)
    return io.TextIOWrapper(raw, encoding=begun.encoding, errors=begun.errors, line_buffering=is_lines)


if __name__ == "__main__":
    main()

"""``rpd.run`` and ``rpd.start``: a run from Python."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Unpack, overload

from rpd.api.call import Call, What
from rpd.api.functions import JobFunction
from rpd.api.outcome import RunOutcome
from rpd.api.running import Running
from rpd.api.settings import RunSettings


@overload
def start(
    *what: What,
    root: str | PathLike[str] | None = ...,
    plugins: Sequence[object | str] = ...,
    flags: Sequence[str] = ...,
    show: bool = ...,
    **settings: Unpack[RunSettings],
) -> Running: ...
@overload
def start(
    function: JobFunction,
    /,
    *what: What | JobFunction,
    root: str | PathLike[str] | None = ...,
    plugins: Sequence[object | str] = ...,
    flags: Sequence[str] = ...,
    show: bool = ...,
    parametrize: Mapping[str, object] | None = ...,
    **settings: Any,
) -> Running: ...
def start(
    *what: What | JobFunction,
    root: str | PathLike[str] | None = None,
    plugins: Sequence[object | str] = (),
    flags: Sequence[str] = (),
    show: bool = False,
    parametrize: Mapping[str, object] | None = None,
    **settings: Any,
) -> Running:
    """Begin to run ``what`` and return a handle at once; all arguments are those of ``run``. Raise UsageError."""
    call = Call("run", what, root=root, plugins=plugins, flags=flags, parametrize=parametrize, given=settings)
    return Running(call, show=show)


@overload
def run(
    *what: What,
    root: str | PathLike[str] | None = ...,
    plugins: Sequence[object | str] = ...,
    flags: Sequence[str] = ...,
    show: bool = ...,
    **settings: Unpack[RunSettings],
) -> RunOutcome: ...
@overload
def run(
    function: JobFunction,
    /,
    *what: What | JobFunction,
    root: str | PathLike[str] | None = ...,
    plugins: Sequence[object | str] = ...,
    flags: Sequence[str] = ...,
    show: bool = ...,
    parametrize: Mapping[str, object] | None = ...,
    **settings: Any,
) -> RunOutcome: ...
def run(
    *what: What | JobFunction,
    root: str | PathLike[str] | None = None,
    plugins: Sequence[object | str] = (),
    flags: Sequence[str] = (),
    show: bool = False,
    parametrize: Mapping[str, object] | None = None,
    **settings: Any,
) -> RunOutcome:
    """Run ``what`` to its end: on RunPod, on an emulator (``local=True``) or dry (``dry_run=True``).

    ``what`` are paths, node ids or job functions; by default the whole project. ``root`` is the folder to
    start from (default: the current one). ``settings`` are those of ``rpd run --show-config``, by name; with
    job functions, a keyword that names one of their arguments gives it a value instead (a list: a node for
    each). ``parametrize`` does that for arguments and fixtures that share their name with a setting.
    ``plugins`` are objects with hooks, or names of modules; ``flags`` are words of the command line, for
    options of plugins. ``show=True`` shows the screen of ``rpd run``, in a notebook a board.

    A run that may cost more than ``confirm_above_usd`` needs ``yes=True``. KeyboardInterrupt (Ctrl-C,
    "interrupt the kernel") ends the run in order, a second one at once; it is raised again when every pod is
    released. Raise UsageError, AuthError, ProviderError; nodes that fail do not raise (see
    ``RunOutcome.raise_for_outcome``).
    """
    has_board = show and "ipykernel" in sys.modules
    call = Call("run", what, root=root, plugins=plugins, flags=flags, parametrize=parametrize, given=settings)
    running = Running(call, show=show and not has_board)
    if has_board:
        running._ipython_display_()
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            outcome = running.result()
        except KeyboardInterrupt as error:
            if running.done:
                raise
            interrupt = error
            running.stop()
            continue
        if interrupt is not None:
            raise interrupt
        return outcome

"""The way of a run, on one screen: choose the nodes, prepare the run, execute it."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING

from rpd.collect.imports import importer_of
from rpd.config import Config
from rpd.errors import ExitCode
from rpd.hooks import PluginManager
from rpd.pipeline.backend import Backend
from rpd.pipeline.caller import Caller
from rpd.pipeline.collect_and_select import Gathered
from rpd.pipeline.execute_run import execute
from rpd.pipeline.prepare import Chosen, choose, prepare
from rpd.redaction import Redactor
from rpd.stop import StopLevel
from rpd.values.frozen import frozen
from rpd.values.report import RunSummary

if TYPE_CHECKING:
    from rpd.pipeline.resume import Resumed


@frozen
class Ended:
    """The end of an invocation; ``summary`` is None if nothing was run."""

    exit_code: ExitCode
    gathered: Gathered
    summary: RunSummary | None = None


def run(
    config: Config,
    manager: PluginManager,
    redactor: Redactor,
    resumed: Resumed | None = None,
    caller: Caller | None = None,
) -> Ended:
    """Run jobs live, on an emulator, or dry; ``redactor`` learns every secret of the run.

    With ``resumed``, resume an earlier run instead of starting a new one. May be called on any thread, and
    several times at once, each time with its own arguments; ``caller`` has everything that belongs to the
    process. Raise UsageError and AuthError before anything is created.
    """
    caller = caller or Caller()
    # Context variables (job defaults, the run of a thread) end with the run.
    return copy_context().run(_run, config, manager, redactor, resumed, caller)


def _run(
    config: Config, manager: PluginManager, redactor: Redactor, resumed: Resumed | None, caller: Caller
) -> Ended:
    with importer_of(manager, config.rootdir).in_use():
        return _carry_out(config, manager, redactor, resumed, caller)


def _carry_out(
    config: Config, manager: PluginManager, redactor: Redactor, resumed: Resumed | None, caller: Caller
) -> Ended:
    chosen = choose(config, manager, redactor, resumed)
    if chosen.exit_code is not None:
        return Ended(exit_code=chosen.exit_code, gathered=chosen.gathered)
    backend = _backend(config, manager, caller)
    try:
        return _prepare_and_execute(config, manager, redactor, backend, chosen, caller, resumed)
    finally:
        backend.close()


def _prepare_and_execute(
    config: Config,
    manager: PluginManager,
    redactor: Redactor,
    backend: Backend,
    chosen: Chosen,
    caller: Caller,
    resumed: Resumed | None,
) -> Ended:
    with backend.among_others():
        prepared = prepare(config, manager, redactor, backend, chosen, caller, resumed)
        if prepared is None or caller.stop.level is not StopLevel.NONE:
            return Ended(exit_code=ExitCode.INTERRUPTED, gathered=chosen.gathered)
        exit_code, summary = execute(prepared)
    return Ended(exit_code=exit_code, gathered=chosen.gathered, summary=summary)


def _backend(config: Config, manager: PluginManager, caller: Caller) -> Backend:
    if config.run.dry_run:
        from rpd.pipeline.dry_run_backend import backend_for

        return backend_for(config, manager, caller)
    from rpd.pipeline.live_backend import LiveBackend

    return LiveBackend(config, manager, owns_process=caller.owns_process)

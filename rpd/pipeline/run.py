"""The way of a run, on one screen: choose the nodes, prepare the run, execute it."""

from __future__ import annotations

from dataclasses import dataclass

from rpd.config import Config
from rpd.errors import ExitCode
from rpd.hooks import PluginManager
from rpd.pipeline.backend import Backend
from rpd.pipeline.collect_and_select import Gathered
from rpd.pipeline.execute_run import execute
from rpd.pipeline.prepare import choose, prepare
from rpd.pipeline.resume import Resumed
from rpd.redaction import Redactor
from rpd.values.report import RunSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an invocation ended; ``summary`` is None where nothing was run."""

    exit_code: ExitCode
    gathered: Gathered
    summary: RunSummary | None = None


def run(config: Config, manager: PluginManager, redactor: Redactor, resumed: Resumed | None = None) -> Ended:
    """Run jobs live, on an emulator, or dry; ``redactor`` learns every secret of the run.

    With ``resumed`` an earlier run goes on instead of a new one. Raises UsageError and AuthError; then nothing was
    created.
    """
    chosen = choose(config, manager, redactor, resumed)
    if chosen.exit_code is not None:
        return Ended(exit_code=chosen.exit_code, gathered=chosen.gathered)
    backend = Backend(config, manager)
    try:
        prepared = prepare(config, manager, redactor, backend, chosen, resumed)
        if prepared is None:
            return Ended(exit_code=ExitCode.INTERRUPTED, gathered=chosen.gathered)
        exit_code, summary = execute(prepared)
    finally:
        backend.close()
    return Ended(exit_code=exit_code, gathered=chosen.gathered, summary=summary)

"""``rpd logs``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rpd.cli.command_options import LogsOptions
from rpd.cli.log_file import LogFile
from rpd.cli.output import RawOutput, note
from rpd.cli.provider_session import account
from rpd.cli.run_logs import print_all
from rpd.config import Config
from rpd.errors import ExitCode, ProviderError, RpdError, UsageError, code_in_words
from rpd.hooks import PluginManager
from rpd.journal.files import NodeFiles
from rpd.pipeline import connect_to_node
from rpd.pipeline.connect_to_node import LastCommand, NotBegun, Work
from rpd.pipeline.past_runs import run_named
from rpd.record.lookup import NodeEntry
from rpd.record.run_info import RunInfo
from rpd.redaction import Redactor

LOOK_SECONDS = 0.2
"""How often a growing file is looked at."""
WAITING_SECONDS = 1.0
"""How often it is asked whether a node has begun: each time the run's journal is read."""
IMPATIENCE_SECONDS = 5.0
"""How often it is asked whether the process that writes the log is still there."""


def main(config: Config, manager: PluginManager) -> int:
    """Print the log of a node, or of a whole run; with ``-f`` continue until the node or the run is over."""
    own: LogsOptions = config.own
    del manager
    if len(config.args) > 1:
        raise UsageError(
            "rpd logs takes one node, or none for all of a run (rpd show lists those of the newest run)"
        )
    if not config.args:
        info = run_named(config.invocation_dir, config.runs_path, own.of_run)
        return print_all(Path(info.folder), last_lines=own.last_lines, follow=own.follow)
    try:
        info, entry = node_named(config.runs_path, config.args[0], own)
    except KeyboardInterrupt:
        return ExitCode.OK
    out = RawOutput()
    log = LogFile(NodeFiles(entry.folder).output, out.write)
    try:
        if own.last_lines is not None:
            log.skip_to_last(own.last_lines)
        log.print_new()
        if own.follow:
            _follow(config, Path(info.folder), entry, log)
    except KeyboardInterrupt:
        return ExitCode.OK
    finally:
        out.close()
    return ExitCode.OK


def node_named(runs_path: Path, wanted: str, own: LogsOptions) -> tuple[RunInfo, NodeEntry]:
    """Return a node and its run. With ``-f``, wait for a node that has not begun. Raise UsageError."""
    try:
        return connect_to_node.node_named(runs_path, wanted, own.of_run)
    except NotBegun as error:
        run, folder = error.run.id, Path(error.run.folder)
        if not own.follow or not connect_to_node.is_driven(folder):
            raise
        _say(f"{error.node_id} has not begun yet in run {run}; waiting for it")
    asked_at = time.monotonic()
    while time.monotonic() - asked_at < IMPATIENCE_SECONDS or connect_to_node.is_driven(folder):
        if time.monotonic() - asked_at >= IMPATIENCE_SECONDS:
            asked_at = time.monotonic()
        with suppress(NotBegun):
            return connect_to_node.node_named(runs_path, wanted, run)
        time.sleep(WAITING_SECONDS)
    return connect_to_node.node_named(runs_path, wanted, run)


def _follow(config: Config, run_folder: Path, entry: NodeEntry, log: LogFile) -> None:
    """Go on while the run's process writes the file; where that is gone and the node is not over, follow the pod."""
    asked_at = -IMPATIENCE_SECONDS
    journal = _Changes(NodeFiles(entry.folder).journal)
    work = Work()
    while True:
        if journal.changed():
            work = connect_to_node.work_of(entry.folder)
        log.print_new()
        if work.is_over and entry.report is not None:
            log.print_new()
            return
        if time.monotonic() - asked_at >= IMPATIENCE_SECONDS:
            if not connect_to_node.is_driven(run_folder):
                break
            asked_at = time.monotonic()
        time.sleep(LOOK_SECONDS)
    log.print_new()
    _follow_on_pod(config, run_folder.name, entry, work, log)


class _Changes:
    """Tells whether a file has grown since it was asked last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = -1

    def changed(self) -> bool:
        size = self._path.stat().st_size if self._path.exists() else 0
        changed, self._size = size != self._size, size
        return changed


def _follow_on_pod(config: Config, run_id: str, entry: NodeEntry, work: Work, log: LogFile) -> None:
    """Follow the command that runs on the pod without a driver, from the byte where the file ends."""
    command = work.command
    if command is None or not command.key or command.is_over:
        _say(f"run {run_id} is not running, and neither is a command of {entry.id}: rpd resume {run_id}")
        return
    try:
        with account(
            config, connect_to_node.local_backend_of(config.runs_path, entry.id, run=run_id)
        ) as provider:
            target = connect_to_node.find(config.runs_path, entry.id, provider, run=run_id)
            remote = connect_to_node.open_remote(target, provider)
            _say(f"run {run_id} is not running; following its command on pod {target.pod.id}")
            try:
                ended = remote.follow(command.key, *_from(command, log))
            finally:
                remote.close()
    except ProviderError:
        raise
    except RpdError as error:
        _say(str(error))
        return
    _say(
        f"the command ended with exit code {code_in_words(ended.exit_code)}; rpd resume {run_id} resumes the run"
    )


def _from(command: LastCommand, log: LogFile) -> tuple[int, Callable[[bytes], None]]:
    """Return the byte of the command's log to start from, and the function that takes its bytes.

    ``output.log`` has secrets masked, so its length equals the log's only without secrets; with secrets the
    log is read from its start, masked by the values in this environment, and the part already in the file is
    skipped.
    """
    have = max(0, log.at - command.log_bytes)
    if not command.secrets:
        return have, log.write
    stream = Redactor([os.environ.get(name, "") for name in command.secrets]).stream()
    passed = 0

    def hear(data: bytes) -> None:
        nonlocal passed
        masked = stream.feed(data)
        fresh = masked[max(0, have - passed) :]
        passed += len(masked)
        if fresh:
            log.write(fresh)

    return 0, hear


def _say(text: str) -> None:
    note(f"rpd: {text}")

"""``rpd logs`` without a node: the logs of a whole run, each line after the name of its node."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from rpd.cli.log_file import LogFile
from rpd.cli.output import RawOutput, note
from rpd.disk.regular import folders_in
from rpd.errors import ExitCode
from rpd.journal.files import NodeFiles
from rpd.pipeline.connect_to_node import is_driven
from rpd.record import lookup

_LOOK_SECONDS = 0.2
_DRIVEN_SECONDS = 2.0
"""How often it is asked whether the process of the run is still there."""
_LONGEST_LINE = 1 << 16
"""A line that has no end by then is printed in pieces."""


class NamedLines:
    """Whole lines of one log, with its name before each. Of a progress bar only its last state is left."""

    def __init__(self, name: str, out: RawOutput) -> None:
        self._head = f"{name} | ".encode(errors="surrogateescape")
        self._out = out
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Print the lines that are whole with ``data``."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        self._out.write(b"".join(map(self._line, lines)))

    def end(self) -> None:
        """Print the last line, which has no newline."""
        if self._rest:
            self.write(b"\n")

    def _line(self, line: bytes) -> bytes:
        return self._head + line.rstrip(b"\r").rpartition(b"\r")[2] + b"\n"


class _Logs:
    """The logs of the nodes of a run, those that begin later too."""

    def __init__(self, folder: Path, out: RawOutput, last_lines: int | None) -> None:
        self._folder = folder
        self._out = out
        self._last_lines = last_lines
        self._changed_at = -1
        self._logs: dict[Path, tuple[LogFile, NamedLines]] = {}

    def print_new(self) -> None:
        """Print the text added to any log since the last call, node by node in the order they started."""
        changed_at = self._folder.stat().st_mtime_ns
        if changed_at != self._changed_at:  # a new node's folder changes this one's time
            # A folder without a journal belongs to a node that is just starting: look again.
            self._changed_at = changed_at if self._add() else -1
        for log, _ in self._logs.values():
            log.print_new()

    def end(self) -> None:
        """Print the lines that have no end."""
        for _, lines in self._logs.values():
            lines.end()

    def _add(self) -> bool:
        """Add the nodes that began meanwhile; return whether every folder is that of a known node."""
        folders, entries = folders_in(self._folder), lookup.entries(self._folder)
        names = Counter(entry.id.rpartition("::")[2] for entry in entries)
        for entry in entries:
            if entry.folder not in self._logs:
                short = entry.id.rpartition("::")[2]
                lines = NamedLines(short if names[short] == 1 else entry.id, self._out)
                log = LogFile(NodeFiles(entry.folder).output, lines.write)
                if self._last_lines is not None:
                    log.skip_to_last(self._last_lines)
                self._logs[entry.folder] = log, lines
        return len(entries) == len(folders)


def print_all(folder: Path, *, last_lines: int | None, follow: bool) -> ExitCode:
    """Print the logs of a run, the last lines of each if ``last_lines`` says how many; ``follow`` it to its end."""
    out = RawOutput()
    logs = _Logs(folder, out, last_lines)
    asked_at = 0.0
    try:
        while follow and (time.monotonic() - asked_at < _DRIVEN_SECONDS or is_driven(folder)):
            if time.monotonic() - asked_at >= _DRIVEN_SECONDS:
                asked_at = time.monotonic()
            logs.print_new()
            time.sleep(_LOOK_SECONDS)
        logs.print_new()
        logs.end()
    except KeyboardInterrupt:
        return ExitCode.OK
    finally:
        out.close()
    if not lookup.entries(folder):
        note(f"rpd: no node of run {folder.name} has begun")
    return ExitCode.OK

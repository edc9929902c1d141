"""The log of a running node: its output, the load of its pods, the actions of their watchdogs."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rpd.events import Events
from rpd.execute.node.output_log import Follow, OutputLog
from rpd.journal.files import NodeFiles
from rpd.redaction import Redactor
from rpd.values.frozen import replace
from rpd.values.late_pattern import late_pattern
from rpd.values.node import Node
from rpd.values.telemetry import Sample

MARK = b"::rpd-step"
"""Prefix of an output line by which a command announces its current part."""
TAIL_LINES = 20
LONGEST_LINE = 16 << 10

_MARK_LINE = late_pattern(re.escape(MARK) + rb"(?: (.{0,200}))?\r?")

Unwritten = Callable[[Path, OSError, str], object]
"""Called with the file that could not be written, the error, and the fate of the content."""


def _nobody(_path: Path, _error: OSError, _then: str) -> None:
    """Do nothing."""


def _no_room(unwritten: Unwritten, path: Path, error: OSError) -> None:
    unwritten(path, error, "the command continues; its log is fetched from the pod once there is room")


def _end_of(text: bytes) -> bytes:
    """Return the part of ``text`` that may be in a tail, so that not all of a long output is split into lines."""
    at = len(text)
    for _ in range(TAIL_LINES + 1):
        at = text.rfind(b"\n", 0, at)
        if at < 0:
            return text
    return text[at + 1 :]


class NodeLog:
    """The output of one node: masked, it goes to ``output.log``, to the tail and to plugins."""

    def __init__(
        self,
        node: Node,
        files: NodeFiles,
        events: Events,
        redactor: Redactor,
        *,
        unwritten: Unwritten = _nobody,
    ) -> None:
        self._node = node
        self._files = files
        self._events = events
        self._redactor = redactor
        self._masked = redactor.stream()
        self._unwritten = unwritten
        output = files.output
        self._file = OutputLog(output, partial(_no_room, unwritten, output))
        self._line = b""
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._is_over = False
        self._appending = threading.Lock()
        self.hear_mark: Callable[[str], None] | None = None
        """Called with the name of each part that a command announces; with an empty text when the part is over."""

    # --- output -----------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Take raw output."""
        self._emit(self._masked.feed(data))

    def flush(self) -> None:
        """Write the text that was held back because it could be the start of a secret."""
        self._emit(self._masked.flush())

    def _emit(self, data: bytes) -> None:
        if not data:
            return
        self._file.write(data)
        text, hear_mark = self._line + data, self.hear_mark
        is_marked = hear_mark is not None and MARK in text
        *lines, line = (text if is_marked else _end_of(text)).split(b"\n")
        # A line may never end. The tail keeps only as much of it as a person may want to see.
        self._line = line[-LONGEST_LINE:]
        self._tail.extend(line[-LONGEST_LINE:] for line in lines[-TAIL_LINES:])
        self._events.step_output(node=self._node, data=data)
        if hear_mark is not None and is_marked:
            for mark in filter(None, map(_MARK_LINE.fullmatch, lines)):
                hear_mark((mark[1] or b"").decode(errors="replace").strip())

    @property
    def tail(self) -> tuple[str, ...]:
        """The last 20 lines of output; of a line rewritten with carriage returns, the last version."""
        lines = [*self._tail, self._line] if self._line else list(self._tail)
        return tuple(
            line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace") for line in lines[-TAIL_LINES:]
        )

    @property
    def size(self) -> int:
        """The size of ``output.log`` in bytes."""
        if not self._files.output.exists():
            return 0
        return self._files.output.stat().st_size

    def begin(self, follow: Follow) -> None:
        """Note that the output of a command comes next; ``follow`` fetches it from the pod again."""
        self._file.begin(follow)

    def cut(self, length: int) -> None:
        """Cut ``output.log`` to ``length`` bytes: the step is followed from its first byte again."""
        if self._files.output.exists():
            with self._files.output.open("r+b") as log:
                log.truncate(length)

    @property
    def missing_bytes(self) -> int:
        """Bytes of output that are not in ``output.log`` because the disk was full."""
        return self._file.missed_bytes

    def mend(self) -> None:
        """Fetch the output that a full disk kept out of ``output.log``, if there is room by now."""
        if self._file.missed_bytes:
            self._file.mend(self._redactor)

    def settle(self) -> None:
        """Bring ``output.log`` to the disk: the pod's copy is deleted next."""
        try:
            self._file.settle()
        except OSError as error:
            self._unwritten(self._files.output, error, "a part of it may be missing after a power cut")

    # --- other files than the output --------------------------------------------------------------------------------

    def telemetry(self, sample: Sample, gpus: tuple[int, ...] = (), *, rank: int = 0) -> None:
        """Keep the load of a pod; of its GPUs only those in ``gpus`` (empty: all). Called on other threads, too.

        ``rank`` is the pod's place among the pods of the node; pods after the first have separate files.
        """
        if gpus:
            sample = replace(sample, gpus=tuple(gpu for gpu in sample.gpus if gpu.index in gpus))
        with self._appending:
            if self.is_closed:
                return
            line = json.dumps(sample.to_json(), separators=(",", ":"))
            path = self._files.telemetry
            if rank:
                path = path.with_name(f"{path.stem}-rank{rank}{path.suffix}")
            self._append(path, line, "samples are left out")
        if not rank:
            self._events.telemetry(node=self._node, sample=sample)

    def trace(self, line: str) -> None:
        """Keep a line of the pod's watchdog. Called on other threads, too."""
        with self._appending:
            if not self.is_closed:
                self._append(self._files.watchdog, self._redactor.text(line), "lines are left out")

    def keep_of_pod(self, name: str, text: str) -> str:
        """Keep a text about a pod; return its path relative to the run's folder, empty if it cannot be written."""
        path = self._files.of_pods / name
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            path.write_text(f"{self._redactor.text(text)}\n", encoding="utf-8")
        except OSError as error:
            self._unwritten(path, error, "it is left out")
            return ""
        return f"{path.parent.name}/{name}"

    @property
    def has_diagnosis(self) -> bool:
        """Whether a diagnosis of one of its commands is kept."""
        return self._files.diagnosis.exists()

    def keep_diagnosis(self, text: bytes) -> str:
        """Keep the diagnosis of a command that hung; return its path relative to the run's folder."""
        self._append(
            self._files.diagnosis, self._redactor.text(text.decode(errors="replace")), "it is left out"
        )
        return f"{self._files.folder.name}/{self._files.diagnosis.name}"

    def _append(self, path: Path, line: str, otherwise: str) -> None:
        """Append a line to a file that the run can do without."""
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            self._unwritten(path, error, otherwise)

    # --- the end ----------------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether the node is over."""
        return self._is_over

    def close(self) -> None:
        """Take no more telemetry, and close the file; late output opens it again."""
        with self._appending:
            self._is_over = True
        self.flush()
        self._file.close()
        self.hear_mark = None  # who hears it knows the log: both would wait for Python's collector


class DryLog(NodeLog):
    """The log of a dry run: no command prints anything, and nothing is written."""

    def __init__(self, *_: object, **__: object) -> None:
        self.hear_mark = None
        self._is_over = False

    def write(self, data: bytes) -> None:
        pass

    def flush(self) -> None:
        pass

    @property
    def tail(self) -> tuple[str, ...]:
        return ()

    @property
    def missing_bytes(self) -> int:
        return 0

    def mend(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def close(self) -> None:
        self._is_over = True

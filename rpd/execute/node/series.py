"""The series of a node: metrics of its running commands, received, stored and summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from rpd.events import Events
from rpd.journal import series
from rpd.journal.files import NodeFiles
from rpd.redaction import Redactor
from rpd.values.node import Node
from rpd.values.report import SeriesRecord
from rpd.values.safe_text import plain
from rpd.values.series import LONGEST_LINE, LinePatterns, Point, points_of

MOST_BYTES = 16 << 20
"""Of the file of one node; the values after that are heard and not kept."""
MOST_READ = 64 << 20
"""Of what one command writes; a pod is not trusted with this machine's time."""
MOST_SERIES = 200
LONGEST_SHOWN = 80
"""Characters of a line that is not understood."""
LONGEST_OUTPUT_LINE = 4096
"""Characters of a line of output in which values are looked for."""

Ask = Callable[[str, float, float], None]
"""Hears name, step and value of each point, and may have the command ended."""


class NodeSeries:
    """Takes what the commands of one attempt write. ``ask`` hears each value after the plugins did."""

    def __init__(
        self,
        node: Node,
        files: NodeFiles,
        events: Events,
        redactor: Redactor,
        *,
        attempt: int = 1,
        ask: Ask = lambda _name, _step, _value: None,
        unwritten: Callable[[Path, OSError, str], object] = lambda _path, _error, _then: None,
    ) -> None:
        self._node = node
        self._path = files.series
        self._events = events
        self._redactor = redactor
        self._attempt = attempt
        self._ask = ask
        self._unwritten = unwritten
        self._is_heard = events.is_heard("metric")
        self._records: dict[str, SeriesRecord] | None = None
        self._counts: Counter[str] = Counter()
        """By name: how many values came without a step."""
        self._patterns: LinePatterns | None = None
        self._told: set[str] = set()
        self.is_resumed = False
        """Whether an earlier process heard values of the node, which plugins have not heard in this one."""
        self._forget_command()

    # --- what comes ---------------------------------------------------------------------------------------------------

    def begin(self, patterns: Iterable[str] = ()) -> None:
        """Say that a command begins, in whose output ``patterns`` find values."""
        self._forget_command()
        self._patterns = LinePatterns(patterns) if patterns else None
        if self.is_resumed:
            self.is_resumed = False
            self._recall()

    def _forget_command(self) -> None:
        self._patterns = None
        self._line = self._output_line = b""
        self._read = self._number = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file ``$RPD_METRICS`` of the command."""
        self._read += len(data)
        if self._read > MOST_READ:
            self._tell(
                "much", f"it writes more than {MOST_READ >> 20} MB of metrics; the rest is passed over"
            )
            return
        *whole, self._line = (self._line + data).split(b"\n")
        # A line need not end: of one that is too long only so much is kept as shows that.
        self._line = self._line[: LONGEST_LINE + 1]
        self._take(point for line in whole for point in self._points(line))

    def hear_output(self, data: bytes) -> None:
        """Take the next bytes of its output."""
        if self._patterns is not None:
            *whole, self._output_line = (self._output_line + data).split(b"\n")
            self._output_line = self._output_line[-LONGEST_OUTPUT_LINE:]
            self._take(point for line in whole for point in self._points_of_output(self._patterns, line))

    def end(self) -> None:
        """Take what is left where the command is over: a last line that does not end."""
        rest, self._line = self._line, b""
        self._take(self._points(rest))
        rest, self._output_line = self._output_line, b""
        if self._patterns is not None:
            self._take(self._points_of_output(self._patterns, rest))

    def _points_of_output(self, patterns: LinePatterns, line: bytes) -> Iterator[Point]:
        # What a progress bar wrote over is not what stands there.
        text = line[-LONGEST_OUTPUT_LINE:].rstrip(b"\r").rpartition(b"\r")[2]
        return patterns.points_of(text.decode(errors="replace"))

    def _points(self, line: bytes) -> list[Point]:
        self._number += 1
        try:
            return points_of(line)
        except ValueError as error:
            if "line" in self._told:
                return []
            shown = self._redactor.text(plain(line.decode(errors="replace")))[:LONGEST_SHOWN]
            self._tell(
                "line",
                f"line {self._number} of its metrics is passed over, and others like it: {error}: {shown}",
            )
            return []

    def _take(self, read: Iterable[Point]) -> None:
        points = [each for point in read if (each := self._admitted(point)) is not None]
        if points:
            self._keep(points)
        for name, step, value in points:
            if self._is_heard:
                self._events.metric(node=self._node, name=name, step=step, value=value)
            self._ask(name, step, value)

    def _admitted(self, point: Point) -> tuple[str, float, float] | None:
        """Return a point with its step, counted in the summary; None where there are too many series."""
        records, name = self._summary(), self._redactor.text(point.name)
        if name not in records and len(records) >= MOST_SERIES:
            self._tell(
                "names", f"it writes more than {MOST_SERIES} series; {name} and others are passed over"
            )
            return None
        step = point.step
        if step is None:
            step = self._counts[name]
            self._counts[name] += 1
        records[name] = records.get(name, SeriesRecord()).with_point(step, point.value)
        return name, step, point.value

    def _tell(self, kind: str, text: str) -> None:
        """Say what is wrong, once of each kind."""
        if kind not in self._told:
            self._told.add(kind)
            self._events.notice(self._redactor.text(f"{self._node.id}: {text}"))

    # --- the file -----------------------------------------------------------------------------------------------------

    def _keep(self, points: list[tuple[str, float, float]]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = "".join(
            f"{series.text_of(series.Line(step, self._attempt, values), at)}\n"
            for step, values in _by_step(points)
        )
        if self.size + len(text) > MOST_BYTES:
            self._tell(
                "size", f"{self._path.name} has {MOST_BYTES >> 20} MB; what comes after is heard and not kept"
            )
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            self._unwritten(self._path, error, "metrics are left out")

    @property
    def size(self) -> int:
        """How many bytes its file has."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def cut(self, length: int) -> None:
        """Forget what a command wrote that is followed from its first byte again."""
        if self.size > length:
            with self._path.open("r+b") as file:
                file.truncate(length)
        self._records = None

    def restart(self) -> None:
        """Count values without a step from 0 again: what was done is done anew."""
        self._summary()
        self._counts.clear()

    def _recall(self) -> None:
        """Let plugins hear what the steps of an earlier process wrote."""
        for line in series.lines(self._path):
            for name, _, value in series.points(line):
                self._events.metric(node=self._node, name=name, step=line.step, value=value)

    # --- the summary --------------------------------------------------------------------------------------------------

    def _summary(self) -> dict[str, SeriesRecord]:
        """Return the records, with what an earlier process or attempt wrote."""
        if self._records is None:
            self._records = {}
            self._counts.clear()
            for line in series.lines(self._path):
                for name, _, value in series.points(line):
                    self._records[name] = self._records.get(name, SeriesRecord()).with_point(line.step, value)
                    self._counts[name] += line.attempt == self._attempt
        return self._records

    @property
    def records(self) -> dict[str, SeriesRecord]:
        """What each series came to."""
        return dict(self._summary())


def _by_step(
    points: list[tuple[str, float, float]],
) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield neighbouring points of one step together; a name that comes twice begins anew."""
    for step, group in groupby(points, key=lambda point: point[1]):
        values: dict[str, float] = {}
        for name, _, value in group:
            if name in values:
                yield step, values
                values = {}
            values[name] = value
        yield step, values


class NoSeries(NodeSeries):
    """The series of a dry run: no command writes any."""

    def __init__(self, *_: object, **__: object) -> None:
        self.is_resumed = False

    def cut(self, length: int) -> None:
        pass

    @property
    def records(self) -> dict[str, SeriesRecord]:
        return {}

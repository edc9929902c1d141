"""The series of a node: metrics that its running commands write, received, stored and summarised."""

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
"""Largest file of one node's series, in bytes; later values reach plugins but are not stored."""
MOST_READ = 64 << 20
"""Most bytes of metrics read from one command: a pod must not be able to keep this machine busy."""
MOST_SERIES = 200
LONGEST_SHOWN = 80
"""Characters shown of a line that cannot be parsed."""
LONGEST_OUTPUT_LINE = 4096
"""Characters of an output line that are searched for values."""

Ask = Callable[[str, float, float], None]
"""Takes name, step and value of each point, and may end the command."""


class NodeSeries:
    """Receives the metrics of one attempt's commands. ``ask`` gets each value after the plugins."""

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
        self._records: dict[str, SeriesRecord] | None = None if attempt > 1 else {}
        """None while the file has to be read for them; in a first attempt there is none."""
        self._counts: Counter[str] = Counter()
        """By name: the number of values that came without a step."""
        self._patterns: LinePatterns | None = None
        self._told: set[str] = set()
        self._is_untold = False
        """Whether an earlier process received values that plugins of this process have not seen."""
        self._forget_command()

    def resume(self) -> None:
        """Go on with the file of an earlier process."""
        self._is_untold = True
        self._records = None

    # --- incoming measurements --------------------------------------------------------------------------------------

    def begin(self, patterns: Iterable[str] = ()) -> None:
        """Note that a command starts; ``patterns`` find values in its output."""
        self._forget_command()
        self._patterns = LinePatterns(patterns) if patterns else None
        if self._is_untold:
            self._is_untold = False
            self._recall()

    def _forget_command(self) -> None:
        self._patterns = None
        self._line = self._output_line = b""
        self._read = self._number = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the command's ``$RPD_METRICS`` file."""
        self._read += len(data)
        if self._read > MOST_READ:
            self._tell("much", f"it writes more than {MOST_READ >> 20} MB of metrics; the rest is ignored")
            return
        *whole, self._line = (self._line + data).split(b"\n")
        # A line may never end. Keep just enough of it to see that it is too long.
        self._line = self._line[: LONGEST_LINE + 1]
        self._take(point for line in whole for point in self._points(line))

    def hear_output(self, data: bytes) -> None:
        """Take the next bytes of its output."""
        if self._patterns is not None:
            *whole, self._output_line = (self._output_line + data).split(b"\n")
            self._output_line = self._output_line[-LONGEST_OUTPUT_LINE:]
            self._take(point for line in whole for point in self._points_of_output(self._patterns, line))

    def end(self) -> None:
        """Take the rest when the command is over: a last line without a line end."""
        rest, self._line = self._line, b""
        self._take(self._points(rest))
        rest, self._output_line = self._output_line, b""
        if self._patterns is not None:
            self._take(self._points_of_output(self._patterns, rest))

    def _points_of_output(self, patterns: LinePatterns, line: bytes) -> Iterator[Point]:
        # A progress bar overwrites its line: only the last version counts.
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
                f"line {self._number} of its metrics is ignored, and so are others like it: {error}: {shown}",
            )
            return []

    def _take(self, read: Iterable[Point]) -> None:
        points = [each for point in read if (each := self._admitted(point)) is not None]
        if points:
            self._keep(points)
        is_heard = self._events.is_heard("metric")
        for name, step, value in points:
            if is_heard:
                self._events.metric(node=self._node, name=name, step=step, value=value)
            self._ask(name, step, value)

    def _admitted(self, point: Point) -> tuple[str, float, float] | None:
        """Return a point with its step and add it to the summary; None if there are too many series."""
        records, name = self._summary(), self._redactor.text(point.name)
        if name not in records and len(records) >= MOST_SERIES:
            self._tell("names", f"it writes more than {MOST_SERIES} series; {name} and others are ignored")
            return None
        step = point.step
        if step is None:
            step = self._counts[name]
            self._counts[name] += 1
        records[name] = records.get(name, SeriesRecord()).with_point(step, point.value)
        return name, step, point.value

    def _tell(self, kind: str, text: str) -> None:
        """Report a problem, once per kind."""
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
            self._tell("size", f"{self._path.name} has {MOST_BYTES >> 20} MB; later values are not kept")
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            self._unwritten(self._path, error, "metrics are left out")

    @property
    def size(self) -> int:
        """The size of its file in bytes."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def cut(self, length: int) -> None:
        """Cut the file to ``length`` bytes: the command is followed from its first byte again."""
        if self.size > length:
            with self._path.open("r+b") as file:
                file.truncate(length)
        self._records = None

    def restart(self) -> None:
        """Count values without a step from 0 again: finished steps are repeated."""
        self._summary()
        self._counts.clear()

    def _recall(self) -> None:
        """Send plugins the values that steps of an earlier process wrote."""
        for line in series.lines(self._path):
            for name, _, value in series.points(line):
                self._events.metric(node=self._node, name=name, step=line.step, value=value)

    # --- the summary --------------------------------------------------------------------------------------------------

    def _summary(self) -> dict[str, SeriesRecord]:
        """Return the records, including the values of earlier processes and attempts."""
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
        """The summary of each series, by name."""
        return dict(self._summary())


def _by_step(
    points: list[tuple[str, float, float]],
) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield neighbouring points of one step together; a repeated name starts a new group."""
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
        pass

    def resume(self) -> None:
        pass

    def cut(self, length: int) -> None:
        pass

    @property
    def records(self) -> dict[str, SeriesRecord]:
        return {}

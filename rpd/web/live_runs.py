"""Watches growing run folders, and sends only changes to the page."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from rpd.disk.regular import folders_in, open_regular
from rpd.errors import RpdError
from rpd.journal import journal
from rpd.journal.files import NodeFiles, folder_name
from rpd.pipeline.past_runs import Overview, PastRun, RunState, overview
from rpd.record import history, manifest
from rpd.record import run_info as run_file
from rpd.values.report import NodeReport
from rpd.web.document import Detail, Document, Table, planned
from rpd.web.run_folders import Driver, read_info

MOST_RUNS = 500
"""Runs that are offered, the newest first."""
LOG_BYTES = 256 << 10
"""Of a log that is opened, its end."""

_Stamp = tuple[int, ...]


def _stamp(*paths: Path) -> _Stamp:
    """Return a value that changes whenever one of the files does."""
    numbers: list[int] = []
    for path in paths:
        try:
            status = path.lstat()
        except OSError:
            numbers.append(-1)
            continue
        numbers += (status.st_mtime_ns, status.st_size, status.st_ino)
    return tuple(numbers)


class LiveRuns:
    """The runs that are served: those in a folder of run folders, or one run folder alone.

    Raises nothing once it is made; ``place`` may not exist yet.
    """

    def __init__(self, place: Path, *, is_run: bool) -> None:
        self._place = place
        self._is_run = is_run
        self._over: dict[str, tuple[_Stamp, Table]] = {}

    def listed(self) -> list[Table]:
        """Return a line for each run, the newest first: its id, its state, and how far it has come."""
        if self._is_run:
            info = read_info(self._place, [])
            return [self._line_of(overview(info))]
        folders = sorted(folders_in(self._place), key=lambda folder: folder.name, reverse=True)
        return [line for folder in folders[:MOST_RUNS] if (line := self._line(folder)) is not None]

    def _line(self, folder: Path) -> Table | None:
        """Return the line of a run, None for another folder; a run that is over is read once."""
        stamp = _stamp(folder / run_file.FILE_NAME)
        cached = self._over.get(folder.name)
        if cached is not None and cached[0] == stamp:
            return cached[1]
        info = history.run_in(folder)
        if info is None:
            return None
        line = self._line_of(overview(info))
        if line["state"] == RunState.FINISHED:
            self._over[folder.name] = (stamp, line)
        return line

    def _line_of(self, info: Overview) -> Table:
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in info.outcomes.items())
        return {
            "id": Path(info.info.folder).name,  # by which it is asked for; the run file may say another
            "state": Driver(Path(info.info.folder)).state(info.info, []).value,
            "usd": round(info.usd, 6),
            "summary": outcomes or "no node has ended",
        }

    def folder(self, run_id: str) -> Path | None:
        """Return the folder of a run that is served; None for any other name."""
        if self._is_run:
            return self._place if run_id == self._place.name else None
        return next((path for path in folders_in(self._place) if path.name == run_id), None)


class LiveRun:
    """One run that is watched: the whole document first, then changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._driver = Driver(folder)
        self._document = Document(address=_address)
        self._stamps: dict[str, _Stamp] = {}
        self._over: dict[str, NodeReport] = {}
        self._planned: list[str] = []
        self._notes: dict[str, None] = {}
        self._run: Table = {}

    def document(self) -> Table:
        """Return the document as it is now."""
        # Once and for all: with the index of the run, ten thousand manifests are read in a second.
        reports = history.reports(self._folder, keep=False)
        nodes = self._look({Path(report.folder).name: report for report in reports})
        made = self._document.of([], ())
        return {
            **made,
            "title": self._run["id"],
            "runs": [self._run],
            "nodes": nodes,
            "studies": self._document.studies(str(self._folder), 0),
            "notes": list(self._notes),
        }

    def changes(self) -> Table | None:
        """Return the changed nodes, with the run; None if nothing changed."""
        before = (self._run, len(self._notes))
        nodes = self._look({})
        if not nodes and before == (self._run, len(self._notes)):
            return None
        now = round(datetime.now(UTC).timestamp(), 3)
        return {
            "runs": [self._run],
            "nodes": nodes,
            "studies": self._document.studies(str(self._folder), 0) if nodes else None,
            "notes": list(self._notes),
            "made": now,
        }

    def _look(self, read: Mapping[str, NodeReport]) -> list[Table]:
        """Return the nodes that changed; ``read`` has the reports that were read just now, by folder."""
        notes: list[str] = []
        info = read_info(self._folder, notes)
        state = self._driver.state(info, notes)
        if not self._planned:
            self._planned = planned(self._folder)
        nodes = list(self._nodes(read, is_running=state is RunState.RUNNING))
        run = PastRun(info=info, state=state, reports=tuple(self._over.values()))
        document = self._document.run(run)
        if state is RunState.RUNNING:
            document["seconds"] = 0  # counted by the page itself
        self._run = document
        self._notes |= dict.fromkeys(map(self._document.clean.text, notes))
        return nodes

    def _nodes(self, read: Mapping[str, NodeReport], *, is_running: bool) -> Iterator[Table]:
        """Yield the nodes that changed since the last look."""
        folders = {path.name: path for path in folders_in(self._folder)}
        detail = Detail.of(max(len(self._planned), len(folders)))
        by_folder = {folder_name(node_id): node_id for node_id in self._planned}
        for name in [*by_folder, *(name for name in folders if name not in by_folder)]:
            files = NodeFiles(self._folder / name)
            document = self._changed(
                name, by_folder.get(name, ""), files, detail, read.get(name), is_running=is_running
            )
            if document is not None:
                yield document

    def _changed(
        self,
        name: str,
        node_id: str,
        files: NodeFiles,
        detail: Detail,
        read: NodeReport | None,
        *,
        is_running: bool,
    ) -> Table | None:
        """Return the data of a node if its files changed since the last look, else None."""
        path = files.folder / manifest.FILE_NAME
        stamp = _stamp(path)
        if stamp == (-1,):
            # Not over: its state comes from its journal and measurements; while it works, time and money keep
            # growing.
            stamp = (int(is_running), *_stamp(files.journal, files.telemetry, files.series))
            if self._stamps.get(name) == stamp and not (is_running and stamp[1] != -1):
                return None
            node_id = node_id or _who(files)
            self._stamps[name] = stamp
            return self._document.begun(node_id, self._folder, 0, is_running=is_running) if node_id else None
        if self._stamps.get(name) == stamp:
            return None
        self._stamps[name] = stamp
        try:
            report = read or manifest.read(path)
        except RpdError as error:
            self._notes[self._document.clean.text(f"left out: {error}")] = None
            node_id = node_id or _who(files)
            return self._document.begun(node_id, self._folder, 0, is_running=False) if node_id else None
        self._over[name] = report
        return self._document.node(report, 0, detail)


def _address(folder: Path, name: str) -> str:
    """Return where the server has a file of a node."""
    return "/".join(["file", *map(quote, (folder.parent.name, folder.name)), quote(name.partition("/")[2])])


def _who(files: NodeFiles) -> str:
    """Return the id of the node in a folder, from its journal; empty if it is not recorded."""
    return next((str(event["node"]) for event in journal.read(files.journal) if event.get("node")), "")


class LiveLog:
    """The log of one node as it grows: whole lines, and the line that is being written, as a terminal leaves them."""

    def __init__(self, path: Path, document: Document) -> None:
        self._path = path
        self._clean = document.clean
        self._begin()

    def _begin(self) -> None:
        self._at = -1
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def look(self) -> list[tuple[str, str]]:
        """Return the news: ``begin`` if the log starts over, ``text`` of complete lines, last line as ``rest``."""
        events: list[tuple[str, str]] = []
        try:
            with open_regular(self._path) as file:
                size = file.seek(0, os.SEEK_END)
                if self._at < 0 or size < self._at:
                    self._begin()
                    self._at = max(0, size - LOG_BYTES)
                    events.append(("begin", ""))
                if size == self._at:
                    return events
                file.seek(self._at)
                data = file.read(LOG_BYTES)
        except OSError:
            return events
        self._at += len(data)
        *lines, self._line = (self._line + self._decoder.decode(data)).split("\n")
        self._line = self._line[-LOG_BYTES:]
        if lines:
            events.append(("text", "".join(f"{self._shown(line)}\n" for line in lines)))
        events.append(("rest", self._shown(self._line)))
        return events

    def _shown(self, line: str) -> str:
        return self._clean.text(line.rstrip("\r").rpartition("\r")[2])

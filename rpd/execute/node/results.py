"""The results of a node: metrics, artifacts, phases, and the files it sent to its pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rpd.disk.regular import read_regular
from rpd.errors import UsageError
from rpd.events import Events
from rpd.journal.files import NodeFiles
from rpd.uptime import uptime
from rpd.values.node import Node
from rpd.values.printable import tellable
from rpd.values.report import ArtifactRecord
from rpd.values.step import Pulled, Staged

METRICS_FILE = "metrics.json"
MOST_METRICS_BYTES = 1 << 20
"""Largest ``metrics.json`` that is read, in bytes; larger ones hold something else, since the manifest lists
all metrics.
"""


class _Timed:
    """Adds the time spent inside to a phase. A class: it is entered several times for each node."""

    __slots__ = ("_began", "_name", "_phases")

    def __init__(self, phases: dict[str, float], name: str) -> None:
        self._phases = phases
        self._name = name

    def __enter__(self) -> None:
        self._began = uptime()

    def __exit__(self, *_: object) -> None:
        self._phases[self._name] = self._phases.get(self._name, 0.0) + uptime() - self._began


class NodeResults:
    """Results, filled while a node runs and read for its report.

    The two callables take files for the notes at the end.
    """

    def __init__(
        self,
        node: Node,
        files: NodeFiles,
        events: Events,
        *,
        note_older: Callable[[str, str, int], object] = lambda _node, _remote, _count: None,
        note_others: Callable[[Iterable[str]], object] = lambda _paths: None,
    ) -> None:
        self._node = node
        self._files = files
        self._events = events
        self._note_older = note_older
        self._note_others = note_others
        self.artifacts: list[ArtifactRecord] = []
        self.metrics: dict[str, Any] = {}
        self.phases: dict[str, float] = {}
        """Name of a phase to the seconds spent in it."""
        self.variables: dict[str, Any] = {}
        """The declared variables the node uses, with their values."""
        self.staged: Staged | None = None
        self.sent: dict[str, str] = {}
        """Source of each transfer to its pods, with its sha256."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Add the time spent inside to the phase ``name``."""
        return _Timed(self.phases, name)

    def record_metric(self, name: str, value: Any) -> None:
        """Keep a number (or text) that the job measured, for the summary and the manifest.

        Raise UsageError for a bad name.
        """
        if not isinstance(name, str) or not name:
            raise UsageError(f"record_metric: expected a name, got {tellable(name)!r}")
        self.metrics[name] = tellable(value)

    def record_artifact(self, pulled: Pulled, label: str = "") -> None:
        """Keep a pull for the manifest, under its label; scalars in a pulled ``metrics.json`` become metrics."""
        folder = self._files.folder
        self.artifacts.append(
            ArtifactRecord(
                remote=pulled.remote,
                local=_relative(pulled.local, folder),
                files=pulled.files,
                bytes=pulled.bytes,
                sha256_file=_relative(Path(pulled.sha256_file), folder) if pulled.sha256_file else "",
                verified=pulled.verified,
                required=pulled.required,
                older=len(pulled.older),
                label=label,
            )
        )
        if pulled.older:
            self._note_older(self._node.id, pulled.remote, len(pulled.older))
        self._note_others(pulled.others)
        path = pulled.local / METRICS_FILE if pulled.local.is_dir() else pulled.local
        is_metrics = METRICS_FILE in (path.name, pulled.remote.rpartition("/")[2])
        if is_metrics and str(path) in pulled.older:
            self._events.notice(
                text=f"{self._node.id}: {path.name} in {pulled.remote} is older than the node, so it is not a result "
                "of the node; rpd takes no metrics from it"
            )
        elif is_metrics and path.is_file():
            self._take_metrics(path, within=folder)

    def _take_metrics(self, path: Path, within: Path) -> None:
        try:
            self.metrics.update(_read_metrics(path, within))
        except ValueError as error:
            self._events.notice(f"{self._node.id}: cannot read metrics from its {path.name}: {error}")


class DryResults(NodeResults):
    """The results of a dry run: nothing is fetched."""

    def record_artifact(self, pulled: Pulled, label: str = "") -> None:
        pass


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _read_metrics(path: Path, within: Path) -> dict[str, Any]:
    """Return the scalars of a JSON object.

    Raise ValueError, with the reason, for any other content or a link that leads out of ``within``.
    """
    try:
        whole = path.resolve()
        # The pod chooses the names: through a link it could otherwise make us read any file of this machine.
        if not whole.is_relative_to(within.resolve()):
            raise ValueError("it is a link out of the node's folder")
        content = json.loads(read_regular(whole, MOST_METRICS_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise ValueError(error.strerror) from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError(f'expected a JSON object such as {{"loss": 0.1}}, got {type(content).__name__}')
    return {key: value for key, value in content.items() if isinstance(value, int | float | str | bool)}

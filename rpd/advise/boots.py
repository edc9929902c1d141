"""Boot times and boot failures of the pods of past runs. A cache holds the parts that were read before."""

from __future__ import annotations

import json
import os
import secrets
import statistics
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rpd.disk.regular import read_regular
from rpd.errors import RpdError
from rpd.journal import journal
from rpd.record import history
from rpd.runpod.address import EMULATOR
from rpd.values.frozen import frozen
from rpd.values.moments import moment

CACHE = ".boots.json"
"""In the folder of the run folders; only a cache."""
_VERSION = 1
_MOST_BYTES = 64 << 20
MOST_RUNS = 500


@frozen(kw_only=False)
class Try:
    """One time that a pod was asked for: ``ready`` after so many seconds, ``refused`` (sold out), or ``failed``."""

    gpu: str
    place: str
    image: str
    outcome: str
    seconds: float


@dataclass(slots=True, kw_only=True)
class Experience:
    """All tries of one kind."""

    name: tuple[str, ...]
    refused: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def ready(self) -> int:
        """How many pods became ready."""
        return len(self.seconds)

    @property
    def median(self) -> float | None:
        """How long it usually takes, in seconds."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def longest(self) -> float | None:
        """The longest time of a pod that became ready."""
        return max(self.seconds, default=None)


def read_tries(runs_path: Path, *, local: bool) -> list[Try]:
    """Return the tries of past runs, on RunPod, or on emulators if ``local``; reread only changed journals."""
    cached = _read_cache(runs_path)
    kept: dict[str, dict[str, Any]] = {}
    tries: list[Try] = []
    for info in history.runs(runs_path)[:MOST_RUNS]:
        folder = Path(info.folder)
        stamp = _stamp(folder / journal.FILE_NAME)
        entry = cached.get(folder.name)
        if entry is None or entry.get("stamp") != stamp:
            rows = [[each.gpu, each.place, each.image, each.outcome, each.seconds] for each in _tries(folder)]
            entry = {"stamp": stamp, "rows": rows}
        kept[folder.name] = entry
        if info.backend.startswith(EMULATOR) is local:
            tries += _rows(entry["rows"])
    if kept != cached:
        _write_cache(runs_path, kept)
    return tries


def experiences(tries: Iterable[Try], *by: str) -> list[Experience]:
    """Group tries by ``gpu``, ``place``, ``image``; the most tried first."""
    kinds: dict[tuple[str, ...], Experience] = {}
    for each in tries:
        name = tuple(str(getattr(each, part)) for part in by)
        kind = kinds.setdefault(name, Experience(name=name))
        if each.outcome == "ready":
            kind.seconds.append(each.seconds)
        elif each.outcome == "refused":
            kind.refused += 1
        else:
            kind.failed += 1
    return sorted(kinds.values(), key=lambda kind: (-(kind.ready + kind.refused + kind.failed), kind.name))


def _tries(folder: Path) -> Iterator[Try]:
    """Yield the tries that the journal of a run tells; a pod that was given back before it was ready has failed."""
    pods = _pods(folder)
    requested: dict[str, tuple[float, str, str]] = {}
    ready: set[str] = set()
    for event in journal.read(folder / journal.FILE_NAME):
        name, at = str(event.get("pod_name", "")), moment(event.get("at"))
        if at is None:
            continue
        match event["event"]:
            case "intent":
                terms = event.get("terms") or {}
                requested[name] = (at, str(terms.get("gpu_id") or "CPU"), str(terms.get("datacenter") or ""))
            case "refused" if name in requested:
                _, gpu, place = requested[name]
                yield Try(gpu, place, "", "refused", 0.0)
            case "ready" if name in requested and name not in ready:
                ready.add(name)
                began, gpu, place = requested[name]
                actual, image = pods.get(name, ("", ""))
                yield Try(gpu, actual or place, image, "ready", round(at - began, 3))
            case "released" if name in requested and name not in ready:
                began, gpu, place = requested[name]
                actual, image = pods.get(name, ("", ""))
                ready.add(name)
                yield Try(gpu, actual or place, image, "failed", round(at - began, 3))


def _pods(folder: Path) -> dict[str, tuple[str, str]]:
    """Return where the pods of a run were, and their images, by their names, as manifests have them."""
    pods: dict[str, tuple[str, str]] = {}
    for _, document in history.documents(folder):
        if isinstance(document, RpdError):
            continue
        for pod in document.get("pods", ()):
            if isinstance(pod, Mapping):
                pods[str(pod.get("name", ""))] = (str(pod.get("datacenter", "")), str(pod.get("image", "")))
    return pods


def _stamp(path: Path) -> str:
    try:
        status = path.lstat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns}-{status.st_size}"


def _rows(rows: Iterable[Any]) -> Iterator[Try]:
    for row in rows:
        with suppress(TypeError, ValueError):
            gpu, place, image, outcome, seconds = row
            yield Try(str(gpu), str(place), str(image), str(outcome), float(seconds))


def _read_cache(runs_path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads(read_regular(runs_path / CACHE, _MOST_BYTES))
        runs = document["runs"] if document["version"] == _VERSION else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    if not isinstance(runs, dict):
        return {}
    return {
        name: entry
        for name, entry in runs.items()
        if isinstance(entry, dict) and isinstance(entry.get("rows"), list)
    }


def _write_cache(runs_path: Path, runs: Mapping[str, Any]) -> None:
    """Write the cache whole. Raises nothing."""
    if not runs_path.is_dir():
        return
    made = runs_path / f"{CACHE}.{secrets.token_hex(4)}"
    with suppress(OSError):
        descriptor = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": _VERSION, "runs": runs}, file, separators=(",", ":"))
        made.replace(runs_path / CACHE)

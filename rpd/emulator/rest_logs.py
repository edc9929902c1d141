"""The log of a pod as REST v2 streams it: the output of its container, and the actions of its machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rpd.emulator.model import Pod
from rpd.emulator.rest_pods import iso

_TICK = 2e-6
_CANNOT_BE_PULLED = (":missing", "/missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line; ``moment`` is a unix time, unique within a log and growing."""

    moment: float
    source: str
    line: str

    @property
    def id(self) -> str:
        """Its time, which a client may resume from."""
        return iso(self.moment)

    def body(self) -> dict[str, str]:
        """Return the payload of its event."""
        return {"source": self.source, "line": self.line, "ts": self.id}


def system_lines(pod: Pod, *, may_pull: bool = True) -> Iterator[tuple[str, float, str]]:
    """Yield key, unix time and text of the machine's lines about the pod's starts, mostly about the current one."""
    image, number = pod.order.image, pod.generation
    for earlier in range(1, number):
        yield f"{earlier}-start", pod.last_started_at, f"start container for {image}: begin"
    yield f"{number}-create", pod.last_started_at, f"create container {image}"
    if any(word in image for word in _CANNOT_BE_PULLED):
        text = f"error creating container: manifest for {image} not found: manifest unknown"
        yield f"{number}-pull", pod.last_started_at, text
    elif not may_pull:
        registry = image.partition("/")[0]
        text = f'error pulling image: Head "https://{registry}/v2/": unauthorized: authentication required'
        yield f"{number}-pull", pod.last_started_at, text
    elif pod.runtime is None and pod.running:
        yield f"{number}-pull", pod.last_started_at, f"{image}: pulling image"
    if pod.runtime is not None:
        yield f"{number}-start", pod.runtime.started_at, f"start container for {image}: begin"
    if not pod.running:
        yield f"{number}-stop", pod.last_started_at, f"stop container {pod.id}: {pod.last_status_change}"


class Log:
    """The lines of one pod so far; ``refresh`` adds new ones."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._seen: set[str] = set()
        self._read = 0
        self._rest = b""

    def refresh(self, pod: Pod, file: Path, now: float, *, may_pull: bool = True) -> None:
        """Add the lines of the machine and the container since the last call."""
        for key, moment, line in system_lines(pod, may_pull=may_pull):
            if key not in self._seen:
                self._seen.add(key)
                self._add(moment, "system", line)
        for line in self._new_lines(file):
            self._add(now, "container", line)

    def _add(self, moment: float, source: str, line: str) -> None:
        last = self.entries[-1].moment if self.entries else 0.0
        self.entries.append(Entry(moment=max(moment, last + _TICK), source=source, line=line))

    def _new_lines(self, file: Path) -> Iterable[str]:
        try:
            with file.open("rb") as stream:
                stream.seek(self._read)
                data = stream.read()
        except FileNotFoundError:
            return ()
        self._read += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace").rstrip("\r") for line in whole]

    def tail(self, source: str | None, count: int) -> list[Entry]:
        """Return the last ``count`` lines of that source, of both for None."""
        entries = [entry for entry in self.entries if source in (None, entry.source)]
        return entries[len(entries) - count :] if count < len(entries) else entries

    def after(self, source: str | None, moment: str) -> list[Entry]:
        """Return the lines of that source that came after ``moment``, a time as ids are."""
        return [entry for entry in self.entries if source in (None, entry.source) and entry.id > moment]

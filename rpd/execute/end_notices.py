"""Remarks collected while nodes run, to be shown once at the end of the run."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

_MOST_NAMES = 5


class Asides:
    """Remarks on files that were sent and fetched, each once however many nodes it concerns. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed: dict[str, None] = {}
        self._left_out: dict[str, None] = {}
        self._older: dict[str, None] = {}
        self._others: dict[str, None] = {}

    def note_changed(self, source: Path, names: Iterable[str]) -> None:
        """Remember files of ``source`` that changed while they were sent."""
        self._note(self._changed, source, names)

    def note_left_out(self, source: Path, names: Iterable[str]) -> None:
        """Remember files of ``source`` that were not sent because this run writes to them."""
        self._note(self._left_out, source, names)

    def note_older(self, node_id: str, path: str, files: int) -> None:
        """Remember that a node pulled files that were on the pod before it began."""
        with self._lock:
            self._older[f"{path} of {node_id} ({files} {'file' if files == 1 else 'files'})"] = None

    def note_others(self, paths: Iterable[str]) -> None:
        """Remember things a node did not pull because they are no files: FIFOs, sockets, devices."""
        with self._lock:
            self._others.update(dict.fromkeys(paths))

    def _note(self, texts: dict[str, None], source: Path, names: Iterable[str]) -> None:
        with self._lock:
            texts.update((str(source / name if source.is_dir() else source), None) for name in names)

    def sentences(self) -> list[str]:
        """Return the remarks as sentences."""
        with self._lock:
            changed, left_out, older = list(self._changed), list(self._left_out), list(self._older)
            others = list(self._others)
        sentences = []
        if changed:
            sentences.append(
                f"changed while they were being sent: {_listed(changed)}. The pods have their state of a moment "
                "before; list files that no job needs in .rpdignore"
            )
        if left_out:
            sentences.append(f"not sent, because this run writes to it: {_listed(left_out)}")
        if older:
            sentences.append(
                f"already on the pod when the node that pulled it began, so not a result of that node: {_listed(older)}"
            )
        if others:
            sentences.append(f"not pulled, because it is a FIFO, socket or device: {_listed(others)}")
        return sentences


def _listed(paths: list[str]) -> str:
    more = len(paths) - _MOST_NAMES
    return ", ".join(paths[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")

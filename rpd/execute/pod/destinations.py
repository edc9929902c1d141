"""Destinations: the path on a pod that each local place of a node's artifacts belongs to."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from pathlib import Path

from rpd.errors import UsageError
from rpd.values.frozen import frozen


class DestinationTaken(UsageError):
    """A pull would put its files where the files of another path are."""


@frozen(kw_only=False)
class Origin:
    """A path on a pod, absolute; ``pod`` is the name of the pod."""

    pod: str
    path: str

    def below(self, relative: str) -> Origin:
        """Return the path ``relative`` below this one."""
        return Origin(self.pod, f"{self.path.rstrip('/')}/{relative}")


class Destinations:
    """The places taken by the pulls of one node; a place and everything below it belongs to one origin.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._origins: dict[Path, Origin] = {}
        self._inside: defaultdict[Path, list[Path]] = defaultdict(list)
        """Folder to the places taken anywhere below it."""

    def take(self, place: Path, origin: Origin) -> None:
        """Let ``place`` belong to ``origin``; taking it twice is fine. Raise DestinationTaken."""
        with self._lock:
            if self._origins.get(place) == origin:
                return
            for taken, there in self._beside(place):
                outer, inner = (taken, place) if place.is_relative_to(taken) else (place, taken)
                above, below = (there, origin) if outer == taken else (origin, there)
                relative = inner.relative_to(outer).as_posix()
                if below != (above if relative == "." else above.below(relative)):
                    raise DestinationTaken(_taken(place, origin, taken, there))
            self._origins[place] = origin
            for folder in place.parents:
                self._inside[folder].append(place)

    def _beside(self, place: Path) -> list[tuple[Path, Origin]]:
        """Return the places taken at ``place``, above it, and below it, with their origins."""
        above = [each for each in (place, *place.parents) if each in self._origins]
        return [(each, self._origins[each]) for each in (*above, *self._inside.get(place, ()))]


def _taken(place: Path, origin: Origin, taken: Path, there: Origin) -> str:
    other = there.path if there.pod == origin.pod else f"{there.path} of another pod"
    return (
        f"pod.pull: {origin.path} would go to {_shown(place)}, but {_shown(taken)} already holds {other}: one would "
        f'overwrite the other. Give each another place, such as local="{_own_place(origin)}/"'
    )


def _own_place(origin: Origin) -> str:
    """Return a folder name that tells an origin from others with the same last name."""
    parts = [part for part in origin.path.split("/") if part]
    return parts[-2] if len(parts) > 2 else "second"


def _shown(place: Path) -> str:
    """Return a place relative to the artifacts folder, or the whole path if it is not in one."""
    parts = place.parts
    at = max((index for index, part in enumerate(parts) if part == "artifacts"), default=0)
    return "/".join(parts[at:])


def destination(artifacts: Path, local: str | Path | None) -> Path:
    """Return the place that ``local`` names in a node's artifacts folder. Raise UsageError if it is outside."""
    if local is None:
        return artifacts
    if not isinstance(local, str | os.PathLike):
        raise UsageError(f"pod.pull: local={local!r}: expected a path below the node's artifacts folder")
    text = os.fspath(local)
    place = Path(os.path.normpath(artifacts / text))
    means_home = text == "~" or text.startswith(("~/", f"~{os.sep}"))
    if not place.is_relative_to(artifacts) or means_home or "\0" in text:
        raise UsageError(
            f"pod.pull: local={text!r} is outside of the node's artifacts folder. Every node has its own, so that no "
            'node can overwrite the files of another, or yours. Name a place in it (local="fold1/"), or leave local '
            "out. You find the newest run under latest in the folder of runs (rpd-runs/latest), and "
            "`rpd report --export DIR` copies the artifacts of a run out, each node into a folder of its own"
        )
    return place

"""The record of studies: a file of the run with their spaces and objectives; the trials are in the journal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpd.disk.regular import read_regular
from rpd.errors import UsageError
from rpd.journal import journal
from rpd.record.atomic_write import write_whole
from rpd.search.space import Space, space_of
from rpd.search.study import Study
from rpd.search.trials import Objective
from rpd.values.report import SCHEMA_VERSION, NodeReport

FILE_NAME = "studies.json"
_MOST_BYTES = 16 << 20
Line = Mapping[str, Any]
"""A journal line about a trial: ``id``, ``study``, ``trial``, ``values`` (encoded), ``confirms``, ``tries``."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A study of a past run: its space and objectives, and the journal's lines about its trials, in order."""

    id: str
    """The id of the node that the trials come from."""
    document: Mapping[str, Any]
    space: Space
    objectives: tuple[Objective, ...]
    lines: tuple[Line, ...]


def write(folder: Path, studies: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the studies of a run, by their ids. Raise OSError."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "studies": {key: dict(study) for key, study in studies.items()},
    }
    write_whole(folder / FILE_NAME, json.dumps(document, indent=1) + "\n")


def read(folder: Path) -> list[Recorded]:
    """Return the studies of a run; an empty list if it had none. Raise UsageError if the file cannot be read."""
    path = folder / FILE_NAME
    if not path.is_file():
        return []
    try:
        document = json.loads(read_regular(path, _MOST_BYTES))
        lines = [
            event for event in journal.read(folder / journal.FILE_NAME) if event["event"] == journal.ADDED
        ]
        return [_recorded(key, fields, lines) for key, fields in document["studies"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _recorded(study: str, document: Mapping[str, Any], lines: Iterable[Line]) -> Recorded:
    return Recorded(
        id=study,
        document=document,
        space=space_of(document["space"]),
        objectives=tuple(
            Objective(metric=str(each["metric"]), is_max=each["direction"] == "maximize")
            for each in document["objectives"]
        ),
        lines=tuple({line["id"]: line for line in lines if line.get("study") == study}.values()),
    )


def reports_by_id(reports: Iterable[NodeReport]) -> dict[str, NodeReport]:
    """Return reports by the ids of their nodes."""
    return {report.node.id: report for report in reports}


def named(lines: Sequence[Line], trial: str) -> Line | None:
    """Return the line of a trial by its name (``trial7``, ``7``, ``trial7-confirm``), None if there is none."""
    name = trial if trial.startswith("trial") else f"trial{trial}"
    return next((line for line in lines if name_of(line) == name), None)


def name_of(line: Line) -> str:
    """Return the name of a trial's node: ``trial7``, ``trial7-confirm`` or ``trial7-again1``."""
    again = line.get("tries", 1) - 1
    return (
        f"trial{line['trial']}"
        + ("-confirm" if line.get("confirms") else "")
        + (f"-again{again}" if again else "")
    )


def difference(recorded_study: Recorded, study: Study, *, only_space: bool = False) -> str:
    """Return the difference between a study and a recorded one in words, empty if they agree."""
    document = study.document()
    before, now = recorded_study.document["space"], document["space"]
    if before != now:
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        return f"has a different space now ({', '.join(names)})"
    if not only_space and recorded_study.document.get("objectives") != document["objectives"]:
        return "has other objectives now"
    return ""

"""The studies of a run as a page needs them: the objective of each, and the nodes that are its trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rpd.disk.regular import is_regular, read_regular
from rpd.journal import journal
from rpd.values.frozen import frozen

FILE_NAME = "studies.json"
_MOST_BYTES = 16 << 20


@frozen
class StudyTrials:
    """One study: the id of the node it was collected as, its first objective, and the ids of its trials."""

    id: str
    metric: str
    is_max: bool
    trials: tuple[str, ...]
    """In the order in which they were proposed, without those that confirm others."""


def read(folder: Path) -> Sequence[StudyTrials]:
    """Return the studies of the run in ``folder``; none where it had none, or where its file cannot be read."""
    path = folder / FILE_NAME
    if not is_regular(path):
        return ()
    try:
        documents = json.loads(read_regular(path, _MOST_BYTES))["studies"]
        aims = {str(study): document["objectives"][0] for study, document in documents.items()}
        metrics = {study: (str(aim["metric"]), aim["direction"] == "maximize") for study, aim in aims.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ()
    trials: dict[str, dict[str, None]] = {study: {} for study in metrics}
    for event in journal.read(folder / journal.FILE_NAME):
        study = event.get("study")
        if event["event"] == journal.ADDED and study in trials and event.get("confirms") is not True:
            trials[str(study)][str(event.get("id", ""))] = None
    return [
        StudyTrials(id=study, metric=metric, is_max=is_max, trials=tuple(trials[study]))
        for study, (metric, is_max) in metrics.items()
    ]

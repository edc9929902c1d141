"""Trials that run again, with the values they had: the one that ``--trial`` names, and those that ``--lf`` takes up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rpd.config import Config
from rpd.errors import UsageError
from rpd.record import history, lookup
from rpd.record.last_outcomes import Memory
from rpd.record.run import RunInfo
from rpd.search import record
from rpd.search.record import Line
from rpd.search.source import StudySource
from rpd.search.study import Study
from rpd.values.node import Node
from rpd.values.report import NodeReport

_KEY = "again"
"""In the record of a study: of which trials it is made, and of which run they are."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """Trials of an earlier run: its id, and what its journal tells of them."""

    run: str
    lines: tuple[Line, ...]

    def study(self, whole: Study) -> Study:
        """Return the study of these trials alone: nothing else is proposed, and none of them is pruned."""
        confirming = sum(line.get("confirms") is True for line in self.lines)
        return replace(whole, trials=len(self.lines) - confirming, top=confirming, prune=None)

    @property
    def names(self) -> str:
        """What the trials are called."""
        return ", ".join(map(record.name_of, self.lines))

    def document(self) -> dict[str, Any]:
        """Return it for the record of the study, so that ``rpd resume`` goes on with these trials."""
        return {_KEY: {"run": self.run, "lines": [dict(line) for line in self.lines]}}


def find(config: Config, node: Node, study: Study, begun: str) -> Again | None:
    """Return which trials of a study are run; None: the study as a whole. Raises UsageError.

    ``begun`` is the folder of the run that is resumed, empty for a new one.
    """
    if begun:
        return _of(_held(Path(begun), node))
    found = None
    if config.search.trial is not None:
        found = _named(config, config.search.trial, node, study)
    elif config.select.last_failed:
        found = _failed(config, node, study)
    if found and study.confirm is None and any(line.get("confirms") for line in found.lines):
        raise UsageError(
            f"{node.id}: {found.names} of run {found.run} ran on the GPU of confirm=…, which is gone"
        )
    return found


def recorded(config: Config, run: str, node: Node, flag: str) -> tuple[RunInfo, record.Recorded]:
    """Return a run by its id, and the study that it had of a node. Raises UsageError."""
    info = lookup.run_named(history.runs(config.runs_path), run)
    studies = record.read(Path(info.folder))
    held = next((each for each in studies if each.id == node.id), None)
    if held is None:
        known = ", ".join(each.id for each in studies) or "none"
        raise UsageError(f"{flag}: run {info.id} has no study of {node.id} (its studies: {known})")
    return info, held


def remember(memory: Memory, source: StudySource, reports: Mapping[str, NodeReport]) -> None:
    """Remember a study as a node that did not pass if one of its trials did not: ``--lf`` takes it up then.

    Raises OSError.
    """
    ids = [handed.node.id for handed in source.handed.values() if handed.node.id in reports]
    if not ids:
        return
    lines = [{"id": key, **source.note(handed.node)} for key, handed in source.handed.items()]
    failed = memory.read().failed
    causes = [failed[line["id"]] for line in _last_tries(lines) if line["id"] in failed]
    seconds = math.fsum(reports[each].result.seconds for each in ids)
    memory.ended(source.template.id, cause=causes[0] if causes else None, seconds=seconds)
    memory.close()


def _named(config: Config, wanted: str, node: Node, study: Study) -> Again:
    run, _, name = wanted.rpartition(":")
    if not run or not name:
        raise UsageError(f"--trial: expected RUN:TRIAL, such as 20261128T103937Z:7, got {wanted!r}")
    info, held = recorded(config, run, node, "--trial")
    if wrong := record.difference(held, study, only_space=True):
        raise UsageError(f"--trial {wanted}: the study of {node.id} {wrong}")
    line = record.named(held.lines, name)
    if line is None:
        names = ", ".join(str(each["trial"]) for each in held.lines[:10])
        raise UsageError(f"--trial: run {info.id} has no trial {name!r} of {node.id} (it has {names})")
    return Again(run=info.id, lines=(line,))


def _failed(config: Config, node: Node, study: Study) -> Again | None:
    """Return the trials that did not pass, of the last run that had the study and of those that took it up since."""
    wanted = config.select.last_failed
    failed = {key for key, cause in Memory(config.rootdir).read().failed.items() if cause in wanted}
    if node.id not in failed:
        return None  # it was chosen for another reason
    lines: dict[str, Line] = {}
    first = ""
    for info in history.runs(config.runs_path):
        held = _held(Path(info.folder), node)
        if held is None:
            continue
        if wrong := record.difference(held, study, only_space=True):
            raise UsageError(
                f"--lf: the study of {node.id} {wrong}: its failed trials cannot run again. Leave --lf out to begin a "
                "new study"
            )
        first = first or info.id
        lines |= {line["id"]: line for line in _last_tries(held.lines) if line["id"] in failed - lines.keys()}
        if _of(held) is None:
            break
    if not lines:
        raise UsageError(
            f"--lf: no run in {config.runs_path} has the failed trials of {node.id}. Leave --lf out to begin anew"
        )
    return Again(run=first, lines=tuple(sorted(lines.values(), key=lambda line: int(line["trial"]))))


def _held(folder: Path, node: Node) -> record.Recorded | None:
    return next((each for each in record.read(folder) if each.id == node.id), None)


def _of(held: record.Recorded | None) -> Again | None:
    again = held.document.get(_KEY) if held else None
    return Again(run=str(again["run"]), lines=tuple(again["lines"])) if again else None


def _last_tries(lines: Iterable[Line]) -> Sequence[Line]:
    """Return one line for each trial: the last one, where a lost pod made it be tried again."""
    last: dict[tuple[Any, bool], Line] = {}
    for line in sorted(lines, key=lambda line: int(line.get("tries", 1))):
        last[line["trial"], line.get("confirms") is True] = line
    return list(last.values())

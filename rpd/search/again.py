"""Trials that run again with the values they had: the one named by ``--trial``, and those that ``--lf`` selects."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rpd.config import Config
from rpd.errors import UsageError
from rpd.record import history, lookup
from rpd.record.last_outcomes import Memory
from rpd.record.run_info import RunInfo
from rpd.search import record
from rpd.search.record import Line
from rpd.search.source import StudySource
from rpd.search.study import Study
from rpd.values.node import Node
from rpd.values.report import NodeReport

_KEY = "again"
"""Key in the record of a study: the trials it consists of, and their run."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """Trials of an earlier run: its id, and the lines of its journal about them."""

    run: str
    lines: tuple[Line, ...]

    def study(self, whole: Study) -> Study:
        """Return a study of these trials alone: it proposes no others and prunes none of them."""
        confirming = sum(line.get("confirms") is True for line in self.lines)
        return replace(whole, trials=len(self.lines) - confirming, top=confirming, prune=None)

    @property
    def names(self) -> str:
        """The names of the trials, separated by commas."""
        return ", ".join(map(record.name_of, self.lines))

    def document(self) -> dict[str, Any]:
        """Return the record of these trials, so that ``rpd resume`` can continue with them."""
        return {_KEY: {"run": self.run, "lines": [dict(line) for line in self.lines]}}


def find(config: Config, node: Node, study: Study, begun: str) -> Again | None:
    """Return the trials of a study that run again; None for the whole study. Raise UsageError.

    ``begun`` is the folder of the run that is resumed, empty for a new run.
    """
    if begun:
        return _of(_held(Path(begun), node))
    trials = None
    if config.search.trial is not None:
        trials = _named(config.runs_path, config.search.trial, node, study)
    elif config.select.last_failed:
        trials = _failed(config.rootdir, config.runs_path, config.select.last_failed, node, study)
    if trials and study.confirm is None and any(line.get("confirms") for line in trials.lines):
        raise UsageError(
            f"{node.id}: {trials.names} of run {trials.run} ran on the GPU of confirm=…, which the study no longer has"
        )
    return trials


def recorded(runs_path: Path, run: str, node: Node, flag: str) -> tuple[RunInfo, record.Recorded]:
    """Return a run by its id, and the study of ``node`` in it. Raise UsageError if there is no such run or study."""
    info = lookup.run_named(history.runs(runs_path), run)
    studies = record.read(Path(info.folder))
    recorded_study = next((each for each in studies if each.id == node.id), None)
    if recorded_study is None:
        names = ", ".join(each.id for each in studies) or "none"
        raise UsageError(f"{flag}: run {info.id} has no study of {node.id} (its studies: {names})")
    return info, recorded_study


def remember(memory: Memory, source: StudySource, reports: Mapping[str, NodeReport]) -> None:
    """Remember a study as a failed node if one of its trials did not pass, so that ``--lf`` selects it.

    Raise OSError.
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


def _named(runs_path: Path, reference: str, node: Node, study: Study) -> Again:
    run, _, name = reference.rpartition(":")
    if not run or not name:
        raise UsageError(f"--trial: expected RUN:TRIAL, such as 20261128T103937Z:7, got {reference!r}")
    info, recorded_study = recorded(runs_path, run, node, "--trial")
    if wrong := record.difference(recorded_study, study, only_space=True):
        raise UsageError(f"--trial {reference}: the study of {node.id} {wrong}")
    line = record.named(recorded_study.lines, name)
    if line is None:
        names = ", ".join(str(each["trial"]) for each in recorded_study.lines[:10])
        raise UsageError(f"--trial: run {info.id} has no trial {name!r} of {node.id} (it has {names})")
    return Again(run=info.id, lines=(line,))


def _failed(rootdir: Path, runs_path: Path, causes: Container[str], node: Node, study: Study) -> Again | None:
    """Return the failed trials of the last run that began the study and of the runs that repeated some since."""
    failed = {key for key, cause in Memory(rootdir).read().failed.items() if cause in causes}
    if node.id not in failed:
        return None  # it was chosen for another reason
    lines: dict[str, Line] = {}
    first = ""
    for info in history.runs(runs_path):
        recorded_study = _held(Path(info.folder), node)
        if recorded_study is None:
            continue
        if wrong := record.difference(recorded_study, study, only_space=True):
            raise UsageError(
                f"--lf: the study of {node.id} {wrong}: its failed trials cannot run again. Leave --lf out to start a "
                "new study"
            )
        first = first or info.id
        lines |= {
            line["id"]: line
            for line in _last_tries(recorded_study.lines)
            if line["id"] in failed - lines.keys()
        }
        # A run that only repeated trials: the one that it took them from comes further back.
        if _of(recorded_study) is None:
            break
    if not lines:
        raise UsageError(
            f"--lf: no run in {runs_path} has the failed trials of {node.id}. Leave --lf out to start a new study"
        )
    return Again(run=first, lines=tuple(sorted(lines.values(), key=lambda line: int(line["trial"]))))


def _held(folder: Path, node: Node) -> record.Recorded | None:
    return next((each for each in record.read(folder) if each.id == node.id), None)


def _of(recorded_study: record.Recorded | None) -> Again | None:
    again = recorded_study.document.get(_KEY) if recorded_study else None
    return Again(run=str(again["run"]), lines=tuple(again["lines"])) if again else None


def _last_tries(lines: Iterable[Line]) -> Sequence[Line]:
    """Return one line per trial: the last try, if a lost pod caused another."""
    last: dict[tuple[Any, bool], Line] = {}
    for line in sorted(lines, key=lambda line: int(line.get("tries", 1))):
        last[line["trial"], line.get("confirms") is True] = line
    return list(last.values())

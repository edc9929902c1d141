"""The plugin of studies: turns the mark ``search`` into a source of nodes, judges trials, and reports the results."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rpd.collect.parametrize import Metafunc
from rpd.config import Config
from rpd.errors import CollectionError, DefinitionError, UsageError
from rpd.events import Events
from rpd.execute.rental_calls import PROVISION
from rpd.hooks import PluginManager, hookimpl
from rpd.journal.series import SERIES_FILE
from rpd.journal.series import read as read_series
from rpd.pipeline.reruns import NAME as RERUNS
from rpd.record import history
from rpd.record.last_outcomes import Memory
from rpd.search import again, record
from rpd.search.report import reports_of, summary_lines
from rpd.search.source import StudySource
from rpd.search.space import GPU
from rpd.search.study import MARK, Study, study_of
from rpd.search.trials import Trial
from rpd.uptime import uptime
from rpd.values.fixture import Scope
from rpd.values.mark import HIDDEN_PARAM, param
from rpd.values.node import Node
from rpd.values.plan import Earlier, Plan, Source
from rpd.values.pod import PodInfo
from rpd.values.report import NodeReport, RunSummary

_MOST_POINTS = 200
"""Most points of a curve passed to a sampler."""


def plugin(manager: PluginManager) -> Search:
    """Return the plugin; the collector asks for it with the first job that has the mark."""
    return Search(manager)


@dataclass(slots=True)
class _Meter:
    """The usage of a running node: when it got its pods (seconds of ``uptime``), and their hourly price."""

    since: float
    usd_per_hr: float = 0.0

    def at(self, unit: str, step: float) -> float:
        """Return the progress of the node in ``unit``."""
        if unit == "steps":
            return step
        seconds = uptime() - self.since
        return seconds if unit == "seconds" else seconds * self.usd_per_hr / 3600


class Search:
    """The studies of a run."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager
        self._events = Events(manager)
        self._sources: dict[str, StudySource] = {}
        """Source by the id of its collected node."""
        self._meters: dict[str, _Meter] = {}
        self._again: dict[str, again.Again] = {}
        """The trials that run again, by the same ids, if not the whole study runs."""
        self._folder: Path | None = None
        self._memory: Memory | None = None

    # --- collecting ---------------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_generate_nodes(self, metafunc: Metafunc) -> None:
        """Give a job with the mark one point of its space as a stand-in for all; the study is not part of its id."""
        marks = [mark for mark in metafunc.definition.marks if mark.name == MARK]
        if not marks:
            return
        if len(marks) > 1:
            raise DefinitionError("rpd.mark.search", "", "expected one search for a job", len(marks))
        study = study_of(marks[0])
        example = dict(study.space.example())
        if (GPU in example or study.confirm) and _rents_wide(metafunc):
            gpu = example.pop(GPU, metafunc.definition.job.gpu)
            metafunc.parametrize(GPU, [param(gpu, id=HIDDEN_PARAM)], scope=Scope.WORKER.label)
        if example:
            metafunc.parametrize(list(example), [param(*example.values(), id=HIDDEN_PARAM)])

    @hookimpl(trylast=True)
    def rpd_select_nodes(self, config: Config, nodes: list[Node]) -> None:
        """Tell users of commands that run nothing that a node stands for many trials."""
        if config.command not in ("collect", "estimate") or config.output.quiet:
            return
        for node in nodes:
            mark = node.mark(MARK)
            if mark is not None:
                study = study_of(mark)
                ranges = ", ".join(f"{name} {text}" for name, text in study.space.texts().items())
                confirmed = f" and {study.top} that confirm" if study.confirm else ""
                self._events.notice(
                    f"{node.id} is a study of up to {study.trials} trials{confirmed}: {ranges}"
                )

    # --- planning -----------------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_make_sources(self, config: Config, nodes: list[Node], earlier: Earlier) -> Sequence[Source]:
        """Replace the studies among the nodes by sources. Raise UsageError if an earlier run has no such study."""
        searched = [(node, mark) for node in nodes if (mark := node.mark(MARK)) is not None]
        for node, mark in searched:
            study = study_of(mark, trials=config.search.trials, seed=config.search.search_seed)
            self._check_same(earlier, node, study)
            chosen = again.find(config, node, study, earlier.folder)
            before = None if chosen else config.search.continue_study
            source = StudySource(
                node,
                chosen.study(study) if chosen else study,
                tell=self._events.notice,
                curve_of=partial(_curve, study.objective.metric),
                earlier=self._continued(config.runs_path, before, node, study) if before else (),
                is_dry=not config.run.runs_jobs,
            )
            reports = record.reports_by_id(earlier.reports)
            if chosen:
                source.take_up(chosen.lines, reports)
                self._again[node.id] = chosen
                if not earlier.folder:
                    self._events.notice(
                        f"{node.id}: {chosen.names} of run {chosen.run} again, with the same values"
                    )
            else:
                source.restore([line for line in earlier.added if line.get("study") == node.id], reports)
            self._sources[node.id] = source
            nodes.remove(node)
        return list(self._sources.values())

    def _check_same(self, earlier: Earlier, node: Node, study: Study) -> None:
        """Raise UsageError if the resumed run searched another space or objective."""
        if not earlier.folder:
            return
        recorded_study = next(
            (each for each in record.read(Path(earlier.folder)) if each.id == node.id), None
        )
        if recorded_study is not None and (wrong := record.difference(recorded_study, study)):
            raise UsageError(
                f"{node.id} cannot be resumed: its study {wrong}. Undo the change, or start a new run"
            )

    def _continued(self, runs_path: Path, run: str, node: Node, study: Study) -> list[Trial]:
        """Return the trials of the run named by ``--continue-study``. Raise UsageError."""
        info, recorded_study = again.recorded(runs_path, run, node, "--continue-study")
        if wrong := record.difference(recorded_study, study):
            raise UsageError(f"--continue-study {run}: the study of {node.id} {wrong}")
        source = StudySource(
            node,
            study,
            tell=lambda _text: None,
            curve_of=partial(_curve, study.objective.metric),
        )
        reports = record.reports_by_id(history.reports(Path(info.folder)))
        source.restore([line for line in recorded_study.lines if line["id"] in reports], reports)
        before = recorded_study.document.get("continues")
        if before:
            self._events.notice(f"run {info.id} continued {before}, whose trials are not included")
        return source.trials

    # --- running ------------------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_run_started(self, config: Config, plan: Plan, folder: Path | None) -> None:
        """Write the spaces and objectives of the studies to the run's folder."""
        del plan
        self._folder = folder
        if folder is None or not self._sources:
            return
        if config.run.runs_jobs and self._manager.has_plugin(RERUNS):
            self._memory = Memory(config.rootdir)
        more = {"continues": config.search.continue_study} if config.search.continue_study else {}
        documents = {
            key: {
                **source.study.document(),
                **(self._again[key].document() if key in self._again else more),
            }
            for key, source in self._sources.items()
        }
        try:
            record.write(folder, documents)
        except OSError as error:
            self._events.notice(f"could not write {folder / record.FILE_NAME}: {error}")

    @hookimpl
    def rpd_pod_joined(self, node: Node, pod: PodInfo, share: float) -> None:
        """Start to count a trial's seconds and dollars."""
        meter = self._meters.setdefault(node.id, _Meter(uptime()))
        meter.usd_per_hr += (pod.usd_per_hr or 0.0) * share

    @hookimpl
    def rpd_prune(self, node: Node, name: str, step: float, value: float) -> str | None:
        """Judge a trial by a point of its curve."""
        source = self._source_of(node)
        if source is None or source.study.prune is None:
            return None
        meter = self._meters.setdefault(node.id, _Meter(uptime()))
        return source.judge(node.id, name, meter.at(source.study.prune.unit, step), value)

    def _source_of(self, node: Node) -> StudySource | None:
        return next((source for source in self._sources.values() if node.id in source.handed), None)

    @hookimpl
    def rpd_node_report(self, node: Node, report: NodeReport) -> None:
        """Drop the meter of a finished node."""
        del report
        self._meters.pop(node.id, None)

    @hookimpl(tryfirst=True)
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Report the result of each study."""
        if self._folder is None or not self._sources:
            return
        studies = record.read(self._folder)
        reports = record.reports_by_id(summary.reports)
        if self._memory is not None:
            with contextlib.suppress(OSError):  # the plugin of reruns has reported it
                for source in self._sources.values():
                    again.remember(self._memory, source, reports)
        for report in reports_of(self._folder.name, studies, reports):
            self._events.notice("\n".join(summary_lines(report)))


def _rents_wide(metafunc: Metafunc) -> bool:
    """Return whether the GPU of a trial decides about a pod that several nodes share.

    Raise CollectionError for a fixture of scope ``worker`` that rents a pod without requesting ``gpu``: all
    trials would get the GPU of the first one.
    """
    wide = [
        fixture
        for name in metafunc.fixturenames
        for fixture in metafunc.chain(name)
        if fixture.scope is not Scope.JOB and PROVISION in fixture.argnames
    ]
    for fixture in wide:
        if GPU not in fixture.argnames:
            raise CollectionError(
                f"rpd.mark.search: trials have several GPUs, but the fixture {fixture.name!r} ({fixture.location}) of "
                f"scope {fixture.scope.label} does not ask for gpu, so all would have the first one's. Write def "
                f"{fixture.name}(provision, gpu)"
            )
    return bool(wide)


def _curve(metric: str, report: NodeReport) -> list[tuple[float, float]]:
    """Return the points of a finished node's curve, evenly thinned to about _MOST_POINTS."""
    if not report.folder:
        return []
    points = list(read_series(Path(report.folder) / SERIES_FILE).get(metric, {}).items())
    every = -(-len(points) // _MOST_POINTS) or 1
    return points[::every] if every == 1 else [*points[::every], points[-1]]

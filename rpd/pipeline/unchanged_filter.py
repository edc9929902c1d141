"""The plugin of ``--changed``: passes over nodes that passed before and of which nothing has changed since."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.config import Config
from rpd.events import Events
from rpd.graph.content import digest
from rpd.graph.content import parts_in as needs_parts
from rpd.hooks import hookimpl
from rpd.pipeline.image_digests import ImageDigests, is_emulated
from rpd.pipeline.secrets import known_secrets, only_texts
from rpd.pipeline.sent_digests import SentDigests
from rpd.project.code_state import lock_file_sha256
from rpd.project.fingerprint import IMAGE_VERSION, fingerprint, sent_parts
from rpd.project.own_output import OwnOutput
from rpd.record import history
from rpd.record.verify import first_gone
from rpd.runpod.address import EMULATOR
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.report import CACHED, NodeReport, Outcome, Result, Skip

if TYPE_CHECKING:
    from rpd.graph.left import Left

RUNS_SEARCHED = 200
_CALLED = {
    "lock": "the lock file",
    "job": "the source of its job",
    "fixtures": "the source of its fixtures",
    IMAGE_VERSION: "the digest of its image's tag",
}


class Changed:
    """Drops nodes whose fingerprint has already passed; ``cached`` holds reports that point to their earlier results.

    ``explain``: a notice for each node says why it runs, or where its result is.
    """

    def __init__(
        self,
        config: Config,
        variables: Mapping[str, Any],
        own: OwnOutput,
        events: Events,
        *,
        explain: bool,
    ) -> None:
        self._config = config
        self._variables = variables
        self._events = events
        self._explain = explain
        self._digests = SentDigests(config.rootdir, own)
        self._images: ImageDigests | None = None
        self._left: Left | None = None
        self._undecided: dict[str, NodeReport] = {}
        """Nodes of which nothing else changed than, perhaps, what nodes leave that run first."""
        self.cached: dict[str, NodeReport] = {}

    @hookimpl(trylast=True)
    def rpd_select_nodes(self, nodes: list[Node]) -> None:
        """Take the unchanged nodes out."""
        emulated = is_emulated(self._config.api, local=self._config.run.local)
        if not self._config.run.dry_run or self._config.run.dry_run_live:
            self._images = ImageDigests(only_texts(known_secrets(nodes)), emulated=emulated)
        passed = last_passed(self._config.runs_path, {node.id for node in nodes}, real=not emulated)
        never = f"it never passed {'' if emulated else 'on RunPod '}before"
        for node in _needs_first(nodes):
            before = passed.get(node.id)
            differs = [never] if before is None else self._differences(node, before)
            waits = [need for need in node.needs if need not in self.cached]
            if self._explain:
                self._events.notice(f"{node.id}: {_why(differs, waits, before)}")
            if before is None or differs:
                continue
            if waits:
                self._undecided[node.id] = before
            else:
                self.cached[node.id] = _cached(before)
        nodes[:] = [node for node in nodes if node.id not in self.cached]

    @hookimpl
    def rpd_skip_node(self, node: Node) -> Skip | None:
        """Skip a node that would have to run only if the results of those it needs had changed."""
        before = self._undecided.get(node.id)
        if before is None or self._left is None:
            return None
        then = before.source.fingerprint
        for part, node_id, what in needs_parts(then):
            report = self._left.report_of(node_id)
            if report is None or not report.folder or digest(report, what) != then[part]:
                if self._explain:
                    self._events.notice(f"{node.id}: runs, because the {what} of {node_id} changed")
                return None
        self._left.stand_in(node.id, before)
        return Skip(reason=_cached(before).result.reason, metrics=before.metrics)

    def follow(self, left: Left) -> None:
        """Read results from ``left``, during the run, of nodes that others need."""
        self._left = left

    def _differences(self, node: Node, before: NodeReport) -> list[str]:
        """Return the differences since the node passed."""
        then = before.source.fingerprint
        if not then:
            return ["its inputs are not on record"]
        used = list(needs_parts(then))
        if {node_id for _, node_id, _ in used} != set(node.needs):
            return ["it needs other nodes than before"]
        sent = {one.part: self._digests.of(one) for one in sent_parts(then)}
        for part, node_id, what in used:
            # The results of a node that is about to run are not known yet.
            cached = self.cached.get(node_id)
            sent[part] = then[part] if cached is None else digest(cached, what)
        now = fingerprint(
            node,
            lock_sha256=lock_file_sha256((self._config.rootdir / node.file).parent),
            variables=self._variables,
            sent=sent,
            digest=self._image_digest(node) if IMAGE_VERSION in then else "",
        )
        return differences(now, then) or lost_files(before)

    def _image_digest(self, node: Node) -> str:
        """Return the present digest of the image's name; empty if it cannot be read: then it counts as unchanged."""
        return "" if self._images is None else self._images.of(node.job.image, node.job.registry)


def last_passed(runs_path: Path, wanted: Collection[str], *, real: bool) -> dict[str, NodeReport]:
    """Return the report of when each of the nodes in ``wanted`` (ids) passed last, if it did in the newest runs.

    With ``real``, runs on an emulator do not count: they are rehearsals.
    """
    passed: dict[str, NodeReport] = {}
    runs = [info for info in history.runs(runs_path) if not (real and info.backend.startswith(EMULATOR))]
    for info in runs[:RUNS_SEARCHED]:
        for report in history.reports(Path(info.folder)):
            if report.node.id in wanted and report.result.outcome is Outcome.PASSED:
                passed.setdefault(report.node.id, report)
        if len(passed) == len(wanted):
            break
    return passed


def lost_files(before: NodeReport) -> list[str]:
    """Return that a file is gone which a node left when it passed, in words; nothing if all are there."""
    gone = first_gone(before)
    return [f"{gone} is gone"] if gone else []


def differences(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """Return the parts that differ in ``now`` from an earlier fingerprint, in words."""
    paths = {one.part: f"the files it sends from {one.path}" for one in sent_parts([*now, *then])}
    paths.update((part, f"the {what} of {node_id}") for part, node_id, what in needs_parts(now))
    return [
        f"{paths.get(part) or _CALLED.get(part) or f'its {part}'} changed"
        for part in now
        if now[part] != then.get(part)
    ]


def _needs_first(nodes: list[Node]) -> list[Node]:
    """Return nodes sorted so that each comes after those it needs."""
    if not any(node.needs for node in nodes):
        return nodes
    from rpd.graph.topological_order import needed_by

    return needed_by(nodes, {node.id: node for node in nodes})


def _why(differs: list[str], waits: list[str], before: NodeReport | None) -> str:
    if differs or before is None:
        return f"runs, because {' and '.join(differs)}"
    if waits:
        more = f" or {len(waits) - 1} more" if len(waits) > 1 else ""
        return f"runs if {waits[0]}{more} leaves other results than before"
    return f"cached, nothing changed since {before.result.finished}: {before.folder}"


def _cached(before: NodeReport) -> NodeReport:
    """Return a report that says a node was passed over, with the metrics and the folder of when it passed."""
    reason = f"{CACHED}nothing changed since it passed at {before.result.finished}"
    return replace(
        before,
        result=Result(outcome=Outcome.SKIPPED, reason=reason),
        node=replace(before.node, place=None),
        cost=replace(before.cost, billed_seconds=0.0, estimated_usd=0.0),
    )

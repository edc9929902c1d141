"""The plugin of ``--changed``: passes over nodes that passed before and of which nothing has changed since."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rpd.config import Config
from rpd.events import Events
from rpd.hooks import hookimpl
from rpd.pipeline.image_digests import ImageDigests, is_emulated
from rpd.pipeline.secrets import known_secrets, only_texts
from rpd.pipeline.sent_digests import SentDigests
from rpd.project.fingerprint import IMAGE_VERSION, fingerprint, sent_parts
from rpd.project.own_output import OwnOutput
from rpd.project.source import lock_file_sha256
from rpd.record import history
from rpd.values.node import Node
from rpd.values.report import CACHED, NodeReport, Outcome, Result

RUNS_SEARCHED = 200
_CALLED = {
    "lock": "the lock file",
    "job": "the source of its job",
    "fixtures": "the source of its fixtures",
    IMAGE_VERSION: "what the tag of its image means",
}


class Changed:
    """Drops nodes whose fingerprint already passed; ``cached`` holds reports that point to what they left then.

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
        self.cached: dict[str, NodeReport] = {}

    @hookimpl(trylast=True)
    def rpd_select_nodes(self, nodes: list[Node]) -> None:
        """Take the unchanged nodes out."""
        if not self._config.run.dry_run or self._config.run.dry_run_live:
            self._images = ImageDigests(
                only_texts(known_secrets(nodes)),
                emulated=is_emulated(self._config.api, local=self._config.run.local),
            )
        passed = last_passed(self._config.runs_path, {node.id for node in nodes})
        left = []
        for node in nodes:
            before = passed.get(node.id)
            differs = ["it never passed before"] if before is None else self._differences(node, before)
            if self._explain:
                self._events.notice(f"{node.id}: {_why(differs, before)}")
            if before is None or differs:
                left.append(node)
            else:
                self.cached[node.id] = _cached(before)
        nodes[:] = left

    def _differences(self, node: Node, before: NodeReport) -> list[str]:
        """Return what is another than when the node passed."""
        then = before.source.fingerprint
        if not then:
            return ["what it depended on is not on record"]
        sent = {one.part: self._digests.of(one) for one in sent_parts(then)}
        now = fingerprint(
            node,
            lock_sha256=lock_file_sha256((self._config.rootdir / node.file).parent),
            variables=self._variables,
            sent=sent,
            digest=self._image_digest(node) if IMAGE_VERSION in then else "",
        )
        return differences(now, then)

    def _image_digest(self, node: Node) -> str:
        """Return the digest that the image's name means now; empty where it cannot be asked: then it is taken as is."""
        return "" if self._images is None else self._images.of(node.job.image, node.job.registry)


def last_passed(runs_path: Path, wanted: Collection[str]) -> dict[str, NodeReport]:
    """Return the report of when each of the nodes in ``wanted`` (ids) passed last, if it did in the newest runs."""
    passed: dict[str, NodeReport] = {}
    for info in history.runs(runs_path)[:RUNS_SEARCHED]:
        for report in history.reports(Path(info.folder)):
            if report.node.id in wanted and report.result.outcome is Outcome.PASSED:
                passed.setdefault(report.node.id, report)
        if len(passed) == len(wanted):
            break
    return passed


def differences(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """Return what is another in ``now`` than in an earlier fingerprint, in words."""
    paths = {one.part: f"what it sends from {one.path}" for one in sent_parts([*now, *then])}
    return [
        f"{paths.get(part) or _CALLED.get(part) or f'its {part}'} changed"
        for part in now
        if now[part] != then.get(part)
    ]


def _why(differs: list[str], before: NodeReport | None) -> str:
    if differs or before is None:
        return f"runs, because {' and '.join(differs)}"
    return f"cached, nothing changed since {before.result.finished}: {before.folder}"


def _cached(before: NodeReport) -> NodeReport:
    """Return a report that says a node was passed over, with the metrics and the folder of when it passed."""
    reason = f"{CACHED}nothing changed since it passed at {before.result.finished}"
    return replace(
        before,
        result=Result(outcome=Outcome.SKIPPED, reason=reason),
        cost=replace(before.cost, billed_seconds=0.0, estimated_usd=0.0),
    )

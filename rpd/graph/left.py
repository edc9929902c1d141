"""The results of every node of a run for those that need them, or why there are none."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from rpd.errors import Cause
from rpd.execute.needed import NothingNeeded
from rpd.graph.content import FILES, digest, part, parts_in
from rpd.graph.earlier_results import PASSED, NotThere, check_files, job_of
from rpd.graph.source import GraphSource
from rpd.hooks import hookimpl
from rpd.values.node import Node
from rpd.values.plan import Earlier, Source
from rpd.values.report import CACHED, NodeReport, Outcome, Skip

if TYPE_CHECKING:
    from rpd.graph.needed_results import Needs


class Left(NothingNeeded):
    """The plugin that skips nodes whose needs did not pass, and gives the others their needs' results.

    Results of an earlier run, or an earlier process of this one, are checked by sha256 before the first node
    uses them.
    """

    def __init__(self) -> None:
        self._reports: dict[str, NodeReport] = {}
        self._unchecked: set[str] = set()
        self._lacking: dict[str, tuple[str, str]] = {}
        """By node without results: the node to blame, and what happened to that."""
        self._pruned: set[str] = set()
        self._stands: dict[str, tuple[str, ...]] = {}
        """By collected node in whose place others were added: those of them that left something, the best first."""
        self.planned: frozenset[str] = frozenset()
        """The nodes that are to run."""

    def report_of(self, node_id: str) -> NodeReport | None:
        """Return the report of a node whose results are there."""
        return self._reports.get(node_id)

    def stand_in(self, node_id: str, before: NodeReport) -> None:
        """Let the results of an earlier run stand for a node that is passed over since nothing changed."""
        self._reports[node_id] = before
        self._unchecked.add(node_id)

    def stand_for(self, stands: Mapping[str, Sequence[str]]) -> None:
        """Let nodes of an earlier run stand for those in whose place they were added there."""
        self._stands.update((node_id, tuple(ids)) for node_id, ids in stands.items())

    @property
    def stands(self) -> Mapping[str, tuple[str, ...]]:
        """By id of a node that left nothing itself: those that stand for it, the best first."""
        return self._stands

    def lack(self, lacking: Mapping[str, str]) -> None:
        """Note which results of an earlier process are no longer available, and why."""
        self._lacking.update((node_id, (node_id, why)) for node_id, why in lacking.items())

    # --- hooks ------------------------------------------------------------------------------------------------------

    @hookimpl(trylast=True)
    def rpd_make_sources(self, nodes: list[Node], earlier: Earlier) -> Sequence[Source]:
        """Hand out all nodes that no other source has, each when its needs have passed."""
        if not any(node.needs for node in nodes):
            return ()
        taken = self.planned.difference(node.id for node in nodes)
        over = [report.node.id for report in earlier.reports]
        source = GraphSource(nodes, over, others=taken, stand=self._stand)
        nodes.clear()
        return (source,)

    @hookimpl(tryfirst=True)
    def rpd_run_started(self, done: Sequence[NodeReport]) -> None:
        """Take the results that exist when the run starts."""
        for report in done:
            self._note(report)
            self._unchecked.add(report.node.id)

    @hookimpl(tryfirst=True)
    def rpd_node_report(self, report: NodeReport) -> None:
        """Take the results of a node."""
        self._note(report)

    @hookimpl(tryfirst=True)
    def rpd_skip_node(self, node: Node) -> Skip | None:
        """Skip a node whose needs have no results."""
        there = {job_of(need) for need in node.needs if self._has(need)}
        lacking = [need for need in node.needs if not self._has(need) and not self._is_spared(need, there)]
        if not lacking:
            return None
        # One failed need is enough, even while others may still run.
        lacking = [need for need in lacking if need in self._lacking] or lacking
        first = lacking[0]
        culprit, deed = self._lacking.get(first, (first, "could not be collected"))
        why = f"which {deed}" if culprit == first else f"skipped because {culprit} {deed}"
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        self._lacking[node.id] = (culprit, deed)
        return Skip(reason=f"needs {first}, {why}{more}", cause=Cause.NEEDS)

    def _is_spared(self, node_id: str, there: Container[str]) -> bool:
        """Return whether a node was ended early on purpose, and others of its job left something."""
        return node_id in self._pruned and job_of(node_id) in there

    def _stand(self, node_id: str, ids: Sequence[str]) -> bool:
        """Note which nodes stand for one that others were added for; return whether there is one."""
        there = tuple(each for each in ids if each in self._reports)
        if there:
            self._stands[node_id] = there
        else:
            self._lacking[node_id] = (node_id, "found nothing")
        return bool(there)

    def _used(self, node: Node) -> list[NodeReport]:
        """Return the reports of all nodes that one needs."""
        ids = (each for need in node.needs for each in self._stands.get(need, (need,)))
        return [self._reports[each] for each in ids if each in self._reports]

    def _note(self, report: NodeReport) -> None:
        node_id, result = report.node.id, report.result
        if result.outcome in PASSED or (result.reason.startswith(CACHED) and node_id not in self._reports):
            self._reports[node_id] = report
        elif not result.reason.startswith(CACHED) and result.cause is not Cause.NEEDS:
            self._reports.pop(node_id, None)
            if result.outcome is Outcome.PRUNED:
                self._pruned.add(node_id)
            self._lacking[node_id] = (node_id, _deed(report))
        elif result.cause is Cause.NEEDS:
            self._lacking.setdefault(node_id, (node_id, f"was skipped: {result.reason}"))

    def _has(self, node_id: str) -> bool:
        if node_id in self._stands:
            return self._all_stand(node_id)
        report = self._reports.get(node_id)
        if report is None:
            return False
        if node_id in self._unchecked:
            try:
                check_files(report)
            except NotThere as error:
                del self._reports[node_id]
                self._lacking[node_id] = (node_id, f"cannot be used: {error}")
                return False
            self._unchecked.discard(node_id)
        return True

    def _all_stand(self, node_id: str) -> bool:
        """Return whether all that stand for a node are there: without one, another might seem to be the best."""
        for each in self._stands[node_id]:
            if not self._has(each):
                deed = self._lacking.get(each, (each, "is missing"))[1]
                self._lacking.setdefault(node_id, (node_id, f"rests on {each}, which {deed}"))
                return False
        return True

    # --- results for nodes -----------------------------------------------------------------------------------------

    def by(self, node: Node, sent: dict[str, str]) -> Needs:
        """Return the results of the nodes that a node needs."""
        from rpd.graph.needed_results import Needs

        return Needs(node, sent, self._used(node), studies=self._stands.keys())

    def fingerprint(self, node: Node, sent: Mapping[str, str]) -> Mapping[str, str]:
        """Return hashes of the results that a node used.

        For needs it never touched, all files count, since it may read them from a volume.
        """
        used = {node_id for _, node_id, _ in parts_in(sent)}
        # In a dry run there are no results.
        unused = (each for each in self._used(node) if each.folder and each.node.id not in used)
        return {part(report.node.id, FILES): digest(report, FILES) for report in unused}


def _deed(report: NodeReport) -> str:
    result = report.result
    if result.outcome is Outcome.SKIPPED:
        return f"was skipped ({result.reason})"
    cause = f" ({result.cause})" if result.cause else ""
    return f"ended as {result.outcome}{cause}" if result.outcome is not Outcome.FAILED else f"failed{cause}"

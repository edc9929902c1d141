"""The plugin of reruns: remembers how nodes ended, and starts the next run with those that failed or never ran."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rpd.config import Config
from rpd.config.texts import CAUSES
from rpd.errors import Cause
from rpd.events import Events
from rpd.hooks import PluginManager, hookimpl
from rpd.plan import uses_pod
from rpd.record.last_outcomes import Memory, Remembered, Stepwise
from rpd.stop import INTERRUPTED
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.report import NodeReport

NAME = "reruns"


def add_reruns(config: Config, manager: PluginManager) -> None:
    """Register the plugin, unless it is blocked."""
    if manager.is_blocked(NAME) or manager.has_plugin(NAME):
        return
    memory = Memory(config.rootdir)
    manager.register(Reruns(config, memory, Events(manager)), NAME)


class Reruns:
    """Implements ``--lf``, ``--ff``, ``--nf`` and ``--sw``, and keeps the memory they use.

    Every node is remembered when it starts and when it is reported. In a dry run only nodes without a pod
    are, since the others did not run; with ``--setup-only`` none is. A notice says once if something cannot
    be remembered; there is no other effect.
    """

    def __init__(self, config: Config, memory: Memory, events: Events) -> None:
        self._config = config
        self._memory = memory
        self._events = events
        self._lock = threading.Lock()
        self._is_broken = False
        self._waiting: dict[str, None] = {}
        """The nodes of the plan that have not begun."""
        self._cut_short: Cause | None = None
        """Why they never will."""
        self._begin_with: int | None = None
        """How many nodes ``--sw`` has before it, if it begins at the first one."""
        self._passed_over = "" if config.select.stepwise_skip else None
        """The node that ``--sw-skip`` went past; empty while it may still go past one."""

    # --- selecting --------------------------------------------------------------------------------------------------

    @hookimpl(trylast=True)
    def rpd_select_nodes(self, nodes: list[Node]) -> None:
        """Drop and reorder nodes as the flags say."""
        config = self._config
        if not config.select.asks_memory:
            return
        remembered = self._memory.read()
        if config.select.is_stepwise:
            self._step_past(nodes, remembered.stepwise)
        if config.select.last_failed or config.select.failed_first:
            self._choose_failed(nodes, remembered)
        if config.select.new_first:
            _put_new_first(nodes, remembered.known, config.rootdir)

    def _step_past(self, nodes: list[Node], stepwise: Stepwise) -> None:
        count = len(nodes)
        refusal = self._why_not_skipping(nodes, stepwise)
        if refusal:
            self._begin_with = count
            self._events.notice(f"stepwise: {refusal}")
            return
        nodes[:] = [node for node in nodes if node.id not in stepwise.behind]
        skipped = count - len(nodes)
        self._events.notice(
            f"stepwise: skipping {_counted(skipped, 'node')} that came before (--sw-reset: start at the first)"
        )

    def _why_not_skipping(self, nodes: list[Node], stepwise: Stepwise) -> str:
        if self._config.select.stepwise_reset:
            return "resetting state, not skipping"
        if not stepwise.failed:
            return "no previously failed nodes, not skipping"
        if stepwise.count != len(nodes):
            return f"node count changed, not skipping (now {len(nodes)} nodes, previously {stepwise.count})"
        if all(node.id != stepwise.failed for node in nodes):
            return "previously failed node not found, not skipping"
        return ""

    def _choose_failed(self, nodes: list[Node], remembered: Remembered) -> None:
        config = self._config
        causes = config.select.last_failed or CAUSES
        failed_ids = {node_id for node_id, cause in remembered.failed.items() if cause in causes}
        failed = [node for node in nodes if node.id in failed_ids]
        if failed and config.select.last_failed:
            self._tell(f"rerun previous {_counted(len(failed), 'failure')}")
            nodes[:] = failed
        elif failed:
            self._tell(f"rerun previous {_counted(len(failed), 'failure')} first")
            nodes[:] = [*failed, *(node for node in nodes if node.id not in failed_ids)]
        else:
            self._nothing_failed(nodes, len(failed_ids), len(remembered.failed))

    def _nothing_failed(self, nodes: list[Node], known: int, failed: int) -> None:
        config = self._config
        if known:
            why = f"{_counted(known, 'known failure')} not in selected nodes"
        elif failed:
            why = f"no previously failed nodes of cause {', '.join(config.select.last_failed)} ({failed} of others)"
        else:
            why = "no previously failed nodes"
        if not config.select.last_failed:
            self._tell(f"{why}, the order stays as it is")
        elif config.select.last_failed_no_failures == "all":
            self._tell(f"{why}, not deselecting nodes")
        else:
            self._tell(f"{why}, running nothing (--lfnf=all: run all of them)")
            nodes.clear()

    def _tell(self, text: str) -> None:
        self._events.notice(f"run-last-failure: {text}")

    # --- remembering ------------------------------------------------------------------------------------------------

    @hookimpl(tryfirst=True)
    def rpd_run_started(self, plan: Plan) -> None:
        """Tidy the memory up, and let ``--sw`` begin."""
        self._waiting = dict.fromkeys(node.id for node in plan.nodes if self._really_runs(node))
        self._try(self._memory.tidy)
        count = self._begin_with
        if self._steps and count is not None:
            self._try(lambda: self._memory.begin_stepwise(count))
        if self._config.select.is_stepwise and plan.width > 1:
            self._events.notice(
                "stepwise: when a node does not pass, running nodes may finish, but no new ones start"
            )

    @hookimpl(tryfirst=True)
    def rpd_node_started(self, node: Node) -> None:
        """Remember that a node began: if nothing more is heard of it, it is lost."""
        self._waiting.pop(node.id, None)
        if self._really_runs(node):
            self._try(lambda: self._memory.begun(node.id, step=self._steps))

    @hookimpl(tryfirst=True)
    def rpd_node_report(self, node: Node, report: NodeReport) -> None:
        """Remember how a node ended."""
        if not self._really_runs(node):
            return
        result = report.result
        # A node skipped because its needs did not pass still has to run, and is no place for --sw to stop.
        is_held_up = result.cause is Cause.NEEDS
        cause = None if result.outcome.is_ok and not is_held_up else result.cause or Cause.CODE
        step = self._step(node.id, failed=cause is not None) if self._steps and not is_held_up else ""
        self._try(lambda: self._memory.ended(node.id, cause=cause, seconds=result.seconds, step=step))

    @hookimpl
    def rpd_stopping(self, reason: str) -> None:
        """Note why nodes are left out if they are not to blame; after ``-x`` only failed ones run again."""
        if INTERRUPTED in reason:
            self._cut_short = Cause.INTERRUPTED
        elif reason.startswith(("budget:", "balance:")):
            self._cut_short = Cause.BUDGET

    @hookimpl
    def rpd_run_finished(self) -> None:
        """Remember the nodes that were left out, and close the memory."""
        if self._cut_short is not None:
            for node_id in self._waiting:
                self._try(partial(self._memory.left_out, node_id, self._cut_short))
        self._memory.close()

    @property
    def _steps(self) -> bool:
        """Whether the run moves ``--sw`` on; one that runs no job does not."""
        return self._config.select.is_stepwise and self._config.run.runs_jobs

    def _really_runs(self, node: Node) -> bool:
        run = self._config.run
        return run.runs_jobs or not (run.setup_only or uses_pod(node))

    def _step(self, node_id: str, *, failed: bool) -> str:
        if not failed:
            return "behind"
        with self._lock:
            if self._passed_over == "":
                self._passed_over = node_id
            return "behind" if self._passed_over == node_id else "failed"

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            with self._lock:
                is_first, self._is_broken = not self._is_broken, True
            if is_first:
                self._events.notice(f"cannot record outcomes for --lf: {self._memory.path}: {error.strerror}")


def _put_new_first(nodes: list[Node], known: frozenset[str], rootdir: Path) -> None:
    """Order nodes: those that never ran first, and within both kinds the files that were changed last."""
    changed = {file: _changed_at(rootdir / file) for file in {node.file for node in nodes}}
    nodes.sort(key=lambda node: (node.id in known, -changed[node.file]))


def _changed_at(path: Path) -> float:
    """Return when a file was changed last, 0 if it is gone by now."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

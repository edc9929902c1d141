"""Running: a run in progress, as the program that started it sees it."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rpd.api import tables
from rpd.api.call import Call
from rpd.api.outcome import RunOutcome
from rpd.api.reports import reports_of
from rpd.errors import RpdError, UsageError
from rpd.execute import no_network
from rpd.hooks import hookimpl
from rpd.pipeline.caller import Caller
from rpd.pipeline.run import run as carry_out
from rpd.record import manifest
from rpd.redaction import Redactor
from rpd.stop import INTERRUPTED, Stop, StopLevel
from rpd.threads import Repeater, guarded
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.report import NodeReport

How = Literal["drain", "end", "abandon"]
"""What to do with what runs: let it finish; end it in order (pull, release); or release every pod at once."""

_WAKE_SECONDS = 0.5
"""How often a thread that waits looks up, so that Ctrl-C is heard on every system."""
_BOARD_SECONDS = 1.0


class _Watching:
    """The plugin that keeps up with a run."""

    def __init__(self, changed: Callable[[], object], redactor: Redactor) -> None:
        self._changed = changed
        self._redactor = redactor
        self.folder: Path | None = None
        self.nodes: dict[str, str] = {}
        """Node id to what becomes of it: queued, running, or its outcome."""
        self.arrived: list[NodeReport] = []
        """The first report of each node, in the order in which they came."""
        self.reports: dict[str, NodeReport] = {}
        """The latest of each."""
        self.notices: list[str] = []

    def rpd_notice(self, text: str) -> None:
        """Keep a sentence."""
        self.notices.append(self._redactor.text(text))

    @hookimpl(tryfirst=True)
    def rpd_run_started(self, plan: Plan, folder: Path | None) -> None:
        """Note the nodes of the plan."""
        self.folder = folder
        self.nodes = {node.id: "queued" for node in plan.nodes}
        self._changed()

    @hookimpl(tryfirst=True)
    def rpd_nodes_added(self, nodes: Sequence[Node]) -> None:
        """Note nodes that join the plan."""
        self.nodes.update({node.id: "queued" for node in nodes})
        self._changed()

    @hookimpl(tryfirst=True)
    def rpd_node_started(self, node: Node) -> None:
        """Note that one has begun."""
        self.nodes[node.id] = "running"
        self._changed()

    @hookimpl(trylast=True)
    def rpd_node_report(self, node: Node, report: NodeReport) -> None:
        """Keep a report; by now its manifest is written."""
        masked = manifest.redacted(report, self._redactor)
        if node.id not in self.reports:
            self.arrived.append(masked)
        self.reports[node.id] = masked
        self.nodes[node.id] = report.result.word
        self._changed()


class Running:
    """A run on its own thread. Iterate it for reports as they come; ``await`` it or call ``result`` for its end.

    It can be used from any thread, and from several event loops. A program that ends waits for it.
    """

    def __init__(self, call: Call, *, show: bool) -> None:
        """Begin. Raise UsageError for mistakes that show before anything is collected."""
        self._call = call
        self._show = show
        self._stop = Stop()
        self._redactor = Redactor()
        self._changed = threading.Condition()
        self._watching = _Watching(self._wake, self._redactor)
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._boards: list[Callable[[], object]] = []
        self._is_ready = self._is_over = False
        self._outcome: RunOutcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=copy_context().run, args=(self._work,), name="rpd-run")
        self._thread.start()
        try:
            self._wait(lambda: self._is_ready or self._is_over, None)
        except BaseException:  # Ctrl-C: nothing has been created yet
            self.stop()
            raise
        if self._is_over and not self._is_ready:
            self.result()

    # --- for the program --------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the run is over."""
        return self._is_over

    @property
    def folder(self) -> Path | None:
        """The run folder, as soon as there is one; a dry run has none."""
        return self._watching.folder

    @property
    def states(self) -> dict[str, str]:
        """Node id to ``queued``, ``running`` or the outcome of each node of the plan, now."""
        return dict(self._watching.nodes)

    @property
    def reports(self) -> tuple[NodeReport, ...]:
        """The reports of the nodes that are over, the latest of each; the teardown of a shared pod changes its cost."""
        return tuple(self._watching.reports.values())

    @property
    def notices(self) -> tuple[str, ...]:
        """The lines that the screen would have shown so far."""
        return tuple(self._watching.notices)

    def stop(self, how: How = "end") -> None:
        """End the run: in order by default, which takes as long as pulling does.

        At once and unpulled the second time.

        ``drain`` starts nothing new and lets running nodes finish, ``abandon`` releases every pod now. Return
        at once.
        """
        levels = {"drain": StopLevel.DRAIN, "end": StopLevel.END, "abandon": StopLevel.ABANDON}
        if how not in levels:
            raise UsageError(f"stop: expected one of {', '.join(levels)}, got {how!r}")
        again = how == "end" and self._stop.level >= StopLevel.END
        level = StopLevel.ABANDON if again else levels[how]
        reason = "stopped by stop()" if level is StopLevel.DRAIN else f"{INTERRUPTED}stop()"
        self._stop.request(level, reason)

    def result(self, timeout: float | None = None) -> RunOutcome:
        """Wait until the run is over, ``timeout`` seconds at most, and return its outcome.

        Raise TimeoutError (the run continues), and the error that ended the run: UsageError, AuthError,
        ProviderError.
        """
        if not self._wait(lambda: self._is_over, timeout):
            raise TimeoutError(
                f"the run is still running after {timeout:g} s" if timeout else "the run is still running"
            )
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def __iter__(self) -> Iterator[NodeReport]:
        """Yield the report of each node once, when it is over; from the beginning, whenever this is called."""
        for count in itertools.count():
            self._wait(partial(self._has_come, count), None)
            if count >= len(self._watching.arrived):
                break
            yield self._watching.arrived[count]
        self.result()

    def _has_come(self, count: int) -> bool:
        """Return whether more than ``count`` nodes have been reported, or no more will be."""
        return self._is_over or len(self._watching.arrived) > count

    # --- for asyncio --------------------------------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[NodeReport]:
        """Yield the report of each node once, without holding up the event loop."""
        for count in itertools.count():
            await self._wait_async(partial(self._has_come, count))
            if count >= len(self._watching.arrived):
                break
            yield self._watching.arrived[count]
        self.result()

    def __await__(self) -> Generator[Any, None, RunOutcome]:
        yield from self._wait_async(lambda: self._is_over).__await__()
        return self.result()

    async def _wait_async(self, is_met: Callable[[], bool]) -> None:
        entry = asyncio.get_running_loop(), asyncio.Event()
        with self._changed:
            self._waiting.append(entry)
        try:
            while not is_met():
                await entry[1].wait()
                entry[1].clear()
        finally:
            with self._changed:
                self._waiting.remove(entry)

    # --- the run itself -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with ExitStack() as stack:
                if self._call.is_dry:
                    stack.enter_context(no_network.among_others())
                self._outcome = self._carried_out(stack)
        except SystemExit as error:  # of a hook: it must not end the program
            self._error = RpdError(
                f"SystemExit: {error.code}: a conftest or plugin called sys.exit in a hook"
            )
            self._error.__cause__ = error
        except BaseException as error:  # noqa: BLE001 - raised where the program asks for the result
            self._error = error
        self._is_over = True
        for update in self._boards:  # before the threads that wait for the run continue
            guarded(update)
        self._wake()

    def _carried_out(self, stack: ExitStack) -> RunOutcome:
        """Collect and run on this thread; return the outcome with the newest report of each node."""
        config, manager = self._call.open(stack, [self._watching])
        if self._show and sys.stdout is not None:  # a program without a console has none
            from rpd.terminal import make_view  # loads rich

            view = make_view(config, sys.stdout, self._redactor)
            stack.callback(view.close)
            manager.register(view, "terminal")
        if config.output.html is not None:
            from rpd.web.html_report import add_page  # few runs write one

            add_page(config.output, config.invocation_dir, manager, self._redactor)
        if config.output.notify and not config.run.dry_run:
            from rpd.notify.plugin import add_notices  # few runs send any

            add_notices(config.output.notify, config.money.budget, manager, self._redactor)
        if not config.run.dry_run:
            from rpd.hand_over.plugin import add_hand_over  # nothing is left of a dry run

            add_hand_over(manager, self._redactor)
        self._is_ready = True
        self._wake()
        ended = carry_out(config, manager, self._redactor, None, Caller(stop=self._stop))
        summary = ended.summary
        reports = (
            [self._watching.reports.get(each.node.id, each) for each in summary.reports] if summary else []
        )
        return RunOutcome(
            exit_code=ended.exit_code,
            reports=reports_of(reports, Path(summary.folder).name if summary else ""),
            summary=summary,
            errors=ended.gathered.errors,
            notices=self.notices,
        )

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
            for loop, event in self._waiting:
                with suppress(RuntimeError):  # a loop that is closed
                    loop.call_soon_threadsafe(event.set)

    def _wait(self, is_met: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until something is so; return whether it is. In short steps, so that Ctrl-C is heard meanwhile."""
        left = timeout
        with self._changed:
            while not is_met():
                step = _WAKE_SECONDS if left is None else min(left, _WAKE_SECONDS)
                self._changed.wait_for(is_met, step)
                if left is not None:
                    left -= step
                    if left <= 0:
                        return is_met()
        return True

    # --- how it looks -------------------------------------------------------------------------------------------------

    def _board(self) -> tuple[Sequence[str], list[dict[str, Any]], str]:
        states, reports = self.states, dict(self._watching.reports)
        rows: list[dict[str, Any]] = []
        for node_id, state in states.items():
            report = reports.get(node_id)
            row: dict[str, Any] = {"node": node_id, "state": state}
            if report is not None:
                metrics = {f"metric.{name}": value for name, value in report.metrics.items()}
                row |= {**metrics, "seconds": report.result.seconds, "usd": report.cost.estimated_usd}
            rows.append(row)
        own = dict.fromkeys(name for row in rows for name in row if name.startswith("metric."))
        over = sum(node_id in reports for node_id in states)
        spent = sum(report.cost.estimated_usd for report in reports.values())
        foot = f"{over} of {len(states)} nodes done, ${spent:.2f}" if states else "collecting and planning"
        ended = self._outcome
        if ended is not None:
            foot += f"; exit code {int(ended.exit_code)}"
        elif self._error is not None:
            foot += f"; {type(self._error).__name__}: {self._error}"
        shown = (
            [row for row in rows if row["state"] != "queued"][-tables.MOST_ROWS :]
            if len(rows) > tables.MOST_ROWS
            else rows
        )
        return ("node", "state", *own, "seconds", "usd"), shown, foot

    def __repr__(self) -> str:
        return f"<Running: {self._board()[2]}>"

    def __str__(self) -> str:
        return tables.text_table(*self._board())

    def __rich__(self) -> str:
        """For rich: the board, with no text read as markup."""
        return str(self).replace("[", "\\[")

    def _repr_html_(self) -> str:
        return tables.html_table(*self._board())

    def _ipython_display_(self) -> None:
        """Show the board below a notebook cell, and keep it up to date until the run is over."""
        from IPython.display import HTML, display

        handle = display(HTML(self._repr_html_()), display_id=True)
        if handle is None:
            return

        def update() -> bool:
            handle.update(HTML(self._repr_html_()))
            return not self._is_over

        self._boards.append(update)
        Repeater(update, seconds=_BOARD_SECONDS, name="rpd-board").start()

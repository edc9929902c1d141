"""The commands of one node: their prelude, the following of each to its end, and the watch for signs of life."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from rpd.errors import Interrupted, JobTimeout, code_in_words
from rpd.events import Events
from rpd.execute.deadlines import Deadlines, limit_of
from rpd.execute.node.log import NodeLog
from rpd.execute.node.pruning import Pruning
from rpd.execute.node.series import NodeSeries
from rpd.execute.pod.prelude import Prelude
from rpd.redaction import Redactor
from rpd.remote.protocol import Command, Output, Remote
from rpd.remote.telemetry import Silence, look_at_crash
from rpd.stop import Stop, StopLevel
from rpd.values.duration import format_duration
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.step import Completed

CRASHES = frozenset({132, 134, 135, 136, 137, 139})
"""Exit codes of a program that a signal ended: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV."""

LONGEST_LINE = 300
"""Characters shown of a line in a diagnosis: command lines can be very long."""


class Commands:
    """Runs the commands of a node under the limits of its job, and ends them when the run has to end."""

    def __init__(
        self,
        node: Node,
        events: Events,
        redactor: Redactor,
        stop: Stop,
        *,
        log: NodeLog,
        series: NodeSeries,
        deadlines: Deadlines,
        pruning: Pruning,
    ) -> None:
        self._node = node
        self._events = events
        self._redactor = redactor
        self._stop = stop
        self._log = log
        self._series = series
        self._deadlines = deadlines
        self.pruning = pruning
        self.preludes: dict[str, Prelude] = {}
        """Prelude of the node's commands, by pod name."""
        self.saving_seconds = 0.0
        """The time they need to save their progress once they are asked to end."""

    @cached_property
    def given(self) -> dict[str, str]:
        """The environment variables that plugins give them."""
        return self._events.command_environment(node=self._node)

    def follow(self, remote: Remote, command: Command, metrics: tuple[str, ...] = ()) -> Completed:
        """Run a command; its output goes to the log as it comes, its measurements to the series of the node.

        ``metrics`` are patterns that find numbers in its output. Raise CommandTimeout, JobTimeout,
        BudgetExceeded, ConnectionLost, PodLost, Interrupted, Pruned.
        """
        self.pruning.check()
        self._log.mend()
        self._log.begin(lambda take: remote.follow(command.key, 0, take))
        self._series.begin(metrics)
        limit = limit_of(self._deadlines, command.timeout, spare=self.saving_seconds)
        forget = self._stop.listen(lambda level: remote.interrupt() if level >= StopLevel.END else None)
        try:
            with self._prunable(remote), limit.telling(command.text), self.watched_for_life() as hear:
                hear_all = both(hear, self._series.hear_output) if metrics else hear
                completed = remote.run(replace(command, timeout=limit.seconds), hear_all, self._series.feed)
                self._series.end()
                return completed
        finally:
            forget()
            self._log.flush()

    @contextmanager
    def _prunable(self, remote: Remote) -> Iterator[None]:
        """Let plugins end the command in the block. The end of the whole run goes before theirs. Raise Pruned."""
        with self.pruning.through(remote.interrupt):
            try:
                yield
            except Interrupted:
                self._stop.check()
                self.pruning.check()
                raise

    @contextmanager
    def watched_for_life(self) -> Iterator[Output]:
        """Watch a command for signs of life, if its job asks for that; yield the function that takes its output.

        A command that is silent for too long on idle GPUs is ended. The diagnosis is kept in a separate file,
        so that the log ends with the job's own words. Raise JobTimeout.
        """
        deadlines = self._deadlines
        if deadlines.timeouts.silent is None:
            yield self._log.write
            return
        silence = deadlines.silence = Silence(deadlines.timeouts.silent)

        def hear(data: bytes) -> None:
            silence.output()
            self._log.write(data)

        try:
            yield hear
        except Interrupted:
            silence.over()
            if silence.diagnosis is None:
                raise
        finally:
            silence.over()
            deadlines.silence = None
        if silence.diagnosis is not None:
            where = self._log.keep_diagnosis(self._legible(silence.diagnosis))
            raise JobTimeout(
                f"no output and idle GPUs for {format_duration(silence.seconds)}: the command was ended "
                f"(its processes: {where})"
            )

    def keep_crash(self, remote: Remote, completed: Completed) -> None:
        """Keep the pod's diagnosis of a command that was killed or crashed, the first of the node only."""
        if self._log.has_diagnosis:
            return
        said = (
            f"rpd: the command ended with exit code {code_in_words(completed.exit_code)}: {completed.command}"
        )
        self._log.keep_diagnosis(self._legible(f"{said}\n{look_at_crash(remote)}".encode()))

    def _legible(self, diagnosis: bytes) -> bytes:
        """Return a diagnosis with long lines cut; secrets are masked before the cut, while they are still complete."""
        lines = self._redactor.text(diagnosis.decode(errors="replace")).split("\n")
        return "\n".join(line[:LONGEST_LINE] for line in lines).encode()


class DryCommands(Commands):
    """Every command succeeds at once."""

    def follow(self, remote: Remote, command: Command, metrics: tuple[str, ...] = ()) -> Completed:  # noqa: ARG002
        return remote.run(command, self._log.write)


def both(first: Output, second: Output) -> Output:
    """Return a function that passes output to ``first``, then to ``second``."""

    def hear(data: bytes) -> None:
        first(data)
        second(data)

    return hear

"""Follows one command of a job until it ends, the run ends, or its time is up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from rpd.errors import Interrupted
from rpd.execute.deadlines import limit_of
from rpd.execute.node.run import NodeRun
from rpd.execute.node.signs_of_life import listened_for_life
from rpd.remote.protocol import Command, Output, Remote
from rpd.stop import StopLevel
from rpd.values.step import Completed


def follow(run: NodeRun, remote: Remote, command: Command, metrics: tuple[str, ...] = ()) -> Completed:
    """Run a command; stream its output to the log of the node and its metrics to the series.

    Raise CommandTimeout, JobTimeout, BudgetExceeded, ConnectionLost, PodLost, Interrupted, Pruned.
    """
    run.pruning.check()
    run.log.mend()
    run.log.begin(lambda take: remote.follow(command.key, 0, take))
    run.series.begin(metrics)
    limit = limit_of(run.deadlines, command.timeout, spare=run.saving_seconds)
    forget = run.context.stop.listen(lambda level: remote.interrupt() if level >= StopLevel.END else None)
    try:
        with _prunable(run, remote), limit.telling(command.text), listened_for_life(run) as hear:
            hear_all = _both(hear, run.series.hear_output) if metrics else hear
            completed = remote.run(replace(command, timeout=limit.seconds), hear_all, run.series.feed)
            run.series.end()
            return completed
    finally:
        forget()
        run.log.flush()


def _both(first: Output, second: Output) -> Output:
    def hear(data: bytes) -> None:
        first(data)
        second(data)

    return hear


@contextmanager
def _prunable(run: NodeRun, remote: Remote) -> Iterator[None]:
    """Let plugins end the command in the block. If the whole run has to end, that error comes first. Raise Pruned."""
    with run.pruning.through(remote.interrupt):
        try:
            yield
        except Interrupted:
            # Both interrupt the command in the same way: ask which of them it was.
            run.context.stop.check()
            run.pruning.check()
            raise

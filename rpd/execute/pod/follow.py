"""Following one command of a job: to its end, to the end of the run, or until its time is up."""

from __future__ import annotations

from dataclasses import replace

from rpd.execute.deadlines import limit_of
from rpd.execute.node.run import NodeRun
from rpd.execute.node.signs_of_life import listened_for_life
from rpd.remote.protocol import Command, Remote
from rpd.stop import StopLevel
from rpd.values.step import Completed


def follow(run: NodeRun, remote: Remote, command: Command) -> Completed:
    """Run a command; what it prints goes to the log of the node as it comes.

    Raises CommandTimeout, JobTimeout, BudgetExceeded, ConnectionLost, PodLost, Interrupted.
    """
    run.log.mend()
    run.log.begin(lambda take: remote.follow(command.key, 0, take))
    limit = limit_of(run.deadlines, command.timeout)
    forget = run.context.stop.listen(lambda level: remote.interrupt() if level >= StopLevel.END else None)
    try:
        with limit.telling(command.text), listened_for_life(run) as hear:
            return remote.run(replace(command, timeout=limit.seconds), hear)
    finally:
        forget()
        run.log.flush()

"""Watches a command for signs of life, and ends one that is silent for too long on idle GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rpd.errors import Interrupted, JobTimeout
from rpd.execute.node.run import NodeRun
from rpd.redaction import Redactor
from rpd.remote.protocol import Output, Remote
from rpd.remote.telemetry import Silence, look_at_crash
from rpd.values.duration import format_duration
from rpd.values.step import Completed

CRASHES = frozenset({132, 134, 135, 136, 137, 139})
"""Exit codes of a program that a signal ended: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV."""

LONGEST_LINE = 300
"""Characters shown of a line in a diagnosis: command lines can be very long."""


@contextmanager
def listened_for_life(run: NodeRun) -> Iterator[Output]:
    """Watch a command for signs of life, if its job asks for that; yield the function that takes its output.

    If it showed none, keep the diagnosis in a file of its own, so that the log ends with the job's own
    output, and raise JobTimeout.
    """
    deadlines = run.deadlines
    if deadlines.timeouts.silent is None:
        yield run.log.write
        return
    silence = deadlines.silence = Silence(deadlines.timeouts.silent)

    def hear(data: bytes) -> None:
        silence.output()
        run.log.write(data)

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
        where = run.log.keep_diagnosis(_legible(silence.diagnosis, run.redactor))
        raise JobTimeout(
            f"no output and idle GPUs for {format_duration(silence.seconds)}: the command was ended "
            f"(what ran on the pod then: {where})"
        )


def keep_crash(run: NodeRun, remote: Remote, completed: Completed) -> None:
    """Keep the pod's information about a command that was killed or crashed; only the first of a node."""
    if run.log.has_diagnosis:
        return
    said = f"rpd: the command ended with exit code {completed.exit_code}: {completed.command}\n{look_at_crash(remote)}"
    run.log.keep_diagnosis(_legible(said.encode(), run.redactor))


def _legible(diagnosis: bytes, redactor: Redactor) -> bytes:
    """Return a diagnosis with long lines cut; secrets are masked before the cut, while they are still complete."""
    lines = redactor.text(diagnosis.decode(errors="replace")).split("\n")
    return "\n".join(line[:LONGEST_LINE] for line in lines).encode()

"""The ladder: turns an exception into the outcome and cause of a node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rpd.errors import (
    Cause,
    CollectionError,
    CommandFailed,
    ConnectionLost,
    Interrupted,
    PodLost,
    PodStopped,
    ProviderError,
    ProvisioningError,
    Pruned,
    ReleaseError,
    RpdError,
    is_out_of_room,
    is_used_up,
)
from rpd.execute import user_tracebacks
from rpd.execute.context import RunContext
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.verdict import Verdict
from rpd.execute.scopes import TeardownError
from rpd.journal import journal
from rpd.project.fingerprint import sent_parts
from rpd.stop import StopLevel
from rpd.values.frozen import replace
from rpd.values.report import Failure, Outcome
from rpd.values.skip_and_fail import Failed, Skipped


class Ladder:
    """Judges the errors of one run, and stops the run after errors that every other node would meet too."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def judge(self, run: NodeRun, error: BaseException, *, in_job: bool) -> Verdict:
        """Turn an error of a set-up or a job into a verdict."""
        usual = Outcome.FAILED if in_job else Outcome.ERROR
        error = self._why_lost(run, error)
        match error:
            case Skipped():
                return Verdict(Outcome.SKIPPED, None, str(error))
            case Pruned():
                return Verdict(Outcome.PRUNED, None, self._context.redactor.text(str(error)), error=error)
            case Interrupted():
                outcome, cause = Outcome.ERROR, Cause.INTERRUPTED
            case ConnectionLost() | ProvisioningError() | ProviderError() | ReleaseError():
                outcome, cause = Outcome.ERROR, error.cause
            case RpdError() if error.cause in (Cause.INFRA, Cause.LOCAL):
                outcome, cause = Outcome.ERROR, error.cause
            case _ if is_out_of_room(error) or is_used_up(error):  # a larger pod would not help
                outcome, cause = Outcome.ERROR, Cause.LOCAL
            case RpdError():
                outcome, cause = usual, error.cause
            case KeyboardInterrupt():
                self._context.stop.request(StopLevel.END, "interrupted by KeyboardInterrupt in a job")
                outcome, cause = Outcome.ERROR, Cause.INTERRUPTED
            case _:
                outcome, cause = usual, Cause.CODE
        self.heed(error)
        reason = self._context.redactor.text(_reason(error))
        if outcome is Outcome.ERROR and self._context.stop.level >= StopLevel.ABANDON:
            # Its pod was released under it, so any error may follow from that.
            cause, reason = Cause.INTERRUPTED, self._context.stop.reason
        return Verdict(outcome, cause, reason, self.failure(error, run), error)

    def _why_lost(self, run: NodeRun, error: BaseException) -> BaseException:
        """Return ``error``, or PodStopped instead where somebody ended the pod that was lost."""
        if not isinstance(error, PodLost) or not run.use.leases:
            return error
        leases = {lease.name: lease for lease in run.use.leases}
        for event in journal.read(self._context.files.journal):
            lease = leases.get(event.get("pod_name", ""))
            if event["event"] == journal.STOP_ASKED and lease is not None:
                if event.get("keep_disk"):
                    lease.leave_stopped()
                stopped = PodStopped(f"pod {event.get('pod_id')} was released by rpd stop")
                return stopped.with_traceback(error.__traceback__)
        lost = run.use.leases[-1]  # those before are given back
        if lost.ended_by_user:
            why = f"pod {lost.rented.id} was ended by your account, not by this run: {lost.ended_by_user}"
            return PodStopped(why).with_traceback(error.__traceback__)
        return error

    def failure(self, error: BaseException, run: NodeRun | None) -> Failure:
        shown = user_tracebacks.user_frames(
            error, self._context.rootdir, self._context.trace_style, self._context.redactor
        )
        tail = run.log.tail if run is not None else ()
        place = f"{error.file}:{error.line}" if isinstance(error, CollectionError) and error.file else ""
        tail = tail or tuple(
            map(self._context.redactor.text, error.tail if isinstance(error, CommandFailed) else ())
        )
        return Failure(
            place=shown.place or place,
            source_line=shown.source_line,
            traceback=tuple(self._context.redactor.text(line) for line in shown.lines),
            log_tail=tail,
            hint=self._left_out(run, [*tail, _reason(error)]) if run is not None else "",
        )

    def _left_out(self, run: NodeRun, lines: Sequence[str]) -> str:
        """Return a hint at the file that was not sent, if a file was missing on the pod."""
        parts = [*run.results.sent, *(part for lease in run.use.leases[-1:] for part in lease.sent)]
        sent = [
            (Path(os.path.normpath(self._context.rootdir / sent_tree.path)), sent_tree)
            for sent_tree in sent_parts(parts)
        ]
        by_name = {path for path, _ in sent}
        for path, sent_tree in sent:
            with suppress(RpdError, OSError):  # it may be gone by now
                left_out = self._context.uploads.weigh(
                    path, sent_tree.exclude, ignored=sent_tree.ignored
                ).left_out
                if left_out is not None and (text := left_out.besides(path, by_name).explains(lines)):
                    return self._context.redactor.text(text)
        return ""

    def heed(self, error: BaseException) -> None:
        """Drain the run after an error that every other node would meet too."""
        if is_out_of_room(error):
            self._context.stop.request(StopLevel.DRAIN, f"a disk of this machine is full ({error})")
        elif isinstance(error, RpdError) and error.stops_run:
            # The full message, with the command to type, is shown elsewhere.
            reason = f"pod {error.known_as} may still bill" if isinstance(error, ReleaseError) else str(error)
            self._context.stop.request(StopLevel.DRAIN, reason)

    def with_teardown(self, verdict: Verdict, errors: Sequence[TeardownError]) -> Verdict:
        """Return ``verdict`` after the teardown: a pass becomes an error, a failure keeps its outcome."""
        if not errors:
            return verdict
        each = tuple(f"teardown of {error.fixture.name}: {_reason(error.error)}" for error in errors)
        reason = "; ".join(each)
        # An error of the platform outweighs one of the user's fixture.
        worst = next((error for error in errors if isinstance(error.error, RpdError)), errors[0])
        if not verdict.outcome.is_ok:
            failure = verdict.failure or Failure()
            failure = replace(failure, teardown=(*failure.teardown, *each))
            return replace(verdict, reason=f"{verdict.reason}; {reason}", failure=failure)
        cause = worst.error.cause if isinstance(worst.error, RpdError) else Cause.CODE
        cause = Cause.LOCAL if is_out_of_room(worst.error) or is_used_up(worst.error) else cause
        return Verdict(Outcome.ERROR, cause, reason, self.failure(worst.error, worst.user), worst.error)


def _reason(error: BaseException) -> str:
    text = user_tracebacks.text_of(error)
    if isinstance(error, Failed | RpdError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

"""The invariant of all cases: no pod is left, nothing is lost, and codes, causes and costs are right."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rpd.errors import ExitCode
from rpd.record import run_info
from rpd.values.report import NodeReport, Outcome
from tests.faultlab.case import ANY, BLOB, OUTPUT, Case, Ending

ATTEMPT_SECONDS = 3.0
"""How much longer than RunPod a node may count each of its pods, besides the time that its create and its release took."""


def check(case: Case, ending: Ending) -> None:
    """Fail unless no pod is left, every node has its manifest, artifacts are intact, and code, cause and cost are right."""
    last = ending.after or ending
    story = f"{ending.screen}\n{ending.after.screen if ending.after else ''}"
    assert "Traceback" not in story, story
    reports = ending.reports
    assert last.exit_code == _expected_code(case, last, reports), story
    assert len(last.left) == case.kept or (case.kept is None and last.exit_code == 6) or not last.left, story
    _check_code(last)
    started = {event["node"] for event in ending.events("node_started")}
    reaped = case.then[:1] == ("gc",)
    if not reaped:
        assert {report.node.id for report in reports} == started, story
    assert re.search(case.says, story), story
    for report in reports:
        _check_artifacts(report)
    for report in reports if not reaped else ():
        outcome = (report.result.outcome, report.result.cause)
        assert case.outcome is None or outcome == (case.outcome, case.cause), story
        assert case.attempts in (None, report.result.attempts), story
        assert len(report.attempts) == report.result.attempts - 1
        if report.result.outcome is Outcome.PASSED:
            _check_passed(report)
        held_up = {step.kind for step in report.steps if step.seconds >= 1}
        assert case.hits is None or case.hits in held_up, story
    if not reaped:
        _check_cost(case, ending, reports, story)


def _expected_code(case: Case, last: Ending, reports: Sequence[NodeReport]) -> int:
    if case.exit_code is not None:
        return case.exit_code
    if last.exit_code == ExitCode.POD_NOT_RELEASED and (case.kept is None or last.left):
        return last.exit_code  # whether it names the remaining pods is checked next
    if "starting nothing new; running commands are ended" in last.screen:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if all(report.result.outcome.is_ok for report in reports) else ExitCode.FAILED


def _check_code(ending: Ending) -> None:
    """Exit code 6 says that pods may still bill, which ones, and how to release them; nothing else says so."""
    if ending.exit_code != ExitCode.POD_NOT_RELEASED:
        assert "may still bill" not in ending.screen or "was released after all" in ending.screen, (
            ending.screen
        )
        return
    info = run_info.read(ending.run_dir / run_info.FILE_NAME)
    named = {*info.unreleased}
    made = ending.events("intent", "created")
    assert named, ending.screen
    # Where the answer to a create was lost, its name is all that is known of a pod.
    assert all(named & set(_known_as(pod)) for pod in ending.left), ending.screen
    assert named <= {event.get("pod_id") for event in made} | {event["pod_name"] for event in made}
    for pod in named:
        assert f"rpd stop {pod}" in ending.screen, ending.screen


def _known_as(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how a pod, or the cluster it is a member of, may be named."""
    if "cluster" in pod:
        return pod["cluster"], pod["name"].rpartition("-")[0]
    return pod["id"], pod["name"]


def _check_artifacts(report: NodeReport) -> None:
    """Check that verified artifacts of the manifest exist, byte for byte as their list of sums says."""
    folder = Path(report.folder)
    for artifact in report.artifacts:
        if not artifact.verified:
            continue
        sums = (folder / artifact.sha256_file).read_text(encoding="utf-8").splitlines()
        assert len(sums) >= artifact.files > 0
        for line in sums:
            digest, name = re.fullmatch(r"([0-9a-f]{64})\s+\*?(.+)", line).groups()  # type: ignore[union-attr]
            content = (folder / "artifacts" / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest, name


def _check_passed(report: NodeReport) -> None:
    """A node that passed has everything its job made."""
    folder = Path(report.folder)
    assert [(artifact.files, artifact.verified) for artifact in report.artifacts] == [(1, True)]
    model = (folder / "artifacts" / "out" / "model").read_bytes()
    assert model == BLOB * max(2, len(model) // len(BLOB))
    # Attempts follow each other in the log; one that came to its command wrote all of it.
    content = (folder / "output.log").read_bytes()
    assert content in [OUTPUT * count for count in range(1, report.result.attempts + 1)]
    assert report.pod is not None


def _check_cost(case: Case, ending: Ending, reports: Sequence[NodeReport], story: str) -> None:
    """Check that the nodes bear RunPod's bill: never less, and not much more than the time of the API calls."""
    if case.slack == ANY:
        return
    usd = sum(report.cost.estimated_usd for report in reports)
    per_second = ending.rate / 3600
    most = (_slack(ending) + case.slack) * per_second
    below, above = (ending.billed - usd) / (per_second or 1), (usd - ending.billed) / (per_second or 1)
    goes_on = bool((ending.after or ending).left)  # pods that stay keep billing after its report
    assert goes_on or usd >= ending.billed - 0.05 * per_second - 2e-6, (
        f"{below:.2f} s of a pod are missing\n{story}"
    )
    assert usd <= ending.billed + most + 2e-6, f"{above:.2f} s of a pod too much\n{story}"


def _slack(ending: Ending) -> float:
    """Return for how many seconds RunPod may have known nothing of pods that were counted.

    Those from asking for a pod to the answer, and from the last that happened before it was known to be gone.
    """
    moments = [datetime.fromisoformat(event["at"]) for event in ending.all_events()]

    def seconds_before(pod: str, event: str) -> float:
        """Return how long nothing had happened when this event came; 0 if it never came."""
        at = [datetime.fromisoformat(each["at"]) for each in ending.events(event) if each["pod_name"] == pod]
        earlier = [moment for moment in moments if at and moment < at[0]]
        return (at[0] - max(earlier)).total_seconds() if earlier else 0.0

    pods = [event["pod_name"] for event in ending.events("intent")]
    return sum(ATTEMPT_SECONDS + seconds_before(pod, "released") for pod in pods) + _asked_for(ending)


def _asked_for(ending: Ending) -> float:
    """Return for how many seconds, all together, creates were not answered yet."""
    answered = {event["pod_name"]: event["at"] for event in ending.events("created")}
    asked = {event["pod_name"]: event["at"] for event in ending.events("intent")}
    both = ((at, answered.get(name, at)) for name, at in asked.items())
    return sum(
        (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() for begin, end in both
    )

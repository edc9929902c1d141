"""Every fault of the API at every operation, and every fault of pods with a cut at every event: the invariant alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.faultlab.case import ANY, JOB, Case, Ending, cuts, named
from tests.faultlab.invariant import check

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(900)]

KINDS: list[Mapping[str, Any]] = [
    *(
        {"kind": kind}
        for kind in ("unauthorized", "forbidden-html", "gone", "hiccup", "anonymous", "rate-limit")
    ),
    *(
        {"kind": kind, "when": when}
        for kind in ("server-error", "reset", "slow", "error")
        for when in ("before", "after")
    ),
]
STOPS = JOB.replace("budget=", 'lifecycle=Lifecycle(on_success="stop"), budget=')

FAULTS: list[Mapping[str, Any]] = [
    {"kind": "slow-boot", "seconds": 1.0},
    {"kind": "no-runtime", "times": 1},
    {"kind": "no-sshd", "times": 1},
    {"kind": "late-sshd"},
    {"kind": "zero-gpus", "times": 1},
    {"kind": "crash-loop", "times": 1},
    {"kind": "stock-out", "match": {"gpu": "NVIDIA RTX A4000"}},
    {"kind": "drop-ssh", "on": "boot", "after_bytes": 150_000},
    {"kind": "drop-ssh", "on": "boot", "after_bytes": 550_000},
    {"kind": "drop-ssh", "on": "boot", "after_bytes": 1_000_000},
    {"kind": "lose-host", "on": "boot", "times": 1, "status": "EXITED"},
    {"kind": "outbid", "on": "boot", "times": 1},
    {"kind": "server-error", "times": 1, "when": "after", "match": {"operation": "create"}},
    {"kind": "rate-limit", "times": 1, "match": {"operation": "get"}},
    {"kind": "reset", "times": 2, "match": {"operation": "terminate"}},
]


def _answers() -> Iterator[Case]:
    for operation in ("create", "get", "list", "terminate", "stop"):
        for kind in KINDS:
            for times in (1, 3, None):
                rule = {
                    **kind,
                    "times": times,
                    "match": {"operation": operation},
                    "after": int(operation == "list"),
                }
                lost = {"kind": "reset", "when": "after", "times": 1, "match": {"operation": "create"}}
                yield Case(
                    id=f"{operation}: {named(kind)}, {times or 'every'} time(s)",
                    job=STOPS if operation == "stop" else JOB,
                    args=("--ssh-ready-timeout-sec", "3"),
                    # Pods are only listed where the answer to a create was lost.
                    faults=(rule, lost) if operation == "list" else (rule,),
                    exit_code=None, outcome=None, attempts=None, slack=ANY,
                    kept=1 if operation == "stop" else None, long=times is None,
                )  # fmt: skip


@pytest.mark.parametrize("case", list(_answers()), ids=str)
def test_every_answer(case: Case, ending: Ending) -> None:
    """Whatever the API answers, once or for ever: pods are released, or named."""
    check(case, ending)


@pytest.mark.parametrize("case", list(cuts(FAULTS, args=("--ssh-ready-timeout-sec", "3"))), ids=str)
def test_every_cut(case: Case, ending: Ending) -> None:
    """Whatever fails and wherever the driver ends, nothing is left behind."""
    check(case, ending)

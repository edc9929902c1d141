"""A long sweep on a bad day: a tenth of it meets a fault, and at the end everything still adds up."""

from __future__ import annotations

import json
import random
import re
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rpd.emulator.launch import Launched, launch
from rpd.errors import Cause, ExitCode
from rpd.journal import journal
from rpd.record import run_info
from rpd.testing import RpdRun, RunResult
from rpd.values.report import Outcome
from tests.runs.conftest import events, write_project

SEED = 20
FAILS_EVERY = 10
"""Every so many nodes one fails by itself, which no fault is to hide."""
READY_SECONDS = 10
SECONDS_TOO_MUCH = 2.0
"""How much longer than RunPod a node may count each of its pods: the ways to the API and back, on a busy machine."""

DEPLOY = """
import rpd
from rpd import Budget, Gpu

@rpd.job(gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4"), budget=Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", range({nodes}))
def fit(pod, n):
    pod.run(f"mkdir -p out; seq 20000; echo {{n}} >out/n; exit $(({{n}} % {every} == 0))")
    pod.pull("out/")
"""

CALLS = ("create", "get", "terminate")
"""What every node calls at least once."""


def faults(nodes: int, seed: int) -> Iterator[Mapping[str, Any]]:
    """Yield a fault for every tenth of ``nodes``: each strikes once, at a random one of the calls or pods."""
    dice = random.Random(seed)
    kinds: list[Mapping[str, Any]] = [
        {"kind": "slow-boot", "seconds": 1.0},
        {"kind": "no-runtime"},
        {"kind": "no-sshd"},
        {"kind": "late-sshd"},
        {"kind": "zero-gpus"},
        {"kind": "crash-loop"},
        {"kind": "stock-out"},
        {"kind": "lose-host", "on": "boot"},
        {"kind": "lose-host", "on": "boot", "status": "EXITED"},
        {"kind": "drop-ssh", "on": "boot", "after_bytes": 60_000},
        {"kind": "drop-ssh", "on": "boot", "after_bytes": 20_000, "down_seconds": 1.0},
        {"kind": "server-error", "when": "before", "match": {"operation": "*"}},
        {"kind": "server-error", "when": "after", "match": {"operation": "*"}},
        {"kind": "reset", "when": "after", "match": {"operation": "*"}},
        {"kind": "rate-limit", "match": {"operation": "*"}},
    ]
    dice.shuffle(kinds)
    for number in range(nodes // 10):
        rule = {**kinds[number % len(kinds)], "times": 1, "after": dice.randrange(nodes // 2)}
        if rule["kind"] == "stock-out":
            rule["after"] = 0  # stock is gone for everybody who looks, until somebody was refused
        yield {**rule, "match": {"operation": dice.choice(CALLS)}} if "match" in rule else rule


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Launched]:
    """An emulator that has seen nothing yet, so that its bill is that of the sweep."""
    with launch(boot_seconds=0.1) as launched:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", launched.base_url)
        monkeypatch.setenv("RUNPOD_API_KEY", launched.api_key)
        yield launched


def test_a_sweep_on_a_bad_day(account: Launched, rpd_run: RpdRun, tmp_path: Path) -> None:
    """40 nodes, 16 at a time, a tenth of them struck: no pod is left and the summary is true."""
    soak(account, rpd_run, tmp_path, nodes=40, width=16, seed=SEED)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_a_long_sweep_on_a_bad_day(account: Launched, rpd_run: RpdRun, tmp_path: Path) -> None:
    """500 nodes, 32 at a time, a tenth of them struck: no pod is left and the summary is true."""
    soak(account, rpd_run, tmp_path, nodes=500, width=32, seed=SEED)


def soak(account: Launched, rpd_run: RpdRun, folder: Path, *, nodes: int, width: int, seed: int) -> None:
    """Run a sweep with faults and check the remains."""
    write_project(folder, {"deploy_fit.py": DEPLOY.format(nodes=nodes, every=FAILS_EVERY)})
    for fault in faults(nodes, seed):
        account.inject(fault)
    words = ("--yes", "-q", "-n", str(width), "--ssh-ready-timeout-sec", str(READY_SECONDS))
    result = rpd_run(folder, *words, timeout=850)
    missed = [rule for rule in account.faults() if not rule["struck"]]
    account.clear_faults()
    story = result.out + result.err
    assert account.pods() == [], story
    assert missed == []
    assert result.exit_code == ExitCode.FAILED, story
    assert "Traceback" not in story, story
    assert result.run_dir is not None
    _check_reports(result, nodes)
    _check_summary(result)
    _check_lives(result.run_dir)
    _check_bill(account, result)


def _check_reports(result: RunResult, nodes: int) -> None:
    """Check that every node has one report.

    Those that fail by themselves failed, the others passed with their files.
    """
    reports = {report.node.parameters["n"]: report for report in result.reports}
    assert sorted(reports) == list(range(nodes))
    assert len(result.reports) == nodes
    for n, report in reports.items():
        outcome = (report.result.outcome, report.result.cause)
        if n % FAILS_EVERY == 0:
            assert outcome == (Outcome.FAILED, Cause.CODE), report
        else:
            assert outcome == (Outcome.PASSED, None), report
        assert report.pod is not None
        assert report.pod.final_state == "deleted"
        assert [artifact.verified for artifact in report.artifacts] == [True]
        pulled = Path(report.folder) / "artifacts" / "out" / "n"
        assert pulled.read_text(encoding="utf-8") == f"{n}\n"
        assert report.result.attempts == len(report.attempts) + 1


def _check_summary(result: RunResult) -> None:
    """Check that the counts of the run file and of the last line match the manifests."""
    assert result.run_dir is not None
    counts = Counter(report.result.outcome.value for report in result.reports)
    info = run_info.read(result.run_dir / run_info.FILE_NAME)
    assert info.outcomes == counts
    assert (info.not_run, info.unreleased, info.leftover) == (0, (), ())
    usd = sum(report.cost.estimated_usd for report in result.reports)
    assert info.usd == pytest.approx(usd, abs=1e-4)
    last = result.out.strip().splitlines()[-1]
    printed = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?)", last)}
    assert printed == counts, last


def _check_lives(run_dir: Path) -> None:
    """Whatever was intended came to nothing or was released."""
    ended = {event["pod_name"] for event in events(run_dir, "released", "refused")}
    assert {event["pod_name"] for event in events(run_dir, "intent")} <= ended
    assert not list(run_dir.glob(f"*/{journal.FILE_NAME}.tmp"))


def _check_bill(account: Launched, result: RunResult) -> None:
    """Check that the nodes bear RunPod's bill: not less, and not much more."""
    assert result.run_dir is not None
    request = urllib.request.Request(
        f"{account.base_url}/v2/billing/pods", headers={"Authorization": f"Bearer {account.api_key}"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        billed = sum(row["totalAmount"] for row in json.load(response)["records"])
    usd = sum(report.cost.estimated_usd for report in result.reports)
    intents = events(result.run_dir, "intent")
    highest = max(event["usd_per_hr"] for event in intents) / 3600
    assert billed - 0.05 * highest <= usd <= billed + len(intents) * SECONDS_TOO_MUCH * highest

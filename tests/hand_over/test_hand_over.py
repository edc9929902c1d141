"""The hand-over of nodes' results: once each, complete, masked, and without holding up the run."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.events import Events
from rpd.hand_over import plugin
from rpd.hand_over.plugin import HandingOver
from rpd.hooks import make_plugin_manager
from rpd.redaction import NO_SECRETS
from rpd.testing import RpdRun
from rpd.values.report import NodeRecord, NodeReport, Outcome, PodRecord, Result, RunSummary
from tests.waiting import wait_until

CONFTEST = """
import json
from pathlib import Path

def rpd_command_environment(node):
    return {"TRACEPARENT": f"00-{node.id}", "GIVEN": "plugin"}

def rpd_hand_over(handed):
    with open("handed.jsonl", "a") as file:
        file.write(json.dumps({
            "node": handed.node, "name": handed.name, "run": handed.run, "parameters": dict(handed.parameters),
            "metrics": dict(handed.metrics), "series": {name: list(points) for name, points in handed.series.items()},
            "artifacts": [str(Path(path).name) for path in handed.artifacts], "usd": handed.usd,
            "phases": [phase.name for phase in handed.phases], "steps": [each.step.name for each in handed.steps],
            "there": all(Path(path).exists() for path in handed.artifacts),
        }) + "\\n")
    if handed.parameters.get("lr") == 0.1:
        raise RuntimeError("the tracker is away")
"""
DEPLOY = """
import rpd
from rpd import Budget, Gpu, Secret

@rpd.fixture(scope="worker")
def shared(provision):
    with provision() as pod:
        yield pod

@rpd.job(gpu=Gpu("NVIDIA L4"), budget=Budget(cost_cap_usd=5), secrets=[Secret("TOKEN")])
@rpd.mark.parametrize("lr", [0.1, 0.01])
def fit(shared, lr, record_metric):
    shared.run("for i in 1 2; do echo step=$i loss=0.$i >>$RPD_METRICS; done; mkdir -p out; "
               "echo $TRACEPARENT $GIVEN >out/trace.txt", env={"GIVEN": "job"}, name="train with tok-12345678")
    shared.pull("out")
    record_metric("score", 0.5)
"""


def test_each_node_is_handed_over_whole(tmp_path: Path, rpd_run: RpdRun, clean_emulator: Launched) -> None:
    """Also if its pod outlives it, and also if the plugin raises; commands have the variables of plugins."""
    for name, text in (("conftest.py", CONFTEST), ("deploy_a.py", DEPLOY), ("rpd.toml", "")):
        (tmp_path / name).write_text(text.lstrip(), encoding="utf-8")
    run = rpd_run(tmp_path, "--yes", env={"TOKEN": "tok-12345678"})
    assert run.exit_code == 0, run.out + run.err
    handed = [json.loads(line) for line in (tmp_path / "handed.jsonl").read_text().splitlines()]
    assert sorted(each["parameters"]["lr"] for each in handed) == [0.01, 0.1]
    for each in handed:
        assert each["series"] == {"loss": [[1, 0.1], [2, 0.2]]}
        assert each["metrics"]["score"] == 0.5
        assert (each["artifacts"], each["there"]) == (["out"], True)
        assert each["name"] == f"{run.run_dir.name} {each['node'].partition('::')[2]}"  # type: ignore[union-attr]
        assert each["steps"] == ["train with ***", "pull out"]
        assert {"working", "pulling"} <= set(each["phases"])
    # The last user of a shared pod pays for its end; nothing is handed over before that is known.
    assert sum(each["usd"] for each in handed) == pytest.approx(
        sum(each.cost.estimated_usd for each in run.reports)
    )
    assert "rpd_hand_over raised RuntimeError: the tracker is away" in run.out
    traces = {path.read_text() for path in run.run_dir.glob("*/artifacts/out/trace.txt")}  # type: ignore[union-attr]
    assert traces == {f"00-deploy_a.py::fit[lr{lr}] job\n" for lr in (0.1, 0.01)}


def report(name: str, folder: Path, state: str = "deleted") -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=name, job="fit", file="deploy_a.py", line=1),
        result=Result(outcome=Outcome.PASSED),
        pods=(PodRecord(id="p", name="rpd-p", final_state=state),),
        folder=str(folder),
    )


def test_a_tracker_that_hangs_holds_up_nothing_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a run waits only so long, and names the nodes it gave up.

    A node whose pod lives on comes at the end.
    """
    monkeypatch.setattr(plugin, "LAST_SECONDS", 0.05)
    manager, heard, released = make_plugin_manager(), list[str](), threading.Event()

    class Tracker:
        def rpd_hand_over(self, handed: Any) -> None:
            heard.append(handed.node)
            released.wait(30)

        def rpd_notice(self, text: str) -> None:
            heard.append(text)

    manager.register(Tracker())
    handing = HandingOver(Events(manager), NO_SECRETS)
    first, second = report("a", tmp_path), report("b", tmp_path, "unknown")
    handing.rpd_node_report(first)
    handing.rpd_node_report(first)
    wait_until(lambda: heard, "the tracker")
    handing.rpd_node_report(second)
    handing.rpd_run_finished(RunSummary(folder=str(tmp_path), reports=(first, second), seconds=1.0))
    assert heard[0] == "a"
    assert "handing over took more than 0.05 s" in heard[1]
    released.set()
    thread = handing._thread
    assert thread is not None
    thread.join(30)
    assert heard[2:] == ["b"]

"""The examples that hand over to trackers, each offline; skipped where its package is not installed."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rpd.values.hand_over import HandOver, Span, TimedStep
from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, PodRecord, Result
from rpd.values.step import Step, StepKind

TRACKERS = Path(__file__).parents[2] / "examples" / "trackers"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import one of the examples, as ``-p`` does."""
    monkeypatch.syspath_prepend(str(TRACKERS))

    def load(name: str, needs: str) -> ModuleType:
        pytest.importorskip(needs, reason=f"{needs} is not installed")
        sys.modules.pop(name, None)
        return __import__(name)

    return load


@pytest.fixture
def handed(tmp_path: Path) -> HandOver:
    """A node with two parameters, a curve, a number, a folder and a file."""
    folder, file = tmp_path / "out", tmp_path / "best.txt"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    file.write_text("b")
    train = Step(index=0, kind=StepKind.RUN, name="train", command="python train.py", exit_code=3)
    report = NodeReport(
        node=NodeRecord(id="deploy_a.py::fit[lr0.1]", job="fit", file="deploy_a.py", line=1, run="r1",
                        parameters={"lr": 0.1, "model": "small"}, owner="anna@laptop"),
        result=Result(outcome=Outcome.FAILED, reason="exit code 3", started="2026-01-02T03:04:05+00:00",
                      finished="2026-01-02T03:14:05+00:00"),
        pod=PodRecord(id="p1", name="rpd-p1", gpu="NVIDIA L4", datacenter="EU-RO-1"),
        cost=CostRecord(estimated_usd=0.25, billed_seconds=600),
        metrics={"score": 0.5, "note": "text"},
    )  # fmt: skip
    return HandOver(
        run="r1",
        report=report,
        series={"loss": ((1, 0.9), (2, 0.4))},
        artifacts=(str(folder), str(file)),
        phases=(
            Span(name="booting", began=100.0, ended=160.0),
            Span(name="working", began=160.0, ended=400.0),
        ),
        steps=(TimedStep(step=train, began=170.0, ended=300.0),),
    )


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_mlflow(load: Any, handed: HandOver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("rpd_mlflow", "mlflow")
    pytest.importorskip("sqlalchemy", reason="MLflow's local store needs sqlalchemy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    example.rpd_configure(None)
    example.rpd_hand_over(handed)
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("fit").experiment_id])
    assert run.data.params == {"lr": "0.1", "model": "small"}
    assert run.data.metrics == {"loss": 0.4, "score": 0.5, "rpd.usd": 0.25, "rpd.billed_seconds": 600.0}
    assert [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, "loss")] == [
        (1, 0.9),
        (2, 0.4),
    ]
    assert {each.path for each in client.list_artifacts(run.info.run_id)} == {"out", "best.txt"}
    assert (run.info.status, run.info.run_name) == ("FAILED", "r1 fit[lr0.1]")


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_wandb(load: Any, handed: HandOver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, everything is in one file below ``wandb``."""
    example = load("rpd_wandb", "wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    example.rpd_configure(SimpleNamespace(plugin_options={"wandb_project": "p"}))
    example.rpd_hand_over(handed)
    [written] = tmp_path.glob("wandb/offline-run-*/*.wandb")
    data = written.read_bytes()
    for text in (b"loss", b"score", b"rpd/usd", b"r1 fit[lr0.1]", b"small", b"best.txt", b"anna@laptop"):
        assert text in data


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_trackio(load: Any, handed: HandOver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    example = load("rpd_trackio", "trackio")
    example.rpd_configure(None)
    example.rpd_hand_over(handed)
    [database] = (tmp_path / "trackio").rglob("fit*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select step, metrics from metrics order by step").fetchall()
        configs = str(connection.execute("select * from configs").fetchall())
        artifacts = str(connection.execute("select * from artifacts").fetchall())
    connection.close()
    assert [step for step, _ in rows] == [1, 2, 3]
    assert "0.25" in str(rows[2])
    assert "small" in configs
    assert "r1-fit" in artifacts


def test_opentelemetry(load: Any, handed: HandOver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run, node, phases, steps, each below the one before; commands get the context of their node."""
    example = load("rpd_otel", "opentelemetry.sdk")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    monkeypatch.setattr(example, "make_exporter", lambda: exporter)
    node = SimpleNamespace(id="deploy_a.py::fit[lr0.1]")
    example.rpd_configure(None)
    example.rpd_run_started(None, SimpleNamespace(nodes=(node,)), "emulator", tmp_path / "r1")
    example.rpd_node_started(node)
    trace = example.rpd_command_environment(node)["TRACEPARENT"]
    example.rpd_hand_over(handed)
    end = example.rpd_run_finished(SimpleNamespace(estimated_usd=0.25, seconds=600.0))
    next(end)
    with pytest.raises(StopIteration):
        end.send(None)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"run r1", "fit[lr0.1]", "booting", "working", "train"}
    parents = {name: span.parent.span_id if span.parent else None for name, span in spans.items()}
    ids = {name: span.context.span_id for name, span in spans.items()}
    assert parents == {
        "run r1": None, "fit[lr0.1]": ids["run r1"], "booting": ids["fit[lr0.1]"], "working": ids["fit[lr0.1]"],
        "train": ids["working"],
    }  # fmt: skip
    assert trace == f"00-{spans['run r1'].context.trace_id:032x}-{ids['fit[lr0.1]']:016x}-{trace[-2:]}"
    assert (spans["train"].start_time, spans["train"].end_time) == (170 * 10**9, 300 * 10**9)
    assert spans["train"].status.description == "exit code 3"
    assert spans["fit[lr0.1]"].attributes["rpd.usd"] == 0.25

"""Metrics of whole runs: read while commands run, kept, shown; pruning by plugins; the effects of a kill."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rpd.emulator.launch import Launched
from rpd.journal import series
from rpd.record import history
from rpd.testing import RpdRun
from rpd.values.report import Outcome
from tests.runs.conftest import outcomes, run_dir_of
from tests.runs.test_resume import free_the_commands, start_and_kill

Project = Callable[[dict[str, str]], Path]

DEPLOY = r"""
import rpd

job = rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))

@rpd.fixture(scope="worker")
def shared(provision):
    with provision(job) as pod:
        yield pod

@job
@rpd.mark.parametrize("lr", [1, 2])
def fit(shared, lr):
    # Waits for its end after three steps where it is too high, else for nobody.
    shared.run(
        "trap 'echo saved >late.txt; exit 1' TERM; rm -f *.txt; for i in 1 2 3; do "
        f"echo \"step=$i loss=$((10 - {lr} * i))\" >>$RPD_METRICS; done; "
        f"if [ {lr} = 1 ]; then sleep 100 & wait; fi; echo done >late.txt",
    )
    shared.run("echo never where it was pruned")
    shared.pull("late.txt")

@job(metrics=r"epoch (?P<step>\d+): (?P<name>\w+) (?P<value>\S+)")
def read(shared, record_metric):
    shared.run("echo 'epoch 1: acc 0.5'; echo 'epoch 2: acc inf'; echo '{\"step\": 1, \"odd\": NaN}' >>$RPD_METRICS")
    record_metric("odd", "own")
"""
PRUNING = """
def rpd_prune(node, name, step, value):
    if name == "loss" and step == 3 and value > 5:
        return f"loss {value:g} at step {step}"
"""


def test_numbers_of_running_commands_are_kept_and_end_what_a_plugin_prunes(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """A pruned node is no failure: its files are pulled, its pod takes the next node, every report says so."""
    folder = project({"deploy_a.py": DEPLOY, "conftest.py": PRUNING})
    result = rpd(folder, "--junitxml", "junit.xml", "-ru")
    assert result.exit_code == 0, result.out + result.err
    assert outcomes(result) == {"fit[lr1]": "pruned", "fit[lr2]": "passed", "read": "passed"}
    first, second, read = result.reports
    assert (first.result.cause, first.result.reason) == (None, "loss 7 at step 3")
    for report, said in ((first, "saved\n"), (second, "done\n")):
        (pulled,) = report.artifacts
        assert (Path(report.folder) / pulled.local).read_text() == said
        assert pulled.verified
    assert len({report.pod.id for report in result.reports if report.pod}) == 1
    assert emulator.pods() == []

    loss = first.series["loss"]
    assert (loss.points, loss.last, loss.last_step, loss.min, loss.max) == (3, 7.0, 3, 7.0, 9.0)
    assert (first.metrics, second.metrics) == ({"loss": 7.0}, {"loss": 4.0})
    assert (read.metrics["odd"], read.metrics["acc"]) == ("own", float("inf"))
    curves = series.read(Path(read.folder) / series.SERIES_FILE)
    assert (repr(curves["acc"]), repr(curves["odd"])) == ("{1: 0.5, 2: inf}", "{1: nan}")

    assert re.search(r"^PRUNED .*fit\[lr1\] - loss 7 at step 3$", result.out, re.MULTILINE)
    assert "2 passed, 1 pruned" in result.out
    suite = ET.parse(folder / "junit.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "1")
    shown = rpd(folder, first.node.id, command="show").out
    assert "loss: 7 at step 3, lowest 7 at 3, highest 9 at 1 (3 values)" in shown
    assert "         9 █" in shown
    told = json.loads(rpd(folder, "--json", command="report").out)["nodes"]
    assert told[0]["outcome"] == "pruned"
    assert told[2]["series"]["acc"]["last"] is None  # JSON has no infinity


LONG = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2])
def fit(pod, n):
    pod.run("for i in $(seq 20); do echo a=$i; done >>$RPD_METRICS")
    pod.run(
        "for i in $(seq 50); do echo step=$i loss=$i; done >>$RPD_METRICS; echo begun; "
        "while [ ! -e project/go ]; do sleep 0.1; done; "
        "for i in $(seq 51 100); do echo step=$i loss=$i; done >>$RPD_METRICS"
    )
"""
HEARING = """
from pathlib import Path

def rpd_metric(node, name, step, value):
    with open(Path(__file__).with_name(f"heard-{node.case}.txt"), "a") as file:
        file.write(f"{name} {step} {value:g}\\n")
"""


@pytest.mark.parametrize(
    "after_bytes",
    [
        20_000,
        *(
            pytest.param(size, marks=pytest.mark.exhaustive)
            for size in (2_000, 8_000, 14_000, 35_000, 60_000)
        ),
    ],
)
def test_no_value_is_lost_or_doubled_when_the_driver_is_killed_and_ssh_breaks(
    rpd: RpdRun, project: Project, emulator: Launched, after_bytes: int
) -> None:
    """The file holds each value once; plugins get the whole story of a node in the new process."""
    folder = project({"deploy_a.py": LONG, "conftest.py": HEARING})
    heard = [folder / f"heard-n{n}.txt" for n in (1, 2)]
    start_and_kill(
        rpd, folder, emulator, lambda: all(path.exists() and "loss 50" in path.read_text() for path in heard)
    )
    free_the_commands(emulator, folder)
    for path in heard:
        path.unlink()
    emulator.inject({"kind": "drop-ssh", "after_bytes": after_bytes})

    result = rpd(folder, command="resume")

    assert result.exit_code == 0, result.out + result.err
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    values = [("a", n - 1, n) for n in range(1, 21)] + [("loss", n, n) for n in range(1, 101)]
    for path, report in zip(heard, history.reports(run_dir), strict=True):
        assert report.result.outcome is Outcome.PASSED
        lines = list(series.lines(Path(report.folder) / series.SERIES_FILE))
        assert [(name, line.step, value) for line in lines for name, value in line.values.items()] == values
        assert path.read_text() == "".join(f"{name} {step} {value}\n" for name, step, value in values)
        assert (report.series["loss"].points, report.series["a"].last) == (100, 20.0)

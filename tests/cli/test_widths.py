"""Screens at 60 and 80 columns: every line fits, and the distinguishing part of each row stays."""

from __future__ import annotations

import csv
import io
from contextlib import suppress

import pytest

from rpd.cli import main
from rpd.cli.commands import overview
from rpd.testing import RunResult
from rpd.values.columns import cells
from tests.cli.conftest import Project

LONG = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX PRO 6000 Blackwell Server Edition"))
@rpd.mark.parametrize("model", ["meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"])
def finetune_the_model(pod, model): ...

@rpd.job
@rpd.mark.parametrize("prompt", ["a long prompt that goes on and on, one", "a long prompt that goes on and on, two"])
def score(prompt, record_metric):
    record_metric("prompt", len(prompt))
    record_metric("loss", 0.123456)
    assert prompt.endswith("one"), "the reason is long as well: " + prompt
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a run that cannot be over in time for its name to be short."""
    made = Project(tmp_path_factory.mktemp("widths") / "project")
    made.write({"rpd.toml": "", "deploy_a_long_name.py": LONG})
    return made


@pytest.fixture(scope="module")
def ran(project: Project) -> RunResult:
    return project.run("-k", "score")


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("words", ["runs", "gpus", "estimate", "report", "show"])
def test_tables_fit(project: Project, ran: RunResult, words: str, columns: int) -> None:
    """No row of a table wraps; each row can still be told from the others."""
    assert ran.run_dir is not None
    shown = project.on_terminal(words, columns=columns, env={"NO_COLOR": "1"})
    lines = shown.splitlines()
    head = next(
        n for n, line in enumerate(lines) if line.split()[:1] in (["RUN"], ["GPU"], ["NODE"], ["prompt"])
    )
    rows = [line for line in lines[head:] if line.strip()]
    end = next(
        (n for n, line in enumerate(rows) if line.startswith(("2 nodes", "4 nodes", "run ", "="))), len(rows)
    )
    assert max(map(cells, rows[:end])) < columns, "\n".join(lines)
    assert len(set(rows[:end])) == end
    if words == "runs":
        assert ran.run_dir.name in rows[1]
    if words == "report":
        assert {"one", "two"} <= {word for row in rows[:end] for word in row.split()}


def test_in_a_pipe_tables_are_whole(project: Project, ran: RunResult) -> None:
    """Programs get all of it, whatever COLUMNS says."""
    text = project.command("estimate", env={"COLUMNS": "40"}).out
    assert "deploy_a_long_name.py::finetune_the_model[meta-llama/Llama-3.1-70B-Instruct]" in text
    assert "NVIDIA RTX PRO 6000 Blackwell Server Edition" in text


def test_bare_help_fits_80_columns() -> None:
    """Every line of it, with one to spare."""
    assert max(map(len, overview().splitlines())) < 80


def test_the_help_of_a_command_goes_by_two_names(capsys: pytest.CaptureFixture[str]) -> None:
    """``rpd help`` alone is that of rpd."""
    texts = []
    for words in (["help", "gc"], ["gc", "--help"], ["help"], ["--help"]):
        with suppress(SystemExit):
            main(words)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2] == texts[3]
    assert texts[0].startswith("usage: rpd gc ")


def test_a_parameter_and_a_metric_of_one_name(project: Project, ran: RunResult) -> None:
    """The table, results.csv and ``--sort`` call them apart in the same words; the bare name is not guessed about."""
    assert ran.run_dir is not None
    assert "metric.prompt" in project.command("report").out
    table = csv.DictReader(io.StringIO((ran.run_dir / "results.csv").read_text(encoding="utf-8")))
    assert "metric.prompt" in next(iter(table))
    wrong = project.command("report", "--sort", "prompt")
    assert (wrong.exit_code, "write parameter.prompt or metric.prompt" in wrong.err) == (4, True)
    for order, first in (("parameter.prompt:desc", "two"), ("metric.prompt", "one"), ("loss", "one")):
        shown = project.command("report", "--sort", order)
        assert shown.exit_code == 0, shown.err
        rows = [line for line in shown.out.splitlines() if line.startswith("a long prompt")]
        assert f", {first} " in rows[0]

"""The programs of the documentation run as they stand there, one after the other, in one project on an emulator."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.record import history

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs(page: str) -> list[tuple[str, str]]:
    """Return the name and the text of each program on a page, in order."""
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the deploy file of the page, in which programs are run."""
    for name, text in programs("python-api.md"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_four_uses_and_the_recipes(
    project: Path, clean_emulator: Launched, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate, an orchestrator, configurations from code, forensics; then the gate of CI and the totals of the night."""

    def run(name: str) -> str:
        runpy.run_path(name, run_name="__main__")
        return capsys.readouterr().out

    assert "4 nodes, expected unknown, at worst $2.00 (prices: shipped)" in run("gate.py")
    assert not (project / "rpd-runs").exists()
    message = run("orchestrate.py")
    assert re.search(r"^8 steps, \$0\.\d{4}, .*rpd-runs", message, re.MULTILINE)
    assert clean_emulator.pods() == []
    assert run("choose.py").splitlines() == [f"{size} ['echo {size * 2}']" for size in (8, 16, 32)]
    message = run("forensics.py")
    assert "0 were slow, 2 are good" in message
    assert "lr 0.01: mean loss 0.0150 over 2 seeds" in message
    assert len(history.runs(project / "rpd-runs")) == 1  # the dry run left nothing

    for page in ("cost-gate.md", "nightly-totals.md"):
        for name, text in programs(f"recipes/{page}"):
            (project / name).write_text(text, encoding="utf-8")
    (project / "sweeps").mkdir()
    shutil.copy(project / "deploy_sweep.py", project / "sweeps")
    assert "at worst $4.00" in run("cost_gate.py")
    (project / "sweeps" / "deploy_broken.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"deploy_broken\.py:1"):
        run("cost_gate.py")
    assert "4 nodes in 1 runs" in run("nightly.py")


def test_the_loop_of_optuna(
    tmp_path: Path,
    clean_emulator: Launched,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Six trials in two rounds, all on one pod, which is given back."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    ((name, text),) = programs("recipes/optuna.md")
    (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(name, run_name="__main__")
    assert re.search(r"best: \{'lr': .*\} with 0\.0\d+ after 6 trials", capsys.readouterr().out)
    runs = history.runs(tmp_path / "rpd-runs")
    pods = {report.pod.id for info in runs for report in history.reports(Path(info.folder)) if report.pod}
    assert len(pods) == 1
    assert clean_emulator.pods() == []


def test_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells of the recipe in a real kernel: a job without a file, the board, the table of results."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    texts = [text for _, text in programs("recipes/notebook.md")]
    texts.append("rpd.run(train, lr=0.1, seed=1, local=True, show=True).ok")
    cells = [nbformat.v4.new_code_cell(text) for text in texts]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        "".join(
            output.get("data", {}).get("text/html", "") + output.get("text", "") for output in cell.outputs
        )
        for cell in notebook.cells
    ]
    plain = [
        "".join(output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        for cell in notebook.cells
    ]
    assert shown[0] == ""
    assert "at worst $4.00" in shown[1]
    assert "interactive::train[lr0.1-seed1]" in shown[1]
    assert "of 4 nodes done" in shown[2] or "collecting and planning" in shown[2]
    assert shown[3].count("passed") >= 4
    assert "exit code 0" in shown[3]
    assert plain[4] == "0.01"
    assert "1 of 1 nodes done" in shown[5]
    assert plain[5].endswith("True")

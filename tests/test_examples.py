"""The examples and templates: they collect, and the Iris sweep runs from end to end on the emulator."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rpd.cli.commands import COMMANDS, every_setting

ROOT = Path(__file__).parent.parent
IRIS = ROOT / "examples" / "iris"
DEPLOY_FILES = sorted(
    [*ROOT.glob("examples/**/deploy_*.py"), *ROOT.glob("conftest_templates/**/deploy_*.py")]
)
TEST_ROWS = 30


def rpd(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``rpd`` as a user without an account would."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("RPD_", "RUNPOD_"))}
    env |= {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "rpd", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=110, check=False)


@dataclass(frozen=True)
class IrisRun:
    """A finished run of the example: its output, its folder, and its manifests by node id."""

    done: subprocess.CompletedProcess[str]
    folder: Path
    manifests: dict[str, dict[str, Any]]

    def node_folders(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self.folder.glob("*/manifest.toml")):
            yield tomllib.loads(path.read_text(encoding="utf-8"))["node"]["id"], path.parent


@pytest.fixture(scope="module")
def iris_run(tmp_path_factory: pytest.TempPathFactory) -> IrisRun:
    """Run the example as ``make demo`` does, on a copy of its folder."""
    project = tmp_path_factory.mktemp("demo") / "iris"
    shutil.copytree(IRIS, project, ignore=shutil.ignore_patterns("rpd-runs", "__pycache__"))
    done = rpd("run", "--local", ".", "-n", "3", cwd=project)
    folders = list((project / "rpd-runs").glob("2*")) if (project / "rpd-runs").is_dir() else []
    assert len(folders) == 1, done.stdout + done.stderr
    manifests = [
        tomllib.loads(path.read_text(encoding="utf-8")) for path in folders[0].glob("*/manifest.toml")
    ]
    return IrisRun(done, folders[0], {manifest["node"]["id"]: manifest for manifest in manifests})


@pytest.mark.parametrize("file", DEPLOY_FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_deploy_file_collects(file: Path, tmp_path: Path) -> None:
    """A deploy file that users may copy collects next to its conftest, in a separate folder."""
    project = tmp_path / file.parent.name
    shutil.copytree(file.parent, project, ignore=shutil.ignore_patterns("rpd-runs", "__pycache__"))
    done = rpd("collect", "-q", file.name, cwd=project)
    assert done.returncode == 0, done.stderr
    assert f"{file.name}::" in done.stdout


@pytest.mark.parametrize("file", DEPLOY_FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_deploy_file_survives_a_dry_run(file: Path, tmp_path: Path) -> None:
    """A dry run of a deploy file that users may copy needs no account, passes and leaves no run folder."""
    project = tmp_path / file.parent.name
    shutil.copytree(file.parent, project, ignore=shutil.ignore_patterns("rpd-runs", "__pycache__"))
    done = rpd("run", "--dry-run", file.name, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (project / "rpd-runs").exists()


def test_every_conftest_belongs_to_a_deploy_file() -> None:
    """No conftest lies where nothing that is tested above would load it."""
    conftests = {*ROOT.glob("examples/**/conftest.py"), *ROOT.glob("conftest_templates/**/conftest.py")}
    assert {path.parent for path in conftests} <= {file.parent for file in DEPLOY_FILES}


def test_the_iris_sweep_passes(iris_run: IrisRun) -> None:
    """All six cases of the example pass on the emulator, and each has a manifest that says so."""
    assert iris_run.done.returncode == 0, iris_run.done.stdout + iris_run.done.stderr
    assert sorted(iris_run.manifests) == sorted(
        f"deploy_iris.py::iris[lr{lr}-seed{seed}]" for lr in ("0.001", "0.01") for seed in (1, 2, 3)
    )
    assert {manifest["result"]["outcome"] for manifest in iris_run.manifests.values()} == {"passed"}


def test_the_iris_pods_are_gone(iris_run: IrisRun) -> None:
    """Every node of the example had its own pod, and each was deleted."""
    pods = [manifest["pod"] for manifest in iris_run.manifests.values()]
    assert len({pod["id"] for pod in pods}) == 6
    assert {pod["final_state"] for pod in pods} == {"deleted"}


def test_the_iris_predictions_are_whole(iris_run: IrisRun) -> None:
    """Every node brings home one prediction for every test row, and they give the accuracy it tells."""
    for node_id, folder in iris_run.node_folders():
        [file] = (folder / "artifacts").rglob("predictions.csv")
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        assert len(rows) == len({row["line"] for row in rows}) == TEST_ROWS
        hits = sum(row["species"] == row["predicted"] for row in rows)
        assert iris_run.manifests[node_id]["metrics"]["accuracy"] == pytest.approx(hits / TEST_ROWS, abs=1e-4)


def test_the_iris_metrics_are_in_the_manifest(iris_run: IrisRun) -> None:
    """The manifest holds the metrics that the training wrote to ``metrics.json``, and the artifacts were checked."""
    for node_id, folder in iris_run.node_folders():
        [file] = (folder / "artifacts").rglob("metrics.json")
        written = json.loads(file.read_text(encoding="utf-8"))
        manifest = iris_run.manifests[node_id]
        assert written.items() <= manifest["metrics"].items()
        assert manifest["metrics"]["train_seconds"] > 0
        assert [artifact["verified"] for artifact in manifest["artifacts"]] == [True, True]


def test_the_iris_training_is_the_same_every_time(iris_run: IrisRun, tmp_path: Path) -> None:
    """The same seed and learning rate give the same predictions here as on the pod."""
    subprocess.run(
        [sys.executable, str(IRIS / "train.py"), "--seed", "2", "--lr", "0.01", "--out", str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    folders = dict(iris_run.node_folders())
    [file] = (folders["deploy_iris.py::iris[lr0.01-seed2]"] / "artifacts").rglob("predictions.csv")
    assert file.read_text(encoding="utf-8") == (tmp_path / "predictions.csv").read_text(encoding="utf-8")


def test_the_iris_data_is_what_its_page_says() -> None:
    """The data file holds 150 flowers, 50 of each of three species."""
    with (IRIS / "iris.csv").open(newline="", encoding="utf-8") as lines:
        species = [row["species"] for row in csv.DictReader(lines)]
    assert {name: species.count(name) for name in set(species)} == dict.fromkeys(
        ("setosa", "versicolor", "virginica"), 50
    )


@pytest.mark.parametrize("template", ["network_volume", "worker_pod"])
def test_a_template_passes_on_the_emulator(template: str, tmp_path: Path) -> None:
    """Copied unchanged, a template runs at the first try; the emulator has the things it names on RunPod."""
    project = tmp_path / template
    shutil.copytree(ROOT / "conftest_templates" / template, project)
    done = rpd("run", "--local", "--yes", ".", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_keeps_the_key_from_strangers_and_uses_flags_that_exist() -> None:
    """Steps with the key are in jobs that a label starts, on a branch of the repository, in a protected environment."""
    text = (ROOT / "examples" / "github-actions" / "rpd.yml").read_text(encoding="utf-8")
    workflow = pytest.importorskip("yaml").safe_load(text)
    assert "pull_request_target" not in text.replace("# ", "")
    with_key = {name for name, job in workflow["jobs"].items() if "secrets." in str(job)}
    assert with_key == {"gpu"}
    gpu = workflow["jobs"]["gpu"]
    assert gpu["environment"] == "gpu"
    assert "head.repo.full_name == github.repository" in gpu["if"]
    assert "label.name == 'run-on-gpu'" in gpu["if"]
    known = {command: set[str]() for command in COMMANDS}
    for setting in every_setting():
        for command in setting.commands:
            known[command].update(setting.flags)
    commands = re.findall(
        r"rpd (plan|run|gc)((?: [^|;&>\n]+)?)", re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    )
    assert len(commands) == 6
    for command, words in commands:
        assert {word for word in words.split() if word.startswith("-")} <= known[command], command

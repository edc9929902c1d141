"""A project for the configurations, and runpod-deploy itself where it is installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CONFIGS = sorted((Path(__file__).parent / "configs").glob("*.yaml"))
KEY = bytes(range(256))


def needs_seed(config: Path) -> bool:
    """Return whether a configuration uses the variable ``seed`` without giving it a value."""
    return "{seed}" in config.read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with every file that the configurations ask for."""
    folder = tmp_path / "project"
    files = {
        "src/train.py": 'print("loss 0.1")\n',
        "src/skipped/x": "",
        "src/a.log": "",
        "src/#odd": "",
        "src/!bang": "",
        "src/deep/sub/x": "",
        "src/deep/sub/kept": "",
        "data/42.csv": "1,2\n",
        "notes.txt": "notes\n",
        "rpd.toml": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "key.bin").write_bytes(KEY)
    configs = folder / "configs"
    configs.mkdir()
    for path in CONFIGS:
        shutil.copy(path, configs)
    shutil.copytree(
        folder / "src", configs / "src"
    )  # for those whose project is the folder of the configuration
    shutil.copy(folder / "notes.txt", configs)
    return folder


@pytest.fixture(scope="session")
def runpod_deploy() -> str:
    """The command ``runpod-deploy``, which needs Python 3.13 and a separate environment."""
    command = os.environ.get("RUNPOD_DEPLOY") or shutil.which("runpod-deploy")
    if command is None or not Path(command).exists():
        pytest.skip(
            "runpod-deploy is not installed here: name the command in RUNPOD_DEPLOY to compare with it"
        )
    return command

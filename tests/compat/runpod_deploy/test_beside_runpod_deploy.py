"""The steps that runpod-deploy would do are those that rpd does: their dry run and ours, without a network."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rpd.testing import RpdRun
from tests.compat.runpod_deploy.conftest import CONFIGS, needs_seed

CONFTEST = """
import json
from pathlib import Path

def rpd_dry_run_node(planned):
    steps = [[str(step.kind), step.name, step.command] for step in planned.steps]
    offers = [[offer.gpu_id, offer.datacenter] for offer in planned.offers]
    text = json.dumps({"steps": steps, "request": list(planned.request), "offers": offers})
    (Path(__file__).parent / "planned.json").write_text(text)
"""
CHUNK = re.compile(r"^(?=\$ \[|\[(?:setup|preflight|secrets)\] )", re.MULTILINE)


def theirs(command: str, config: Path, project: Path) -> dict[str, Any]:
    """Return the acts of runpod-deploy, from its log: the request, and the steps in order."""
    words = [command, "run", "--config", str(config), "--offline-dry-run"]
    words += ["--var", "seed=42"] if needs_seed(config) else []
    env = {"PATH": "/usr/bin:/bin", "HOME": str(project.parent), "HF_TOKEN": "x", "WANDB_API_KEY": "y"}
    done = subprocess.run(
        words, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    steps: list[tuple[str, ...]] = []
    request: list[str] = []
    named = ""
    for chunk in CHUNK.split(done.stdout + done.stderr):
        if not chunk.startswith("$ ["):
            named = chunk[1:].partition("]")[0] if chunk.startswith("[") else named
            continue
        label, _, text = chunk[3:].partition("] ")
        argv = shlex.split(re.split(r"\n\[", text)[0])
        excludes = [after for word, after in pairwise(argv) if word == "--exclude"]
        if label == "runpodctl" and "create" in argv:
            request = argv
        elif label.startswith("rsync-push:secret"):
            chmod = argv[argv.index("--chmod") + 1]
            steps.append(("secret", label.rpartition(":")[2], argv[-1].partition(":")[2], chmod[1:]))
        elif label.startswith("rsync-push"):
            steps.append(("put", argv[-2], argv[-1].partition(":")[2], *excludes))
        elif label == "rsync-pull":
            steps.append(("pull", argv[-2].partition(":")[2], *excludes))
        elif label == "ssh-detached":
            steps.append(("script", *shlex.split(argv[-1])[2:5:2]))
        elif label == "ssh" and argv[-1].startswith("cat > "):
            first, _, rest = argv[-1].partition("<<'BASH'\n")
            steps.append(("write", shlex.split(first)[2], rest.rpartition("\nBASH\n")[0]))
        elif label == "ssh" and named in ("setup", "preflight"):
            steps.append(("run", argv[-1]))
            named = ""
        elif named == "secrets":
            named = ""
    log = steps.index(
        next(step for step in steps if step[0] == "pull")
    )  # the log of the script, which rpd streams
    return {"request": request, "steps": [*steps[:log], *steps[log + 1 :]]}


def ours(source: Path, project: Path) -> dict[str, Any]:
    (project / "conftest.py").write_text(CONFTEST)
    given = ("--var", "seed=42") if needs_seed(source) or "seed" in source.read_text() else ()
    result = RpdRun()(project, "--dry-run", str(source), *given)
    assert result.exit_code == 0, result.out + result.err
    planned: dict[str, Any] = json.loads((project / "planned.json").read_text())
    return planned


def landing(source: str, destination: str, project: Path) -> str:
    """Return where rsync puts ``source`` itself."""
    whole = destination.rstrip("/")
    if source.endswith("/") or source in (".", ".."):
        return whole
    if (project / source).is_file() and not destination.endswith("/"):
        return whole
    return f"{whole}/{Path(source).name}"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_the_steps_are_the_same(config: Path, project: Path, runpod_deploy: str) -> None:
    source = project / "configs" / config.name
    # Its time costs more than the cap, which runpod-deploy refuses.
    if config.stem == "network":
        source.write_text(source.read_text().replace("max_runtime_minutes: 240", "max_runtime_minutes: 30"))
    root = project if "project_root: .." in source.read_text() else project / "configs"
    for folder in (project, root):
        (folder / "kaggle.json").write_text("{}")
    expected, planned = theirs(runpod_deploy, source, root), ours(source, project)
    steps = iter(
        [step for step in planned["steps"] if step[1] not in ("installed packages", "success marker")]
    )
    for kind, *facts in expected["steps"]:
        if kind == "secret" and not any(name == f"secret {facts[0]}" for _, name, _ in planned["steps"]):
            mode = f"{int(facts[2], 8):04o}"
            assert any(f"as {facts[1]} (mode {mode})" in line for line in planned["request"])
            continue
        did, name, command = next(steps)
        if kind == "run":
            assert did == "run"
            if facts[0].startswith("uv python install"):
                assert re.findall(r"python (?:install|pin) (\S+)", command) == re.findall(
                    r"python (?:install|pin) (\S+)", facts[0]
                )
            else:
                assert facts[0].endswith(command)
        elif kind == "secret":
            assert (did, name) == ("run", f"secret {facts[0]}")
            assert shlex.split(command.rpartition("> ")[2].partition(";")[0]) == [facts[1]]
            assert f"chmod {int(facts[2], 8):o} " in command
        elif kind == "put":
            match = re.fullmatch(
                r"put (.*) -> (.*?)(?:, keeping .*?|, deleting nothing)*(?:  \(.*\))?", command
            )
            assert match is not None
            assert Path(match[1]) == (root / facts[0]).resolve() or match[1] == str(root / facts[0]).rstrip(
                "/."
            )
            assert match[2] == landing(facts[0], facts[1], root)
        elif kind == "write":
            assert (did, command.partition(" (")[0]) == ("write", f"write {facts[0]}")
            if (
                str(root / "artifacts") not in facts[1]
            ):  # else it names the folder of the run, which is another one
                assert command.endswith(f"({len(facts[1])} characters)")
        elif kind == "script":
            assert (did, name) == ("run", "run")
            words = shlex.split(command)
            assert words[words.index("bash") + 1] == facts[0]
            assert words[words.index("tee") + 1] == facts[1]
        else:
            assert (did, command) == ("pull", f"pull {facts[0]}")
    assert list(steps) == []
    asked = dict(pairwise(expected["request"]))
    first_gpu, first_place = planned["offers"][0]
    assert first_gpu == asked["--gpu-id"]
    assert first_place == (
        None if "--cloud-type=COMMUNITY" in expected["request"] else asked["--data-center-ids"]
    )
    if config.stem != "network":  # runpod-deploy does not fill in the templates of an image, and fails then
        assert f"image: {asked['--image']}" in planned["request"]

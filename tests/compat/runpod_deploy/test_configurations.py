"""Configurations of runpod-deploy: collected as they are, rewritten, and run, with one outcome."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rpd.compat.runpod_deploy import spec
from rpd.testing import RpdRun, RunResult
from tests.compat.runpod_deploy.conftest import CONFIGS, KEY, needs_seed

VARS = ("--var", "seed=42")


def rpd(command: str, *args: str, cwd: Path, env: dict[str, str] | None = None) -> RunResult:
    """Run a command in ``cwd``."""
    return RpdRun()(cwd, *args, command=command, env=env)


def plan_of(result: RunResult) -> str:
    """Return the dry run's report of its only node, without its id, time, and paths."""
    assert result.exit_code == 0, result.out + result.err
    return result.out[result.out.index("  pod ") : result.out.index("==== dry run")].rstrip("= \n")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_both_ways_in_plan_the_same(config: Path, project: Path) -> None:
    source = f"configs/{config.name}"
    given = VARS if needs_seed(config) else ()
    written = rpd("import", source, cwd=project)
    assert written.exit_code == 0, written.err
    target = f"configs/deploy_{config.stem}.py"
    assert f"wrote {target}" in written.out
    yaml, python = (
        plan_of(rpd("run", "--dry-run", path, *given, cwd=project, env={"HF_TOKEN": "hf_0123456789"}))
        for path in (source, target)
    )
    assert yaml == python


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_what_is_written_is_formatted(config: Path, project: Path) -> None:
    assert rpd("import", f"configs/{config.name}", "--output", "deploy_it.py", cwd=project).exit_code == 0
    for command in (["format", "--check", "--line-length", "100"], ["check", "--ignore", "E501"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "deploy_it.py"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + (project / "deploy_it.py").read_text()


def test_nothing_is_overwritten(project: Path) -> None:
    target = project / "configs" / "deploy_minimal.py"
    target.write_text("mine\n")
    refused = rpd("import", "configs/minimal.yaml", cwd=project)
    assert (refused.exit_code, target.read_text()) == (4, "mine\n")
    assert "--force" in refused.err
    assert rpd("import", "configs/minimal.yaml", "--force", cwd=project).exit_code == 0
    assert target.read_text() != "mine\n"


def test_differences_are_listed_with_their_lines(project: Path) -> None:
    out = rpd("import", "configs/network.yaml", cwd=project).out
    for said in (
        "ssh.key_path: left out",
        "'+ kept' is an rsync filter that rpd lacks",
        "240 minutes at the assumed $1.65/h are $6.60",
        "artifacts out: lands in the node's artifacts/out/",
        "pod.image: its templates are filled in with their defaults",
    ):
        assert said in out
    assert all(
        line.startswith("  line ") for line in out.splitlines() if ": " in line and line.startswith("  ")
    )


def test_other_yaml_is_passed_over(project: Path) -> None:
    (project / "docker-compose.yaml").write_text("services: {}\n")
    (project / "rpd.toml").write_text('deploy_files = ["*.yaml"]\n')
    collected = rpd("collect", "-q", cwd=project)
    assert collected.out.split() == [
        "configs/community.yaml::job_3d_scan",
        "configs/everything.yaml::sweep",
        "configs/full.yaml::finetune",
        "configs/minimal.yaml::minimal",
        "configs/network.yaml::on_a_volume",
    ]
    named = rpd("collect", "docker-compose.yaml", cwd=project)
    assert named.exit_code == 4
    assert "not a Python file" in named.err


def test_variables_select_and_sweep(project: Path) -> None:
    swept = rpd("collect", "-q", "configs/full.yaml", "--sweep", "seed=1,2", "-k", "seed2 or 2", cwd=project)
    assert swept.exit_code == 0, swept.err
    assert "configs/full.yaml::finetune[" in swept.out


def test_a_variable_without_a_value_is_asked_for(project: Path) -> None:
    result = rpd("run", "--dry-run", "configs/full.yaml", cwd=project)
    assert result.exit_code == 4
    said = "variable 'seed' has no value: set it with --var seed=VALUE (declared at configs/full.yaml:2)"
    assert said in result.err


def test_a_missing_path_costs_nothing(project: Path) -> None:
    (project / "src" / "train.py").unlink()
    result = rpd("run", "--dry-run", "configs/full.yaml", *VARS, cwd=project)
    assert result.exit_code == 2
    assert f"required_paths: {project / 'src' / 'train.py'} is missing" in result.out + result.err
    assert "mkdir -p /workspace/out" not in result.out
    (project / "data" / "42.csv").unlink()
    templated = rpd("collect", "configs/everything.yaml", *VARS, cwd=project)
    assert templated.exit_code == 2
    assert f"{project / 'data' / '42.csv'} is missing" in templated.out + templated.err


@pytest.mark.usefixtures("clean_emulator")
@pytest.mark.parametrize(
    ("body", "outcome", "said"),
    [
        ("echo working\necho DONE", "passed", ""),
        ("python3 -c 'raise SystemExit(3)'\necho end", "failed", "the success marker was not printed"),
        ("echo DONE\nexit 3", "failed", "exited 3"),
        ("set -x\ntrue DONE\nexit 1", "failed", "exited 1"),
        ("echo Traceback\necho recovered\necho DONE", "passed", ""),
        ("cat > f <<'BASH'\nBASH\nBASH\necho DONE", "passed", ""),
    ],
    ids=["right", "no marker", "code after marker", "traced marker", "failure words", "heredoc"],
)
def test_a_script_passes_with_its_code_and_its_marker(
    body: str, outcome: str, said: str, project: Path
) -> None:
    config = project / "configs" / "minimal.yaml"
    head = "lifecycle: {on_failure: delete}\n" + config.read_text().partition("  body: |")[0]
    config.write_text(head + "  body: |\n" + "".join(f"    {line}\n" for line in body.splitlines()))
    result = rpd("run", "configs/minimal.yaml", cwd=project)
    assert result.report("minimal").result.outcome == outcome
    assert said in result.out
    assert result.exit_code == (0 if outcome == "passed" else 1)


@pytest.mark.usefixtures("clean_emulator")
def test_a_whole_configuration_runs(project: Path) -> None:
    token = 'hf_it\'s "0123" $HOME 456'
    result = rpd("run", "configs/full.yaml", *VARS, cwd=project, env={"HF_TOKEN": token})
    assert result.exit_code == 0, result.out + result.err
    report = result.report("finetune")
    assert report.metrics == {"accuracy": 0.5}
    assert result.run_dir is not None
    folder = Path(report.folder)
    log = (folder / "output.log").read_text()
    assert f"token {len(token)} seed 42" in log  # the file was sourced: exported, and quoted
    assert "a b continued" in log
    assert [path.read_text() for path in folder.rglob("metrics-42.txt")] == ["loss 0.1\n"]
    assert [artifact.label for artifact in report.artifacts] == ["out"]
    assert (folder / "artifacts" / "out" / "metrics.json").exists()  # contents, by the slash
    assert not (project / "results").exists()
    assert token not in "".join(
        path.read_text(errors="replace") for path in result.run_dir.rglob("*") if path.is_file()
    )


@pytest.mark.usefixtures("clean_emulator")
def test_every_field_does_what_it_says_on_a_pod(project: Path) -> None:
    secrets = {"HF_TOKEN": "hf_0123456789", "WANDB_API_KEY": "w'\"x $HOME"}
    result = rpd("run", "configs/everything.yaml", *VARS, cwd=project, env=secrets)
    assert result.exit_code == 0, result.out + result.err
    report = result.report("sweep")
    folder = Path(report.folder)
    log = (folder / "output.log").read_text()
    # Exclusions with templates, from the top and anywhere; a name that git would take for a comment.
    listing = log[log.index("/workspace/into:") :]
    assert listing.split()[:2] == ["/workspace/into:", "src"]
    assert re.search(r"/workspace/tiny/code:\ndeep\ntrain\.py\n", log)
    assert "1,2\n" in log
    assert 'print("loss 0.1")\n400\nlengths 13 10\n' in log
    assert result.run_dir is not None
    assert f"run {result.run_dir.name} of {project}/configs into {folder}" in log
    artifacts = folder / "artifacts"
    assert (artifacts / "results" / "deep" / "name.txt").read_text() == "sweep-tiny-42 tiny\n"
    assert not (artifacts / "results" / "x.tmp").exists()
    assert (artifacts / "log" / "run.log").read_text().endswith("DONE 42\n")
    assert [mark.name for mark in report.marks] == ["train"]
    content = b"".join(path.read_bytes() for path in result.run_dir.rglob("*") if path.is_file())
    assert KEY[:64] not in content
    assert b"hf_0123456789" not in content


def test_the_configurations_have_every_field() -> None:
    """These files use every field that the reader knows."""
    source = Path(spec.__file__).read_text()
    known = set(
        re.findall(r'(?:keys|fields|section|pod|storage|local|budget|environment|ssh)\["(\w+)"\]', source)
    )
    used = {key for path in CONFIGS for key in re.findall(r"(\w+):", path.read_text())}
    assert len(known) > 20
    assert known - used == set()


def test_a_mistake_shows_the_line_of_the_yaml(project: Path) -> None:
    config = project / "configs" / "minimal.yaml"
    config.write_text(config.read_text().replace("NVIDIA RTX A4000", "NVIDIA RTX A400O"))
    result = rpd("collect", "configs/minimal.yaml", cwd=project)
    assert result.exit_code == 2
    assert "configs/minimal.yaml:6: in <module>" in result.out + result.err
    assert "Did you mean 'NVIDIA RTX" in result.out + result.err

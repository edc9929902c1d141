"""Files that are odd in a project: marks before a text, rings of links, things that are no files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.testing import RpdRun

Project = Callable[[dict[str, str]], Path]

BOM = "\ufeff"
DEPLOY = """
import rpd

lr = rpd.variable(type=float)

@rpd.job(gpu=None, secrets=[rpd.Secret("TOKEN", file="{file}")])
@rpd.mark.parametrize(*rpd.params_from("grid.toml"))
def fit(pod, staged_dir, lr, n):
    pod.run("ls; echo token=$TOKEN, $(printf %s $TOKEN | wc -c) bytes; echo lr={{}}".format(lr), cwd=staged_dir)
"""


def test_a_byte_order_mark_belongs_to_no_text(project: Project, rpd: RpdRun) -> None:
    """Every file of the user's is read alike."""
    folder = project(
        {
            "rpd.toml": f"{BOM}runs_dir = 'my-runs'\n",
            "grid.toml": f"{BOM}n = [1]\n",
            "vars.toml": f"{BOM}lr = 0.5\n",
            "args.txt": f"{BOM}deploy_x.py::fit[n1]\n",
            "token": f"{BOM}abcdefgh\n",
            ".gitignore": f"{BOM}credentials.json\n",
            "credentials.json": "",
        }
    )
    (folder / "deploy_x.py").write_text(DEPLOY.format(file=folder / "token"))
    result = rpd(folder, "--local", "--vars-file", "vars.toml", "@args.txt")
    assert result.exit_code == 0, result.out + result.err
    assert result.run_dir is not None
    assert result.run_dir.parent == folder / "my-runs"
    log = (next(result.run_dir.glob("deploy_x.fit*")) / "output.log").read_text()
    assert "credentials.json" not in log
    assert "token=***, 8 bytes" in log
    assert "lr=0.5" in log


COMMANDS = [
    "collect -q",
    "run --dry-run",
    "run --local --runs-dir=runs",
    "doctor",
    "estimate",
    "fixtures",
    "runs",
    "resume",
    "show",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_ring_of_links_ends_no_command(project: Project, rpd: RpdRun, command: str) -> None:
    """Whatever rpd looks for by name may lead to itself, or be a FIFO; every command still ends as it would."""
    text = "import rpd\n\n@rpd.job(gpu=None)\ndef fit(pod, staged_dir): pod.run('true')\n"
    folder = project({"deploy_x.py": text, "sub/a.py": ""})
    rings = (
        "loop",
        "deploy_loop.py",
        ".gitignore",
        ".rpdignore",
        "pyproject.toml",
        "requirements.txt",
        "conftest.py",
        ".rpd_cache",
    )
    for name in rings:
        (folder / name).symlink_to(name)
    (folder / "sub" / "up").symlink_to("..")
    os.mkfifo(folder / "sub" / ".gitignore")
    os.mkfifo(folder / "uv.lock")
    name, *args = command.split()
    result = rpd(folder, *args, command=name)
    assert result.exit_code in (0, 1 if name == "doctor" else 0, 4 if name in ("resume", "show") else 0), (
        result.err
    )
    assert "Traceback" not in result.err


def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    """One clear error."""
    code = (
        f"import os, sys; os.rmdir({str(tmp_path)!r}); from rpd.cli import main; sys.exit(main(['collect']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert (
        done.stderr == "rpd: error: the current folder does not exist any more: change into one that does\n"
    )


def test_a_run_folder_is_for_its_owner_alone(project: Project, rpd: RpdRun) -> None:
    """Logs, secrets that were too short to be masked, and keys are for the owner only."""
    folder = project({"deploy_x.py": "import rpd\n\n@rpd.job(gpu=None)\ndef fit(pod): pod.run('true')\n"})
    before = os.umask(0)
    try:
        run_dir = rpd(folder, "--local").run_dir
    finally:
        os.umask(before)
    assert run_dir is not None
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700

"""The commands around a run: init, an emulator of one's own, and the pods on it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.waiting import wait_until

Project = Callable[[dict[str, str]], Path]


def test_init_then_run(rpd: RpdRun, tmp_path: Path) -> None:
    """The files of ``rpd init`` collect, run dry and run on the emulator; they are never written over."""
    made = rpd(tmp_path, "first", command="init")
    assert made.exit_code == 0, made.err
    written = [".rpdignore", "conftest.py", "deploy_first.py", "rpd.toml"]
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == written
    assert rpd(tmp_path, "first", "-q", command="collect").out.count("deploy_first.py::") == 2
    ran = rpd(tmp_path / "first", "--local", "-n", "2")
    assert ran.exit_code == 0, ran.out + ran.err
    assert [report.result.outcome for report in ran.reports] == ["passed", "passed"]
    assert "emulator" in ran.out
    again = rpd(tmp_path, "first", command="init")
    assert again.exit_code == 4
    assert "already exists; nothing was written" in again.err


def test_an_emulator_of_ones_own(rpd: RpdRun, project: Project) -> None:
    """``rpd emulator`` prints two variables; with them ``rpd run`` and the plain SDK reach it. Ctrl-C ends it, exit code 0."""
    server = rpd.start(project({}), command="emulator")
    try:
        wait_until(lambda: "Ctrl-C" in server.out, what="the emulator")
        exported = dict(re.findall(r"^export (\w+)=(\S+)$", server.out, re.MULTILINE))
        assert set(exported) == {"RUNPOD_API_BASE_URL", "RUNPOD_API_KEY"}
        env: dict[str, str | None] = {**exported}
        job = "import rpd\n@rpd.job(gpu=rpd.Gpu('NVIDIA L4'))\ndef fit(pod): pod.run('nvidia-smi -L')\n"
        ran = rpd(project({"deploy_x.py": job}), env=env)
        assert ran.exit_code == 0, ran.out + ran.err
        assert ran.reports[0].pod is not None
        script = "import json, os, runpod; runpod.api_key = os.environ['RUNPOD_API_KEY']; "
        script += "print(json.dumps([runpod.get_pods(), len(runpod.get_gpus())]))"
        plain = subprocess.run(
            [sys.executable, "-c", script],
            env={"PATH": "/usr/bin:/bin", "HOME": str(project({})), **exported},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert plain.returncode == 0, plain.stderr
        pods, gpus = json.loads(plain.stdout.splitlines()[-1])
        assert pods == []
        assert gpus > 10
    finally:
        server.send_signal(signal.SIGINT)
    assert server.finish(timeout=40).exit_code == 0


def test_pods_are_listed_and_stopped(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """``rpd ps`` lists running pods and their cost; ``rpd stop`` takes an id, a name or an unambiguous prefix."""
    folder = project(
        {"deploy_x.py": """
            import rpd
            @rpd.job(gpu=rpd.Gpu("NVIDIA L4"), lifecycle=rpd.Lifecycle(on_success="preserve"))
            @rpd.mark.parametrize("n", [1, 2])
            def keep(pod, n): ...
            """}
    )  # fmt: skip
    assert rpd(folder, "-n", "2", "--yes").exit_code == 0
    listed = rpd(folder, "--json", command="ps")
    rows = json.loads(listed.out)["pods"]
    assert {row["id"] for row in rows} == {pod["id"] for pod in emulator.pods()}
    shown = rpd(folder, command="ps")
    assert all(row["id"] in shown.out for row in rows)
    assert all(f"{row['usd_per_hr']:.2f}" in shown.out for row in rows)
    assert "2 pods, $" in shown.out
    unclear = rpd(folder, "rpd-", command="stop")
    assert unclear.exit_code == 4
    assert "name one" in unclear.err
    unknown = rpd(folder, "nosuchpod", command="stop")
    assert unknown.exit_code == 4
    assert "no pod 'nosuchpod'" in unknown.err
    assert len(emulator.pods()) == 2
    assert rpd(folder, rows[0]["id"], rows[1]["name"], command="stop").exit_code == 0
    assert emulator.pods() == []


def test_help_names_every_command(rpd: RpdRun, tmp_path: Path) -> None:
    """Bare ``rpd`` prints help and starts nothing; each command it names has its own help."""
    bare = rpd(tmp_path, command="")
    assert bare.exit_code == 0
    names = re.findall(r"^  rpd ([a-z]\S*)", bare.out, re.MULTILINE)
    assert {"collect", "run", "ps", "stop", "gc", "init", "emulator"} <= set(names)
    assert rpd(tmp_path, "--help", command="run").out.startswith("usage: rpd run")
    assert list(tmp_path.iterdir()) == []

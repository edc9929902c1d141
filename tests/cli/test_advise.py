"""``rpd advise`` about a run on the emulator whose job pretends how busy its GPU is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rpd.cli import main
from rpd.emulator.launch import Launched

Project = Any
DEPLOY = """
    import rpd
    from rpd import Budget, Gpu

    rpd.samples = []

    @rpd.job(gpu=Gpu("NVIDIA H100 80GB HBM3"), budget=Budget(cost_cap_usd=5))
    def fit(pod):
        while not rpd.samples:
            pod.run("sleep 0.2", name="install")
        for part, gpu in (("download", "0 300"), ("train", "90 18000")):
            before = len(rpd.samples)
            while len(rpd.samples) < before + 5:
                pod.run(f"rpd-step {part}; echo {gpu} >/etc/emulator.gpu; sleep 1")
"""
HEARS = """
    import rpd

    def rpd_telemetry(node, sample):
        rpd.samples.append(sample)
"""


def test_planted_idleness_is_found(
    project: Project, emulator: Launched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The download is idle, the training is not; 18,000 MiB fit into 24 GB and not into 20."""
    project.write({"deploy_a.py": DEPLOY, "conftest.py": HEARS, "rpd.toml": 'telemetry_interval = "0.2s"'})
    run = project.run("--yes")
    assert run.exit_code == 0, run.out + run.err
    monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.base_url)
    monkeypatch.setenv("RUNPOD_API_KEY", emulator.api_key)
    monkeypatch.chdir(project.folder)
    capsys.readouterr()
    assert main(["advise", "--json", "--fail-idle", "100%"]) == 0
    advice = json.loads(capsys.readouterr().out)
    [job] = advice["jobs"]
    idle = job["idle_usd_by_activity"]
    assert idle["downloading"] > 0.5 * job["usd_by_activity"]["downloading"]
    assert idle.get("working", 0.0) < 0.5 * job["usd_by_activity"]["working"]
    assert job["peak_memory_mib"] == 18000
    assert job["cheaper"][0]["gpu_id"] == "NVIDIA RTX A5000"
    assert job["cheaper"][0]["stock"] == "high"
    assert main(["advise", "--fail-idle", "1%"]) == 1
    printed = capsys.readouterr()
    assert "more than --fail-idle 1%" in printed.err
    assert "NVIDIA RTX A5000 would have held it at 0.27 $/h" in printed.out
    assert main(["advise", "--boots"]) == 0
    assert "NVIDIA H100 80GB HBM3" in capsys.readouterr().out


def test_a_run_without_pods_has_nothing_to_advise(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    for words, sentence in ((["advise"], "no runs"), (["advise", "--boots"], "requested no pods")):
        code = main(words)
        printed = capsys.readouterr()
        assert sentence in printed.out + printed.err, (code, printed)

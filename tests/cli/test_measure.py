"""``rpd estimate --measure``: a short run of each job on the two cheapest cards, and no pod after it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.record import history

Project = Any
DEPLOY = """
    import rpd
    from rpd import Budget, Gpu, Lifecycle

    @rpd.job(gpu=Gpu(min_vram_gb=24), budget=Budget(cost_cap_usd=5), lifecycle=Lifecycle(on_success="stop"))
    @rpd.mark.parametrize("seed", [1, 2, 3])
    def fit(pod, seed):
        pod.run("i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo step=$i loss=0.1 >>$RPD_METRICS; sleep 0.05; done")
        pod.pull("never-made/")
"""


def test_each_job_is_measured_on_the_two_cheapest_cards(project: Project, emulator: Launched) -> None:
    """At most twenty steps a second are counted, fewer on a busy machine; the forecast covers all nodes; it costs less than announced."""
    project.write({"deploy_a.py": DEPLOY})
    told = project.command("estimate", "--measure", "3s", "--steps", "20000", "--json", "--yes")
    assert told.exit_code == 0, told.out + told.err
    first, second = json.loads(told.out)["jobs"]
    assert (first["gpu"], second["gpu"]) == ("NVIDIA RTX A5000", "NVIDIA A40")
    for row in (first, second):
        assert row["nodes"] == 3
        assert 0.5 < row["steps_per_second"]["likely"] < 25
        speed, seconds, usd = row["steps_per_second"], row["seconds"], row["usd"]
        assert speed["low"] <= speed["likely"] <= speed["high"]
        assert seconds["low"] <= seconds["likely"] <= seconds["high"]
        assert usd["likely"] * 3600 / row["usd_per_hr"] == pytest.approx(seconds["likely"], rel=0.01)
    [info] = history.runs(project.folder / "rpd-runs")
    assert info.outcomes == {"pruned": 2}
    assert info.usd <= info.worst_case_usd
    assert emulator.pods() == []  # although the job would have stopped it, and a required pull is missing


def test_without_a_key_nothing_is_measured(project: Project) -> None:
    project.write({"deploy_a.py": DEPLOY})
    no_key = {"RUNPOD_API_KEY": None, "HOME": "/nonexistent"}
    assert "needs an API key" in project.command("estimate", "--measure", "3s", env=no_key).err
    assert "--steps needs --measure" in project.command("estimate", "--steps", "3", env=no_key).err

"""Engines that people use, for real, on two members of the emulator: an all-reduce of PyTorch, tasks of Ray.

They are not among what rpd is tested with: put them into a virtual environment below /usr, which pods see, and name its
interpreter in RPD_ML_PYTHON.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.testing import RpdRun

Project = Callable[[dict[str, str]], Path]
PYTHON = os.environ.get("RPD_ML_PYTHON", "python3")
JOB = f"""
import rpd
from rpd import Budget, Cluster, Gpu

@rpd.job(gpu=Gpu("NVIDIA L4"), cluster=Cluster(nodes=2), budget=Budget(cost_cap_usd=2, max_runtime="5m"))
def trains(cluster, cluster_dir):
    cluster.setenv(PATH="{Path(PYTHON).parent}:/opt/bin:/usr/bin:/bin")
    ACT
"""
REDUCE = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
x = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(x)
print(f"rank {dist.get_rank()} of {dist.get_world_size()}: {x.item():g}", flush=True)
dist.destroy_process_group()
"""
WHERE = """
import time, ray
ray.init(logging_level="ERROR")
@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def where():
    time.sleep(2)
    return ray.util.get_node_ip_address()
print("tasks ran on", len(set(ray.get([where.remote() for _ in range(2)]))), "members")
"""


def needs(package: str) -> None:
    """Skip where the interpreter has no such package."""
    asked = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    if subprocess.run([PYTHON, "-c", asked], check=False, capture_output=True).returncode:
        pytest.skip(f"{PYTHON} has no {package}: name an interpreter below /usr that has it in RPD_ML_PYTHON")


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("emulator")
def test_an_all_reduce_of_pytorch(rpd: RpdRun, project: Project) -> None:
    needs("torch")
    job = JOB.replace("ACT", 'cluster.torchrun("reduce.py", cwd=cluster_dir)')
    result = rpd(project({"deploy_a.py": job, "reduce.py": REDUCE}))
    assert result.exit_code == 0, result.out
    log = (Path(result.reports[0].folder) / "output.log").read_text(encoding="utf-8")
    assert "[rank 0] rank 0 of 2: 3" in log
    assert "[rank 1] rank 1 of 2: 3" in log


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("emulator")
def test_a_task_of_ray_on_each_member(rpd: RpdRun, project: Project) -> None:
    needs("ray")
    act = 'cluster.ray(options="--num-cpus=1"); cluster.primary.run("python where.py", cwd=cluster_dir)'
    result = rpd(project({"deploy_a.py": JOB.replace("ACT", act), "where.py": WHERE}))
    assert result.exit_code == 0, result.out
    assert "tasks ran on 2 members" in (Path(result.reports[0].folder) / "output.log").read_text(
        encoding="utf-8"
    )

"""A run as the hooks tell it, on screens of a known size."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rpd.config import Config, config_of
from rpd.errors import Cause
from rpd.values.fixture import Closure
from rpd.values.job import Job
from rpd.values.node import Definition, Node
from rpd.values.plan import Lane, Plan
from rpd.values.pod import PodInfo, PodStatus
from rpd.values.report import CostRecord, Failure, NodeRecord, NodeReport, Outcome, PodRecord, Result
from tests.clock import Clock


class Tty(io.StringIO):
    """A terminal that keeps all text written to it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tty() -> Tty:
    return Tty()


@pytest.fixture
def make_config() -> Callable[..., Config]:
    def make(**settings: Any) -> Config:
        root = Path("/project")
        return config_of(
            command="run", rootdir=root, invocation_dir=root, config_file=root / "rpd.toml", **settings
        )

    return make


@pytest.fixture
def make_node() -> Callable[..., Node]:
    def make(seed: int = 42, backbone: str = "deberta") -> Node:
        definition = Definition(
            name="finetune",
            file="deploy_x.py",
            line=10,
            function=lambda: None,
            job=Job(),
            argnames=("pod",),
            closure=Closure(),
            keywords=frozenset(),
        )
        case = f"{backbone}-seed{seed}"
        params = {"backbone": backbone, "seed": seed}
        return Node(definition=definition, id=f"deploy_x.py::finetune[{case}]", case=case, params=params)

    return make


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    def make(*nodes: Node, width: int = 1) -> Plan:
        lanes = tuple(Lane(nodes=(node,)) for node in nodes)
        return Plan(lanes=lanes, width=width, worst_case_usd=5.0 * len(nodes))

    return make


@pytest.fixture
def pod() -> PodInfo:
    return PodInfo(
        id="abc123",
        name="rpd-1",
        status=PodStatus.RUNNING,
        gpu="NVIDIA H100 80GB HBM3",
        gpu_count=1,
        datacenter="EU-RO-1",
        usd_per_hr=3.6,
    )


@pytest.fixture
def make_report() -> Callable[..., NodeReport]:
    def make(
        node: Node,
        outcome: Outcome = Outcome.PASSED,
        *,
        cause: Cause | None = None,
        reason: str = "",
        metrics: dict[str, Any] | None = None,
        seconds: float = 12.0,
        usd: float = 0.01,
    ) -> NodeReport:
        failure = Failure(
            place="deploy_x.py:14",
            source_line='    pod.run(f"python train.py --seed {seed}", cwd=staged_dir)',
            traceback=(
                "deploy_x.py:21",
                "    run_all(pod)",
                "deploy_x.py:14",
                '    pod.run(f"python train.py --seed {seed}", cwd=staged_dir)',
            ),
            log_tail=("epoch 3", "torch.OutOfMemoryError: CUDA out of memory"),
        )
        return NodeReport(
            node=NodeRecord(id=node.id, job="finetune", file=node.file, line=10, parameters=node.parameters),
            result=Result(outcome=outcome, cause=cause, reason=reason, phases={"call": seconds}),
            pod=PodRecord(
                id="abc123", name="rpd-1", gpu="NVIDIA H100 80GB HBM3", count=1, datacenter="EU-RO-1"
            ),
            cost=CostRecord(estimated_usd=usd),
            metrics=metrics or {},
            folder=f"/project/rpd-runs/r1/{node.case}",
            failure=None if outcome.is_ok else failure,
        )

    return make

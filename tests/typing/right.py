"""Right deploy files: a type checker accepts them, and knows the type of each thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

import rpd
from rpd import Budget, Gpu, Lifecycle, Secret, Storage

train = rpd.job(
    image="runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
    gpu=Gpu("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", max_price_usd=4.5, prefer="cheapest"),
    storage=Storage(volume_gb=20),
    datacenters=["EU-RO-1", "US-TX-3"],
    cloud="any",
    ports="8888/http",
    env={"WANDB_MODE": "offline"},
    secrets=["HF_TOKEN", Secret("WANDB_API_KEY", env="WANDB")],
    budget=Budget(cost_cap_usd=5, max_runtime="60m"),
    lifecycle=Lifecycle(on_success="recycle", on_failure="preserve"),
)
assert_type(train, rpd.Job)
assert_type(train(gpu=None), rpd.Job)
assert_type(train.derive(spot=True), rpd.Job)
assert_type(train.datacenters, tuple[str, ...])
assert_type(Gpu(ids=["NVIDIA L4"], count=2).ids, tuple[str, ...])


@train
@rpd.mark.parametrize("seed", [42, 43, rpd.param(44, id="last", marks=rpd.mark.skip(reason="too slow"))])
@rpd.mark.parametrize(("lr", "wd"), [(0.1, 0.0), (0.01, 0.1)], ids=["fast", "slow"])
@rpd.mark.timeout("30m", silent="5m")
@rpd.mark.retry(infra=2, oom="next-gpu")
@rpd.mark.gpu("NVIDIA L4", count=2)
@rpd.mark.budget(cost_cap_usd=1)
@rpd.mark.xfail(raises=rpd.OutOfMemory, reason="does not fit", strict=True)
@rpd.mark.skipif("True", reason="never")
@rpd.mark.usefixtures("staged_dir")
@rpd.mark.nightly(owner="ana")
def finetune(pod: rpd.Pod, staged_dir: str, seed: int, lr: float, wd: float) -> float:
    completed = pod.run(f"python train.py --seed {seed}", cwd=staged_dir, check=False, timeout="10m")
    assert_type(completed, rpd.Completed)
    assert_type(completed.exit_code, int)
    assert_type(pod.put("data", "/workspace/data"), rpd.Staged)
    assert_type(pod.pull("results/", required=False), rpd.Pulled | None)
    return lr * wd


def is_the_function_itself(function: Callable[[rpd.Pod, str, int, float, float], float]) -> None: ...


is_the_function_itself(finetune)


@rpd.job
@rpd.mark.skip
def summary(run_dir: Path, record_metric: Callable[[str, object], None]) -> None: ...


@rpd.fixture(scope="worker", params=[1, 2])
def warm_pod(provision: rpd.Provision, request: rpd.Request) -> Iterator[rpd.Pod]:
    assert_type(request.node, rpd.Node)
    with provision(train, gpu=None) as pod:
        yield pod


@rpd.hookimpl(tryfirst=True)
def rpd_node_report(node: rpd.Node, report: rpd.NodeReport) -> None:
    assert_type(node.job, rpd.Job)
    assert_type(report.result.outcome, rpd.Outcome)
    assert_type(report.cost.estimated_usd, float)


def rpd_generate_nodes(metafunc: rpd.Metafunc) -> None:
    metafunc.parametrize("seed", [1, 2])


def rpd_configure(config: rpd.Config) -> None:
    assert_type(config.rootdir, Path)


try:
    finetune
except rpd.CommandFailed as error:
    assert_type(error.code, int)
except rpd.errors.PodLost:
    raise
except rpd.RpdError:
    raise

# --- programs ---------------------------------------------------------------------------------------------------------


class Plugin:
    def rpd_step_finished(self, node: rpd.Node) -> None: ...


def program() -> None:
    nodes = rpd.nodes(
        "sweeps/", Path("deploy_x.py"), keyword="seed42", var={"lr": 0.1}, sweep={"seed": range(3)}
    )
    assert_type(nodes[0], rpd.Node)
    assert_type(nodes.ids, tuple[str, ...])
    assert_type(nodes.errors, tuple[rpd.errors.CollectionError, ...])

    forecast = rpd.forecast(
        nodes[0], live=True, cost_cap_usd=2, max_runtime_seconds=timedelta(hours=1), cloud="any"
    )
    assert_type(forecast.worst_case_usd, float)
    assert_type(forecast.expected_usd, float | None)
    assert_type(forecast.nodes[0].in_stock, bool | None)

    prices = rpd.prices(count=2, spot=True)
    assert_type(prices.usd_per_hr("NVIDIA L4"), float | None)
    assert_type([row.id for row in prices], list[str])

    outcome = rpd.run("sweeps/", root=Path(), local=True, width=4, plugins=[Plugin(), "a_module"], yes=True)
    assert_type(outcome, rpd.RunOutcome)
    assert_type(outcome.reports[0], rpd.NodeReport)
    assert_type(outcome.folder, Path | None)
    assert_type(outcome.rows(), list[dict[str, Any]])
    assert_type(rpd.run(finetune, seed=[1, 2], local=True), rpd.RunOutcome)

    running = rpd.start("sweeps/", wait_for_stock="30m", show=True)
    assert_type(running, rpd.Running)
    for report in running:
        assert_type(report, rpd.NodeReport)
    running.stop("drain")
    assert_type(running.result(timeout=3), rpd.RunOutcome)

    runs = rpd.runs(local=False, since="7d")
    assert_type(runs[0].folder, Path)
    assert_type(next(runs[0].events(event="released")).detail["pod_id"], Any)
    reports = rpd.reports("elsewhere", job="finetune", outcome="failed", lr=0.1)
    assert_type(reports[0].result.outcome, rpd.Outcome)
    assert_type(reports.where("seconds > 3").usd, float)
    assert_type(rpd.verify(reports)[0].path, Path)
    for pod in rpd.pods():
        assert_type(pod.usd_per_hr, float | None)
        pod.release()


async def awaited() -> None:
    running = rpd.start(dry_run=True)
    async for report in running:
        assert_type(report, rpd.NodeReport)
    assert_type(await running, rpd.RunOutcome)

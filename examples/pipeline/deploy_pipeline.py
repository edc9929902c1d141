"""Prepare data once, train on it with several seeds, test each model, and name the best: nodes that need nodes."""

import rpd
from rpd import Budget, Gpu

cpu = rpd.job(gpu=None, budget=Budget(cost_cap_usd=0.10, max_runtime="10m"))
gpu = rpd.job(
    gpu=Gpu("NVIDIA RTX A4000", "NVIDIA RTX A5000"), budget=Budget(cost_cap_usd=0.25, max_runtime="15m")
)
seeds = rpd.mark.parametrize("seed", [1, 2, 3])


@cpu
def prepare(pod, staged_dir):
    """Make the data once, for all nodes."""
    pod.run("python3 steps.py prepare data", cwd=staged_dir)
    pod.pull("data", cwd=staged_dir)


@gpu
@rpd.mark.needs(prepare)
@seeds
def train(pod, staged_dir, needs, seed):
    """Fit a line to the data; every seed starts elsewhere."""
    pod.run(f"python3 steps.py train {needs[prepare].on(pod)} model --seed {seed}", cwd=staged_dir)
    pod.pull("model", cwd=staged_dir)


@cpu
@rpd.mark.needs(prepare, train)
@seeds
def test(pod, staged_dir, needs, seed):
    """Test the model of the same seed on data that it has not seen."""
    data, model = needs[prepare].on(pod), needs[train].on(pod)
    pod.run(f"python3 steps.py test {data} {model} result", cwd=staged_dir, name=f"test seed {seed}")
    pod.pull("result/metrics.json", cwd=staged_dir)


@rpd.job
@rpd.mark.needs(test, all=True)
def best(needs, record_metric):
    """Name the best seed; this needs no pod."""
    first = min(needs.all(test), key=lambda each: each.metrics["loss"])
    record_metric("seed", first.parameters["seed"])
    record_metric("loss", first.metrics["loss"])

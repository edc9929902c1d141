"""Train a small network on your own GPU first, then rent one: the same file, two learning rates."""

import rpd
from rpd import Budget, Gpu

steps = rpd.variable(default=400)  # rpd run --var steps=50


@rpd.job(
    image="runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
    gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4", max_price_usd=0.60),
    budget=Budget(cost_cap_usd=0.25, max_runtime="10m"),
)
@rpd.mark.parametrize("lr", [0.001, 0.01])
def digits(pod, staged_dir, steps, lr):
    """Train with one learning rate; download the weights and the metrics."""
    pod.run(f"python train.py --lr {lr} --steps {steps}", cwd=staged_dir)
    pod.pull("weights/", cwd=staged_dir)
    pod.pull("metrics.json", cwd=staged_dir)

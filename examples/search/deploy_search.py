"""Search the learning rate and the width of a small network: bad trials end early, and the model of the best one is "
"kept."""

import rpd
from rpd import Budget, Gpu


@rpd.fixture(scope="worker")
def pod(provision):
    """One pod for each slot of `-n`: the next trial starts on it immediately."""
    with provision() as made:
        yield made


@rpd.job(
    image="runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
    gpu=Gpu("NVIDIA RTX A4000", "NVIDIA RTX A4500", "NVIDIA L4", max_price_usd=0.60),
    budget=Budget(cost_cap_usd=0.25, max_runtime="10m"),
)
@rpd.mark.search(
    lr=rpd.log_uniform(1e-3, 1.0),
    hidden=rpd.integers(2, 24),
    minimize="loss",
    trials=12,
    prune=rpd.halving(5),
)
def moons(pod, staged_dir, lr, hidden):
    """Train with one learning rate and width; the losses are a series, and rpd pulls the model."""
    result = f"result-{lr}-{hidden}"  # the next trial has the same folder
    pod.run(f"python train.py --lr {lr} --hidden {hidden} --out {result}", cwd=staged_dir)
    pod.pull(f"{result}/", "model", cwd=staged_dir)

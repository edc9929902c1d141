"""Train a small classifier of Iris flowers for every seed and learning rate, each on its own pod."""

import rpd
from rpd import Budget, Gpu

epochs = rpd.variable(default=40)  # rpd run --var epochs=5

train = rpd.job(
    image="runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
    gpu=Gpu("NVIDIA RTX A4000", "NVIDIA RTX A4500", "NVIDIA L4", max_price_usd=0.60),
    budget=Budget(cost_cap_usd=0.25, max_runtime="10m"),
)


@train
@rpd.mark.parametrize("seed", [1, 2, 3])
@rpd.mark.parametrize("lr", [0.001, 0.01])
def iris(pod, staged_dir, record_metric, epochs, seed, lr):
    """Train with one seed and one learning rate; keep the metrics and the predictions for the test rows."""
    trained = pod.run(f"python train.py --seed {seed} --lr {lr} --epochs {epochs}", cwd=staged_dir)
    record_metric("train_seconds", round(trained.seconds, 2))
    pod.pull("predictions.csv", cwd=staged_dir)
    pod.pull("metrics.json", cwd=staged_dir)  # its numbers become metrics of the node

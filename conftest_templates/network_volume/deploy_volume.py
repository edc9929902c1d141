"""A job on a network volume. Create it first, with `rpd volume create`; pods that use it run in its data centre."""

import rpd
from rpd import Budget, Gpu, Storage

job = rpd.job(
    gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4"),
    storage=Storage(network_volume="datasets"),  # its name; it is mounted at `mount`, by default /workspace
    budget=Budget(cost_cap_usd=0.50, max_runtime="10m"),
)


@job
def train(pod, dataset):
    """Use the data on the volume."""
    pod.run(f"cat {dataset}/data")

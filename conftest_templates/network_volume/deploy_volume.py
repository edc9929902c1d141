"""A job on a network volume. Make it in RunPod's console first; it ties the pods to its data centre."""

import rpd
from rpd import Budget, Gpu, Storage

job = rpd.job(
    gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4"),
    storage=Storage(network_volume="datasets"),  # its name; it is mounted at `mount`, by default /workspace
    budget=Budget(cost_cap_usd=0.50, max_runtime="10m"),
)


@job
def train(pod, dataset):
    """Use the data where it lies."""
    pod.run(f"cat {dataset}/data")

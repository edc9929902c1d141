"""A sweep whose nodes share pods: the `pod` of the conftest next to this file is of scope `worker`."""

import rpd
from rpd import Budget, Gpu


@rpd.job(gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4"), budget=Budget(cost_cap_usd=0.50, max_runtime="10m"))
@rpd.mark.parametrize("seed", range(8))
def sweep(pod, seed):
    """Work in a separate folder: the files of earlier nodes are still on the pod."""
    folder = f"{pod.workspace}/seed{seed}"
    pod.run(f"mkdir -p {folder}")
    pod.run(f"echo '{{\"seed\": {seed}}}' > metrics.json", cwd=folder)
    pod.pull("metrics.json", cwd=folder)

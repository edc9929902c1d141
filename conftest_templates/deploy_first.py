"""A first job. List it with `rpd collect`, and try it for free with `rpd run --local`."""

import rpd
from rpd import Budget, Gpu

job = rpd.job(
    # The first of these that is in stock. gpu=None is a pod without a GPU.
    gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4"),
    # The most that each node may cost, and how long it may take; then its pod is deleted.
    budget=Budget(cost_cap_usd=0.50, max_runtime="15m"),
)


@job
@rpd.mark.parametrize("size", [100, 200])  # one node, and one pod, for each value
def multiply(pod, size):
    """Multiply two matrices on the pod and download the result."""
    pod.run("nvidia-smi")
    pod.write("multiply.py", PROGRAM)
    pod.run(f"python multiply.py {size}")
    pod.pull("metrics.json")  # its numbers appear in the table at the end and in the node's manifest


# Usually the program is a file next to this one. Ask for the fixture `staged_dir` then, the folder on the pod
# that holds a copy of this one: pod.run("python train.py", cwd=staged_dir)
PROGRAM = """
import json, random, sys, time

size = int(sys.argv[1])
random.seed(0)
a, b = ([[random.random() for _ in range(size)] for _ in range(size)] for _ in range(2))
columns = list(zip(*b))
started = time.perf_counter()
c = [[sum(x * y for x, y in zip(row, column)) for column in columns] for row in a]
seconds = time.perf_counter() - started
print(f"{size} x {size}: {seconds:.3f} s")
with open("metrics.json", "w") as file:
    json.dump({"seconds": round(seconds, 3), "trace": round(sum(c[i][i] for i in range(size)), 3)}, file)
"""

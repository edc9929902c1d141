"""The NVIDIA GPUs of this machine, for pods of the emulator: each has its own, as many pods as there are GPUs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rpd.emulator.errors import EmulatorError
from rpd.emulator.refusals import Refusal

DEVICES = "RPD_GPU_DEVICES"
"""The environment variable that names the folder of the device nodes; ``/dev`` without it."""
_SHARED = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps", "dxg")
"""What every pod with a GPU needs; ``dxg`` stands for all of them under WSL."""
_QUERY = ("--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits")
_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGpu:
    """One GPU: its id in ``CUDA_VISIBLE_DEVICES``, and the paths of its device nodes."""

    uuid: str
    name: str
    memory_mb: int
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The hardware here: the GPUs, the device nodes that all of them need, and the real ``nvidia-smi``."""

    gpus: tuple[OwnGpu, ...]
    shared: tuple[str, ...]
    smi: str


def find(devices: Path | None = None) -> Machine:
    """Return the GPUs of this machine. Raise EmulatorError, naming the missing part, if there are none."""
    folder = devices or Path(os.environ.get(DEVICES) or "/dev")
    smi = shutil.which("nvidia-smi")
    if smi is None:
        raise EmulatorError("--gpus: this machine has no NVIDIA driver (there is no nvidia-smi on the PATH)")
    rows = _rows(smi)
    nodes = sorted(folder.glob("nvidia[0-9]*"), key=lambda path: int(re.sub(r"[^0-9]", "", path.name) or 0))
    shared = tuple(str(folder / name) for name in _SHARED if (folder / name).exists())
    if len(nodes) != len(rows) and not (folder / "dxg").exists():
        raise EmulatorError(
            f"--gpus: nvidia-smi lists {len(rows)} GPU{'' if len(rows) == 1 else 's'}, but {folder} has "
            f"{len(nodes)} device nodes (nvidia0, …): does this user see all of them?"
        )
    own: list[tuple[str, ...]] = [(str(node),) for node in nodes] or [()] * len(rows)
    gpus = tuple(
        OwnGpu(uuid=uuid, name=name, memory_mb=memory, nodes=mine)
        for (uuid, name, memory), mine in zip(rows, own, strict=False)
    )
    return Machine(gpus=gpus, shared=shared, smi=os.path.realpath(smi))


def _rows(smi: str) -> list[tuple[str, str, int]]:
    """Return uuid, name and MiB of each GPU that ``nvidia-smi`` lists. Raise EmulatorError."""
    try:
        done = subprocess.run([smi, *_QUERY], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmulatorError(f"--gpus: cannot run nvidia-smi: {error}") from None
    rows = []
    for line in done.stdout.splitlines():
        uuid, _, rest = line.partition(", ")
        name, _, memory = rest.rpartition(", ")
        if done.returncode == 0 and uuid.strip() and memory.strip().isdigit():
            rows.append((uuid.strip(), name.strip(), int(memory)))
    if not rows:
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise EmulatorError(
            f"--gpus: nvidia-smi lists no GPU of this machine: {said or 'it printed nothing'}"
        )
    return rows


class OwnGpus:
    """Lends the GPUs of a machine to pods. Raises Refusal if none is left."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._free = list(machine.gpus)

    def take(self, count: int) -> tuple[OwnGpu, ...]:
        """Lend ``count`` GPUs."""
        total = len(self.machine.gpus)
        if count > total:
            raise Refusal(
                f"This machine has {total} GPU{'' if total == 1 else 's'}, and a pod asks for {count}.",
                "SUPPLY_CONSTRAINT",
            )
        if count > len(self._free):
            # A limit, not sold out: the renter of the others keeps the next order waiting until one is
            # given back.
            raise Refusal(
                f"You have reached the maximum number of pods: all {total} of this machine's GPUs are in use.",
                "POD_LIMIT",
            )
        taken, self._free = tuple(self._free[:count]), self._free[count:]
        return taken

    def give_back(self, gpus: Sequence[OwnGpu]) -> None:
        """Take back GPUs; the free ones stay in the machine's order."""
        self._free = sorted({*self._free, *gpus}, key=self.machine.gpus.index)

    def describe(self) -> str:
        """Return a sentence for a person."""
        names = ", ".join(
            dict.fromkeys(f"{gpu.name}, {gpu.memory_mb // 1024} GB" for gpu in self.machine.gpus)
        )
        count = len(self.machine.gpus)
        return (
            f"Pods get this machine's own GPU{'' if count == 1 else 's'} ({count}: {names}), whichever GPU a job asks "
            f"for; {'one pod has it' if count == 1 else f'at most {count} pods have one'} at a time."
        )

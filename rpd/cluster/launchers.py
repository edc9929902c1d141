"""The command lines that start a training on every rank: torchrun, accelerate, deepspeed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from rpd.cluster.preflight import USUAL_INTERFACE
from rpd.errors import UsageError
from rpd.values.frozen import frozen

MASTER_PORT = 29_500
"""As RunPod sets MASTER_PORT on its clusters."""


@frozen
class Shape:
    """The facts about a cluster that launchers need: addresses by rank, GPUs of each member, interfaces by rank."""

    addresses: tuple[str, ...]
    gpus: int
    interfaces: tuple[str, ...]

    @property
    def nodes(self) -> int:
        """How many members there are."""
        return len(self.addresses)


def variables(shape: Shape, rank: int, port: int = MASTER_PORT) -> dict[str, str]:
    """Return the variables that RunPod documents for a member of a cluster, and the interface for NCCL and Gloo."""
    first, interface = shape.addresses[0], shape.interfaces[rank] or USUAL_INTERFACE
    return {
        "PRIMARY_ADDR": first, "MASTER_ADDR": first, "PRIMARY_PORT": str(port), "MASTER_PORT": str(port),
        "NODE_ADDR": shape.addresses[rank], "NODE_RANK": str(rank), "NUM_NODES": str(shape.nodes),
        "NUM_TRAINERS": str(shape.gpus), "WORLD_SIZE": str(shape.nodes * shape.gpus),
        "NCCL_SOCKET_IFNAME": interface, "GLOO_SOCKET_IFNAME": interface,
    }  # fmt: skip


def torchrun(shape: Shape, script: str, *, processes: int, options: str, program: str = "torchrun") -> str:
    """Return the command of every rank, which reads its rank and the rendezvous from its variables."""
    return _line(
        program,
        f"--nnodes={shape.nodes}",
        '--node-rank="$NODE_RANK"',
        f"--nproc-per-node={processes}",
        '--master-addr="$MASTER_ADDR"',
        '--master-port="$MASTER_PORT"',
        options,
        script,
    )


def accelerate(shape: Shape, script: str, *, processes: int, options: str) -> str:
    """Return the command of every rank."""
    return _line(
        "accelerate launch",
        f"--num_machines={shape.nodes}",
        '--machine_rank="$NODE_RANK"',
        f"--num_processes={shape.nodes * processes}",
        '--main_process_ip="$MASTER_ADDR"',
        '--main_process_port="$MASTER_PORT"',
        "--multi_gpu" if processes > 1 and "--multi_gpu" not in options else "",
        options,
        script,
    )


def deepspeed(shape: Shape, script: str, *, processes: int, options: str) -> str:
    """Return the command of every rank: each starts its own part, so that members need no SSH among themselves."""
    hosts = "".join(f"{address} slots={processes}\n" for address in shape.addresses)
    launch = _line(
        "deepspeed",
        '--hostfile="$RPD_HOSTFILE"',
        "--no_ssh",
        '--node_rank="$NODE_RANK"',
        '--master_addr="$MASTER_ADDR"',
        '--master_port="$MASTER_PORT"',
        options,
        script,
    )
    return f'RPD_HOSTFILE=$(mktemp) && printf %s {shlex.quote(hosts)} >"$RPD_HOSTFILE" && {launch}'


def _line(*words: str) -> str:
    return " ".join(filter(None, words))


def script_line(script: str | Sequence[str], name: str) -> str:
    """Return the script and its arguments as they stand in a command. Raise UsageError for none."""
    line = script if isinstance(script, str) else shlex.join(script) if _are_texts(script) else ""
    if not line.strip():
        raise UsageError(
            f'cluster.{name}: expected a script and its arguments ("train.py --lr 3e-4"), got {script!r}'
        )
    return line


def _are_texts(words: object) -> bool:
    return isinstance(words, Sequence) and all(isinstance(word, str) for word in words)


def options_line(options: Mapping[str, object] | str, name: str) -> str:
    """Return options of the launcher as they stand in its command line. Raise UsageError."""
    if isinstance(options, str):
        return options
    if not isinstance(options, Mapping):
        raise UsageError(f"cluster.{name}: options={options!r}: expected a string or a mapping")
    return " ".join(f"--{key}={shlex.quote(str(value))}" for key, value in options.items())


def checked_processes(processes: object, gpus: int, name: str) -> int:
    """Return the number of processes per member, by default its number of GPUs. Raise UsageError."""
    if processes is None:
        return max(1, gpus)
    if not isinstance(processes, int) or isinstance(processes, bool) or not 1 <= processes <= 1024:
        raise UsageError(f"cluster.{name}: nproc_per_node={processes!r}: expected a whole number >= 1")
    return processes

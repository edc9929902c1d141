"""Launch lines: the arguments of each launcher, and mistakes in them."""

from __future__ import annotations

import pytest

from rpd.cluster import launchers
from rpd.cluster.launchers import Shape
from rpd.errors import UsageError

SHAPE = Shape(addresses=("10.65.0.2", "10.65.0.3"), gpus=8, interfaces=("ens1", ""))


def test_variables_are_those_that_runpod_documents() -> None:
    found = launchers.variables(SHAPE, 1)
    assert found == {
        "PRIMARY_ADDR": "10.65.0.2", "MASTER_ADDR": "10.65.0.2", "PRIMARY_PORT": "29500", "MASTER_PORT": "29500",
        "NODE_ADDR": "10.65.0.3", "NODE_RANK": "1", "NUM_NODES": "2", "NUM_TRAINERS": "8", "WORLD_SIZE": "16",
        "NCCL_SOCKET_IFNAME": "ens1", "GLOO_SOCKET_IFNAME": "ens1",
    }  # fmt: skip


def test_lines() -> None:
    assert launchers.torchrun(SHAPE, "train.py --lr 1", processes=8, options="--max-restarts=1") == (
        'torchrun --nnodes=2 --node-rank="$NODE_RANK" --nproc-per-node=8 --master-addr="$MASTER_ADDR" '
        '--master-port="$MASTER_PORT" --max-restarts=1 train.py --lr 1'
    )
    accelerated = launchers.accelerate(SHAPE, "train.py", processes=8, options="")
    assert "--num_machines=2" in accelerated
    assert "--num_processes=16" in accelerated
    assert "--multi_gpu" in accelerated
    deep = launchers.deepspeed(SHAPE, "train.py", processes=8, options="")
    assert "10.65.0.2 slots=8\n10.65.0.3 slots=8\n" in deep
    assert "--no_ssh" in deep


def test_words_and_options() -> None:
    assert launchers.script_line(["train.py", "a b"], "torchrun") == "train.py 'a b'"
    assert (
        launchers.options_line({"max-restarts": 1, "tee": "a b"}, "torchrun")
        == "--max-restarts=1 --tee='a b'"
    )
    assert launchers.checked_processes(None, 0, "torchrun") == 1


@pytest.mark.parametrize("script", ["", "  ", [], 3, [1]])
def test_no_script(script: object) -> None:
    with pytest.raises(UsageError, match="expected a script"):
        launchers.script_line(script, "torchrun")  # type: ignore[arg-type]


@pytest.mark.parametrize("processes", [0, -1, True, "8", 1.5])
def test_no_number_of_processes(processes: object) -> None:
    with pytest.raises(UsageError, match="nproc_per_node"):
        launchers.checked_processes(processes, 8, "torchrun")

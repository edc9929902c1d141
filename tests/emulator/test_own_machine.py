"""Pods on GPUs of this machine (here: of a folder that stands for it), with an environment of it, within limits."""

from __future__ import annotations

import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.emulator.errors import EmulatorError
from rpd.emulator.own_gpus import Machine, OwnGpu, OwnGpus, find
from rpd.emulator.own_python import look
from rpd.emulator.refusals import Refusal
from rpd.errors import Cause
from rpd.testing import RpdRun, RunResult

SMI = """#!/bin/sh
case "$*" in
*uuid,name,memory.total*) printf 'GPU-a, NVIDIA Fake, 24576\\nGPU-b, NVIDIA Fake, 24576\\n' ;;
*) echo real ;;
esac
"""
DEPLOY = """
import rpd
from rpd import Gpu

@rpd.job(gpu=Gpu("NVIDIA L4"))
@rpd.mark.parametrize("n", [1, 2, 3])
def train(pod, n):
    pod.run("echo $CUDA_VISIBLE_DEVICES $(ls /dev | grep nvidia) $(nvidia-smi); which python")

@rpd.job
def greedy(pod):
    pod.run("cat /sys/fs/cgroup/memory.max; tail -c 400000000 /dev/zero | wc -c; python -c 'x = bytearray(400_000_000); input()'")

@rpd.job
def many(pod):
    # Counted without a new process, which would be the first to be ended; a few of the pod itself are not limited.
    pod.run("for i in $(seq 60); do sleep 30 & done; while set -- /proc/[0-9]*; [ $# -gt 45 ] && [ $SECONDS -lt 20 ]; do :; done; echo processes $#", check=False)


@rpd.job
def full(pod):
    pod.run("df -m / | tail -n 1; head -c 90000000 /dev/zero >/root/big")
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two GPUs, and an nvidia-smi that knows them."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    (tmp_path / "bin" / "nvidia-smi").write_text(SMI)
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("RPD_GPU_DEVICES", str(tmp_path / "dev"))
    return tmp_path


@pytest.fixture
def run(tmp_path: Path, rpd_run: RpdRun) -> Callable[..., RunResult]:
    (tmp_path / "rpd.toml").touch()
    (tmp_path / "deploy_a.py").write_text(DEPLOY)
    env = {"RUNPOD_API_BASE_URL": None, "RPD_GPU_DEVICES": str(tmp_path / "dev")}
    return lambda *words: rpd_run(tmp_path, "--local", *words, env=env)


def logs(result: RunResult) -> dict[str, str]:
    assert result.run_dir is not None
    return {path.parent.name: path.read_text() for path in result.run_dir.rglob("output.log")}


def test_each_pod_has_a_gpu_of_its_own(machine: Path, run: Callable[..., RunResult]) -> None:
    """Three nodes share two GPUs, one after the other; each sees its own, with the environment that was named."""
    venv.create(machine / "env", with_pip=False)
    result = run("--gpus", "--python", str(machine / "env"), "-n", "3", "-k", "train")
    assert result.exit_code == 0, result.out + result.err
    assert "2: NVIDIA Fake, 24 GB" in result.out
    assert "all 2 of this machine's GPUs are in use" in result.out
    assert "is paid for" not in result.out
    assert {report.pod.gpu for report in result.reports if report.pod} == {"NVIDIA Fake"}
    for text in logs(result).values():
        own = "0" if "GPU-a" in text else "1"
        assert f"nvidia-uvm nvidia{own} nvidiactl real" in text, text
        assert str(machine / "env" / "bin" / "python") in text


def test_limits_end_what_runs_away(run: Callable[..., RunResult]) -> None:
    """As on RunPod: the cause is memory, the disk is full, and the laptop has no thousand processes."""
    words = ("--pod-memory", "200MB", "--pod-processes", "40", "--pod-disk", "50MB")
    result = run(*words, "-n", "3", "-k", "greedy or many or full")
    if "no limits" in result.out:
        pytest.skip("limits need namespaces")
    causes = {report.node.id.partition("::")[2]: report.result.cause for report in result.reports}
    assert causes["greedy"] is Cause.OOM, result.out
    text = logs(result)
    assert text["deploy_a.greedy"].startswith(f"{200 * 1024 * 1024}\n")
    assert int(text["deploy_a.many"].rpartition("processes ")[2].split()[0]) <= 45, text["deploy_a.many"]
    assert causes["full"] is Cause.CODE
    assert text["deploy_a.full"].split()[1] == "50"


def test_a_machine_without_gpus(tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the missing part: the driver, its list, the device nodes."""
    assert [gpu.nodes for gpu in find().gpus] == [
        (str(machine / "dev/nvidia0"),),
        (str(machine / "dev/nvidia1"),),
    ]
    (machine / "dev" / "nvidia1").unlink()
    with pytest.raises(EmulatorError, match=r"lists 2 GPUs, but .* has 1 device nodes"):
        find()
    (machine / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho No devices were found; exit 6\n")
    with pytest.raises(EmulatorError, match="lists no GPU of this machine: No devices were found"):
        find()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorError, match="has no NVIDIA driver"):
        find()


def test_gpus_are_lent_and_given_back() -> None:
    gpus = tuple(OwnGpu(uuid=name, name="G", memory_mb=1024) for name in "abc")
    own = OwnGpus(Machine(gpus=gpus, shared=(), smi="/bin/true"))
    first = own.take(2)
    with pytest.raises(Refusal, match="all 3 of this machine's GPUs are in use"):
        own.take(2)
    with pytest.raises(Refusal, match="has 3 GPUs, and a pod asks for 4"):
        own.take(4)
    own.give_back(first)
    assert own.take(3) == gpus


def test_an_environment_by_its_folder_or_its_interpreter(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    seen = look(str(tmp_path / "env"))
    assert seen == look(str(tmp_path / "env" / "bin" / "python"))
    assert seen.programs == str(tmp_path / "env" / "bin")
    assert {str(tmp_path / "env"), sys.base_prefix} <= {*seen.shown}
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(
            EmulatorError, match="expected a Python interpreter, or the folder of an environment"
        ):
            look(str(wrong))
    odd = tmp_path / "odd"
    odd.write_text("#!/bin/sh\necho 1\n")
    odd.chmod(0o755)
    with pytest.raises(EmulatorError, match="not a Python interpreter that runs here"):
        look(str(odd))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--gpus"], "--gpus needs --local"),
        (["--local", "--pod-memory", "lots"], "expected a size such as 8GB or 500MB, got 'lots'"),
        (["--local", "--python", "/nowhere"], "--python /nowhere: expected a Python interpreter"),
    ],
)
def test_mistakes(words: list[str], told: str, tmp_path: Path, rpd_run: RpdRun) -> None:
    """One sentence, exit code 4, and nothing is begun."""
    (tmp_path / "rpd.toml").touch()
    (tmp_path / "deploy_a.py").write_text(DEPLOY)
    result = rpd_run(tmp_path, *words, env={"RUNPOD_API_BASE_URL": None})
    assert (result.exit_code, told in result.err) == (4, True), result.out + result.err

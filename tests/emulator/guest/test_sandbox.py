"""A pod's view of itself and of the host, with every isolation that this host supports."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rpd.emulator.errors import EmulatorError
from rpd.emulator.launch import Launched, launch

Platform = Any


def _ordinary_user() -> tuple[str, ...]:
    """Return a command prefix that runs a program as ``nobody`` in a mount namespace that hides this interpreter."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("unshare and setpriv are needed to become an ordinary user")
    home, prefix = Path("/root"), sys.base_prefix
    script = 'exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs -- "$@"'
    if Path(prefix).is_relative_to(home):
        aside = "/mnt"
        steps = [f"mount --bind {shlex.quote(prefix)} {aside}", f"mount -t tmpfs -o mode=755 none {home}",
                 f"mkdir -p {shlex.quote(prefix)}", f"mount --move {aside} {shlex.quote(prefix)}"]  # fmt: skip
        script = " && ".join([*steps, script])
    return ("unshare", "--mount", "sh", "-c", script, "sh")


@pytest.fixture(scope="module", params=["root", "user", "ordinary user"])
def isolated(request: pytest.FixtureRequest) -> Iterator[Launched]:
    """A separate emulator for each kind of isolation."""
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("root's own namespaces need root")
    isolation = "auto" if request.param == "ordinary user" else request.param
    wrapper = _ordinary_user() if request.param == "ordinary user" else ()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOST_SECRET", "of-the-host")
            emulator = launch(boot_seconds=0.02, isolation=isolation, wrapper=wrapper)
    except EmulatorError as error:
        pytest.skip(f"this host does not let us be an {request.param}: {error}")
    with emulator:
        if emulator.state()["isolation"] == "plain":
            pytest.skip("this kernel gives no user namespaces")
        yield emulator


@pytest.fixture
def there(isolated: Launched, platform_of: Any) -> Iterator[Any]:
    """Runs a command in a pod of ``isolated``."""
    with platform_of(isolated) as platform:
        pod = platform.boot(env={"PUBLIC_KEY": platform.key.public, "GREETING": "two words"})
        connection = platform.connect(pod)
        yield lambda command: platform.run(connection, command)


def test_the_host_stays_out_of_reach(there: Any, tmp_path: Path) -> None:
    """No file, process, mount or variable of the host is seen, and its programs cannot be changed."""
    (tmp_path / "host-file").write_text("mine")
    assert there(f"cat {tmp_path}/host-file").failed
    assert there(f"ls {Path(__file__).parent}").failed
    assert there("ls -A /tmp /mnt /home /srv | grep -v : | grep .").stdout == ""
    assert there("touch /usr/bin/mine").failed
    assert there(f"ls /proc/{os.getpid()}/cwd/").failed
    processes = there("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert ("sshd" in processes, "rpd" in processes, "pytest" in processes) == (True, False, False)
    assert there("cat /proc/[0-9]*/environ 2>/dev/null | grep -ac of-the-host").stdout == "0\n"
    assert "/rpd-emulator-" not in there("cat /proc/mounts").stdout


def test_pid_1_has_the_creation_environment(there: Any) -> None:
    """/proc/1/environ holds the variables of the create call, RunPod's and the key; the file holds quoted exports."""
    environ = there("tr '\\0' '\\n' < /proc/1/environ").stdout.splitlines()
    variables = dict(line.partition("=")[::2] for line in environ)
    assert variables["GREETING"] == "two words"
    assert variables["PUBLIC_KEY"].startswith("ssh-ed25519 ")
    assert variables["RUNPOD_GPU_COUNT"] == "1"
    assert variables["RUNPOD_POD_ID"] == there("hostname").stdout.strip()
    written = there("while [ ! -s /etc/rp_environment ]; do sleep 0.02; done; cat /etc/rp_environment").stdout
    assert 'export GREETING="two words"' in written
    assert "PUBLIC_KEY" not in written


def test_the_usual_folders_and_tools_are_there(there: Any) -> None:
    """A job finds its workspace, temporary and shared-memory folders, Python, tar and the rest."""
    assert (
        there("for d in /workspace /root /tmp /dev/shm /run; do echo x > $d/f && cat $d/f; done").stdout
        == "x\n" * 5
    )
    result = there("command -v python python3 sh bash tar sha256sum setsid nohup nvidia-smi runpodctl").stdout
    assert len(result.splitlines()) == 10
    assert there("python -c 'import ssl, sqlite3, json, multiprocessing; print(6 * 7)'").stdout == "42\n"
    assert (
        there("mkdir /workspace/t && tar c -C /etc hosts | tar x -C /workspace/t && ls /workspace/t").stdout
        == "hosts\n"
    )


def test_nvidia_smi_answers_queries(there: Any) -> None:
    """The stand-in speaks CSV with and without header and units, refuses unknown fields, and draws a table."""
    query = "nvidia-smi --query-gpu={} --format=csv{}"
    bare = there(query.format("index,name,memory.total,driver_version", ",noheader,nounits")).stdout
    assert bare.startswith("0, NVIDIA A40, 49152, ")
    headed = there(query.format("memory.used,temperature.gpu", "")).stdout
    assert headed.splitlines() == ["memory.used [MiB], temperature.gpu", "1 MiB, 31"]
    assert there(query.format("colour", "")).return_code == 2
    assert "CUDA Version" in there("nvidia-smi").stdout


def test_runpodctl_acts_on_its_own_pod_only(there: Any, isolated: Launched) -> None:
    """With PID 1's environment a pod reads and stops itself; without a key it says so; another pod is refused."""
    load = "export $(tr '\\0' '\\n' < /proc/1/environ | grep -a ^RUNPOD_); "
    assert there("runpodctl pod get x").stderr.startswith("Error: api key not found")
    assert there(load + "runpodctl pod delete another").stderr == "Error: Unauthorized\n"
    shown = json.loads(there(load + "runpodctl get pod $RUNPOD_POD_ID").stdout)
    assert shown["desiredStatus"] == "RUNNING"
    there(load + "nohup setsid runpodctl stop pod $RUNPOD_POD_ID > /dev/null 2>&1 < /dev/null & sleep 60")
    assert [pod["desired_status"] for pod in isolated.pods()] == ["EXITED"]


def test_without_namespaces_pods_run_plainly_and_it_says_so(platform_of: Any) -> None:
    """The fall-back serves SSH, ends the processes it started, and gives notice."""
    with launch(boot_seconds=0.02, isolation="plain") as emulator, platform_of(emulator) as platform:
        assert "no namespaces" in emulator.notices[0]
        connection = platform.connect(platform.boot())
        pid = int(platform.run(connection, "setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $!").stdout)
        assert Path(f"/proc/{pid}").exists()
        assert platform.run(connection, "nvidia-smi -L").stdout.startswith("GPU 0: NVIDIA A40")
        platform.clean()
        assert not Path(f"/proc/{pid}").exists()


def test_mounts_stay_in_the_pod(platform: Platform) -> None:
    """The host's mount table has none of them while pods run; what others mount meanwhile is not ours."""
    platform.connect(platform.boot())
    mounts = subprocess.run(["cat", "/proc/mounts"], capture_output=True, text=True).stdout
    assert platform.emulator.state()["folder"] not in mounts

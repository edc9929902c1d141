"""``rpd ssh``: a shell or a command where a job stands, on the pod of a running or kept node."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

import rpd
from rpd.emulator.launch import Launched
from rpd.testing import RunResult
from tests.cli.conftest import Project
from tests.ports import free_port
from tests.waiting import wait_until

SECRET = "sesame-81f2"

KEPT = """
import rpd

job = rpd.job(
    gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1), secrets=[rpd.Secret("TOKEN")],
)

@job
def gone(pod): ...

@job(lifecycle=rpd.Lifecycle(on_success="preserve"))
def keep(pod):
    pod.run("mkdir -p 'a folder'")
    pod.run("echo $TOKEN", cwd="a folder")
"""


@pytest.fixture(scope="module")
def project(module_emulator: Launched, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a job whose pod is kept, and one whose pod is not."""
    made = Project(tmp_path_factory.mktemp("ssh") / "project")
    made.write({"rpd.toml": "", "deploy_a.py": KEPT})
    return made


@pytest.fixture(scope="module")
def kept(project: Project) -> RunResult:
    """A run that left a pod."""
    result = project.run("--yes", env={"TOKEN": SECRET})
    assert result.exit_code == 0, result.out + result.err
    return result


LOCAL = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
def waiting(pod):
    pod.run("mkdir -p inside; cd inside; echo begun; while [ ! -e go ]; do sleep 0.1; done; echo ended")
"""


def test_a_local_run_is_reached_from_another_terminal(tmp_path: Path) -> None:
    """Its emulator is found by the run folder, without a key; once it is over, that is said."""
    project = Project(tmp_path)
    project.write({"rpd.toml": "", "deploy_a.py": LOCAL})
    alone = {"RUNPOD_API_BASE_URL": None, "RUNPOD_API_KEY": None}
    running = project.rpd.start(tmp_path, "--local", env=alone)
    logs = tmp_path / "rpd-runs"
    wait_until(
        lambda: any("begun" in path.read_text() for path in logs.glob("*/*/output.log")), what="the command"
    )
    reached = project.command("ssh", "waiting", "--", "touch inside/go; pwd", env=alone)
    assert (reached.exit_code, reached.out) == (0, "/workspace\n"), reached.err
    assert running.finish().exit_code == 0
    assert list(logs.glob("*/.emulator.json")) == []
    late = project.command("ssh", "waiting", "--", "true", env=alone)
    assert late.exit_code == 1
    assert "its pods ended with its emulator" in late.err


def test_after_a_local_run_its_end_is_told_instead_of_a_key_asked_for(tmp_path: Path) -> None:
    """ps, gc, stop and ssh report the fate of the run's pods, by node, by name and by id; nothing of it bills."""
    project = Project(tmp_path)
    source = LOCAL.replace("@rpd.job(", '@rpd.job(lifecycle=rpd.Lifecycle(on_success="preserve"), ', 1)
    project.write({"rpd.toml": "", "deploy_a.py": source.replace("[ ! -e go ]", "false")})
    alone = {"RUNPOD_API_BASE_URL": None, "RUNPOD_API_KEY": None, "HOME": str(tmp_path)}
    run = project.run("--local", env=alone)
    assert run.exit_code == 0, run.out + run.err
    text = run.out.replace("\n", " ")
    assert "until this --local run and its emulator end" in text
    assert "nothing is left and nothing bills" in text
    assert "still billing" not in text
    assert "rpd stop" not in text
    (pod,) = [report.pod for report in run.reports]
    assert pod is not None
    for command in (["ps"], ["ps", "--json"], ["gc"], ["stop", "--stopped"]):
        late = project.command(*command, env=alone)
        assert (late.exit_code, "ended with its emulator" in late.err) == (0, True), command
    for wanted in ("waiting", pod.id, pod.name):
        for command in (["stop", wanted], ["ssh", wanted, "--", "true"]):
            late = project.command(*command, env=alone)
            assert (late.exit_code, "ended with its emulator" in late.err) == (1, True), command
    keyed = project.command("stop", "nothing", env=alone)
    assert (keyed.exit_code, "no RunPod API key" in keyed.err) == (4, True)


def test_a_command_stands_where_the_job_stood(project: Project, kept: RunResult) -> None:
    """A command has the job's folder, its environment and PID 1's, and its secrets where they are here too."""
    script = 'pwd; echo "$RPD_NODE $RPD_ATTEMPT"; echo "${RUNPOD_POD_ID:+id}"; echo "<$TOKEN>"; echo no >&2; exit 7'
    result = project.command("ssh", "keep", "--", script, env={"TOKEN": SECRET})
    assert result.exit_code == 7
    assert result.out.splitlines() == ["/workspace/a folder", "deploy_a.py::keep 1", "id", f"<{SECRET}>"]
    assert result.err == "no\n"
    bare = project.command("ssh", "keep", "--", "echo", "two  words;", "$TOKEN", env={"TOKEN": None})
    assert bare.out == "two  words; $TOKEN\n"


def test_no_trace_of_a_secret_is_left_on_the_pod(project: Project, kept: RunResult) -> None:
    """The script that carried secrets is gone as soon as it runs, and they are in no argument."""
    look = "ls -A /dev/shm /root /tmp | grep -c '^[.]rpd-'; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c sesame[-]"
    result = project.command("ssh", "keep", "--", look, env={"TOKEN": SECRET})
    assert result.out.split() == ["0", "0"]


def test_print_gives_a_command_line_for_plain_ssh(
    project: Project, kept: RunResult, module_emulator: Launched
) -> None:
    """``--print`` prints a command line with the run's key and the pinned host key."""
    printed = project.command("ssh", "keep", "--print").out
    key = f"{kept.run_dir}/.ssh/id_ed25519"
    assert printed.startswith(f"ssh -i {key} ")
    assert f"HostKeyAlias={module_emulator.pods()[0]['id']}" in printed


def test_a_pod_by_its_id(project: Project, kept: RunResult, module_emulator: Launched) -> None:
    """A pod's id leads to the node that worked on it; an unknown id is one clear line."""
    pod_id = module_emulator.pods()[0]["id"]
    assert project.command("ssh", pod_id, "--", "echo $RPD_NODE").out == "deploy_a.py::keep\n"
    missing = project.command("ssh", "nopod", "--", "true")
    assert (missing.exit_code, missing.err.startswith("rpd: error: 'nopod' is neither a pod nor a node")) == (
        4,
        True,
    )
    assert "Traceback" not in missing.err


def test_a_forwarded_port(project: Project, kept: RunResult) -> None:
    """``--forward`` leads a port here to one of the pod for as long as the command runs."""
    port = free_port()
    serve = (
        'python3 -c \'import socket; s=socket.create_server(("127.0.0.1", 8123)); print("up", flush=True); '
        'c=s.accept()[0]; c.sendall(b"from the pod"); c.close()\''
    )
    running = project.rpd.start(
        project.folder, "keep", "--forward", f"{port}:8123", "--", serve, command="ssh"
    )
    try:
        wait_until(lambda: "up" in running.out)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            assert client.makefile("rb").read() == b"from the pod"
    finally:
        result = running.finish()
    assert result.exit_code == 0, result.err


class Typist:
    """Somebody at a terminal on which ``rpd`` runs."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(100, 30)
        environment = {**os.environ, "PYTHONPATH": str(Path(rpd.__file__).parents[1]), "TERM": "xterm"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rpd", *args],
            cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 4096):
                self.seen += data

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def sees(self, text: str) -> None:
        try:
            wait_until(lambda: text.encode() in self.seen)
        except AssertionError:
            raise AssertionError(f"no {text!r} in {self.seen.decode(errors='replace')}") from None


def test_a_shell_on_a_terminal(project: Project, kept: RunResult) -> None:
    """The shell has a terminal of this one's size, follows its changes and Ctrl-C, and its exit code is passed on."""
    typist = Typist(project.folder, "ssh", "keep")
    typist.sees("deletes itself within")
    typist.type("echo at=$PWD size=$(stty size) on=$RPD_NODE.\n")
    typist.sees("at=/workspace/a folder size=30 100 on=deploy_a.py::keep.")
    typist.resize(77, 22)
    typist.process.send_signal(signal.SIGWINCH)
    typist.type("until test \"$(stty size)\" = '22 77'; do sleep 0.1; done; echo re''sized\n")
    typist.sees("resized")
    # Short sleeps: a Ctrl-C that comes before a program has begun is heard when that program is over.
    typist.type('sh -c \'trap "echo inter""rupted; exit" INT; echo re""ady; while :; do sleep 0.1; done\'\n')
    typist.sees("ready")
    typist.type("\x03")
    typist.sees("interrupted")
    typist.type("exit 9\n")
    assert typist.process.wait(60) == 9
    os.close(typist.master)


def test_a_pod_that_is_gone(project: Project, kept: RunResult) -> None:
    """The pod of a node that is over was deleted: one line says so."""
    result = project.command("ssh", "gone", "--", "true")
    assert (result.exit_code, result.err.count("\n")) == (1, 1)
    assert "is gone" in result.err

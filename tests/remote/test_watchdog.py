"""The watchdog on a real machine over real SSH: once against a scripted RunPod, once on pods of the emulator."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rpd.emulator.launch import Launched, launch
from rpd.remote import watchdog
from rpd.remote.keys import RunKeys
from rpd.remote.protocol import Command
from rpd.remote.shell import Program
from rpd.remote.ssh import SshRemote, connect
from rpd.remote.watchdog import Unguarded, arm
from rpd.values.pod import SshEndpoint
from tests.remote.conftest import Connect, Machine
from tests.waiting import DEADLINE, wait_until

POD = "pod1"
KEY = "rpa_of_the_pod"
EVERYTHING = ("podTerminate", "podStop", "terminate", "stop")
NEEDED = ("sh", "bash", "cat", "date", "sed", "tr", "id", "mkdir", "mv", "grep", "setsid", "rm", "env", "tail",
          "wc", "mkfifo", "head")  # fmt: skip


class RunPod:
    """Answers GraphQL and REST v2 as scripted and records the requests."""

    def __init__(self) -> None:
        self.refuses: tuple[str, ...] = ()
        self.retired = False
        """Whether GraphQL is gone."""
        self.asked: list[tuple[str, str]] = []
        self.keys: set[str] = set()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.keys.add(self.headers["Authorization"])
                if self.path == "/graphql":
                    self._graphql(body["query"])
                else:
                    self._rest(body["action"])

            def _graphql(self, query: str) -> None:
                if owner.retired:
                    self._answer(410, b"<html>410 Gone</html>")
                    return
                name = "podTerminate" if "podTerminate" in query else "podStop"
                owner.asked.append((name, query))
                refused = {"errors": [{"message": "not allowed"}], "data": {name: None}}
                self._answer(
                    200, json.dumps(refused if name in owner.refuses else {"data": {name: None}}).encode()
                )

            def _rest(self, action: str) -> None:
                owner.asked.append((action, self.path))
                if action in owner.refuses:
                    self._answer(403, b'{"title": "Forbidden", "status": 403, "detail": "access denied"}')
                elif action == "terminate":
                    self._answer(204, b"")
                else:
                    self._answer(200, b'{"id": "pod1", "status": "EXITED"}')

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def names(self) -> list[str]:
        """Return the mutations and the actions asked for, in order."""
        return [name for name, _ in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def runpod() -> Iterator[RunPod]:
    made = RunPod()
    yield made
    made.close()


HASTY = """#!/bin/sh
case $1 in 1 | 2 | 5) set -- "0.$1" ;; esac
exec SLEEP "$@"
"""
"""``sleep``, of whose short pauses a tenth is left."""


@pytest.fixture
def guarded(machine: Machine, runpod: RunPod, tmp_path: Path) -> Iterator[Machine]:
    """The machine as the pod ``pod1``, whose watchdog ends with the test, and makes short pauses."""
    sleep = tmp_path / "hasty/sleep"
    sleep.parent.mkdir()
    sleep.write_text(HASTY.replace("SLEEP", shutil.which("sleep") or "sleep"))
    sleep.chmod(0o755)
    machine.path = f"{sleep.parent}:{machine.path}"
    machine.before_command = (
        f"export RUNPOD_POD_ID={POD} RUNPOD_API_KEY={KEY} RUNPOD_API_BASE_URL={runpod.url}\n"
    )
    yield machine
    if (pid := pid_of(machine)) is not None:
        os.killpg(pid, signal.SIGKILL)


def pid_of(machine: Machine) -> int | None:
    path = machine.home / ".rpd/watchdog/pid"
    if not path.exists():
        return None
    pid = int(path.read_text())
    return pid if Path(f"/proc/{pid}").exists() else None


def trace(machine: Machine) -> str:
    path = machine.home / ".rpd/watchdog.log"
    return path.read_text() if path.exists() else ""


def only(machine: Machine, tmp_path: Path, *tools: str) -> None:
    """Leave the machine the commands every system has, and ``tools``."""
    folder = tmp_path / "only"
    folder.mkdir()
    (folder / "sleep").symlink_to(tmp_path / "hasty/sleep")
    for name in (*NEEDED, *tools):
        # A shim of pyenv would look for a home folder that this machine does not have.
        program = os.path.realpath(sys.executable) if name == "python3" else shutil.which(name)
        if program is not None:
            (folder / name).symlink_to(program)
    machine.path = str(folder)


def test_deadline_ends_the_pod(guarded: Machine, remote: SshRemote, runpod: RunPod) -> None:
    """At its deadline the pod is deleted with its own key, which no list of processes shows."""
    arm(remote, pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: bool(runpod.asked), what="a call of RunPod")
    assert runpod.asked[0] == ("podTerminate", f'mutation {{ podTerminate(input: {{podId: "{POD}"}}) }}')
    assert runpod.keys == {f"Bearer {KEY}"}
    assert "this pod ends: its deadline has passed" in trace(guarded)


@pytest.mark.parametrize("tool", ["curl", "python3", "wget"])
def test_each_tool_alone_will_do(
    guarded: Machine, connecting: Connect, runpod: RunPod, tmp_path: Path, tool: str
) -> None:
    """Without runpodctl any one of the usual HTTP clients deletes the pod."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed here")
    only(guarded, tmp_path, tool)
    arm(connecting(), pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: bool(runpod.asked), what="a call of RunPod")
    wait_until(lambda: f"delete by {tool} over GraphQL: accepted" in trace(guarded), what="the trace")
    assert runpod.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize("tool", ["curl", "python3", "wget"])
def test_each_tool_ends_the_pod_without_graphql(
    guarded: Machine, connecting: Connect, runpod: RunPod, tmp_path: Path, tool: str
) -> None:
    """Where GraphQL is retired the pod deletes itself over REST v2, with the same key."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed here")
    runpod.retired = True
    only(guarded, tmp_path, tool)
    arm(connecting(), pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: f"delete by {tool} over REST: accepted" in trace(guarded), what="the trace")
    assert runpod.asked[0] == ("terminate", f"/v2/pods/{POD}/action")
    assert runpod.keys == {f"Bearer {KEY}"}
    assert KEY not in trace(guarded)


def test_delete_refused_then_stop_without_graphql(
    guarded: Machine, connecting: Connect, runpod: RunPod, tmp_path: Path
) -> None:
    """Where REST v2 is all there is and does not let the pod delete itself, it stops itself, and tells why."""
    runpod.retired, runpod.refuses = True, ("terminate",)
    only(guarded, tmp_path, "curl")
    arm(connecting(), pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: "stop by curl over REST: accepted" in trace(guarded), what="the trace")
    assert runpod.names()[:2] == ["terminate", "stop"]
    assert "delete by curl over GraphQL: refused: <html>410 Gone</html> (HTTP 410)" in trace(guarded)
    assert "access denied" in trace(guarded)


def test_delete_refused_then_stop(
    guarded: Machine, connecting: Connect, runpod: RunPod, tmp_path: Path
) -> None:
    """Where RunPod does not let the pod delete itself, by no tool, it stops itself."""
    runpod.refuses = ("podTerminate", "terminate")
    only(guarded, tmp_path, "curl")
    arm(connecting(), pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: "podStop" in runpod.names(), what="a stop")
    assert runpod.names() == ["podTerminate", "terminate", "podStop"]
    assert "delete by curl over GraphQL: refused: " in trace(guarded)
    assert "not allowed" in trace(guarded)


@pytest.mark.parametrize("syntax", ["pod delete", "remove pod"])
def test_runpodctl_of_any_age(
    guarded: Machine, connecting: Connect, runpod: RunPod, tmp_path: Path, syntax: str
) -> None:
    """Runpodctl is asked first, in its new words and then in its old ones, with the pod's key in its environment."""
    only(guarded, tmp_path, "curl")
    note = tmp_path / "note"
    tool = tmp_path / "only/runpodctl"
    tool.write_text(f'#!/bin/sh\n[ "$1 $2" = "{syntax}" ] || exit 1\necho "$RUNPOD_API_KEY $3" >"{note}"\n')
    tool.chmod(0o755)
    arm(connecting(), pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: "delete by runpodctl: accepted" in trace(guarded), what="the trace")
    assert note.read_text() == f"{KEY} {POD}\n"
    assert runpod.asked == []


def test_a_hopeless_pod_goes_on_trying(
    guarded: Machine, connecting: Connect, runpod: RunPod, tmp_path: Path
) -> None:
    """A refusal of everything is not the end: it is tried again for as long as the pod lives."""
    runpod.refuses = EVERYTHING
    only(guarded, tmp_path, "curl")
    arm(connecting(), pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: len(runpod.asked) >= 8, what="a second round")
    assert runpod.names()[:8] == ["podTerminate", "terminate", "podStop", "stop"] * 2


def test_linger_without_driver(guarded: Machine, connecting: Connect, runpod: RunPod) -> None:
    """An unused pod ends when its linger time is over, though its deadline is far."""
    arm(connecting(), pod_id=POD, seconds_left=3600, linger_seconds=1)
    wait_until(lambda: bool(runpod.asked), what="a call of RunPod")
    assert "no command has run and no driver was here" in trace(guarded)


def test_a_running_command_keeps_the_pod(
    guarded: Machine, connecting: Connect, runpod: RunPod, tmp_path: Path
) -> None:
    """While a command runs the pod lives, driver or not; the linger time begins when it ends."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    remote = connecting()
    arm(remote, pod_id=POD, seconds_left=3600, linger_seconds=900)
    text = f"echo begun; cat {gate}; date +%s >{tmp_path}/ended"
    begun = threading.Event()
    thread = threading.Thread(
        target=_run_quietly, args=(remote, text, lambda _data: begun.set()), daemon=True
    )
    thread.start()
    assert begun.wait(DEADLINE)
    arm(remote, pod_id=POD, seconds_left=3600, linger_seconds=3)
    remote.close()  # the driver is gone
    thread.join(DEADLINE)
    heartbeat = guarded.home / ".rpd/watchdog/heartbeat"
    wait_until(lambda: time.time() - int(heartbeat.read_text()) > 6, what="twice the linger time")
    assert runpod.asked == []
    gate.write_text("go on")
    wait_until(lambda: bool(runpod.asked), what="a call of RunPod")
    assert time.time() - int((tmp_path / "ended").read_text()) >= 1


def _run_quietly(remote: SshRemote, text: str, output: Callable[[bytes], None]) -> None:
    with pytest.raises(Exception):  # noqa: B017 - the connection is closed under it
        remote.run(Command(key="one", text=text), output)


def test_a_killed_supervisor_is_no_command(guarded: Machine, connecting: Connect, runpod: RunPod) -> None:
    """A command whose processes are gone without an exit code does not keep the pod."""
    step = guarded.home / ".rpd/steps/dead"
    (step / "claim").mkdir(parents=True)
    (step / "pid").write_text("999999999\n")
    (step / "group").write_text("999999999\n")
    arm(connecting(), pod_id=POD, seconds_left=3600, linger_seconds=1)
    wait_until(lambda: bool(runpod.asked), what="a call of RunPod")


def test_arming_again_moves_the_deadline(guarded: Machine, remote: SshRemote, runpod: RunPod) -> None:
    """There is one watchdog for a pod: arming again gives it new times, sooner or later ones."""
    first = arm(remote, pod_id=POD, seconds_left=3600, linger_seconds=900)
    pid = pid_of(guarded)
    second = arm(remote, pod_id=POD, seconds_left=7200, linger_seconds=900)
    assert second - first == pytest.approx(3600, abs=DEADLINE)
    assert pid_of(guarded) == pid
    arm(remote, pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: bool(runpod.asked), what="a call of RunPod")
    assert pid_of(guarded) == pid


def test_a_killed_watchdog_is_started_again(guarded: Machine, remote: SshRemote) -> None:
    """Arming starts the watchdog anew if the job has killed it."""
    arm(remote, pod_id=POD, seconds_left=3600, linger_seconds=900)
    pid = pid_of(guarded)
    assert pid is not None
    os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: pid_of(guarded) is None or _is_zombie(pid), what="its end")
    arm(remote, pod_id=POD, seconds_left=3600, linger_seconds=900)
    assert pid_of(guarded) not in (None, pid)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_an_extension_calls_an_end_off(
    guarded: Machine, connecting: Connect, runpod: RunPod, tmp_path: Path
) -> None:
    """A pod that could not end itself yet lives on when its driver comes back and gives it time."""
    runpod.refuses = EVERYTHING
    only(guarded, tmp_path, "curl")
    remote = connecting()
    arm(remote, pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: "stop" in runpod.names(), what="a stop")
    arm(remote, pod_id=POD, seconds_left=3600, linger_seconds=900)
    wait_until(lambda: "the deadline is 3" in trace(guarded), what="the new deadline")
    asked = len(runpod.asked)
    pid = pid_of(guarded)
    assert pid is not None
    wait_until(lambda: _sleeps(pid) >= 2, what="more looks at the time")
    assert len(runpod.asked) == asked


def _sleeps(pid: int, seen: dict[int, set[int]] = {}) -> int:  # noqa: B006 - remembers over calls
    """Return how many different children the watchdog was seen to have."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    seen.setdefault(pid, set()).update(map(int, children))
    return len(seen[pid])


def test_a_machine_that_is_not_the_pod_is_left_alone(guarded: Machine, remote: SshRemote) -> None:
    """The watchdog refuses to guard a machine that does not know itself by the pod's id."""
    with pytest.raises(
        Unguarded, match=r"pod pod2 cannot run its watchdog: neither PID 1, /etc/rp_environment nor any other"
    ):
        arm(remote, pod_id="pod2", seconds_left=60, linger_seconds=60)


def test_a_pod_without_tools_says_so(guarded: Machine, connecting: Connect, tmp_path: Path) -> None:
    """If nothing on the pod can call RunPod, arming fails and names the missing tools."""
    only(guarded, tmp_path)
    with pytest.raises(Unguarded, match="the pod has none of runpodctl curl python3 wget"):
        arm(connecting(), pod_id=POD, seconds_left=60, linger_seconds=60)


@pytest.mark.usefixtures("busybox")
def test_busybox_is_enough(guarded: Machine, connecting: Connect, runpod: RunPod) -> None:
    """On a machine that has nothing but busybox the pod ends itself by busybox's wget."""
    arm(connecting(), pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: bool(runpod.asked), what="a call of RunPod")
    wait_until(lambda: "delete by wget over GraphQL: accepted" in trace(guarded), what="the trace")


@pytest.mark.usefixtures("busybox")
def test_busybox_is_enough_without_graphql(guarded: Machine, connecting: Connect, runpod: RunPod) -> None:
    """Busybox's wget, which can send nothing but GET and POST, ends the pod over REST v2 as well."""
    runpod.retired = True
    arm(connecting(), pod_id=POD, seconds_left=0, linger_seconds=900)
    wait_until(lambda: "delete by wget over REST: accepted" in trace(guarded), what="the trace")


def test_no_bashism() -> None:
    """The program uses only syntax that every sh understands."""
    for word in ("[[", "local ", "function ", "$'", "<<<", "&>", "((i", "read -t"):
        assert word not in watchdog.program()


# --- on the emulator --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cloud() -> Iterator[Launched]:
    with launch(boot_seconds=0.02) as launched:
        yield launched


Rented = tuple[str, SshRemote]


@pytest.fixture
def rent(
    cloud: Launched, keys: RunKeys, tmp_path: Path, the_sdk: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Rented]]:
    """``rent()`` creates a pod through the real SDK and returns its id and a connection to it."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", cloud.base_url)
    monkeypatch.setattr(the_sdk, "api_key", cloud.api_key)
    remotes: list[SshRemote] = []

    def make() -> Rented:
        pod_id = the_sdk.create_pod(
            "guarded", image_name="runpod/base:1", gpu_type_id="NVIDIA A40", ports="22/tcp",
            cloud_type="SECURE", env={"PUBLIC_KEY": keys.public_line},
        )["id"]  # fmt: skip
        collected: list[Any] = []

        def has_ssh() -> bool:
            runtime = the_sdk.get_pod(pod_id)["runtime"]
            collected.extend(port for port in (runtime or {}).get("ports") or [] if port["privatePort"] == 22)
            return bool(collected)

        wait_until(has_ssh, what="an SSH port")
        remote = connect(
            SshEndpoint(host=collected[0]["ip"], port=collected[0]["publicPort"], user="root"),
            private_key=keys.private_key, known_hosts=tmp_path / "known_hosts", pod_id=pod_id, timeout=30,
            is_alive=lambda: True,
        )  # fmt: skip
        assert isinstance(remote, SshRemote)
        remotes.append(remote)
        return pod_id, remote

    yield make
    for remote in remotes:
        remote.close()
    cloud.clear_faults()
    for pod in cloud.pods():
        the_sdk.terminate_pod(pod["id"])


def is_there(cloud: Launched, pod_id: str) -> bool:
    return any(pod["id"] == pod_id for pod in cloud.pods())


def test_pod_deletes_itself_at_its_deadline_though_a_command_runs(
    cloud: Launched, rent: Callable[[], Rented]
) -> None:
    """With the driver gone and its command running, a real pod deletes itself when its time is up."""
    pod_id, remote = rent()
    arm(remote, pod_id=pod_id, seconds_left=3600, linger_seconds=900)
    begun = threading.Event()
    thread = threading.Thread(
        target=_run_quietly, args=(remote, "echo begun; sleep 300", lambda _data: begun.set()), daemon=True
    )
    thread.start()
    assert begun.wait(DEADLINE)
    assert is_there(cloud, pod_id)
    arm(remote, pod_id=pod_id, seconds_left=1, linger_seconds=900)
    remote.close()
    wait_until(lambda: not is_there(cloud, pod_id), what="the pod's end")
    thread.join(DEADLINE)


def test_pod_stops_itself_where_it_may_not_delete_itself(cloud: Launched, rent: Callable[[], Rented]) -> None:
    """A pod whose key may not delete it stops itself."""
    cloud.inject({"kind": "error", "match": {"operation": "terminate"}, "message": "not allowed"})
    pod_id, remote = rent()
    arm(remote, pod_id=pod_id, seconds_left=0, linger_seconds=900)

    def status() -> str:
        return next(pod["desired_status"] for pod in cloud.pods() if pod["id"] == pod_id)

    wait_until(lambda: status() == "EXITED", what="the pod's stop")


@pytest.mark.parametrize("may_delete", [True, False])
def test_pod_ends_itself_when_graphql_is_retired(
    cloud: Launched, rent: Callable[[], Rented], may_delete: bool
) -> None:
    """A real pod deletes itself, else stops itself, over REST v2 once GraphQL answers 410, runpodctl's call included."""
    pod_id, remote = rent()
    if not may_delete:
        denied = {"kind": "error", "message": "not allowed", "code": "BAD_USER_INPUT"}
        cloud.inject({**denied, "match": {"operation": "terminate", "face": "rest"}})
    cloud.inject({"kind": "gone", "match": {"face": "graphql"}})
    arm(remote, pod_id=pod_id, seconds_left=0, linger_seconds=900)

    def state() -> str:
        return next((pod["desired_status"] for pod in cloud.pods() if pod["id"] == pod_id), "gone")

    wanted = "gone" if may_delete else "EXITED"
    wait_until(lambda: state() == wanted, what=f"the pod's end ({wanted})")


def test_arming_is_one_program(
    guarded: Machine, connecting: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arming a fresh pod is one program over the connection that is there."""
    remote = connecting()
    programs = []
    start = remote._shell.open

    def counted(program: Program) -> Any:
        programs.append(program)
        return start(program)

    monkeypatch.setattr(remote._shell, "open", counted)
    arm(remote, pod_id="pod1", seconds_left=3600, linger_seconds=900)
    assert len(programs) == 1

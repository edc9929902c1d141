"""The connection: how it comes up, which host keys it trusts, how it breaks."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_CLOSE, cMSG_CHANNEL_EOF, cMSG_CHANNEL_WINDOW_ADJUST

from rpd.errors import ConnectionLost, Interrupted, KeyRefused, LocalError, PodLost, PodNotReady
from rpd.remote.keys import RunKeys, make_keypair
from rpd.remote.protocol import Command
from rpd.remote.shell import DeadlinePassed, Disconnected, Interrupt, Program
from rpd.remote.ssh import SshRemote, connect
from rpd.remote.ssh.close_last import CloseLast
from rpd.values.pod import SshEndpoint
from tests.ports import free_port
from tests.remote.conftest import Connect, Machine
from tests.waiting import DEADLINE, wait_until


def test_a_server_that_comes_up_late_is_waited_for(connecting: Connect, machine: Machine) -> None:
    """Connecting is tried again until a command ran."""
    machine.stop()
    late = threading.Timer(0.4, machine.start)
    late.start()
    assert connecting().probe()["uname"]
    late.join()


@pytest.mark.parametrize("late", ["acknowledgement", "end of input"])
def test_nothing_follows_the_close_of_a_channel(connecting: Connect, machine: Machine, late: str) -> None:
    """However slow the thread is that sends it: a server ends a connection on which something comes for no channel."""

    def once_closed(self: CloseLast, message: Any) -> None:
        kind = message.asbytes()[:1]
        if kind == (cMSG_CHANNEL_EOF if late == "end of input" else cMSG_CHANNEL_WINDOW_ADJUST):
            go.touch()
            wait_until(lambda: self._is_closing, what="the close of the channel")
            held.append(kind)
        send(self, message)

    held: list[bytes] = []
    go = machine.files / "go"
    send = CloseLast._send_user_message
    remote = connecting()
    script = f"head -c 20000 /dev/zero; while [ ! -e {go} ]; do sleep 0.02; done; rm {go}; echo here"
    program = Program(script, stdin=[b"not read\n"], timeout=DEADLINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CloseLast, "_send_user_message", once_closed)
        for _ in range(2):
            assert remote._shell.exec(program).stdout[20000:] == b"here\n"
    assert len(held) == 2
    assert remote.probe()["uname"]
    assert machine.logins == 1


@pytest.mark.parametrize("ends_first", [True, False])
def test_a_close_waits_for_what_is_under_way(ends_first: bool) -> None:
    """It is sent by the thread that sends the last message before it, and never waits itself."""
    sent: list[bytes] = []
    begun, goes_on = threading.Event(), threading.Event()

    class Transport:
        def _send_user_message(self, message: paramiko.Message) -> None:
            if message.asbytes() == b"data":
                begun.set()
                assert goes_on.wait(DEADLINE)
            sent.append(message.asbytes())

    channel = CloseLast(Transport())
    close = paramiko.Message(cMSG_CHANNEL_CLOSE + b"close")
    busy = threading.Thread(target=channel._send_user_message, args=(paramiko.Message(b"data"),))
    busy.start()
    assert begun.wait(DEADLINE)
    if ends_first:
        goes_on.set()
        busy.join(DEADLINE)
    channel._send_user_message(close)
    channel._send_user_message(paramiko.Message(b"late"))
    goes_on.set()
    busy.join(DEADLINE)
    assert sent == [b"data", close.asbytes()]


def test_a_server_that_never_comes_up_is_told_with_its_reason(connecting: Connect, machine: Machine) -> None:
    """PodNotReady says where, how long, and why the last attempt failed."""
    machine.stop()
    with pytest.raises(PodNotReady, match=rf"127.0.0.1:{machine.port} within 0.3 s.*refused"):
        connecting(timeout=0.3)


def test_a_port_that_says_nothing_does_not_hold_the_driver(connecting: Connect) -> None:
    """A listener without sshd behind it (a proxy) is a pod that is not ready."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = SshEndpoint(host="127.0.0.1", port=mute.getsockname()[1])
        with pytest.raises(PodNotReady):
            connecting(endpoint=endpoint, timeout=0.5)


def test_a_key_that_is_not_accepted_yet_is_a_pod_not_ready(
    connecting: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sshd may be up before the keys are: that is retried, and reported in the end."""
    monkeypatch.setattr("rpd.remote.ssh.shell._SHORTEST_ATTEMPT_SECONDS", DEADLINE)
    other = make_keypair(tmp_path / "other")
    with pytest.raises(KeyRefused, match="authentication failed: the pod does not accept the run's key"):
        connecting(private_key=other.private_key, timeout=0.3)


def test_a_refused_key_leaves_nothing_open(connecting: Connect, machine: Machine, tmp_path: Path) -> None:
    """Each try closes its connection and ends its thread: sshd would soon refuse more."""
    other = make_keypair(tmp_path / "other")
    threads = threading.active_count()
    enough = Interrupt()

    def watch() -> None:
        wait_until(lambda: machine.logins > 2, what="the third try")
        enough.request()

    threading.Thread(target=watch).start()
    with pytest.raises(Interrupted):
        connecting(private_key=other.private_key, interrupt=enough)
    wait_until(lambda: machine.open_connections == 0, what="the end of all connections")
    wait_until(lambda: threading.active_count() <= threads, what="the end of all threads")


@pytest.mark.parametrize("is_asked_before", [True, False])
def test_an_interrupt_ends_an_attempt(connecting: Connect, *, is_asked_before: bool) -> None:
    """Whatever it waits for: here a banner that never comes. One that came first lets nothing begin."""
    accepted: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        endpoint = SshEndpoint(host="127.0.0.1", port=mute.getsockname()[1])
        interrupt = Interrupt()
        if is_asked_before:
            interrupt.request()
        else:
            stack.callback(lambda: accepted[0].close())
            threading.Thread(
                target=lambda: (accepted.append(mute.accept()[0]), interrupt.request()), daemon=True
            ).start()
        with pytest.raises(Interrupted):
            connecting(endpoint=endpoint, timeout=600.0, interrupt=interrupt)


def test_a_lost_connection_is_not_mended_for_long_while_a_run_ends(
    connecting: Connect, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt that comes after the connection leaves a moment for mending it, not the five minutes of a job.

    It is the same moment for all that is still to be done; if the pod is back later, that is noticed.
    """
    monkeypatch.setattr("rpd.remote.ssh.shell._ENDING_SECONDS", 0.2)
    interrupt = Interrupt()
    remote = connecting(interrupt=interrupt, give_up=3600.0)
    machine.stop()
    threading.Timer(0.2, interrupt.request).start()
    with pytest.raises(ConnectionLost, match=r"did not come back within \d+(\.\d)? s"):
        remote.script("echo x", timeout=DEADLINE)
    monkeypatch.setattr("rpd.remote.ssh.shell._ENDING_SECONDS", DEADLINE * 10)
    with pytest.raises(ConnectionLost):
        remote.script("echo x", timeout=DEADLINE)
    machine.start()
    assert remote.script("echo x", timeout=DEADLINE) == "x\n"


def test_a_pod_that_died_while_booting_is_lost(connecting: Connect, machine: Machine) -> None:
    """A pod that RunPod no longer has is not waited for."""
    machine.stop()
    with pytest.raises(PodLost):
        connecting(is_alive=lambda: False)


def test_waiting_can_be_interrupted(connecting: Connect, machine: Machine) -> None:
    """An interrupt ends the wait for sshd."""
    machine.stop()
    interrupt = Interrupt()
    threading.Timer(0.2, interrupt.request).start()
    with pytest.raises(Interrupted):
        connecting(interrupt=interrupt, timeout=600.0)


def test_the_host_key_is_pinned_under_the_pods_id(
    connecting: Connect, machine: Machine, tmp_path: Path
) -> None:
    """The first key is noted in known_hosts, once, under the pod's id."""
    connecting()
    connecting()
    lines = (tmp_path / "known_hosts").read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].split()[:2] == ["pod1", "ssh-ed25519"]


def test_keys_of_other_pods_are_not_decoded(connecting: Connect, tmp_path: Path) -> None:
    """A run of thousands of pods pins thousands of keys: a connection looks at its own."""
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text("other ssh-ed25519 not-base64!\n" * 3)
    connecting()
    connecting()
    assert [line.split()[0] for line in known_hosts.read_text().splitlines()] == ["other"] * 3 + ["pod1"]


def test_a_changed_host_key_is_refused(connecting: Connect, machine: Machine) -> None:
    """Another machine at the address of a pod is not talked to."""
    connecting()
    machine.stop()
    machine.start(new_host_key=True)
    with pytest.raises(ConnectionLost, match="host key is not the one pinned for pod pod1"):
        connecting()


def test_another_pod_at_the_same_address_is_no_surprise(connecting: Connect, machine: Machine) -> None:
    """Addresses are used again: each pod is pinned separately."""
    connecting(pod_id="pod1")
    machine.stop()
    machine.start(new_host_key=True)
    assert connecting(pod_id="pod2").probe()["uname"]


def test_a_changed_host_key_while_reconnecting_is_refused(connecting: Connect, machine: Machine) -> None:
    """A pod whose address now leads elsewhere gets neither commands nor secrets."""
    remote = connecting()

    def output(_: bytes) -> None:
        machine.stop()
        machine.start(new_host_key=True)

    with pytest.raises(ConnectionLost, match="host key"):
        remote.run(Command(key="1", text="echo a; sleep 30"), output)


def test_both_directions_flow_at_once(remote: SshRemote) -> None:
    """Megabytes go in while megabytes come out."""
    data = os.urandom(1 << 16) * 64
    ended = remote._shell.exec(Program("cat", stdin=[data[:100], data[100:]], timeout=DEADLINE))
    assert len(ended.stdout) == len(data)
    assert ended.stdout == data


def test_much_on_standard_error_blocks_nothing(remote: SshRemote) -> None:
    """Megabytes on standard error arrive while standard output is silent."""
    ended = remote._shell.exec(Program("head -c 3000000 /dev/zero >&2; echo done; exit 3", timeout=DEADLINE))
    assert (ended.exit_code, ended.stdout, len(ended.stderr)) == (3, b"done\n", 3000000)


def test_a_deadline_ends_the_wait_for_a_program(remote: SshRemote) -> None:
    """A program that says nothing is waited for no longer than allowed."""
    remote._shell.exec(Program("true", timeout=DEADLINE))  # connects, which counts as well
    with pytest.raises(DeadlinePassed):
        remote._shell.exec(Program("sleep 60", timeout=0.3))


def test_a_deadline_holds_for_a_program_that_talks_on(remote: SshRemote) -> None:
    """Endless output does not put the deadline off."""
    remote._shell.exec(Program("true", timeout=DEADLINE))
    with pytest.raises(DeadlinePassed):
        remote._shell.exec(Program("while echo; do sleep 0.01; done", timeout=0.5))


def test_a_stall_ends_the_wait_only_if_nothing_moves(
    remote: SshRemote, machine: Machine, time_passes: Callable[[float], None]
) -> None:
    """A program that keeps talking is no stall; one that falls silent is."""
    go = machine.files / "go"
    waits = f"while [ ! -e {go}$i ]; do sleep 0.02; done"
    stream = remote._shell.open(Program(f"for i in 1 2 3; do echo $i; {waits}; done", stall=1000))
    for number in (b"1", b"2", b"3"):
        assert stream.read() == number + b"\n"
        time_passes(500)
        Path(f"{go}{number.decode()}").touch()
    assert stream.finish().exit_code == 0
    stream.close()
    with pytest.raises(DeadlinePassed, match=r"nothing moved for 0\.3 s"):
        remote._shell.exec(Program("echo; sleep 60", stall=0.3))


def test_half_a_script_does_nothing(remote: SshRemote, machine: Machine) -> None:
    """A command script that is cut anywhere before its last line starts nothing."""
    from rpd.remote.detached import _Following

    following = _Following(
        remote._shell, Command(key="k", text=f"touch {machine.files}/made"), lambda data: None, Interrupt()
    )
    script = following._script("")
    for cut in range(len(script) // 20, len(script) - len("_rpd_main\n"), len(script) // 20):
        with contextlib.suppress(Disconnected):
            remote._shell.exec(Program(script[:cut], timeout=DEADLINE))
    assert not (machine.home / ".rpd").exists()
    assert not (machine.files / "made").exists()


def test_what_an_input_iterable_raises_reaches_the_caller(remote: SshRemote) -> None:
    """A failure while input is made ends the program and is raised."""

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        remote._shell.exec(Program("cat >/dev/null", stdin=broken(), timeout=DEADLINE))


def test_what_is_under_way_is_what_the_pod_has_not_taken(remote: SshRemote, machine: Machine) -> None:
    """Nearly all while the program reads nothing; but the server holds some, and says by the megabyte what it took."""
    heard: list[int] = []
    begin, begun = machine.files / "begin", machine.files / "begun"

    def pieces() -> Iterator[bytes]:
        yield bytes(1_900_000)
        assert 800_000 < heard[-1] < 2_000_000
        begin.touch()
        wait_until(begun.exists, what="the program that reads")
        yield bytes(1_000_000)
        assert heard[-1] < 2_000_000

    script = f"""
while [ ! -e {begin} ]; do sleep 0.02; done
head -c 1900000 >/dev/null; touch {begun}; cat >/dev/null
"""
    remote._shell.exec(Program(script, stdin=pieces(), timeout=DEADLINE, under_way=heard.append))
    assert min(heard) >= 0


def test_after_close_nothing_is_tried(remote: SshRemote) -> None:
    """A closed Remote says so at once."""
    remote.close()
    with pytest.raises(ConnectionLost, match="closed"):
        remote.run(Command(key="1", text="true"), lambda data: None)


def test_close_from_another_thread_ends_what_waits(remote: SshRemote) -> None:
    """``close`` wakes a run, which raises ConnectionLost."""
    with pytest.raises(ConnectionLost, match="closed"):
        remote.run(
            Command(key="1", text="echo a; sleep 60"),
            lambda data: threading.Thread(target=remote.close).start(),
        )


def test_a_forwarded_port_carries_both_ways(remote: SshRemote, machine: Machine) -> None:
    """A local port leads to the pod's, also over a connection made after a break."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        port = remote.forward(server.getsockname()[1])
        assert _ask(port, b"hello") == b"HELLO"
        machine.drop()
        remote._shell.reconnect()
        assert _ask(port, b"again") == b"AGAIN"


def test_a_forwarded_port_with_nothing_behind_it_closes(remote: SshRemote) -> None:
    """If nothing listens on the pod, the local connection ends and the listener stays."""
    port = remote.forward(free_port())
    assert _ask(port, b"x") == b""
    assert _ask(port, b"x") == b""
    assert remote.probe()["uname"]


def test_close_ends_forwarded_ports(remote: SshRemote) -> None:
    """No listener outlives its connection."""
    port = remote.forward(1)
    remote.close()

    def refused() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return False
        return True

    wait_until(refused, what="the end of the listener")


def test_a_local_port_in_use_is_named(remote: SshRemote) -> None:
    """The error names the port that is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=f"127.0.0.1:{port}"):
            remote.forward(80, port)


@pytest.fixture
def openssh(tmp_path: Path, keys: RunKeys) -> Iterator[SshEndpoint]:
    """The sshd of this machine, if there is one and we may run it."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None or os.geteuid() != 0:
        pytest.skip("needs OpenSSH's sshd and root")
    Path("/run/sshd").mkdir(exist_ok=True)
    host = make_keypair(tmp_path / "host")
    allowed = tmp_path / "authorized_keys"
    allowed.write_text(f"{keys.public_line}\n")
    port = free_port()
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": host.private_key,
        "AuthorizedKeysFile": allowed,
        "StrictModes": "no",
        "PidFile": "none",
        "SetEnv": f"HOME={tmp_path}",
    }
    config = tmp_path / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    process = subprocess.Popen([program, "-D", "-e", "-f", str(config)], stderr=subprocess.DEVNULL)
    yield SshEndpoint(host="127.0.0.1", port=port)
    process.terminate()
    process.wait()


def test_openssh_itself(openssh: SshEndpoint, keys: RunKeys, tmp_path: Path) -> None:
    """Commands, files and pins work against the server that pods run."""
    remote = connect(
        openssh,
        private_key=keys.private_key,
        known_hosts=tmp_path / "known_hosts",
        pod_id="p",
        timeout=DEADLINE,
        is_alive=lambda: True,
    )
    try:
        seen: list[bytes] = []
        done = remote.run(Command(key="1", text="echo a; echo b >&2; exit 9"), seen.append)
        assert (done.exit_code, b"".join(seen)) == (9, b"a\nb\n")
        source = tmp_path / "source"
        source.mkdir()
        (source / "data").write_bytes(os.urandom(3 << 20))
        remote.put(source, str(tmp_path / "far"))
        pulled = remote.pull(str(tmp_path / "far"), tmp_path / "back")
        assert pulled is not None
        assert pulled.verified
        assert (tmp_path / "back/far/data").read_bytes() == (source / "data").read_bytes()
    finally:
        remote.close()


def _echo(server: socket.socket) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client:
            data = b""
            while piece := client.recv(1000):
                data += piece
            client.sendall(data.upper())


def _ask(port: int, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
        answer = b""
        with contextlib.suppress(OSError):  # the other side may have hung up
            client.sendall(words)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(1000):
                answer += piece
        return answer


def test_a_read_may_break_as_well(remote: SshRemote, monkeypatch: pytest.MonkeyPatch) -> None:
    """paramiko also sends in a read; where the connection breaks just then, the program is run again."""
    broken: list[int] = []
    whole = paramiko.Channel.recv

    def recv(channel: paramiko.Channel, size: int) -> Any:
        if not broken:
            broken.append(size)
            raise EOFError
        return whole(channel, size)

    monkeypatch.setattr(paramiko.Channel, "recv", recv)
    assert remote.script("echo here", timeout=30) == "here\n"
    assert broken

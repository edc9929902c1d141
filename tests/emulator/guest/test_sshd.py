"""The SSH server of a pod, with fabric, OpenSSH's client and paramiko."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

Platform = Any
MEGABYTE = 1 << 20


@pytest.fixture
def pod(platform: Platform) -> Any:
    return platform.boot()


@pytest.fixture
def connection(platform: Platform, pod: Any) -> Any:
    return platform.connect(pod)


@pytest.fixture
def openssh(platform: Platform, pod: Any, connection: Any, tmp_path: Path) -> list[str]:
    """The command line of OpenSSH's client up to the command to run."""
    if shutil.which("ssh") is None:
        pytest.skip("no OpenSSH client here")
    identity = tmp_path / "key"
    identity.write_text(platform.key.private)
    identity.chmod(0o600)
    host, port = platform.endpoint(pod)
    options = [
        "BatchMode=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
    ]
    words = [word for option in options for word in ("-o", option)]
    return ["ssh", "-q", "-F", "none", "-i", str(identity), "-p", str(port), *words, f"root@{host}"]


def test_exit_codes_and_both_outputs(platform: Platform, connection: Any) -> None:
    """A command's exit code, output and errors arrive apart and whole."""
    result = platform.run(connection, "echo out; echo err >&2; exit 7")
    assert (result.return_code, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_a_command_ended_by_a_signal(connection: Any) -> None:
    """The client is informed of a signal, not of an exit code."""
    channel = connection.transport.open_session()
    channel.exec_command("kill -KILL $$")
    assert channel.recv_exit_status() == -1


def test_a_session_has_a_login_environment_only(platform: Platform, connection: Any) -> None:
    """HOME, PATH and the like are set; the pod's creation variables and the host's environment are not."""
    lines = platform.run(connection, "pwd; id -un; env").stdout.splitlines()
    names = {line.partition("=")[0] for line in lines[2:]}
    assert lines[:2] == ["/root", "root"]
    assert {"PATH", "HOME", "USER", "SHELL", "SSH_CONNECTION"} <= names
    assert not names & {"GREETING", "RUNPOD_POD_ID", "PYTHONPATH", "VIRTUAL_ENV"}


def test_only_the_keys_of_the_pod_open_it(platform: Platform, pod: Any, connection: Any) -> None:
    """Another key is refused, until it is added in the pod."""
    import paramiko

    stranger = type(platform.key)()
    with pytest.raises(paramiko.AuthenticationException):
        platform.connect(pod, stranger)
    platform.run(connection, f"echo '{stranger.public}' >> ~/.ssh/authorized_keys")
    assert platform.run(platform.connect(pod, stranger), "echo in").stdout == "in\n"


def test_binary_streams_of_a_hundred_megabytes_round_trip(openssh: list[str]) -> None:
    """Standard input and output carry any bytes unchanged, and end of input reaches the command."""
    data = os.urandom(MEGABYTE) * 100
    sent = subprocess.run(
        [*openssh, "cat > /workspace/big; sha256sum < /workspace/big"], input=data, capture_output=True
    )
    assert sent.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    received = subprocess.run([*openssh, "cat /workspace/big"], capture_output=True, stdin=subprocess.DEVNULL)
    assert hashlib.sha256(received.stdout).digest() == hashlib.sha256(data).digest()
    assert received.returncode == 0


def test_output_goes_on_after_the_client_closed_its_input(openssh: list[str]) -> None:
    """Half a closed stream does not close the other half."""
    done = subprocess.run([*openssh, "sort; echo end"], input=b"b\na\n", capture_output=True)
    assert done.stdout == b"a\nb\nend\n"


@pytest.mark.parametrize("kilobytes", [64, 1024, 1100, 1300, 3000])
def test_a_slow_reader_gets_the_end_of_its_input(connection: Any, kilobytes: int) -> None:
    """However slowly a command reads, it gets all of its input, including data that came together with the end."""
    data = os.urandom(1024) * kilobytes + b"the end"
    channel = connection.transport.open_session()
    channel.exec_command(
        "read -r begin; "
        "python3 -c 'import os, hashlib; digest = hashlib.sha256(); size = 0\n"
        "while block := os.read(0, 4096): size += len(block); digest.update(block); hashlib.sha256(block * 99)\n"
        "print(size, digest.hexdigest())'"
    )
    channel.sendall(b"begin\n" + data)
    channel.shutdown_write()
    said = channel.makefile().read().decode()
    assert said == f"{len(data)} {hashlib.sha256(data).hexdigest()}\n"


def test_a_command_need_not_read_its_input(connection: Any, platform: Platform) -> None:
    """A command that ends before it has read its input does not harm the connection."""
    channel = connection.transport.open_session()
    channel.exec_command("exit 3")
    with contextlib.suppress(OSError):
        channel.sendall(bytes(8 * MEGABYTE))
    assert channel.recv_exit_status() == 3
    assert platform.run(connection, "echo still here").stdout == "still here\n"


def test_a_shell_without_a_terminal(openssh: list[str]) -> None:
    """Commands on the standard input of a shell run, and its exit code counts."""
    done = subprocess.run(openssh, input=b"echo $0; exit 4\n", capture_output=True)
    assert (done.returncode, done.stdout) == (4, b"-bash\n")


def test_a_terminal(openssh: list[str]) -> None:
    """With a PTY there is a tty of the client's type; interactive shells source the pod's environment file."""
    done = subprocess.run([*openssh[:-1], "-tt", openssh[-1], "tty; echo $TERM; exit 3"], capture_output=True, env={"TERM": "vt100"}, stdin=subprocess.DEVNULL)  # fmt: skip
    assert (done.returncode, done.stdout) == (3, b"/dev/pts/0\r\nvt100\r\n")
    shell = subprocess.run(
        [*openssh[:-1], "-tt", openssh[-1]], capture_output=True, input=b"echo got-$GREETING; exit\n"
    )
    assert b"got-hello" in shell.stdout


def test_a_terminal_has_the_size_the_client_says(connection: Any) -> None:
    """The size at the start and each change of it reach the program."""
    channel = connection.transport.open_session()
    channel.get_pty("xterm", 100, 40)
    channel.exec_command("trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.05; done")
    said = channel.makefile("rb")
    assert said.readline().strip() == b"40 100"
    channel.resize_pty(120, 50)
    assert said.readline().strip() == b"50 120"


def test_hanging_up_ends_what_runs_on_a_terminal(platform: Platform, connection: Any) -> None:
    """Closing a channel with a PTY sends SIGHUP to its program."""
    channel = connection.transport.open_session()
    channel.get_pty()
    channel.exec_command("trap 'echo hup > /tmp/hup; exit' HUP; echo ready; while :; do sleep 0.05; done")
    assert channel.makefile("rb").readline().strip() == b"ready"
    channel.close()
    platform.eventually(lambda: platform.run(connection, "cat /tmp/hup").stdout == "hup\n")


def test_a_detached_command_outlives_its_connection(platform: Platform, pod: Any, connection: Any) -> None:
    """A process started with setsid and nohup keeps running when the connection is gone."""
    platform.run(
        connection,
        "nohup setsid sh -c 'while [ ! -e /tmp/go ]; do sleep 0.02; done; echo done > /tmp/done' > /dev/null 2>&1 < /dev/null &",
    )
    connection.close()
    again = platform.connect(pod)
    assert platform.run(again, "ls /tmp/done").failed
    platform.run(again, "touch /tmp/go")
    assert platform.eventually(lambda: platform.run(again, "cat /tmp/done").stdout) == "done\n"


def test_sftp_moves_files(connection: Any, tmp_path: Path) -> None:
    """Files go up and down whole; rename, mode and listing work."""
    data = os.urandom(3 * MEGABYTE)
    (tmp_path / "up").write_bytes(data)
    sftp = connection.sftp()
    sftp.put(str(tmp_path / "up"), "/workspace/up.part")
    sftp.posix_rename("/workspace/up.part", "/workspace/up")
    sftp.chmod("/workspace/up", 0o600)
    assert sftp.listdir("/workspace") == ["up"]
    assert sftp.stat("/workspace/up").st_mode & 0o777 == 0o600
    sftp.get("/workspace/up", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == data


def test_port_forwarding(platform: Platform, connection: Any) -> None:
    """A port that a program in the pod listens on is reached through the connection."""
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "open('/tmp/port', 'w').write(str(s.getsockname()[1])); c, _ = s.accept(); c.sendall(c.recv(100).upper())"
    )
    platform.run(connection, f'setsid python3 -c "{script}" > /dev/null 2>&1 < /dev/null &')
    port = int(platform.eventually(lambda: platform.run(connection, "cat /tmp/port").stdout))
    channel = connection.transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 1))
    channel.sendall(b"through")
    assert channel.recv(100) == b"THROUGH"


def test_port_forwarding_back(platform: Platform, connection: Any) -> None:
    """A remote forward brings connections made in the pod to the client."""
    port = connection.transport.request_port_forward("127.0.0.1", 0)
    platform.run(connection, f"bash -c 'echo back > /dev/tcp/127.0.0.1/{port}'")
    channel = connection.transport.accept(10)
    assert channel.recv(100) == b"back\n"


def test_a_hundred_connections(platform: Platform, pod: Any, connection: Any) -> None:
    """Many channels on one connection, one after the other, and several connections at once."""
    others = [platform.connect(pod) for _ in range(8)]
    for index, other in enumerate([connection, *others] * 4):
        assert platform.run(other, f"echo {index}").stdout == f"{index}\n"


def test_the_port_speaks_ssh(platform: Platform, pod: Any, connection: Any) -> None:
    """A probe that reads the banner finds an SSH server."""
    with socket.create_connection(platform.endpoint(pod), 5) as raw:
        assert raw.recv(8) == b"SSH-2.0-"

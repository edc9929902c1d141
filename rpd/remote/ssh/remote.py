"""A pod reached over SSH: the ``Remote`` of real runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rpd.errors import ConnectionLost
from rpd.remote import detached, session
from rpd.remote.console import Console
from rpd.remote.protocol import Command, Feed, Intake, Output, Progress, Remote
from rpd.remote.shell import Interrupt, Program, mended
from rpd.remote.ssh.console_channel import lend
from rpd.remote.ssh.error_wording import FAILURES, close_quietly, reason
from rpd.remote.ssh.shell import GIVE_UP_SECONDS, SshShell
from rpd.remote.ssh.window import WideWindow
from rpd.remote.transfer.pull import pull
from rpd.remote.transfer.pull_cache import Seen
from rpd.remote.transfer.put import put
from rpd.remote.transfer.read import read
from rpd.remote.transfer.start_marks import make_mark
from rpd.remote.transfer.write import write
from rpd.values.pod import SshEndpoint
from rpd.values.step import Completed, Pulled, Staged

_HAND_OVER_SECONDS = 30.0


def connect(
    endpoint: SshEndpoint,
    *,
    private_key: Path,
    known_hosts: Path,
    pod_id: str,
    timeout: float,
    is_alive: Callable[[], bool | None],
    give_up: float = GIVE_UP_SECONDS,
    interrupt: Interrupt | None = None,
    probes: bool = False,
) -> Remote:
    """Return a Remote over SSH, once a first command has run on the pod.

    Retry for ``timeout`` seconds: sshd comes up, and gets its keys, well after RunPod says RUNNING. The host
    key is pinned on first sight in ``known_hosts`` under ``pod_id`` (an address may soon belong to another
    pod). ``is_alive`` asks RunPod about the pod: True, False (gone) or None (no answer); it is also asked
    whenever the connection is lost, which is retried for up to ``give_up`` seconds. ``interrupt`` is
    requested when the run has to end: it ends connecting at once, and leaves half a minute for reconnecting.
    With ``probes`` the first command also gathers the facts of ``Remote.probe``, which then costs no round
    trip. Raise PodNotReady (with the last reason), KeyRefused, PodLost, ConnectionLost (another host key),
    Interrupted.
    """
    shell = SshShell(
        endpoint,
        private_key=private_key,
        known_hosts=known_hosts,
        pod_id=pod_id,
        is_alive=is_alive,
        give_up=give_up,
        interrupt=interrupt,
    )
    try:
        shell.await_ready(timeout, then=detached.PROBE if probes else "")
    except BaseException:
        shell.close()
        raise
    return SshRemote(shell)


class SshRemote:
    """The operations of a Remote, over the pod's shell."""

    def __init__(self, shell: SshShell) -> None:
        self._shell = shell
        self._interrupt = Interrupt()

    def probe(self) -> Mapping[str, str]:
        said = self._shell.take_first()
        return detached.probe(self._shell) if said is None else detached.facts(said)

    def run(self, command: Command, output: Output, metrics: Output | None = None) -> Completed:
        return detached.run(self._shell, command, output, self._interrupt, metrics)

    def put(
        self,
        local: Path,
        remote: str,
        *,
        exclude: Sequence[str] = (),
        ignored: bool = False,
        interrupt: Interrupt | None = None,
        progress: Progress | None = None,
    ) -> Staged:
        return put(
            self._shell,
            local,
            remote,
            exclude=exclude,
            ignored=ignored,
            interrupt=interrupt,
            progress=progress,
        )

    def pull(
        self,
        remote: str,
        local: Path,
        *,
        within: Path | None = None,
        required: bool = True,
        exclude: Sequence[str] = (),
        seen: object = None,
        intake: Intake = Intake(),  # noqa: B008
    ) -> Pulled | None:
        memory = seen if isinstance(seen, Seen) else None
        return pull(
            self._shell,
            remote,
            local,
            within=within,
            required=required,
            exclude=exclude,
            seen=memory,
            intake=intake,
        )

    def mark(self, name: str) -> None:
        self._shell.preamble = make_mark(name)

    def read(self, remote: str, *, most: int, stand_in: bytes = b"") -> bytes:  # noqa: ARG002
        return read(self._shell, remote, most=most)

    def new_seen(self, *, linked: bool = False) -> object:
        return Seen(linked=linked)

    def write(self, remote: str, data: bytes, *, mode: int = 0o644) -> None:
        write(self._shell, remote, data, mode=mode)

    def forward(self, remote_port: int, local_port: int = 0) -> int:
        return self._shell.forward(remote_port, local_port)

    def script(self, text: str, *, timeout: float) -> str:
        ended = mended(self._shell, lambda: self._shell.exec(Program(text, timeout=timeout)))
        return ended.stdout.decode(errors="replace")

    def feed(self, script: str) -> Feed:
        self._shell.mend()
        return self._shell.feed(script)

    def follow(self, key: str, offset: int, output: Output) -> Completed:
        """Follow the log of a command that another driver started, from byte ``offset``.

        Raise ConnectionLost, PodLost.
        """
        return detached.attach(self._shell, key, offset, output)

    def interactive(self, script: str, console: Console) -> int:
        """Run a sh script connected to the console and return its exit code.

        255 means an end without one, as with ``ssh``: a signal, or a connection that broke. The script may
        hold secrets: until it starts it is kept on tmpfs, readable only by root. Raise RemoteError,
        ConnectionLost.
        """
        path = self.script(session.hand_over(script), timeout=_HAND_OVER_SECONDS).strip()
        channel = self._shell.new_channel()
        try:
            WideWindow(channel)
            if console.is_terminal:
                columns, lines = console.size()
                channel.get_pty(term=console.term, width=columns, height=lines)
            channel.exec_command(f"exec sh {shlex.quote(path)}")
            return lend(console, channel)
        except BrokenPipeError:
            raise  # the reader of our output is gone
        except FAILURES as error:
            raise ConnectionLost(f"the SSH connection broke: {reason(error)}") from error
        finally:
            close_quietly(channel)

    def interrupt(self) -> None:
        self._interrupt.request()

    def forget_interrupt(self) -> None:
        self._interrupt.clear()

    def close(self) -> None:
        self._shell.close()

"""The pod handle: what a job function holds and acts on."""

from __future__ import annotations

import posixpath
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rpd.errors import BudgetExceeded, CommandFailed, CommandTimeout, ConnectionLost, OutOfMemory, UsageError
from rpd.execute.commands import is_out_of_memory
from rpd.execute.current import current_run
from rpd.execute.lease import Lease
from rpd.execute.noderun import NodeRun
from rpd.execute.remote import Command, Remote
from rpd.execute.stop import Stop
from rpd.values.duration import parse_duration
from rpd.values.pod import PodInfo
from rpd.values.step import Completed, Pulled, Staged, StepKind

T = TypeVar("T")


class Pod:
    """A pod that runs commands over SSH. Made by the fixture ``pod`` or by ``provision``.

    Paths on the pod are absolute, or relative to ``cwd`` where it is given, else to ``workspace``.
    """

    def __init__(
        self,
        lease: Lease,
        remote: Remote,
        *,
        stop: Stop,
        base: Path,
        secrets: Mapping[str, str],
        key_file: Path | None,
    ) -> None:
        assert lease.pod is not None
        self._lease = lease
        self._remote = remote
        self._stop = stop
        self._base = base
        self._secrets = secrets
        self._key_file = key_file
        self._commands = 0
        self._user: NodeRun | None = None

    def __repr__(self) -> str:
        return f"<Pod {self.id} {self.gpu or 'CPU'}>"

    def join(self, run: NodeRun) -> None:
        """Count ``run`` among the nodes this pod serves."""
        if self._lease not in run.leases:
            run.leases.append(self._lease)
        if run is not self._user:
            self._user = run
            self._lease.users += 1

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def _info(self) -> PodInfo:
        assert self._lease.pod is not None
        return self._lease.pod

    @property
    def id(self) -> str:
        """RunPod's id of the pod."""
        return self._info.id

    @property
    def gpu(self) -> str | None:
        """RunPod's id of its GPU type; None for a CPU pod."""
        offer = self._lease.offer
        return offer.gpu_id if offer else self._info.gpu

    @property
    def datacenter(self) -> str | None:
        """RunPod's id of its data centre."""
        return self._info.datacenter

    @property
    def rate_usd_per_hr(self) -> float:
        """What it costs an hour while it runs."""
        return self._lease.rate_usd_per_hr

    @property
    def workspace(self) -> str:
        """The folder where its volume is mounted."""
        return self._lease.request.mount

    @property
    def ssh_command(self) -> str:
        """A command line that opens a shell on it while it lives."""
        ssh = self._info.ssh
        if ssh is None:
            return ""
        key = f"-i {shlex.quote(str(self._key_file))} " if self._key_file else ""
        return f"ssh {key}-p {ssh.port} {ssh.user}@{ssh.host}"

    # --- what it does -----------------------------------------------------------------------------------------------

    def run(
        self,
        cmd: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: str | float | None = None,
        check: bool = True,
        name: str | None = None,
    ) -> Completed:
        """Run a shell command to its end, its output streamed and logged as it comes.

        ``timeout`` is a duration (``"30m"`` or seconds). Raises CommandFailed for an exit code other than 0 unless
        ``check=False``, OutOfMemory, CommandTimeout, BudgetExceeded, ConnectionLost, PodLost, Interrupted.
        """
        if not isinstance(cmd, str) or not cmd.strip():
            raise UsageError(f"pod.run: expected a shell command, got {cmd!r}")
        run = current_run()
        return self._once(
            run,
            lambda: self._run(run, cmd, cwd, env or {}, timeout, check=check, name=name or cmd),
            salvaged=lambda: Completed(command=cmd, exit_code=0),
        )

    def _run(
        self,
        run: NodeRun,
        cmd: str,
        cwd: str | None,
        env: Mapping[str, str],
        timeout: str | float | None,
        *,
        check: bool,
        name: str,
    ) -> Completed:
        limit, is_budget = _limit(run, timeout)
        self._commands += 1
        command = Command(
            key=f"{self._lease.name}-{self._commands}",
            text=cmd,
            cwd=self._path(cwd) if cwd else self.workspace,
            env={**env, "RPD_NODE": run.node.id, "RPD_ATTEMPT": str(run.attempt)},
            secrets=self._secrets,
            timeout=limit,
        )
        with run.step(StepKind.RUN, name, cmd) as ended:
            self._stop.check()
            forget = self._stop.listen(lambda _level: self._remote.interrupt())
            try:
                completed = self._noting_loss(lambda: self._remote.run(command, run.output))
            except CommandTimeout as error:
                if is_budget:
                    raise BudgetExceeded(f"the node reached its cap after {error.seconds:.0f} s in: {cmd}") from error
                raise
            finally:
                forget()
                run.flush_output()
            ended(completed.exit_code)
        if check and not completed.ok:
            failure = OutOfMemory if is_out_of_memory(completed) else CommandFailed
            raise failure(run.mask(cmd), completed.exit_code, tail=completed.tail)
        return completed

    def put(self, local: str | Path, remote: str, *, exclude: Sequence[str] = ()) -> Staged:
        """Send a file or folder (relative to the deploy file's folder); what git or ``.rpdignore`` ignores stays here.

        ``remote`` then is exactly what was sent. Raises UsageError for a missing path, TransferError.
        """
        run = current_run()
        source = self._base / local
        target = self._path(remote)

        def send() -> Staged:
            with run.step(StepKind.PUT, f"put {local}", f"put {local} -> {target}"):
                self._stop.check()
                return self._noting_loss(lambda: self._remote.put(source, target, exclude=exclude))

        return self._once(run, send, salvaged=lambda: Staged(remote=target, tree_sha256="", files=0, bytes=0))

    def pull(
        self,
        remote: str,
        local: str | Path | None = None,
        *,
        cwd: str | None = None,
        required: bool = True,
        exclude: Sequence[str] = (),
    ) -> Pulled | None:
        """Fetch a file, folder or glob into the node's ``artifacts`` folder (or ``local`` below it), checked by sha256.

        It also happens when the job failed before it came to this line. Returns None where nothing is there and
        ``required`` is False. Raises MissingArtifact, TransferError.
        """
        run = current_run()
        source = self._path(remote, cwd)

        def fetch(*, required: bool = required) -> Pulled | None:
            folder = run.files.artifacts if run.files else Path("artifacts")
            with run.step(StepKind.PULL, f"pull {remote}", f"pull {source}"):
                pulled = self._noting_loss(
                    lambda: self._remote.pull(source, folder / (local or ""), required=required, exclude=exclude)
                )
            if pulled is None:
                return None
            # The folder a pull goes to is shared by all of a node's pulls; what this one brought is meant.
            brought = pulled.local / posixpath.basename(source.rstrip("/"))
            pulled = replace(pulled, local=brought) if brought.exists() else pulled
            if run.files is not None:
                run.record_artifact(pulled)
            return pulled

        with run.phase("pull"):
            return self._once(run, fetch, salvaged=lambda: fetch(required=False))

    def write(self, remote: str, text: str, mode: int = 0o644) -> None:
        """Write a text file on the pod (UTF-8). Raises TransferError."""
        run = current_run()
        target = self._path(remote)

        def send() -> None:
            with run.step(StepKind.WRITE, f"write {remote}", f"write {target} ({len(text)} characters)"):
                self._stop.check()
                self._noting_loss(lambda: self._remote.write(target, text.encode(), mode=mode))

        self._once(run, send, salvaged=lambda: None)

    def forward(self, port: int, local_port: int = 0) -> int:
        """Forward a local port (any free one by default) to ``port`` on the pod; return the local port."""
        return self._remote.forward(port, local_port)

    # --- how ----------------------------------------------------------------------------------------------------

    def _path(self, path: str, cwd: str | None = None) -> str:
        base = posixpath.join(self.workspace, cwd) if cwd else self.workspace
        joined = posixpath.normpath(posixpath.join(base, path))
        return f"{joined}/" if path.endswith("/") and joined != "/" else joined

    @property
    def is_lost(self) -> bool:
        """Whether the pod went out of reach, so that nobody should be given it any more."""
        return self._lease.lost

    def _noting_loss(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except ConnectionLost:
            self._lease.lost = True
            raise

    @staticmethod
    def _once(run: NodeRun, act: Callable[[], T], *, salvaged: Callable[[], T]) -> T:
        """Do a step and remember its answer; in a salvage, answer from memory, then with ``salvaged``."""
        if run.salvaging:
            return run.replay(salvaged)
        try:
            answer = act()
        except BaseException:
            run.done.append(salvaged)
            raise
        run.done.append(lambda: answer)
        return answer


def _limit(run: NodeRun, timeout: str | float | None) -> tuple[float | None, bool]:
    """Return the seconds a command may take, and whether it is the node's cap that says so."""
    own = None if timeout is None else parse_duration(timeout)
    if run.deadline is None:
        return own, False
    left = run.deadline - time.monotonic()
    if left <= 0:
        raise BudgetExceeded("the node reached its cap")
    return (own, False) if own is not None and own <= left else (left, True)

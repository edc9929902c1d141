"""The pod handle: what a job function holds and acts on."""

from __future__ import annotations

import hashlib
import posixpath
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from rpd.errors import BudgetExceeded, CommandFailed, CommandTimeout, ConnectionLost, OutOfMemory, UsageError
from rpd.execute.commands import is_out_of_memory
from rpd.execute.current import current_run
from rpd.execute.lease import Lease
from rpd.execute.noderun import NodeRun, StepEnd
from rpd.execute.remote import Command, Remote
from rpd.execute.stop import Stop, StopLevel
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
        self._user: NodeRun | None = None
        self._beside: dict[tuple[int, ...], Remote] = {}

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
        command = Command(
            key=_key(run),
            text=cmd,
            cwd=self._path(cwd) if cwd else self.workspace,
            env={**_gpus(run), **(env or {}), "RPD_NODE": run.node.id, "RPD_ATTEMPT": str(run.attempt)},
            secrets=self._secrets,
            timeout=None if timeout is None else parse_duration(timeout),
        )
        completed = self._do(
            run,
            _What(StepKind.RUN, name or cmd, cmd, about=(command.cwd, sorted(command.env.items()))),
            lambda end: self._follow(run, command, end),
            salvaged=lambda: Completed(command=cmd, exit_code=0),
            keep=asdict,
            recall=lambda held: Completed(**{**held, "tail": tuple(held["tail"])}),
        )
        if check and not completed.ok and not run.salvaging:
            failure = OutOfMemory if is_out_of_memory(completed) else CommandFailed
            raise failure(run.mask(cmd), completed.exit_code, tail=completed.tail)
        return completed

    def _follow(self, run: NodeRun, command: Command, end: StepEnd) -> Completed:
        self._stop.check()
        limit, is_budget = _limit(run, command.timeout)
        remote = self._remote_of(run)
        forget = self._stop.listen(lambda level: remote.interrupt() if level >= StopLevel.END else None)
        try:
            completed = remote.run(replace(command, timeout=limit), run.output)
        except CommandTimeout as error:
            if is_budget:
                raise BudgetExceeded(
                    f"the node reached its cap after {error.seconds:.0f} s in: {command.text}"
                ) from error
            raise
        finally:
            forget()
            run.flush_output()
        end.exit_code = completed.exit_code
        return completed

    def put(self, local: str | Path, remote: str, *, exclude: Sequence[str] = ()) -> Staged:
        """Send a file or folder (relative to the deploy file's folder); what git or ``.rpdignore`` ignores stays here.

        ``remote`` then is exactly what was sent. Raises UsageError for a missing path, TransferError.
        """
        run = current_run()
        source = self._base / local
        target = self._path(remote)

        def send(_end: StepEnd) -> Staged:
            self._stop.check()
            return self._remote_of(run).put(source, target, exclude=exclude)

        return self._do(
            run,
            _What(StepKind.PUT, f"put {local}", f"put {local} -> {target}", about=tuple(exclude)),
            send,
            salvaged=lambda: Staged(remote=target, tree_sha256="", files=0, bytes=0),
            keep=asdict,
            recall=lambda held: Staged(**held),
        )

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

        folder = (run.files.artifacts if run.files else Path("artifacts")) / (local or "")

        def fetch(_end: StepEnd, *, required: bool = required) -> Pulled | None:
            pulled = self._remote_of(run).pull(source, folder, required=required, exclude=exclude)
            if pulled is None:
                return None
            # The folder a pull goes to is shared by all of a node's pulls; what this one brought is meant.
            brought = pulled.local / posixpath.basename(source.rstrip("/"))
            return replace(pulled, local=brought) if brought.exists() else pulled

        what = _What(StepKind.PULL, f"pull {remote}", f"pull {source}", about=(str(local), tuple(exclude)))

        def salvage() -> Pulled | None:
            with run.step(what.kind, what.name, what.command, what.fingerprint, self._lease.name) as end:
                pulled = fetch(end, required=False)
            if pulled is not None and run.files is not None:
                run.record_artifact(pulled)
            return pulled

        with run.phase("pull"):
            pulled = self._do(
                run,
                what,
                fetch,
                salvaged=salvage,
                keep=lambda held: {
                    "pulled": None if held is None else {**asdict(held), "local": str(held.local)}
                },
                recall=lambda held: _pulled(held["pulled"]),
            )
        if pulled is not None and run.files is not None and not run.salvaging:
            run.record_artifact(pulled)
        return pulled

    def write(self, remote: str, text: str, mode: int = 0o644) -> None:
        """Write a text file on the pod (UTF-8). Raises TransferError."""
        run = current_run()
        target = self._path(remote)

        def send(_end: StepEnd) -> None:
            self._stop.check()
            self._remote_of(run).write(target, text.encode(), mode=mode)

        self._do(
            run,
            _What(
                StepKind.WRITE,
                f"write {remote}",
                f"write {target} ({len(text)} characters)",
                about=(text, mode),
            ),
            send,
            salvaged=lambda: None,
            keep=lambda _nothing: {},
            recall=lambda _held: None,
        )

    def forward(self, port: int, local_port: int = 0) -> int:
        """Forward a local port (any free one by default) to ``port`` on the pod; return the local port."""
        return self._remote.forward(port, local_port)

    # --- how ----------------------------------------------------------------------------------------------------

    def _path(self, path: str, cwd: str | None = None) -> str:
        base = posixpath.join(self.workspace, cwd) if cwd else self.workspace
        joined = posixpath.normpath(posixpath.join(base, path))
        return f"{joined}/" if path.endswith("/") and joined != "/" else joined

    def _remote_of(self, run: NodeRun) -> Remote:
        """Return the connection of a node: its own where it works on the pod beside others."""
        if not run.gpus:
            return self._remote
        if run.gpus not in self._beside:
            self._beside[run.gpus] = self._lease.another_remote()
        return self._beside[run.gpus]

    @property
    def is_lost(self) -> bool:
        """Whether the pod went out of reach, so that nobody should be given it any more."""
        return self._lease.lost

    def _do(
        self,
        run: NodeRun,
        what: _What,
        act: Callable[[StepEnd], T],
        *,
        salvaged: Callable[[], T],
        keep: Callable[[T], Mapping[str, Any]],
        recall: Callable[[Mapping[str, Any]], T],
    ) -> T:
        """Do a step once in the life of a node.

        In a salvage it is answered from memory, past the failure with ``salvaged``. After a resume it is answered from
        the journal (``recall``), where ``keep`` put the answer. A lost connection is noted on the lease.
        """
        if run.salvaging:
            return run.replay(salvaged)
        try:
            fingerprint = "" if run.files is None else what.fingerprint
            held = run.recall(what.kind, what.name, what.command, fingerprint, self._lease.name)
            if held is not None:
                answer = recall(held)
            else:
                with run.step(what.kind, what.name, what.command, fingerprint, self._lease.name) as end:
                    answer = act(end)
                    if run.files is not None:
                        end.result = keep(answer)
        except BaseException as error:
            self._lease.lost = self._lease.lost or isinstance(error, ConnectionLost)
            run.done.append(salvaged)
            raise
        run.done.append(lambda: answer)
        return answer


@dataclass(frozen=True, slots=True)
class _What:
    """A step as asked for; ``about`` is what else tells it from another."""

    kind: StepKind
    name: str
    command: str
    about: object = None

    @property
    def fingerprint(self) -> str:
        """Equal for equal steps, in another process too."""
        return hashlib.sha256(repr((str(self.kind), self.command, self.about)).encode()).hexdigest()[:16]


def _key(run: NodeRun) -> str:
    """Return the name of the next command's folder on the pod: the same again when a run is carried on."""
    node = hashlib.sha256(run.node.id.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{node}-{run.attempt}-{len(run.steps)}"


def _gpus(run: NodeRun) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, run.gpus))} if run.gpus else {}


def _pulled(held: Mapping[str, Any] | None) -> Pulled | None:
    return None if held is None else Pulled(**{**held, "local": Path(held["local"])})


def _limit(run: NodeRun, own: float | None) -> tuple[float | None, bool]:
    """Return the seconds a command may take, and whether it is the node's cap that says so."""
    if run.deadline is None:
        return own, False
    left = run.deadline - time.monotonic()
    if left <= 0:
        raise BudgetExceeded("the node reached its cap")
    return (own, False) if own is not None and own <= left else (left, True)

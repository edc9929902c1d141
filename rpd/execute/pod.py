"""The pod handle: what a job function holds and acts on."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from rpd.errors import (
    CommandFailed,
    ConnectionLost,
    Interrupted,
    MissingArtifact,
    OutOfMemory,
    PodLost,
    TransferError,
    UsageError,
)
from rpd.execute import custody
from rpd.execute.current import current_run
from rpd.execute.limits import limit_of, listened_for_life
from rpd.execute.noderun import Ending, NodeRun, StepEnd
from rpd.lease.lease import Lease
from rpd.project.fingerprint import sent_key
from rpd.remote.commands import is_out_of_memory
from rpd.remote.periodic import Fetch, PeriodicPull
from rpd.remote.protocol import Command, Remote
from rpd.remote.shell import Interrupt
from rpd.remote.telemetry import LONGEST_BEAT, Monitor
from rpd.remote.watchdog import USUAL_TERMS, Terms
from rpd.stop import Stop, StopLevel
from rpd.values.duration import format_duration, parse_duration
from rpd.values.pod import PodInfo
from rpd.values.step import Completed, Pulled, Staged, StepKind
from rpd.values.telemetry import Sample

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
        terms: Terms = USUAL_TERMS,
    ) -> None:
        assert lease.pod is not None
        self._lease = lease
        self._remote = remote
        self._stop = stop
        self._base = base
        self._secrets = secrets
        self._key_file = key_file
        self._terms = terms
        self._user: NodeRun | None = None
        self._attending: list[NodeRun] = []
        self._monitor: Monitor | None = None
        self._trace: list[str] = []
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
            if run.files is not None:
                run.hook.rpd_pod_joined(node=run.node, pod=self._info, share=run.share)

    # --- looking after it -------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Begin to listen to how busy it is, and to show its watchdog that somebody is here."""
        terms = self._terms
        self._monitor = Monitor(
            self._remote,
            interval=terms.telemetry_interval,
            beat=min(LONGEST_BEAT, terms.linger / 3),
            mount=self.workspace,
            hear=self._heard,
            traced=self._traced,
            failed=self._telemetry_failed,
        )
        self._monitor.start()

    def unwatch(self) -> None:
        """Listen no more."""
        if self._monitor is not None:
            self._monitor.close()

    def _heard(self, sample: Sample | None) -> None:
        for run in [run for run in self._attending if not run.is_closed]:
            if sample is not None:
                run.telemetry(sample)
            silence = run.silence
            if silence is not None and silence.has_hung(sample):
                silence.diagnose(self._remote_of(run))

    def _traced(self, line: str) -> None:
        self._trace.append(line)
        for run in self._attending:
            run.trace(line)

    def _telemetry_failed(self, error: Exception) -> None:
        if self._user is not None:
            self._user.hook.rpd_notice(text=f"telemetry of pod {self.id}: {type(error).__name__}: {error}")

    def _attend(self, run: NodeRun) -> None:
        """Make sure that the pod lives long enough for a node that comes to it."""
        if run in self._attending or run.files is None:
            return
        # A list of its own for each change: the monitor's thread goes over it.
        self._attending = [*(other for other in self._attending if not other.is_closed), run]
        for line in self._trace:
            run.trace(line)
        if self._lease.is_wide:
            custody.prolong(self._lease, run, run.context.overrides.budget(run.node.job.budget), self._terms)

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
        return f"ssh {self._key_option}-p {ssh.port} {ssh.user}@{ssh.host}"

    @property
    def _key_option(self) -> str:
        return f"-i {shlex.quote(str(self._key_file))} " if self._key_file else ""

    def copy_command(self, remote: str) -> str:
        """Return a command line that copies a path on it into the current folder."""
        ssh = self._info.ssh
        if ssh is None:
            return ""
        return f"scp {self._key_option}-P {ssh.port} -r {ssh.user}@{ssh.host}:{shlex.quote(remote)} ."

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
            timeout=None if timeout is None else _checked_duration("pod.run: timeout", timeout),
        )
        completed = self._do(
            run,
            _What(
                StepKind.RUN,
                name or cmd,
                cmd,
                about=(command.cwd, sorted(command.env.items())),
                detail={"key": command.key, "cwd": command.cwd, "secrets": sorted(self._secrets)},
            ),
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
        remote = self._remote_of(run)
        if run.files is None:  # a dry run: nothing takes time, nothing is said
            completed = remote.run(command, run.output)
            end.exit_code = completed.exit_code
            return completed
        limit = limit_of(run, command.timeout)
        forget = self._stop.listen(lambda level: remote.interrupt() if level >= StopLevel.END else None)
        try:
            with limit.telling(command.text), listened_for_life(run) as hear:
                completed = remote.run(replace(command, timeout=limit.seconds), hear)
        finally:
            forget()
            run.flush_output()
        end.exit_code, end.seconds = completed.exit_code, completed.seconds
        return completed

    def put(self, local: str | Path, remote: str, *, exclude: Sequence[str] = ()) -> Staged:
        """Send a file or folder (relative to the deploy file's folder); what git or ``.rpdignore`` ignores stays here.

        ``remote`` then is exactly what was sent. Raises UsageError for a missing path, TransferError.
        """
        run = current_run()
        # A path that is whole already stays the same object, so that what is known of it is found quickly.
        source = local if isinstance(local, Path) and local.is_absolute() else self._base / local
        target = self._path(remote)

        def send(_end: StepEnd) -> Staged:
            with self._until_stopped(run) as interrupt:
                return self._remote_of(run).put(
                    source, target, exclude=exclude, interrupt=interrupt, progress=run.transfer_progress
                )

        weight = "" if run.files is not None else f"  ({run.context.weigh(source, tuple(exclude))})"
        staged = self._do(
            run,
            _What(StepKind.PUT, f"put {local}", f"put {local} -> {target}{weight}", about=tuple(exclude)),
            send,
            salvaged=lambda: Staged(remote=target, tree_sha256="", files=0, bytes=0),
            keep=asdict,
            recall=lambda held: Staged(**held),
        )
        if staged.tree_sha256:
            self._note_sent(run, source, exclude, staged)
        return staged

    def _note_sent(self, run: NodeRun, source: Path, exclude: Sequence[str], staged: Staged) -> None:
        """Remember what the node's result depends on; what a wide fixture sends, all nodes on this pod depend on."""
        path = Path(os.path.relpath(source, run.context.rootdir)).as_posix()
        held = self._lease.sent if run.holder else run.sent
        held[sent_key(path, exclude)] = staged.tree_sha256

    @contextmanager
    def _until_stopped(self, run: NodeRun) -> Iterator[Interrupt]:
        """Yield a request that is made when the run is stopped, or when the time of the job is up."""
        interrupt = Interrupt()
        forget = self._stop.listen(lambda level: interrupt.request() if level >= StopLevel.END else None)
        try:
            self._stop.check()
            with run.timed(interrupt.request):
                yield interrupt
        except Interrupted:
            self._stop.check()  # tells by whom
            raise
        finally:
            forget()

    def pull(
        self,
        remote: str,
        local: str | Path | None = None,
        *,
        cwd: str | None = None,
        required: bool = True,
        exclude: Sequence[str] = (),
        every: str | float | None = None,
    ) -> Pulled | None:
        """Fetch a file, folder or glob into the node's ``artifacts`` folder (or ``local`` below it), checked by sha256.

        It also happens when the job failed before it came to this line. Returns None where nothing is there and
        ``required`` is False. With ``every`` (a duration: ``"5m"`` or seconds) it returns None at once, and the pull
        repeats beside the job until the node ends, however it ends, and once more then; only that last one can fail it.
        Raises MissingArtifact, TransferError.
        """
        run = current_run()
        seconds = None if every is None else _checked_interval(every)
        source = self._path(remote, cwd)

        folder = (run.files.artifacts if run.files else Path("artifacts")) / (local or "")

        is_needed = required

        def fetched(pulled: Pulled | None) -> Pulled | None:
            if pulled is None:
                return None
            # The folder a pull goes to is shared by all of a node's pulls; what this one brought is meant.
            brought = pulled.local / posixpath.basename(source.rstrip("/"))
            return replace(pulled, local=brought) if brought.exists() else pulled

        def fetch(_end: StepEnd, *, required: bool = required) -> Pulled | None:
            with self._in_custody(run, source, is_needed=is_needed):
                pulled = self._remote_of(run).pull(source, folder, required=required, exclude=exclude)
            return fetched(pulled)

        what = _What(StepKind.PULL, f"pull {remote}", f"pull {source}", about=(str(local), tuple(exclude)))

        def salvage() -> Pulled | None:
            with run.step(what.kind, what.name, what.command, what.fingerprint, self._lease.name) as end:
                pulled = fetch(end, required=False)
            if pulled is not None and run.files is not None:
                run.record_artifact(pulled)
            return pulled

        if seconds is not None:
            again = replace(
                what,
                name=f"{what.name} every {format_duration(seconds)}",
                command=f"{what.command} every {format_duration(seconds)}",
            )
            self._do(
                run,
                again,
                lambda _end: None,
                salvaged=salvage,
                keep=lambda _nothing: {},
                recall=lambda _held: None,
            )
            if not run.salvaging and run.files is not None:
                seen = self._remote.new_seen()

                def fetch_changes(remote: Remote, *, required: bool) -> Pulled | None:
                    return fetched(remote.pull(source, folder, required=required, exclude=exclude, seen=seen))

                self._repeat(run, what, fetch_changes, seconds, source, is_needed=is_needed)
            return None
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

    @contextmanager
    def _in_custody(self, run: NodeRun, source: str, *, is_needed: bool) -> Iterator[None]:
        """Keep the pod alive for a pull, and note on its lease what could not be fetched whole."""
        if run.files is not None:
            custody.allow_pull(self._lease, self._terms)
        try:
            yield
        except (TransferError, ConnectionLost) as error:
            if is_needed and not isinstance(error, MissingArtifact | PodLost):
                self._lease.unverified = source
            raise

    def _repeat(
        self, run: NodeRun, what: _What, fetch: Fetch, seconds: float, source: str, *, is_needed: bool
    ) -> None:
        """Begin a pull that repeats until the node ends, and see to its end."""

        def tell(text: str) -> None:
            if not run.is_closed:
                notice = f"{run.node.id}: {what.command}: {text}; it is tried again"
                run.hook.rpd_notice(text=run.mask(notice))

        periodic = PeriodicPull(fetch, connect=self._lease.another_remote, seconds=seconds, tell=tell)

        def finish(*, required: bool) -> None:
            with (
                run.phase("pull"),
                run.step(what.kind, what.name, what.command, what.fingerprint, self._lease.name) as end,
            ):
                try:
                    with self._in_custody(run, source, is_needed=is_needed):
                        periodic.last(required=required and is_needed)
                    end.result = {}
                except ConnectionLost:
                    self._lease.lost = True
                    raise
                finally:
                    if periodic.latest is not None:
                        run.record_artifact(periodic.latest)

        run.endings.append(Ending(finish=finish, close=periodic.close))
        periodic.start()

    def write(self, remote: str, text: str, mode: int = 0o644) -> None:
        """Write a text file on the pod (UTF-8). Raises TransferError, UsageError for what is no text."""
        if not isinstance(text, str):
            raise UsageError(
                f"pod.write: expected a text, got {type(text).__name__} (a file of bytes: pod.put)"
            )
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
        with current_run().shielded():
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
            with run.shielded():
                return run.replay(salvaged)
        try:
            with run.timed():
                answer = self._recalled_or_done(run, what, act, keep, recall)
        except BaseException as error:
            self._lease.lost = self._lease.lost or isinstance(error, ConnectionLost)
            run.done.append(salvaged)
            raise
        run.done.append(lambda: answer)
        return answer

    def _recalled_or_done(
        self,
        run: NodeRun,
        what: _What,
        act: Callable[[StepEnd], T],
        keep: Callable[[T], Mapping[str, Any]],
        recall: Callable[[Mapping[str, Any]], T],
    ) -> T:
        self._attend(run)
        fingerprint = "" if run.files is None else what.fingerprint
        held = run.recall(what.kind, what.name, what.command, fingerprint, self._lease.name)
        if held is not None:
            return recall(held)
        with run.step(
            what.kind, what.name, what.command, fingerprint, self._lease.name, **what.detail
        ) as end:
            answer = act(end)
            if run.files is not None:
                end.result = keep(answer)
        return answer


@dataclass(frozen=True, slots=True)
class _What:
    """A step as asked for; ``about`` is what else tells it from another."""

    kind: StepKind
    name: str
    command: str
    about: object = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What the journal keeps besides: a shell on the pod is to stand where the command stood."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal steps, in another process too."""
        return hashlib.sha256(repr((str(self.kind), self.command, self.about)).encode()).hexdigest()[:16]


def _key(run: NodeRun) -> str:
    """Return the name of the next command's folder on the pod: the same again when a run is carried on."""
    if run.files is None:
        return ""
    node = hashlib.sha256(run.node.id.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{node}-{run.attempt}-{len(run.steps)}"


def _checked_interval(every: str | float) -> float:
    """Return seconds. Raises UsageError."""
    seconds = _checked_duration("pod.pull: every", every)
    if seconds <= 0:
        raise UsageError(f'pod.pull: every={every!r}: expected a duration > 0, such as "5m"')
    return seconds


def _checked_duration(what: str, value: str | float) -> float:
    """Return seconds. Raises UsageError."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise UsageError(f"{what}={value!r}: {error}") from None


def _gpus(run: NodeRun) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, run.gpus))} if run.gpus else {}


def _pulled(held: Mapping[str, Any] | None) -> Pulled | None:
    return None if held is None else Pulled(**{**held, "local": Path(held["local"])})

"""The pod handle: the object through which a job function acts on its pod."""

from __future__ import annotations

import base64
import os
import posixpath
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

from rpd.errors import (
    CommandFailed,
    CommandTimeout,
    Interrupted,
    OutOfMemory,
    UsageError,
)
from rpd.execute.node.current import current_run
from rpd.execute.node.follow import CRASHES
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.step_history import StepEnd, StepRequest
from rpd.execute.pod.connections import Connections
from rpd.execute.pod.destinations import destination
from rpd.execute.pod.held import Held
from rpd.execute.pod.kept_files import check_patterns
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.execute.pod.monitor import Attendance
from rpd.execute.pod.prelude import Prelude, prelude_of
from rpd.execute.pod.pull_step import Pulling, salvage_place
from rpd.execute.pod.steps import Steps, without_answer
from rpd.lease.lease import Lease
from rpd.project.fingerprint import sent_key
from rpd.remote.out_of_memory import is_out_of_memory
from rpd.remote.protocol import Command, Remote
from rpd.remote.shell import Interrupt, is_variable_name
from rpd.remote.transfer.globs import split_glob
from rpd.stop import Stop, StopLevel
from rpd.values.duration import parse_duration
from rpd.values.frozen import asdict, replace
from rpd.values.late_pattern import late_pattern
from rpd.values.pod import PodInfo
from rpd.values.series import LinePatterns
from rpd.values.step import Checkpoint, Completed, Pulled, Staged, StepKind, in_short

PYTHON_VERSION = late_pattern(r"3\.\d{1,2}(\.\d{1,3})?")
_PIN = (
    "command -v uv >/dev/null || { echo 'rpd: this image has no uv, which installs Python: pip install uv' >&2; "
    "exit 127; }; uv python install VERSION && uv python pin VERSION"
)
GRACE_SECONDS = 10.0
"""Seconds between SIGTERM and SIGKILL, for commands of a job that saves no progress."""
READ_BYTES = 1 << 20
"""Largest file that ``Pod.read`` returns by default, in bytes."""


class Pod(Held):
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
        known_hosts: Path | None,
        lifetimes: Lifetimes,
    ) -> None:
        super().__init__(lease)
        self._stop = stop
        self._base = base
        self._secrets = secrets
        self._key_file = key_file
        self._known_hosts = known_hosts
        self._lifetimes = lifetimes
        self._connections = Connections(lease, remote)
        self._attendance = Attendance(lease, self._connections, lifetimes)
        self._steps = Steps(lease, self._attendance.begin_step)
        self._prelude = Prelude()

    def __repr__(self) -> str:
        return f"<Pod {self.id} {self.gpu or 'CPU'}>"

    def join(self, run: NodeRun) -> None:
        """Count ``run`` among the nodes this pod serves."""
        self._attendance.join(run)

    def attend(self, run: NodeRun) -> Remote:
        """Make sure that the pod lives long enough for ``run``; return its connection."""
        self._attendance.begin_step(run)
        return self._connections.of(run)

    def watch(self) -> None:
        """Start to receive telemetry, and show the watchdog that a driver is present."""
        self._attendance.watch(self.workspace)

    def unwatch(self) -> None:
        """Stop receiving telemetry."""
        self._attendance.unwatch()

    # --- properties -------------------------------------------------------------------------------------------------

    @property
    def _info(self) -> PodInfo:
        return self._lease.rented

    @property
    def parts(self) -> Sequence[Pod]:
        """The pod itself, as the only part; a cluster has several."""
        return (self,)

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
    def is_dry(self) -> bool:
        """Whether this is a dry run: no command runs, nothing is sent or fetched."""
        return current_run().files.on_disk is None

    @property
    def workspace(self) -> str:
        """The folder where its volume is mounted."""
        return self._lease.request.mount

    @property
    def volume(self) -> str:
        """The requested network volume, by name or id; empty if there is none."""
        return self._lease.request.storage.network_volume or ""

    @property
    def ssh_command(self) -> str:
        """A command line that opens a shell on it while it is alive; empty before it has an address."""
        ssh = self._info.ssh
        if ssh is None:
            return ""
        return f"ssh {self._key_option}-p {ssh.port} {ssh.user}@{ssh.host}"

    @property
    def _key_option(self) -> str:
        """SSH options: the run's key, and the host key pinned for this pod."""
        if self._key_file is None:
            return ""
        options = (f"UserKnownHostsFile={self._known_hosts}", f"HostKeyAlias={self.id}", "IdentitiesOnly=yes")
        return f"-i {shlex.quote(str(self._key_file))} {''.join(f'-o {shlex.quote(o)} ' for o in options)}"

    def copy_command(self, remote: str) -> str:
        """Return a command line that copies a path on it into the current folder."""
        ssh = self._info.ssh
        if ssh is None:
            return ""
        return f"scp {self._key_option}-P {ssh.port} -r {ssh.user}@{ssh.host}:{shlex.quote(remote)} ."

    # --- actions ----------------------------------------------------------------------------------------------------

    def run(
        self,
        cmd: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str | int | float] | None = None,
        timeout: str | float | None = None,
        check: bool = True,
        name: str | None = None,
        metrics: str | Sequence[str] | None = None,
        dry: str = "",
    ) -> Completed:
        """Run a shell command to its end; its output is streamed and logged as it arrives.

        Numbers that it appends to the file ``$RPD_METRICS`` (one ``{"step": 1, "loss": 0.5}`` or ``step=1
        loss=0.5`` per line) are series of the node. ``metrics`` finds more in its output: regular expressions
        with named groups, instead of the job's own.

        ``timeout`` is a duration (``"30m"`` or seconds). Numbers and booleans in ``env`` are converted with
        ``str``. The result's ``stdout`` is the output of the command; if nothing is run (in a dry run, or
        after the failure of a job) it is ``dry``, so that code which parses it has something to parse.

        Raise CommandFailed for an exit code other than 0 unless ``check=False``, OutOfMemory, CommandTimeout,
        BudgetExceeded, ConnectionLost, PodLost, Interrupted, and Pruned if a plugin ends the command because
        of its metrics.
        """
        run = current_run()
        patterns = run.node.job.metrics if metrics is None else _patterns(metrics)
        command = self.command(run, cmd, cwd=cwd, env=env, timeout=timeout, dry=dry)
        request = StepRequest(
            kind=StepKind.RUN,
            name=name or cmd,
            command=cmd,
            about=(
                command.cwd,
                _about(command.env, run.commands.given),
                *([command.before] if command.before else []),
            ),
            detail={"key": command.key, "cwd": command.cwd, "secrets": sorted(self._secrets)},
            salvaged=lambda: Completed(command=cmd, exit_code=0, stdout=dry),
            keep=asdict,
            recall=lambda remote: Completed(**{**remote, "tail": tuple(remote["tail"])}),
        )
        masked = run.redactor.text(cmd)
        called = run.redactor.text(name) if name else in_short(masked)
        try:
            completed = self._steps.do(run, request, lambda end: self._follow(run, command, end, patterns))
        except CommandTimeout as error:
            raise CommandTimeout(masked, error.seconds, name=called) from None
        if run.steps.salvaging and check and not completed.ok:
            # The code after it expects the output of a command that succeeded.
            completed = replace(completed, stdout=dry)
        if check and not completed.ok and not run.steps.salvaging:
            failure = OutOfMemory if is_out_of_memory(completed) else CommandFailed
            raise failure(masked, completed.exit_code, tail=completed.tail, name=called)
        return completed

    def command(
        self,
        run: NodeRun,
        cmd: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str | int | float] | None = None,
        timeout: str | float | None = None,
        dry: str = "",
    ) -> Command:
        """Return the next command of ``run``, with the arguments of ``Pod.run``. Raise UsageError."""
        if not isinstance(cmd, str) or not cmd.strip():
            raise UsageError(f"pod.run: expected a shell command as one string, got {cmd!r}")
        prelude = prelude_of(self._prelude, run.commands.preludes, self._lease.name)
        own = {"RPD_NODE": run.node.id, "RPD_ATTEMPT": str(run.attempt)}
        from_plugins = _environment("run: rpd_command_environment", run.commands.given)
        return Command(
            key=_key(run),
            text=cmd,
            before=prelude.lines,
            cwd=self._path(cwd) if cwd else self.workspace,
            env={**from_plugins, **_gpus(run), **prelude.env, **_environment("run: env", env), **own},
            secrets=self._secrets,
            timeout=None if timeout is None else _checked_duration("pod.run: timeout", timeout),
            grace=max(GRACE_SECONDS, run.commands.saving_seconds),
            stand_in=dry,
        )

    def _follow(self, run: NodeRun, command: Command, end: StepEnd, patterns: tuple[str, ...]) -> Completed:
        self._stop.check()
        remote = self._connections.of(run)
        completed = run.commands.follow(remote, command, patterns)
        end.exit_code, end.seconds = completed.exit_code, completed.seconds
        if is_out_of_memory(completed) or completed.exit_code in CRASHES:
            run.commands.keep_crash(remote, completed)
        return completed

    def setenv(self, **variables: str | int | float) -> None:
        """Set variables for every later command of the job on this pod; ``env`` of ``run`` overrides them.

        They travel over SSH with each command. If a fixture of a wider scope sets them, every node on the pod
        has them. Raise UsageError.
        """
        self._own_prelude().env.update(_environment("setenv", variables))

    def source(self, path: str, *, required: bool = True) -> None:
        """Source a file on the pod before every later command; its variables are exported.

        A command fails if the file is missing, unless ``required`` is False. If a fixture of a wider scope
        asks for this, it holds for every node on the pod. Raise UsageError.
        """
        if not isinstance(path, str) or not path or "\0" in path or path.endswith("/"):
            raise UsageError(f"pod.source: expected the path of a file on the pod, got {path!r}")
        self._own_prelude().files[self._path(path)] = required

    def _own_prelude(self) -> Prelude:
        """Return the prelude of the node's commands, or of the wide fixture that is being set up."""
        run = current_run()
        return self._prelude if run.holder else run.commands.preludes.setdefault(self._lease.name, Prelude())

    def pin_python(self, version: str, *, cwd: str | None = None) -> Completed:
        """Install this Python with ``uv`` and use it for the project in ``cwd``; the image needs ``uv``.

        Raise UsageError, CommandFailed.
        """
        if not isinstance(version, str) or not PYTHON_VERSION.fullmatch(version):
            raise UsageError(
                f'pod.pin_python: expected a version such as "3.12" or "3.12.4", got {version!r}'
            )
        return self.run(_PIN.replace("VERSION", version), cwd=cwd, timeout="10m", name=f"python {version}")

    def put(
        self,
        local: str | Path,
        remote: str,
        *,
        exclude: Sequence[str] = (),
        keep: Sequence[str] = (),
        delete: bool = True,
        ignored: bool = False,
        name: str | None = None,
    ) -> Staged:
        """Send a file or folder, relative to the deploy file's folder.

        Files ignored by git or ``.rpdignore`` are left out.

        A folder becomes ``remote``: afterwards ``remote`` contains the sent files and nothing else, except
        files that match ``keep`` (patterns as in ``.gitignore``: ``".venv/"``), which stay on the pod
        unchanged. With ``delete=False``, every file stays that is not replaced. ``ignored=True`` also sends
        files that git ignores. A file becomes ``remote``, or goes into it if ``remote`` ends with a slash. A
        folder on the pod is never replaced by a file, nor a file by a folder. Raise UsageError, also for a
        missing path, and TransferError.
        """
        run = current_run()
        kept = check_patterns(keep)
        if kept and not delete:
            raise UsageError("pod.put: delete=False already keeps everything: leave keep out")
        # An absolute path stays the same object, so that entries cached for it are found quickly.
        source = local if isinstance(local, Path) and local.is_absolute() else self._base / local
        target = self._path(remote)
        if target.endswith("/") and source.is_file():
            target += source.name
        uploads = run.context.uploads
        own = uploads.own.below(source)
        exclude = (*exclude, *uploads.rules_for(source))
        is_merged = not delete and source.is_dir()

        def send(_end: StepEnd) -> Staged:
            with self._until_stopped(run) as interrupt:
                remote = self._connections.of(run)
                with run.context.mode.place_of(remote, target, kept, is_merged=is_merged) as into:
                    staged = remote.put(
                        source,
                        into,
                        exclude=(*exclude, *own),
                        ignored=ignored,
                        interrupt=interrupt,
                        progress=run.transfer_progress,
                    )
                return staged if into == target else replace(staged, remote=target)

        size = run.context.mode.size_of(uploads, source, exclude, ignored=ignored)
        how = "".join(
            (f", keeping {' '.join(kept)}" if kept else "", ", deleting nothing" if not delete else "")
        )
        request = StepRequest(
            kind=StepKind.PUT,
            name=name or f"put {local}",
            command=f"put {local} -> {target}{how}{size}",
            about=(exclude, "with what git ignores") if ignored else exclude,
            salvaged=lambda: Staged(remote=target, tree_sha256="", files=0, bytes=0),
            keep=asdict,
            recall=_recalled_staged,
        )
        staged = self._steps.do(run, request, send)
        uploads.tell_withheld(source, staged.withheld)
        key = sent_key(uploads.known_as(source), exclude, ignored=ignored)
        sha256 = staged.tree_sha256 or run.context.mode.digest_unsent(key)
        if sha256:
            self._note_sent(run, key, sha256)
        if staged.tree_sha256:
            run.context.asides.note_changed(source, staged.changed)
            run.context.asides.note_left_out(source, uploads.own.files_below(source))
        return staged

    def expect(self, name: str, command: str) -> None:
        """Record a ``put`` that sends nothing: in a dry run the results of other nodes do not exist yet."""
        self._steps.do(current_run(), without_answer(StepKind.PUT, name, command), lambda _end: None)

    def _note_sent(self, run: NodeRun, key: str, sha256: str) -> None:
        """Remember a digest that the node's result depends on.

        For files of a wide fixture, that of all nodes on this pod.
        """
        sent = self._lease.sent if run.holder else run.results.sent
        sent[key] = sha256

    @contextmanager
    def _until_stopped(self, run: NodeRun) -> Iterator[Interrupt]:
        """Yield an interrupt that is set when the run is stopped, or when the time of the job is up."""
        interrupt = Interrupt()
        forget = self._stop.listen(lambda level: interrupt.request() if level >= StopLevel.END else None)
        try:
            self._stop.check()
            with run.deadlines.timed(interrupt.request):
                yield interrupt
        except Interrupted:
            self._stop.check()  # raises with the reason of the stop
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
        label: str | None = None,
        name: str | None = None,
    ) -> Pulled | None:
        """Fetch a file, folder or glob into the node's ``artifacts`` folder, verified by sha256.

        ``local`` is a place in that folder. If it ends with a slash or is an existing folder, the result goes
        into it. Otherwise a single file takes ``local`` as its name, as with cp; a folder or a glob always
        goes into it. If the path of a folder ends with a slash, its contents go there, as with rsync. Two
        paths that would end up in one place are an error. ``label`` names the result in the manifest; without
        ``local`` it is the folder too.

        Pulls also happen if the job failed before this line. Return None if nothing is there and ``required``
        is False. With ``every`` (a duration: ``"5m"`` or seconds) return None at once; the pull repeats while
        the job runs, and one last time when the node ends, however it ends. Only the last pull can fail. Raise
        UsageError, MissingArtifact, TransferError.
        """
        run = current_run()
        seconds = None if every is None else _checked_interval(every, "pod.pull: every")
        source = self._path(remote, cwd)
        if label is not None:
            _check_label(label)
            local = f"{label}/" if local is None else local
        pulling = Pulling(
            run=run,
            lease=self._lease,
            connections=self._connections,
            steps=self._steps,
            lifetimes=self._lifetimes,
            title=remote,
            source=source,
            place=self._place(run, local),
            as_file=_names_a_file(source, local),
            contents=remote.endswith("/") and local is not None and split_glob(source)[1] is None,
            label=label or "",
            name=name,
            required=required,
            exclude=exclude,
            about=(str(local), tuple(exclude)),
        )
        if seconds is None:
            return pulling.once()
        pulling.again_and_again(seconds)
        return None

    def checkpoint(
        self,
        remote: str,
        *,
        every: str | float = "5m",
        keep: int = 2,
        grace: str | float = "30s",
        start: str | Path | None = None,
        cwd: str | None = None,
        name: str | None = None,
    ) -> Checkpoint:
        """Keep copies of the folder in which the job saves its progress, and restore the newest when it resumes.

        From now on rpd fetches the folder every ``every`` (a duration) and when the node ends, however it
        ends, verifies it by sha256, and keeps the newest ``keep`` copies here. In the next attempt, and after
        ``rpd resume`` on another pod, the newest copy is in the folder when this returns; ``start`` is a
        local folder to start from if there is none. Commands find the folder in ``$RPD_CHECKPOINT``. They get
        ``grace`` to save their progress before they have to end: deadlines, caps, pruning and Ctrl-C send
        SIGTERM. Raise UsageError, TransferError.
        """
        run = current_run()
        if run.holder:
            raise UsageError(
                f"pod.checkpoint: {run.holder} is a fixture of more than one node: call it in the job, or in a "
                "fixture with job scope"
            )
        from rpd.execute.pod.checkpoint import Checkpointing, checked_folder  # few jobs save their progress

        if not isinstance(keep, int) or isinstance(keep, bool) or keep < 1:
            raise UsageError(f"pod.checkpoint: keep={keep!r}: expected how many copies to keep, at least 1")
        seconds = _checked_interval(every, "pod.checkpoint: every")
        saving = _checked_duration("pod.checkpoint: grace", grace)
        path = checked_folder(posixpath.join(cwd, remote) if cwd else remote, self.workspace)
        if path in run.pulls.checkpoints and not run.steps.salvaging:
            raise UsageError(f"pod.checkpoint: {path} is already a checkpoint of this node")
        run.pulls.checkpoints.add(path)
        run.commands.saving_seconds = max(run.commands.saving_seconds, saving)
        checkpoint = Checkpointing(
            run=run,
            lease=self._lease,
            connections=self._connections,
            steps=self._steps,
            lifetimes=self._lifetimes,
            until_stopped=self._until_stopped,
            title=remote,
            path=path,
            seconds=seconds,
            keep=keep,
            start=None if start is None else _checked_start(self._base / start),
            name=name,
        ).begin()
        self._own_prelude().env["RPD_CHECKPOINT"] = path
        return checkpoint

    @staticmethod
    def _place(run: NodeRun, local: str | Path | None) -> Path:
        artifacts = run.files.artifacts
        try:
            return destination(artifacts, local)
        except UsageError:
            if run.steps.is_past_failure:
                return salvage_place(run)  # the job failed here, but its results may still be worth something
            raise

    @overload
    def read(
        self,
        remote: str,
        *,
        binary: Literal[False] = False,
        max_bytes: int = READ_BYTES,
        cwd: str | None = None,
        name: str | None = None,
        dry: str = "",
    ) -> str: ...

    @overload
    def read(
        self,
        remote: str,
        *,
        binary: Literal[True],
        max_bytes: int = READ_BYTES,
        cwd: str | None = None,
        name: str | None = None,
        dry: bytes = b"",
    ) -> bytes: ...

    def read(
        self,
        remote: str,
        *,
        binary: bool = False,
        max_bytes: int = READ_BYTES,
        cwd: str | None = None,
        name: str | None = None,
        dry: str | bytes = "",
    ) -> str | bytes:
        """Return the content of a small file on the pod: text (UTF-8), or bytes with ``binary=True``.

        A file larger than ``max_bytes`` (1 MiB by default) is an error; use ``pull`` for those. If nothing is
        read (in a dry run, or after the failure of a job) the answer is ``dry``. Raise UsageError,
        MissingArtifact, TransferError.
        """
        run = current_run()
        if not isinstance(max_bytes, int) or isinstance(max_bytes, bool) or max_bytes < 0:
            raise UsageError(f"pod.read: max_bytes={max_bytes!r}: expected a number of bytes >= 0")
        source = self._path(remote, cwd)
        stand_in = dry.encode() if isinstance(dry, str) else dry

        def fetch(_end: StepEnd) -> bytes:
            self._stop.check()
            return self._connections.of(run).read(source, most=max_bytes, stand_in=stand_in)

        request = StepRequest(
            kind=StepKind.READ,
            name=name or f"read {remote}",
            command=f"read {source}",
            about=max_bytes,
            salvaged=lambda: stand_in,
            keep=_kept_bytes,
            recall=_recalled_bytes,
        )
        data = self._steps.do(run, request, fetch)
        if binary:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"pod.read: {source} is not UTF-8 text ({error.reason} at byte {error.start}): read it with binary=True"
            ) from None

    def write(self, remote: str, text: str, mode: int = 0o644, *, name: str | None = None) -> None:
        """Write a text file on the pod (UTF-8).

        Raise TransferError; UsageError if ``text`` is no text or ``remote`` a folder.
        """
        if not isinstance(text, str):
            raise UsageError(
                f"pod.write: expected a string, got {type(text).__name__} (send bytes with pod.put)"
            )
        run = current_run()
        target = self._path(remote)
        if target.endswith("/"):
            raise UsageError(f"pod.write: {remote!r} names a folder; add the name of the file")

        def send(_end: StepEnd) -> None:
            self._stop.check()
            self._connections.of(run).write(target, text.encode(), mode=mode)

        what = f"write {target} ({len(text)} characters)"
        request = without_answer(StepKind.WRITE, name or f"write {remote}", what, about=(text, mode))
        self._steps.do(run, request, send)

    def forward(self, port: int, local_port: int = 0) -> int:
        """Forward a local port (any free one by default) to ``port`` on the pod; return the local port."""
        with current_run().deadlines.shielded():
            return self._connections.first.forward(port, local_port)

    # --- how ----------------------------------------------------------------------------------------------------

    def _path(self, path: str, cwd: str | None = None) -> str:
        base = posixpath.join(self.workspace, cwd) if cwd else self.workspace
        joined = posixpath.normpath(posixpath.join(base, path))
        return f"{joined}/" if path.endswith("/") and joined != "/" else joined


def _key(run: NodeRun) -> str:
    """Return the name of the next command's folder on the pod; it is the same when a run is resumed."""
    return f"{run.key}-{run.attempt}-{len(run.steps.taken)}"


def _about(env: Mapping[str, str], given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables that identify a command: those of plugins may differ from run to run."""
    return sorted((name, value) for name, value in env.items() if given.get(name) != value)


def _environment(setting: str, env: Mapping[str, str | int | float] | None) -> dict[str, str]:
    """Return variables as text; ``setting`` names them in errors. Raise UsageError for impossible ones."""
    if env is None:
        return {}
    if not isinstance(env, Mapping):
        raise UsageError(f"pod.{setting}: expected a mapping of names to strings or numbers, got {env!r}")
    for name, value in env.items():
        if not isinstance(name, str) or not is_variable_name(name):
            raise UsageError(
                f"pod.{setting}: {name!r} is not a valid name of an environment variable: use letters, digits and _"
            )
        if not isinstance(value, str | int | float):
            raise UsageError(
                f"pod.{setting}[{name!r}]: expected a string or a number, got {value!r} (leave out variables you "
                "don't want to set)"
            )
        if isinstance(value, str) and "\0" in value:
            raise UsageError(
                f"pod.{setting}[{name!r}] holds a NUL character, which environment variables cannot contain"
            )
    return {name: str(value) for name, value in env.items()}


def _patterns(metrics: str | Sequence[str]) -> tuple[str, ...]:
    """Return the patterns of ``run`` as a tuple. Raise UsageError if one is invalid."""
    texts = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    try:
        LinePatterns(texts)
    except (ValueError, TypeError) as error:
        raise UsageError(f"pod.run: metrics={metrics!r}: {error}") from None
    return texts


def _recalled_staged(answer: Mapping[str, Any]) -> Staged:
    names = {field: tuple(answer.get(field, ())) for field in ("changed", "withheld")}
    return Staged(**{**answer, **names})


def _kept_bytes(data: bytes) -> dict[str, str]:
    """Return bytes in a form that JSON can hold: as text if possible, so that secrets in it are masked."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _recalled_bytes(answer: Mapping[str, str]) -> bytes:
    return answer["text"].encode() if "text" in answer else base64.b64decode(answer["base64"])


def _check_label(label: object) -> None:
    """Raise UsageError unless ``label`` can be the name of a folder."""
    if (
        not isinstance(label, str)
        or not label.strip()
        or "/" in label
        or label in (".", "..")
        or "\0" in label
    ):
        raise UsageError(f"pod.pull: label={label!r}: expected the name of a folder")


def _names_a_file(source: str, local: str | Path | None) -> bool:
    """Return whether ``local`` is the name of a single file at ``source``, provided no folder is there."""
    text = "" if local is None else str(local)
    names_folder = source.endswith("/") or text.endswith(("/", os.sep)) or not text
    return not names_folder and split_glob(source)[1] is None


def _checked_start(folder: Path) -> Path:
    """Return the local folder that a job starts from. Raise UsageError if there is none."""
    if not folder.is_dir():
        raise UsageError(f"pod.checkpoint: start: no such folder: {folder}")
    return folder


def _checked_interval(every: str | float, what: str) -> float:
    """Return seconds. Raise UsageError."""
    seconds = _checked_duration(what, every)
    if seconds <= 0:
        raise UsageError(f'{what}={every!r}: expected a duration > 0, such as "5m"')
    return seconds


def _checked_duration(what: str, value: str | float) -> float:
    """Return seconds. Raise UsageError."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise UsageError(f"{what}={value!r}: {error}") from None


def _gpus(run: NodeRun) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, run.use.gpus))} if run.use.gpus else {}

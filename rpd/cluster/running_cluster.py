"""The handle of a cluster, through which a job function acts on all its members or on one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rpd.cluster import launchers, ray
from rpd.cluster.cluster_lease import ClusterLease
from rpd.cluster.launchers import Shape
from rpd.cluster.rank_logs import RankLogs
from rpd.cluster.together import Ended, Part, run_together
from rpd.errors import CommandFailed, CommandTimeout, OutOfMemory, UsageError
from rpd.execute.deadlines import limit_of
from rpd.execute.node.current import current_run
from rpd.execute.node.follow import both
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.step_history import StepEnd, StepRequest
from rpd.execute.pod.handle import Pod
from rpd.execute.pod.held import Held
from rpd.execute.pod.steps import Steps
from rpd.lease.lease import Lease
from rpd.remote.out_of_memory import is_out_of_memory
from rpd.remote.protocol import Command, Output
from rpd.remote.transfer.patience import SHORT_SECONDS
from rpd.stop import StopLevel
from rpd.values.frozen import asdict, frozen, replace
from rpd.values.job import ClusterType
from rpd.values.step import Checkpoint, Completed, Pulled, Staged, StepKind, in_short

ENDED_CODE = 143
"""The exit code of a rank that was ended because another failed: that of SIGTERM."""


@frozen(kw_only=False)
class AllEnded:
    """How a command ended on every rank, and which of them failed first, if one did."""

    completed: tuple[Completed, ...]
    first: int | None = None


def hold(lease: Lease, make: Callable[[Lease], Pod]) -> RunningCluster:
    """Return the handle of a cluster that is ready; ``make`` makes that of one member."""
    assert isinstance(lease, ClusterLease)
    return RunningCluster(lease, [make(member) for member in lease.members])


class RunningCluster(Held):
    """The pods of a cluster, by rank.

    Made by the fixture ``cluster``, or by ``provision`` for a job with ``cluster``.

    Its methods act on every member unless ``rank`` names one; ``ranks[1]`` is the pod of rank 1, with all
    methods of a pod.
    """

    def __init__(self, lease: ClusterLease, ranks: Sequence[Pod]) -> None:
        super().__init__(lease)
        self._members = lease.members
        self.ranks = tuple(ranks)
        """The pod of each rank."""
        self._steps = Steps(lease, self._attend)

    def __repr__(self) -> str:
        return f"<RunningCluster {self.id} {self.nodes} nodes of {self.gpus}x {self.primary.gpu}>"

    def __len__(self) -> int:
        return len(self.ranks)

    def __iter__(self) -> Iterator[Pod]:
        return iter(self.ranks)

    def __getitem__(self, rank: int) -> Pod:
        return self.ranks[rank]

    # --- properties -------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> int:
        """The number of members."""
        return len(self.ranks)

    @property
    def parts(self) -> Sequence[Pod]:
        """The pod of each rank."""
        return self.ranks

    @property
    def gpus(self) -> int:
        """How many GPUs each member has."""
        gpu = self._lease.request.gpu
        return gpu.count if gpu else 0

    @property
    def primary(self) -> Pod:
        """The pod of rank 0."""
        return self.ranks[0]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address of each rank in the private network of the cluster."""
        return tuple(member.rented.private_ip for member in self._members)

    @property
    def workspace(self) -> str:
        """The folder where the volume of a member is mounted."""
        return self.primary.workspace

    @property
    def ssh_command(self) -> str:
        """A command line that opens a shell on rank 0 while it lives."""
        return self.primary.ssh_command

    def copy_command(self, remote: str) -> str:
        """Return a command line that copies a path on rank 0 into the current folder."""
        return self.primary.copy_command(remote)

    # --- whose it is ------------------------------------------------------------------------------------------------

    def join(self, run: NodeRun) -> None:
        """Count ``run`` among the nodes it serves."""
        for pod in self.ranks:
            pod.join(run)

    def watch(self) -> None:
        """Begin to listen to every member, and to show its watchdog that somebody is here."""
        for pod in self.ranks:
            pod.watch()

    def unwatch(self) -> None:
        """Listen no more."""
        for pod in self.ranks:
            pod.unwatch()

    def _attend(self, run: NodeRun) -> None:
        for pod in self.ranks:
            pod.attend(run)

    # --- commands ---------------------------------------------------------------------------------------------------

    def run(
        self,
        cmd: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str | int | float] | None = None,
        timeout: str | float | None = None,
        check: bool = True,
        name: str | None = None,
        dry: str = "",
    ) -> tuple[Completed, ...]:
        """Run a shell command on every member at once; return how it ended, by rank.

        Each has the variables that RunPod documents for clusters (``NODE_RANK``, ``MASTER_ADDR`` and so on), and
        ``NCCL_SOCKET_IFNAME``. Its output goes to ``rank-N.log``, and with its rank to the log of the node. As soon as
        one rank fails, the others are ended. With ``check=False`` all of them may end as they like.

        Raise CommandFailed (with the rank that failed first), OutOfMemory, CommandTimeout, BudgetExceeded,
        ConnectionLost, PodLost, Interrupted, UsageError.
        """
        run = current_run()
        shape = self._shape
        commands = [
            self._command(run, pod, rank, shape, cmd, cwd=cwd, env=env, timeout=timeout, dry=dry)
            for rank, pod in enumerate(self.ranks)
        ]
        first = commands[0]
        everywhere = f"on {self.nodes} ranks: {cmd}"
        request = StepRequest(
            kind=StepKind.RUN,
            name=name or everywhere,
            command=everywhere,
            about=(
                "cluster",
                first.cwd,
                sorted(first.env.items()),
                *([first.before] if first.before else []),
            ),
            detail={"key": first.key, "cwd": first.cwd, "secrets": sorted(first.secrets)},
            salvaged=lambda: _stand_in(cmd, dry, self.nodes),
            keep=asdict,
            recall=_recalled,
        )
        masked = run.redactor.text(cmd)
        called = run.redactor.text(name) if name else in_short(masked)
        try:
            ended = self._steps.do(run, request, lambda end: self._follow(run, commands, end, check=check))
        except CommandTimeout as error:
            raise CommandTimeout(masked, error.seconds, name=called) from None
        if not check or ended.first is None:
            return ended.completed
        if run.steps.salvaging:  # the code after the call expects the results of a success
            return _stand_in(cmd, dry, self.nodes).completed
        each = ended.completed[ended.first]
        failure = OutOfMemory if is_out_of_memory(each) else CommandFailed
        where = f"rank {ended.first} of {self.nodes}"
        raise failure(masked, each.exit_code, tail=each.tail, name=f"{where}: {called}")

    def _command(
        self, run: NodeRun, pod: Pod, rank: int, shape: Shape, cmd: str, *, env: Any, **how: Any
    ) -> Command:
        made = pod.command(run, cmd, env=env, **how)
        if not made.key.endswith(f"-r{rank}"):
            made = replace(made, key=f"{made.key}-r{rank}")
        return replace(made, env={**launchers.variables(shape, rank), **made.env, "RPD_RANK": str(rank)})

    @property
    def _shape(self) -> Shape:
        interfaces = tuple(member.interface for member in self._members)
        return Shape(addresses=self.addresses, gpus=self.gpus, interfaces=interfaces)

    def _follow(self, run: NodeRun, commands: Sequence[Command], end: StepEnd, *, check: bool) -> AllEnded:
        run.context.stop.check()
        run.commands.pruning.check()
        if self.primary.is_dry:
            return _stand_in(commands[0].text, commands[0].stand_in, self.nodes)
        limit = limit_of(run.deadlines, commands[0].timeout)
        run.series.begin(run.node.job.metrics)
        try:
            with limit.telling(commands[0].text), run.commands.watched_for_life() as hear:
                ended = self._run_parts(
                    run, [replace(each, timeout=limit.seconds) for each in commands], hear, check
                )
        finally:
            run.log.flush()
        run.series.end()
        answer = _all_ended(ended, commands)
        end.exit_code = 0 if ended.first is None else answer.completed[ended.first].exit_code
        end.seconds = max(each.seconds for each in answer.completed)
        return answer

    def _run_parts(self, run: NodeRun, commands: Sequence[Command], hear: Output, check: bool) -> Ended:  # noqa: FBT001
        """Run a command for each rank, each to its log.

        Raise the error that ended them all, unless it was an exit code.
        """
        logs = RankLogs(
            run.files.on_disk, self.nodes, redactor=run.redactor, write=hear, failed=run.context.disk.failed
        )
        logs.begin(commands[0].key)
        parts = [
            Part(pod.attend(run), command, logs.of(rank))
            for rank, (pod, command) in enumerate(zip(self.ranks, commands, strict=True))
        ]
        # The measurements of rank 0 count as the node's, as with most trainings.
        parts[0].metrics = run.series.feed
        if run.node.job.metrics:
            parts[0].output = both(parts[0].output, run.series.hear_output)
        forget = run.context.stop.listen(lambda level: _end(parts) if level >= StopLevel.END else None)
        try:
            with run.commands.pruning.through(partial(_end, parts)):
                ended = run_together(parts, end_others=check)
        finally:
            forget()
            logs.close()
        run.context.stop.check()
        run.commands.pruning.check()
        if ended.error is not None:
            raise ended.error
        return ended

    def torchrun(
        self,
        script: str | Sequence[str],
        *,
        nproc_per_node: int | None = None,
        options: Mapping[str, object] | str = "",
        **how: Any,
    ) -> tuple[Completed, ...]:
        """Start ``script`` on every member with ``torchrun``: ranks, rendezvous and network interface are set.

        ``nproc_per_node`` is by default the number of GPUs of a member; ``options`` go to torchrun. ``how``
        and the errors raised are those of ``run``.
        """
        return self._launch("torchrun", launchers.torchrun, script, nproc_per_node, options, how)

    def accelerate(
        self,
        script: str | Sequence[str],
        *,
        nproc_per_node: int | None = None,
        options: Mapping[str, object] | str = "",
        **how: Any,
    ) -> tuple[Completed, ...]:
        """Start ``script`` on every member with ``accelerate launch``; otherwise as ``torchrun``."""
        return self._launch("accelerate", launchers.accelerate, script, nproc_per_node, options, how)

    def deepspeed(
        self,
        script: str | Sequence[str],
        *,
        nproc_per_node: int | None = None,
        options: Mapping[str, object] | str = "",
        **how: Any,
    ) -> tuple[Completed, ...]:
        """Start ``script`` on every member with ``deepspeed``, without SSH between them; otherwise as ``torchrun``."""
        return self._launch("deepspeed", launchers.deepspeed, script, nproc_per_node, options, how)

    def _launch(
        self,
        name: str,
        launcher: Callable[..., str],
        script: str | Sequence[str],
        processes: int | None,
        options: Mapping[str, object] | str,
        how: Mapping[str, Any],
    ) -> tuple[Completed, ...]:
        line = launcher(
            self._shape,
            launchers.script_line(script, name),
            processes=launchers.checked_processes(processes, self.gpus, name),
            options=launchers.options_line(options, name),
        )
        return self.run(line, **{"name": f"{name} {in_short(launchers.script_line(script, name))}", **how})

    def ray(self, *, options: str = "", timeout: str | float = ray.START_SECONDS) -> str:
        """Start Ray on every member and return its address, once all of them have joined.

        Commands of the job have it as ``RAY_ADDRESS``, so that ``ray.init()`` finds it. In a cluster of the type
        ``ray`` RunPod has started it already. ``options`` go to ``ray start``. The image needs Ray. Raises as ``run``
        does.
        """
        address = f"{self.addresses[0]}:{ray.PORT}"
        cluster = self._lease.request.cluster
        if cluster is None or cluster.type is not ClusterType.RAY:
            self.run(ray.start(options), timeout=timeout, name="ray start")
        self.setenv(RAY_ADDRESS=address)
        self.primary.run(
            ray.wait(address, self.nodes, ray.START_SECONDS / 2),
            timeout=timeout,
            name="ray: wait for all members",
        )
        return address

    # --- variables and files ----------------------------------------------------------------------------------------

    def setenv(self, **variables: str | int | float) -> None:
        """Give variables to every command that the job runs on any member from now on, as ``Pod.setenv`` does."""
        for pod in self.ranks:
            pod.setenv(**variables)

    def source(self, path: str, *, required: bool = True) -> None:
        """Have the shell of every command source a file first, as ``Pod.source`` does."""
        for pod in self.ranks:
            pod.source(path, required=required)

    def put(
        self, local: str | Path, remote: str, *, rank: int | None = None, **how: Any
    ) -> tuple[Staged, ...]:
        """Send a file or folder to every member, or to ``rank`` alone, as ``Pod.put`` does.

        Return one Staged for each.

        To a network volume, which all members share, it is sent once.
        """
        return tuple(
            pod.put(local, remote, **{"name": f"put {Path(local).name} on rank {place}", **how})
            for place, pod in self._for_writing(rank, remote)
        )

    def write(self, remote: str, text: str, mode: int = 0o644, *, rank: int | None = None) -> None:
        """Write a text file on every member, or on ``rank`` alone, as ``Pod.write`` does."""
        for place, pod in self._for_writing(rank, remote):
            pod.write(remote, text, mode, name=f"write {remote} on rank {place}")

    def pull(
        self,
        remote: str,
        local: str | Path | None = None,
        *,
        rank: int | None = None,
        **how: Any,
    ) -> tuple[Pulled | None, ...]:
        """Fetch from every member into ``rank-N/`` in ``local``, or from ``rank`` alone into ``local`` itself.

        Otherwise as ``Pod.pull``.
        """
        if rank is not None:
            return (self._one(rank, "pull").pull(remote, local, **how),)
        base = "" if local is None else f"{str(local).rstrip('/')}/"
        # Without a place a folder comes with its name, whether a slash follows that or not, as from a single pod.
        source = remote if local is not None else remote.rstrip("/") or remote
        return tuple(
            pod.pull(source, f"{base}rank-{place}/", **{"name": f"pull {remote} from rank {place}", **how})
            for place, pod in enumerate(self.ranks)
        )

    def checkpoint(self, remote: str, **how: Any) -> Checkpoint:
        """Keep copies of the folder in which rank 0 saves its progress, as ``Pod.checkpoint`` does.

        An earlier copy is put on every member, since all of them load it. Commands on each find the folder in
        ``$RPD_CHECKPOINT``.
        """
        checkpoint = self.primary.checkpoint(remote, **how)
        for rank, pod in self._for_writing(None, checkpoint.path)[1:]:
            self._put_checkpoint(pod, rank, checkpoint)
        self.setenv(RPD_CHECKPOINT=checkpoint.path)
        return checkpoint

    def _put_checkpoint(self, pod: Pod, rank: int, checkpoint: Checkpoint) -> None:
        run = current_run()
        request = StepRequest(
            kind=StepKind.PUT,
            name=f"checkpoint on rank {rank}",
            command=f"put checkpoint -> {checkpoint.path}",
            about=rank,
            salvaged=lambda: None,
            keep=lambda _nothing: {},
            recall=lambda _document: None,
        )

        def send(_end: StepEnd) -> None:
            remote = pod.attend(run)
            if checkpoint.is_restored:
                remote.put(Path(checkpoint.copy), checkpoint.path, ignored=True)
            else:
                remote.script(f"mkdir -p -- {shlex.quote(checkpoint.path)}", timeout=SHORT_SECONDS)

        self._steps.do(run, request, send)

    def _for_writing(self, rank: int | None, remote: str) -> Sequence[tuple[int, Pod]]:
        """Return the pods that a file has to be sent to, each with its rank."""
        if rank is not None:
            return [(rank, self._one(rank, "put"))]
        is_shared = self._lease.request.storage.network_volume is not None
        is_there = not remote.startswith("/") or f"{remote}/".startswith(f"{self.workspace.rstrip('/')}/")
        everybody = list(enumerate(self.ranks))
        return everybody[:1] if is_shared and is_there else everybody

    def _one(self, rank: object, verb: str) -> Pod:
        if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < self.nodes:
            raise UsageError(f"cluster.{verb}: rank={rank!r}: expected a rank from 0 to {self.nodes - 1}")
        return self.ranks[rank]


def _end(parts: Sequence[Part]) -> None:
    for part in parts:
        part.interrupt()


def _all_ended(ended: Ended, commands: Sequence[Command]) -> AllEnded:
    """Return the answer to a command: of a rank that was ended because of another there is that to tell."""
    why = f"rpd: ended, because rank {ended.first} had failed"
    completed = tuple(
        each or Completed(command=command.text, exit_code=ENDED_CODE, tail=(why,))
        for each, command in zip(ended.completed, commands, strict=True)
    )
    return AllEnded(completed, ended.first)


def _stand_in(cmd: str, dry: str, nodes: int) -> AllEnded:
    return AllEnded((Completed(command=cmd, exit_code=0, stdout=dry),) * nodes)


def _recalled(answer: Mapping[str, Any]) -> AllEnded:
    ranks = tuple(Completed(**{**each, "tail": tuple(each["tail"])}) for each in answer["completed"])
    return AllEnded(ranks, answer["first"])

"""Connecting to a node: reaches the pod of a running or finished node, with the key of its run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.errors import ProviderError, RpdError, UsageError
from rpd.journal import journal
from rpd.journal.driver_alive import is_driven as is_driven
from rpd.journal.files import NodeFiles, RunFiles, journal_paths
from rpd.pipeline import local_backend, orphans
from rpd.record import history, lookup
from rpd.record.lookup import NodeEntry
from rpd.record.run_info import RunInfo
from rpd.runpod.address import EMULATOR
from rpd.select import spellings
from rpd.values.endpoint import Endpoint
from rpd.values.frozen import frozen, replace
from rpd.values.pod import PodInfo, PodStatus, Provider

if TYPE_CHECKING:
    from rpd.remote.session import Place
    from rpd.remote.ssh import SshRemote

CONNECT_SECONDS = 30.0
MEMBER = "#"
"""Between the name of a cluster and a rank, in what a journal calls a member."""


@frozen
class LastCommand:
    """The last command of a node: the key of its folder on the pod, where it ran, whether it has ended.

    ``log_bytes`` is how long ``output.log`` was when it began.
    """

    key: str
    cwd: str
    secrets: tuple[str, ...] = ()
    log_bytes: int = 0
    is_over: bool = False


@frozen
class Work:
    """The latest attempt of a node, from its journal: the pod's name, and the last command there."""

    pod_name: str = ""
    user: str = ""
    """The user who can log in there, if not root."""
    attempt: int = 1
    is_over: bool = False
    command: LastCommand | None = None


@frozen
class Target:
    """A pod that can be reached: the key that opens it, the pinned host keys, and the place of the job on it."""

    pod: PodInfo
    private_key: Path
    known_hosts: Path
    node: NodeEntry | None = None
    work: Work = Work()

    def place(self, environ: Mapping[str, str] = os.environ) -> Place:
        """Return where the job stands; secrets are those of its last command that this process's environment holds."""
        from rpd.remote.session import Place  # not at the top: who only reads a journal works on no pod

        command = self.work.command
        env = {"RPD_NODE": self.node.id, "RPD_ATTEMPT": str(self.work.attempt)} if self.node else {}
        if command is None:
            return Place(env=env)
        secrets = {name: environ[name] for name in command.secrets if environ.get(name)}
        return Place(key=command.key, cwd=command.cwd, env=env, secrets=secrets)

    def ssh_command(self) -> str:
        """Return the command line that opens a shell with plain ``ssh``."""
        ssh = self.pod.ssh
        assert ssh is not None
        options = [
            f"UserKnownHostsFile={self.known_hosts}",
            f"HostKeyAlias={self.pod.id}",
            "IdentitiesOnly=yes",
        ]
        words = ["ssh", "-i", str(self.private_key)]
        for option in options:
            words += ["-o", option]
        return shlex.join([*words, "-p", str(ssh.port), f"{ssh.user}@{ssh.host}"])


def work_of(folder: Path) -> Work:
    """Return the latest attempt in the journal in a node's folder."""
    work = Work()
    for event in journal.read(NodeFiles(folder).journal):
        work = _after(work, event)
    return work


def _after(work: Work, event: Mapping[str, Any]) -> Work:
    match event["event"]:
        case "node_started" | "node_resumed":
            attempt = _whole(event, "attempt", 1)
            kept = work if event["event"] == "node_resumed" else Work()
            return replace(kept, attempt=attempt, is_over=False)
        case "created" | "adopted":
            return replace(work, pod_name=str(event.get("pod_name", "")), user="")
        case "ready":
            return replace(work, user=str(event.get("user", "")))
        case "step_started":
            return replace(
                work, pod_name=str(event.get("pod") or work.pod_name), command=_command(work, event)
            )
        case "step_finished" if work.command is not None and event.get("exit_code") is not None:
            return replace(work, command=replace(work.command, is_over=True))
        case "steps_forgotten":
            return replace(work, command=None)
        case "node_finished":
            return replace(work, is_over=True)
    return work


def _command(work: Work, event: Mapping[str, Any]) -> LastCommand | None:
    if event.get("kind") != "run":
        return work.command
    return LastCommand(
        key=str(event.get("key", "")),
        cwd=str(event.get("cwd", "")),
        secrets=tuple(map(str, secrets)) if isinstance(secrets := event.get("secrets"), list) else (),
        log_bytes=_whole(event, "log_bytes", 0),
    )


def _whole(event: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = event.get(name)
    return value if isinstance(value, int) and value >= 0 else otherwise


class NotBegun(UsageError):
    """A node of a run that is not over has not begun; ``run`` is that run."""

    def __init__(self, node_id: str, run: RunInfo) -> None:
        super().__init__(
            f"{node_id} has not begun yet in run {run.id}: rpd show {run.id} shows which nodes have"
        )
        self.node_id = node_id
        self.run = run


def node_named(runs_path: Path, wanted: str, run: str = "") -> tuple[RunInfo, NodeEntry]:
    """Return the node ``wanted`` means and its run: ``run``, else the newest one that has such a node.

    Raise UsageError, NotBegun.
    """
    runs = history.runs(runs_path)
    newest = lookup.run_named(runs, run)
    entries = lookup.entries(Path(newest.folder))
    try:
        return newest, lookup.node_named(entries, wanted)
    except UsageError:
        texts = spellings(wanted)
        if any(text in entry.id for entry in entries for text in texts):
            raise
        _check_waiting(newest, wanted)
        if run:
            raise
        for info in runs[1:]:
            older = lookup.entries(Path(info.folder))
            if any(text in entry.id for entry in older for text in texts):
                return info, lookup.node_named(older, wanted)
        raise


def _check_waiting(info: RunInfo, wanted: str) -> None:
    """Raise NotBegun if ``wanted`` is a node of a run that is not over, and has not begun there."""
    if info.finished or not wanted:
        return
    events = journal.read(Path(info.folder) / journal.FILE_NAME)
    planned = journal.planned_ids(events)
    waiting = next((node_id for node_id in planned for text in spellings(wanted) if text in node_id), None)
    if waiting is not None:
        raise NotBegun(waiting, info)


def local_backend_of(runs_path: Path, wanted: str, *, run: str = "") -> Endpoint | None:
    """Return the emulator of the pod that ``wanted`` names: that of a running ``--local`` run.

    None means a pod elsewhere. Raise RpdError if the run is over and the emulator is gone.
    """
    try:
        folder = Path(node_named(runs_path, wanted, run)[0].folder)
    except UsageError:
        claimed = orphans.claims(runs_path).items()
        folders = [claim.folder for name, claim in claimed if wanted in (name, claim.pod_id)]
        if not folders:
            return None
        folder = folders[-1]
    local = _local(history.run_in(folder))
    if local is not None and local.end is None:
        raise RpdError(local.over)
    return local_backend.find(RunFiles(folder, folder.name).emulator) if is_driven(folder) else None


@frozen
class Local:
    """A ``--local`` run: its emulator while it runs, else None, and in ``over`` the fate of its pods."""

    over: str
    end: Endpoint | None


def newest_local(runs_path: Path) -> Local | None:
    """Return the newest run if it is a local one, else None."""
    runs = history.runs(runs_path)
    return _local(runs[0]) if runs else None


def _local(info: RunInfo | None) -> Local | None:
    if info is None or not info.backend.startswith(EMULATOR) or local_backend.ADDRESS in os.environ:
        return None
    folder = Path(info.folder)
    over = f"run {info.id} was local and is over: its pods ended with its emulator"
    if "--local" not in info.argv:  # an emulator that somebody started, and that may still be there
        url = info.backend.removeprefix(f"{EMULATOR} at ")
        over = (
            f"run {info.id} used the emulator at {url}: if that still runs, export {local_backend.ADDRESS}={url} "
            "and its RUNPOD_API_KEY to reach its pods"
        )
    end = local_backend.find(RunFiles(folder, info.id).emulator) if is_driven(folder) else None
    return Local(over=over, end=end)


def find(
    runs_path: Path, wanted: str, provider: Provider, *, run: str = "", rank: int | None = None
) -> Target:
    """Return the target for ``wanted``: a pod's id or name, or a node.

    For a cluster it is the member of that ``rank``; without one, the member that was named, else the first.

    Raise UsageError if there is no such node or pod, or its key is not here; RpdError if it is gone or
    not running; ProviderError.
    """
    listed = provider.list()
    exact = [pod for pod in listed if wanted in (pod.id, pod.name, *(member.id for member in pod.members))]
    if exact:
        return _target_of(runs_path, exact[0], _named_rank(exact[0], wanted) if rank is None else rank)
    try:
        info, entry = node_named(runs_path, wanted, run)
    except UsageError as error:
        fitting = [pod for pod in listed if pod.id.startswith(wanted)]
        if len(fitting) == 1:
            return _target_of(runs_path, fitting[0], rank)
        raise UsageError(f"{wanted!r} is neither a pod nor a node here: {error}") from None
    work = work_of(entry.folder)
    if not work.pod_name:
        raise RpdError(f"{entry.id} of run {info.id} has no pod")
    name, _, member = work.pod_name.partition(MEMBER)
    pod = next((pod for pod in listed if pod.name == name), None)
    if pod is None:
        raise RpdError(f"the pod of {entry.id} ({name}, run {info.id}) is gone")
    if rank is None and member.isdigit():
        rank = int(member)
    return _target(runs_path, pod, entry, work, rank)


def _named_rank(pod: PodInfo, wanted: str) -> int | None:
    """Return the rank of the member with that id; None if the whole cluster was named."""
    return next((rank for rank, member in enumerate(pod.members) if member.id == wanted), None)


def _target_of(runs_path: Path, pod: PodInfo, rank: int | None = None) -> Target:
    """Return the target for a pod that was named itself, with the node that worked on it last."""
    claim = orphans.claims(runs_path).of(pod)
    workers = _workers(claim.folder, pod.name) if claim is not None else []
    entry, work = workers[-1] if workers else (None, Work())
    return _target(runs_path, pod, entry, work, rank)


def _workers(run_folder: Path, pod_name: str) -> list[tuple[NodeEntry, Work]]:
    pairs = ((entry, work_of(entry.folder)) for entry in lookup.entries(run_folder))
    return [(entry, work) for entry, work in pairs if work.pod_name.partition(MEMBER)[0] == pod_name]


def _target(
    runs_path: Path, whole: PodInfo, entry: NodeEntry | None, work: Work, rank: int | None = None
) -> Target:
    pod, work = _member(whole, rank), _of_rank(work, rank)
    if pod.status is not PodStatus.RUNNING or pod.ssh is None:
        raise RpdError(
            f"pod {pod.id} ({pod.name}) cannot be reached: it is {pod.status}, without an SSH port"
        )
    if work.user:
        pod = replace(pod, ssh=replace(pod.ssh, user=work.user))
    makers = list(_makers(runs_path, whole.id))
    # A pod that was used again still has the key of the run that made it; the host key is the one seen last.
    keys = [files.private_key for files in makers if files.private_key.is_file()]
    if not keys:
        raise UsageError(f"no run in {runs_path} has the key of pod {pod.id} ({pod.name})")
    return Target(pod=pod, private_key=keys[0], known_hosts=makers[-1].known_hosts, node=entry, work=work)


def _member(pod: PodInfo, rank: int | None) -> PodInfo:
    """Return the member of a cluster with that rank, by default the first; a single pod itself. Raise UsageError."""
    if rank is not None and not 0 <= rank < max(1, len(pod.members)):
        has = f"ranks 0 to {len(pod.members) - 1}" if pod.members else "no ranks: it is not a cluster"
        raise UsageError(f"--rank {rank}: pod {pod.id} ({pod.name}) has {has}")
    return pod.members[rank or 0] if pod.members else pod


def _of_rank(work: Work, rank: int | None) -> Work:
    """Return the work as a member has it: a command that ran on all of them is named by the rank as well."""
    command = work.command
    if command is None or not rank or not command.key.endswith("-r0"):
        return work
    return replace(work, command=replace(command, key=f"{command.key.removesuffix('0')}{rank}"))


def _makers(runs_path: Path, pod_id: str) -> Iterable[RunFiles]:
    """Yield the runs that made a pod or used it again, the oldest first."""
    for path in journal_paths(runs_path):
        if any(event["event"] == "created" and event.get("pod_id") == pod_id for event in journal.read(path)):
            yield RunFiles(path.parent, path.parent.name)


def open_remote(target: Target, provider: Provider, *, timeout: float = CONNECT_SECONDS) -> SshRemote:
    """Connect to a target. Raise PodNotReady, PodLost, ConnectionLost (another host key than the pinned one)."""
    from rpd.remote.ssh import SshRemote, connect

    assert target.pod.ssh is not None
    remote = connect(
        target.pod.ssh,
        private_key=target.private_key,
        known_hosts=target.known_hosts,
        pod_id=target.pod.id,
        timeout=timeout,
        is_alive=partial(_is_alive, provider, target.pod.id),
        give_up=timeout,
    )
    assert isinstance(remote, SshRemote)
    return remote


def _is_alive(provider: Provider, pod_id: str) -> bool | None:
    try:
        pod = provider.get(pod_id)
    except ProviderError:
        return None
    return pod is not None and pod.status is PodStatus.RUNNING

"""Checkpoints: a folder on the pod that is fetched regularly, and restored when the job continues on another pod."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from rpd.disk.regular import read_regular
from rpd.errors import ConnectionLost, LocalTransferError, RemoteError, TransferError, UsageError
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.pulls import Ending
from rpd.execute.node.step_history import StepRequest
from rpd.execute.pod import checkpoint_copies
from rpd.execute.pod.checkpoint_copies import Copies, sums_of
from rpd.execute.pod.connections import Connections
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.execute.pod.steps import Steps, without_answer
from rpd.lease.lease import Lease
from rpd.remote.periodic_pull import PeriodicPull
from rpd.remote.protocol import Intake, Remote
from rpd.remote.shell import Interrupt, with_arguments
from rpd.remote.transfer.checksums import MOST_LIST_BYTES, listed_sums
from rpd.remote.transfer.globs import is_glob
from rpd.values.duration import format_duration
from rpd.values.frozen import asdict, frozen, replace
from rpd.values.size import format_size
from rpd.values.step import Checkpoint, Pulled, StepKind

_SECONDS = 120.0
_TRIES = 3
"""How often a copy is tried again in a row because the folder changed."""
_NOT_ON_DISK = ("/proc", "/sys", "/dev", "/run", "/boot", "/etc/ssh")
_NOT_ALONE = frozenset(
    f"/{name}" for name in ("", "bin", "etc", "home", "lib", "opt", "root", "tmp", "usr", "var")
)
"""Folders that hold more than a job's files."""
_SETTLES = 3
"""How often a copy waits, half a second each time, for a moment at which the job writes nothing."""
_COPIED = re.compile(r"^(\d{1,12}) (\d{1,12} \d{1,15}) (/.*)$", re.MULTILINE)
_SUM = re.compile(r"^\d{1,12} \d{1,15}$", re.MULTILINE)

# $1 the folder, $2 its current user (node and attempt). Files of another node, or of a failed attempt, are
# removed: they are no checkpoint of this one. Prints where the folder really is.
_PREPARE = r"""
mkdir -p -- "$1" && cd -- "$1" || exit 1
_rpd_owner=${1%/*}/.${1##*/}.rpd-node
if [ -e "$_rpd_owner" ] && [ ! -L "$1" ] && [ "$(cat "$_rpd_owner")" != "$2" ]; then
  find . -mindepth 1 -maxdepth 1 -exec rm -rf -- {} +
fi
printf '%s\n' "$2" >"$_rpd_owner" || exit 1
echo "at $(pwd -P)"
"""
_LOOK = r"""
_rpd_look() {
  (cd -- "$1" && { find . ! -type d -exec stat -c '%n %s %y %i' {} + || ls -lniAR; } | sort | cksum) 2>/dev/null
}
_rpd_count() { echo $(($(find "$1/" ! -type d 2>/dev/null | wc -l))); }
"""
"""``_rpd_look FOLDER`` prints a checksum of names, sizes, times and inodes; any change of a file changes it."""

# $1 the folder, $2 where its copy goes (hard links, so it takes no room), $3 how often to wait for a moment
# without writing, $4 the checksum when it was last fetched. Prints `FILES SUM LENGTH PLACE`; PLACE is the
# real path of $1 if links cannot be made. A job that writes a new file and renames it does not change the
# copy.
_COPY = (
    _LOOK
    + r"""
_rpd_tries=$3 _rpd_now=$(_rpd_look "$1")
while [ "$_rpd_tries" -gt 0 ]; do
  _rpd_before=$_rpd_now
  sleep 0.5 2>/dev/null || sleep 1
  _rpd_now=$(_rpd_look "$1")
  [ "$_rpd_now" != "$_rpd_before" ] || break
  _rpd_tries=$((_rpd_tries - 1))
done
if [ "$(_rpd_count "$1")" = 0 ] || [ "$_rpd_now" = "$4" ]; then exit 0; fi
for _rpd_try in 1 2 3 4 5 6 7 8; do
  rm -rf -- "$2"
  _rpd_before=$(_rpd_look "$1")
  _rpd_place=$2
  { mkdir -- "$2" && cp -al -- "$1/." "$2/"; } 2>/dev/null || _rpd_place=$(cd -- "$1" && pwd -P)
  [ "$(_rpd_look "$1")" != "$_rpd_before" ] || break
done
echo "$(_rpd_count "$_rpd_place") $(_rpd_look "$_rpd_place") $_rpd_place"
"""
)
# $1 the fetched folder, $2 the copy, which is removed.
_AFTER = (
    _LOOK
    + r"""
_rpd_look "$1"
rm -rf -- "$2"
"""
)


def checked_folder(given: object, workspace: str) -> str:
    """Return the absolute path of a checkpoint folder, without a trailing slash. Raise UsageError."""
    if (
        not isinstance(given, str)
        or not given.strip()
        or "\0" in given
        or any(map(is_glob, given.split("/")))
    ):
        raise UsageError(f"pod.checkpoint: expected the path of a folder on the pod, got {given!r}")
    path = posixpath.normpath(posixpath.join(workspace, given))
    leaves = not given.startswith("/") and not _is_below(path, workspace)
    if leaves or not _may_hold(path, workspace):
        raise UsageError(
            f"pod.checkpoint: {given!r}{_means(given, path)}: expected a separate folder on the pod's disk, such as "
            f'"ckpt/", which is {posixpath.join(workspace, "ckpt")}'
        )
    return path


def _means(given: str, path: str) -> str:
    return "" if given.rstrip("/") == path else f" is {path}"


def _may_hold(path: str, workspace: str) -> bool:
    """Return whether checkpoints may be in ``path``: on a disk, and neither in rpd's own nor in shared folders."""
    return not (
        path in _NOT_ALONE
        or _is_below(workspace, path)
        or any(_is_below(path, folder) for folder in _NOT_ON_DISK)
        or ".rpd" in path.split("/")
    )


def _is_below(path: str, folder: str) -> bool:
    """Return whether ``path`` is ``folder`` or below it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


@frozen
class Checkpointing:
    """The checkpoint folder ``path`` of a node, fetched every ``seconds``; ``title`` is the job's name for it.

    The node starts from the local folder ``start`` if it has no copy yet. ``until_stopped`` yields an
    interrupt that is set when the job has to end.
    """

    run: NodeRun
    lease: Lease
    connections: Connections
    steps: Steps
    lifetimes: Lifetimes
    until_stopped: Callable[[NodeRun], AbstractContextManager[Interrupt]]
    title: str
    path: str
    seconds: float
    keep: int
    start: Path | None
    name: str | None

    def begin(self) -> Checkpoint:
        """Restore the newest copy, and fetch from now on. Raise UsageError, TransferError, ConnectionLost."""
        often = f"every {format_duration(self.seconds)}, keep {self.keep}"
        request: StepRequest[Checkpoint] = StepRequest(
            kind=StepKind.PULL,
            name=self.name or f"checkpoint {self.title} {often}",
            command=f"checkpoint {self.path} {often}",
            salvaged=lambda: Checkpoint(path=self.path),
            keep=asdict,
            recall=lambda document: Checkpoint(**document),
        )
        taking = Taking(
            self.path, Copies(self._folder, self.keep), self.connections.first.new_seen(linked=True)
        )
        checkpoint = self.steps.do(self.run, request, lambda _end: self._put_back(taking))
        if not self.run.steps.salvaging:
            self.run.context.mode.begin_beside(partial(self._repeat, taking))
        return checkpoint

    @property
    def _folder(self) -> Path:
        return self.run.files.checkpoints / checkpoint_copies.folder_name(self.path)

    def _notice(self, text: str) -> None:
        if not self.run.log.is_closed:
            self.run.events.notice(self.run.redactor.text(f"{self.run.node.id}: {text}"))

    # --- the way back -------------------------------------------------------------------------------------------------

    def _put_back(self, taking: Taking) -> Checkpoint:
        run = self.run
        if run.files.on_disk is None:
            return Checkpoint(path=self.path)
        remote = self.connections.of(run)
        self._prepare(remote)
        own = self._newest()
        copy = own or self.start
        if copy is None:
            return Checkpoint(path=self.path)
        with self.until_stopped(run) as interrupt:
            staged = remote.put(
                copy, self.path, ignored=True, interrupt=interrupt, progress=run.transfer_progress
            )
        if staged.withheld:
            self._notice(
                f"of its checkpoint, files with keys and passwords stay here: {', '.join(staged.withheld)}"
            )
        files = f"{staged.files} {'file' if staged.files == 1 else 'files'}, {format_size(staged.bytes)}"
        self._notice(f"{self.title} continues from {_named(copy)} ({files})")
        if own is not None:
            taking.know(remote)
        run.journal.write("checkpoint_put_back", copy=copy.name, files=staged.files, bytes=staged.bytes)
        return Checkpoint(path=self.path, copy=str(copy))

    def _prepare(self, remote: Remote) -> None:
        """Make the folder and remove the files of other nodes. Raise UsageError, TransferError."""
        owner = f"{self.run.mark}-{self.run.attempt}"
        said = remote.script(with_arguments(_PREPARE, self.path, owner), timeout=_SECONDS)
        where = re.search(r"^at (/.*)$", said, re.MULTILINE)
        if where is None:
            raise TransferError(f"pod.checkpoint: cannot create the folder {self.path} on the pod")
        if not _may_hold(where[1], self.lease.request.mount):
            raise UsageError(
                f"pod.checkpoint: {self.title!r} leads to {where[1]} on the pod: expected a separate folder on the "
                "pod's disk"
            )

    def _newest(self) -> Path | None:
        """Return the copy to resume from. Raise LocalTransferError."""
        try:
            return checkpoint_copies.newest(
                self._folder,
                lambda copy, name: self._notice(
                    f"{copy}: {name} differs from the file on the pod; rpd uses an older copy if there is one"
                ),
            )
        except OSError as error:
            raise LocalTransferError(f"{self._folder}: cannot read the checkpoint", error) from error

    # --- the way here -------------------------------------------------------------------------------------------------

    def _repeat(self, taking: Taking) -> None:
        periodic = PeriodicPull(
            partial(self._fetch, taking),
            connect=self.connections.another,
            seconds=self.seconds,
            failed=lambda text: self._notice(f"checkpoint {self.path}: {text}; retrying"),
        )
        self.run.pulls.endings.append(
            Ending(finish=lambda *, required: self._finish(periodic, taking), close=periodic.close)  # noqa: ARG005
        )
        periodic.start()

    def _fetch(self, taking: Taking, remote: Remote, *, required: bool) -> Pulled | None:  # noqa: ARG002 - never is
        try:
            pulled = taking.take(remote)
        except OSError as error:
            raise LocalTransferError(f"{self._folder}: cannot keep the checkpoint", error) from error
        if pulled is not None:
            self.run.journal.write(
                "checkpoint", copy=pulled.local.name, files=pulled.files, bytes=pulled.bytes
            )
        return pulled

    def _finish(self, periodic: PeriodicPull, taking: Taking) -> None:
        """Fetch a last time.

        The job's own result counts: a checkpoint that cannot be fetched is reported, and fails nothing.
        """
        taking.is_last = True
        name, command = self.name or f"checkpoint {self.title}", f"checkpoint {self.path}"
        request = without_answer(StepKind.PULL, name, command)
        with self.run.results.phase("pull"), self.steps.recorded(self.run, request) as end:
            try:
                self.lifetimes.allow_pull(self.lease)
                periodic.last(required=False)
                end.result = dict
            except RemoteError as error:
                if isinstance(error, ConnectionLost):
                    self.lease.connection_lost()
                self._notice(f"cannot fetch the last checkpoint in {self.path}: {error}")
            finally:
                if periodic.latest is not None:
                    self.run.results.record_artifact(periodic.latest, "checkpoint")


def _named(copy: Path) -> str:
    return f"checkpoint {copy.name}" if copy.name.isdigit() else f"the checkpoint in {copy}"


class Taking:
    """Takes consistent copies of a folder on the pod."""

    def __init__(self, path: str, copies: Copies, seen: object) -> None:
        self._path = path
        self._aside = posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)}.rpd-copy")
        self._copies = copies
        self._seen = seen
        self._taken = ""
        """The checksum of the folder when it was last fetched."""
        self.is_last = False
        """Whether the job is over, so that the folder does not change any more."""

    def take(self, remote: Remote) -> Pulled | None:
        """Fetch a copy if anything changed; return it. Raise RemoteError, OSError."""
        for _ in range(_TRIES):
            copied = self._copied(remote)
            if copied is None:
                return None
            state, place = copied
            pulled = self._fetched(remote, place)
            # Where the pod cannot hard-link, the job's own files were fetched: they must not have changed
            # meanwhile.
            if pulled is not None and self._look(remote, place) == state:
                self._taken = state
                return self._kept(pulled)
        raise TransferError(
            f"its files changed while rpd fetched them, {_TRIES} times in a row: have the job write each under "
            "another name, and rename it when it is complete"
        )

    def know(self, remote: Remote) -> None:
        """Note that the folder holds the newest copy now. Raise RemoteError."""
        self._taken = self._look(remote, self._path)

    def _copied(self, remote: Remote) -> tuple[str, str] | None:
        """Make a copy on the pod; return its checksum and its path, None if nothing changed."""
        settles = "0" if self.is_last else str(_SETTLES)
        script = with_arguments(_COPY, self._path, self._aside, settles, self._taken)
        said = _COPIED.search(remote.script(script, timeout=_SECONDS))
        if said is None or not int(said[1]):
            return None
        return said[2], said[3]

    def _look(self, remote: Remote, place: str) -> str:
        """Return the checksum of a folder, and remove the copy on the pod."""
        said = remote.script(with_arguments(_AFTER, place, self._aside), timeout=_SECONDS)
        state = _SUM.search(said)
        return state[0] if state is not None else ""

    def _fetched(self, remote: Remote, place: str) -> Pulled | None:
        incoming = self._copies.incoming
        if not incoming.exists():
            self._copies.prepare()
        sums_of(incoming).unlink(missing_ok=True)  # the pull writes a fresh list of the present files
        return remote.pull(
            place,
            incoming,
            within=self._copies.folder,
            required=False,
            seen=self._seen,
            intake=Intake(contents=True),
        )

    def _kept(self, pulled: Pulled) -> Pulled:
        sums = listed_sums(read_regular(sums_of(self._copies.incoming), MOST_LIST_BYTES))
        copy = self._copies.finish(sums)
        return replace(pulled, remote=self._path, local=copy, sha256_file=str(sums_of(copy)))

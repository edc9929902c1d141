"""The value of the fixture ``needs``: the results of needed nodes, as a job sees them."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from rpd.errors import UsageError
from rpd.graph.content import FILES, METRICS, digest, part, sums_of
from rpd.journal.files import folder_name
from rpd.remote.transfer.checksums import sum_lines
from rpd.remote.transfer.globs import is_glob
from rpd.values.node import Node
from rpd.values.report import ArtifactRecord, NodeReport
from rpd.values.skip_and_fail import Skipped
from rpd.values.step import StepKind
from rpd.values.suggestions import closest

if TYPE_CHECKING:
    from rpd.execute.pod.handle import Pod

_FOLDER = "artifacts"


class Pods(Protocol):
    """The target of files: a pod, or a cluster."""

    @property
    def parts(self) -> Sequence[Pod]:
        """Its pods, the leading one first."""


class Needs:
    """The results of the nodes that a node needs, in the order of its marks and of their cases."""

    def __init__(
        self,
        node: Node,
        sent: dict[str, str],
        reports: Sequence[NodeReport],
        *,
        studies: Collection[str] = (),
    ) -> None:
        """Keep the arguments. ``sent`` takes the parts that ``node`` uses.

        ``studies`` are ids of needed searches, whose trials come best first.
        """
        self._studies = frozenset(study.partition("[")[0] for study in studies)
        self._node_id = node.id
        self._all = tuple(Needed(node, sent, report) for report in reports)

    def __getitem__(self, job: Callable[..., Any] | str) -> Needed:
        """Return the results of the only needed case of a job; ``job`` is its function or its name.

        For a search it is the best trial. Raise UsageError for a job that the node does not need, or of which
        it needs several cases.
        """
        cases = self.all(job)
        if len(cases) > 1 and f"{cases[0].file}::{cases[0].job}" not in self._studies:
            name = cases[0].job
            raise UsageError(
                f"needs[{name}]: {self._node_id} needs {len(cases)} cases of it: write needs.all({name})"
            )
        return cases[0]

    def __iter__(self) -> Iterator[Needed]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def all(self, job: Callable[..., Any] | str | None = None) -> tuple[Needed, ...]:
        """Return the results of all needed cases of a job; without a job, of all jobs. Raise UsageError."""
        if job is None:
            return self._all
        name = job if isinstance(job, str) else getattr(job, "__name__", repr(job))
        cases = [each for each in self._all if name in (each.job, f"{each.file}::{each.job}")]
        code = getattr(job, "__code__", None)
        if code is not None and len({each.file for each in cases}) > 1:
            cases = [each for each in cases if Path(code.co_filename).match(each.file)]
        if not cases:
            jobs = list(dict.fromkeys(each.job for each in self._all))
            close = closest(name, jobs)
            meant = f"; did you mean {close!r}?" if close else ""
            raise UsageError(f"needs: {self._node_id} does not need {name!r}, but {', '.join(jobs)}{meant}")
        return tuple(cases)

    def __repr__(self) -> str:
        return f"<Needs {', '.join(each.id for each in self._all)}>"


class Needed:
    """The results of one node: ``report`` is its report; its files are in ``folder``, checked by sha256."""

    def __init__(self, user: Node, sent: dict[str, str], report: NodeReport) -> None:
        """Keep the arguments. ``user`` is the node that needs it; ``sent`` takes the parts it uses."""
        self._user = user
        self._sent = sent
        self._report = report

    def __repr__(self) -> str:
        return f"<Needed {self.id}>"

    @property
    def id(self) -> str:
        """The id of the node."""
        return self._report.node.id

    @property
    def job(self) -> str:
        """The name of its job."""
        return self._report.node.job

    @property
    def file(self) -> str:
        """The deploy file of its job, relative to the root folder."""
        return self._report.node.file

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters, as its manifest has them."""
        return self._report.node.parameters

    @property
    def report(self) -> NodeReport:
        """The whole report."""
        self._use(FILES)
        self._use(METRICS)
        return self._report

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Its metrics. In a dry run, where nothing is measured, a missing metric is NaN."""
        self._use(METRICS)
        metrics = dict(self._report.metrics)
        return MappingProxyType(metrics if self._is_real else _Unmeasured(metrics))

    @property
    def folder(self) -> Path:
        """The local folder of its files. In a dry run, where there are none, the node ends here as skipped."""
        return self.path()

    def path(self, name: str = "") -> Path:
        """Return the local path of a pulled file or folder; without a name, the folder of all.

        ``name`` is its name on the pod (``"model.pt"``, ``"out"``), its label, or a path in the folder. In a
        dry run, where there is none, the node ends here as skipped; use ``on`` to go on. Raise UsageError.
        """
        self._use(FILES)
        if not self._is_real:
            raise Skipped(f"in a dry run there are no files of {self.id}: needs[…].on(pod) needs none")
        if not name:
            return Path(self._report.folder, _FOLDER)
        return Path(self._report.folder, self._local(name))

    def on(self, pod: Pods, name: str = "") -> str:
        """Return the path of a pulled file or folder on ``pod``, sending it there if necessary.

        It stays where the node left it if both nodes use that pod, or the same network volume, and its
        checksums there still match: read it there, and copy what you change. ``name`` is as for ``path``; it
        may be omitted if only one thing was pulled. On a cluster it is at that path on every member. Raise
        UsageError, TransferError.
        """
        self._use(FILES)
        # The members of a cluster share a network volume.
        parts = pod.parts[:1] if pod.parts[0].volume else pod.parts
        remote = ""
        for rank, each in enumerate(parts):
            remote = self._on(each, name, f" on rank {rank}" if len(parts) > 1 else "")
        return remote

    # --- how --------------------------------------------------------------------------------------------------------

    def _on(self, pod: Pod, name: str, rank: str) -> str:
        """Return the path on one pod; ``rank`` is the suffix that names the member in steps."""
        if not self._is_real:
            name = name or self._will_pull()
            shown = name or "its files"
            remote = f"{self._place_on(pod)}/{name.strip('/')}".rstrip("/")
            pod.expect(f"put {shown} of {self.job}{rank}", f"put {shown} of {self.id} -> {remote}")
            return remote
        local = self._local(name) if name else self._only()
        stayed = self._where_it_stayed(pod, local)
        if stayed:
            return stayed
        remote = f"{self._place_on(pod)}/{local.removeprefix(_FOLDER).lstrip('/')}".rstrip("/")
        before = dict(self._sent)
        title = f"put {local.removeprefix(f'{_FOLDER}/')} of {self.id}{rank}"
        staged = pod.put(Path(self._report.folder, local), remote, ignored=True, name=title)
        # The result depends on the content, not on the run folder it came from.
        self._sent.clear()
        self._sent.update(before)
        return staged.remote

    @property
    def _is_real(self) -> bool:
        return bool(self._report.folder)

    def _use(self, what: str) -> None:
        """Note that the result of this node depends on that one's."""
        if self._is_real:
            key = part(self.id, what)
            if key not in self._sent:
                self._sent[key] = digest(self._report, what)

    def _place_on(self, pod: Pod) -> str:
        return f"{pod.workspace.rstrip('/')}/needs/{folder_name(self.id)}"

    def _will_pull(self) -> str:
        """Return the path that a dry run says the node will pull, if there is only one."""
        pulls = {
            step.command.removeprefix("pull ") for step in self._report.steps if step.kind is StepKind.PULL
        }
        return posixpath.basename(pulls.pop().rstrip("/")) if len(pulls) == 1 else ""

    def _only(self) -> str:
        artifacts = list(dict.fromkeys(artifact.local for artifact in self._report.artifacts))
        if len(artifacts) != 1:
            raise UsageError(f"needs: {self.id} left {self._listed()}: name one of them")
        return artifacts[0]

    def _local(self, name: str) -> str:
        """Return the path of something that was pulled, relative to the folder of the node. Raise UsageError."""
        path = name.rstrip("/")
        for artifact in self._report.artifacts:
            if path in _names(artifact):
                if artifact.files and not artifact.verified:
                    raise UsageError(f"needs: {name!r} of {self.id} was not verified when it was pulled")
                return artifact.local
        below = posixpath.normpath(posixpath.join(_FOLDER, path))
        if below.startswith(f"{_FOLDER}/") and Path(self._report.folder, below).exists():
            return below
        raise UsageError(f"needs: {self.id} left no {name!r}, but {self._listed()}")

    def _listed(self) -> str:
        names = [_names(artifact)[0] for artifact in self._report.artifacts]
        return ", ".join(dict.fromkeys(names)) or "nothing: pull a file with pod.pull(…) to make it a result"

    def _where_it_stayed(self, pod: Pod, local: str) -> str:
        """Return the path where a pulled file still is on a pod, with checksums verified there.

        Empty if there is none.
        """
        artifact = next((each for each in self._report.artifacts if each.local == local), None)
        there = "" if artifact is None else self._same_place(pod, artifact.remote)
        if not there:
            return ""
        sums = {
            f"{there}{name.removeprefix(local)}": sum_
            for name, sum_ in sums_of(self._report).items()
            if name == local or name.startswith(f"{local}/")
        }
        text = "".join(f"{line}\n" for line in sum_lines(sums))
        if not sums or not _is_unicode(text):
            return ""
        listing = f"/tmp/rpd-needs-{folder_name(self._user.id)}.sha256"  # noqa: S108 - on the pod
        what = f"{local.removeprefix(f'{_FOLDER}/')} of {self.id}"
        pod.write(listing, text, name=f"sums of {what}")
        done = pod.run(f"sha256sum -c {listing} >/dev/null 2>&1", check=False, name=f"is {what} still here?")
        return there if done.ok else ""

    def _same_place(self, pod: Pod, remote: str) -> str:
        """Return the path on ``pod`` of ``remote`` on the node's pod; empty if the two share nothing."""
        if is_glob(remote):
            return ""
        for record in self._report.pods:
            if record.id == pod.id:
                return remote
            below = f"{record.mount.rstrip('/')}/"
            if record.volume and record.volume == pod.volume and remote.startswith(below):
                return f"{pod.workspace.rstrip('/')}/{remote.removeprefix(below)}"
        return ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # names of files may be any bytes
        return False
    return True


class _Unmeasured(dict[str, Any]):
    def __missing__(self, name: str) -> float:
        return math.nan


def _names(artifact: ArtifactRecord) -> tuple[str, ...]:
    """Return the names by which something pulled can be called."""
    base = posixpath.basename(artifact.remote.rstrip("/"))
    inside = artifact.local.removeprefix(_FOLDER).lstrip("/")
    return tuple(filter(None, (artifact.label, base, inside, artifact.remote)))

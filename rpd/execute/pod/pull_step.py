"""Pulling: one path of a pod fetched for a node, once or repeatedly while its job runs."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rpd.errors import ConnectionLost, LocalTransferError, MissingArtifact, PodLost, RpdError, TransferError
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.pulls import Ending
from rpd.execute.node.step_history import StepRequest
from rpd.execute.pod.connections import Connections
from rpd.execute.pod.destinations import DestinationTaken, Origin
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.execute.pod.steps import Steps, without_answer
from rpd.lease.lease import Lease
from rpd.remote.periodic_pull import PeriodicPull
from rpd.remote.protocol import Intake, Remote
from rpd.remote.transfer.globs import split_glob
from rpd.values.duration import format_duration
from rpd.values.frozen import asdict, frozen, replace
from rpd.values.step import Pulled, StepKind


@frozen
class Pulling:
    """One pull: ``source`` on the pod to the local ``place``, for a node.

    ``place`` is the folder it goes into, or with ``as_file`` the name of a single file. With ``contents`` the
    contents of the folder at ``source`` go there, without the folder itself.
    """

    run: NodeRun
    lease: Lease
    connections: Connections
    steps: Steps
    lifetimes: Lifetimes
    title: str
    source: str
    place: Path
    as_file: bool
    contents: bool
    label: str
    name: str | None
    required: bool
    exclude: Sequence[str]
    about: object

    def once(self) -> Pulled | None:
        """Fetch it now. Raise MissingArtifact, TransferError, ConnectionLost."""
        run = self.run
        request: StepRequest[Pulled | None] = StepRequest(
            kind=StepKind.PULL,
            name=self.name or f"pull {self.title}",
            command=f"pull {self.source}",
            about=self.about,
            salvaged=self._salvaged,
            keep=lambda pulled: {
                "pulled": None if pulled is None else {**asdict(pulled), "local": str(pulled.local)}
            },
            recall=self._recalled,
        )
        self._expect()
        with run.results.phase("pull"):
            pulled = self.steps.do(
                run, request, lambda _end: self._fetched(self.place, required=self.required)
            )
        if pulled is not None and not run.steps.salvaging:
            run.results.record_artifact(pulled, self.label)
        return pulled

    def again_and_again(self, seconds: float) -> None:
        """Fetch it every ``seconds`` while the job runs and once at the end of the node.

        Only the last pull can fail.
        """
        often = f"every {format_duration(seconds)}"
        name, command = self.name or f"pull {self.title} {often}", f"pull {self.source} {often}"
        self._expect()
        request = without_answer(StepKind.PULL, name, command, about=self.about, salvaged=self._salvaged)
        self.steps.do(self.run, request, lambda _end: None)
        if not self.run.steps.salvaging:
            self.run.context.mode.begin_beside(partial(self._repeat, seconds))

    # --- where to ---------------------------------------------------------------------------------------------------

    def _expect(self) -> None:
        """Refuse a pull that is bound to overwrite another. Raise DestinationTaken.

        The matches of a glob are not known before the pod is asked, and of a path only its name is.
        """
        if self.run.steps.salvaging or split_glob(self.source)[1] is not None:
            return
        self.run.pulls.expected.take(self._whole_place(self.place), self._origin(self.source))

    def _origin(self, path: str) -> Origin:
        return Origin(self.lease.name, path.rstrip("/"))

    def _take(self, place: Path, path: str) -> None:
        self.run.pulls.destinations.take(place, self._origin(path))

    # --- one fetch --------------------------------------------------------------------------------------------------

    def _fetched(self, place: Path, *, required: bool) -> Pulled | None:
        with self._in_custody():
            pulled = self._fetch(self.connections.of(self.run), place, required=required)
            return pulled and self._settled(pulled)

    def _settled(self, pulled: Pulled) -> Pulled:
        """Bring the files to the disk: the pod's copies are deleted next. Raise LocalTransferError."""
        try:
            self.run.context.mode.settle(pulled, self.run.files.folder)
        except OSError as error:
            raise LocalTransferError(
                f"{self.source} may not be on the disk of this machine", error
            ) from error
        return pulled

    def _fetch(self, remote: Remote, place: Path, *, required: bool, seen: object = None) -> Pulled | None:
        artifacts = self.run.files.artifacts
        pulled = remote.pull(
            self.source,
            place,
            # An earlier pull of this node may have brought links, which must not lead out of its artifacts.
            within=artifacts if place.is_relative_to(artifacts) else None,
            required=required,
            exclude=self.exclude,
            seen=seen,
            intake=Intake(
                as_file=self.as_file and place == self.place,
                contents=self.contents,
                take=self._take,
                since=self.run.mark,
            ),
        )
        if pulled is None:
            return None
        # All pulls of a node share the target folder; the record names the files of this one.
        brought = self._whole_place(pulled.local)
        return replace(pulled, local=brought) if brought.exists() else pulled

    def _recalled(self, answer: Mapping[str, Any]) -> Pulled | None:
        """Return the result of an earlier process's pull, and claim its path again."""
        pulled = _pulled(answer["pulled"])
        if pulled is not None and pulled.local in (self._whole_place(self.place), self._file_place(pulled)):
            with contextlib.suppress(DestinationTaken):
                self._take(pulled.local, pulled.remote)
        return pulled

    @property
    def _basename(self) -> str:
        return posixpath.basename(self.source.rstrip("/"))

    def _whole_place(self, place: Path) -> Path:
        """Return the final path of a folder, or of a file that keeps its name, that goes to ``place``."""
        return place if self.contents else place / self._basename

    def _file_place(self, pulled: Pulled) -> Path | None:
        return self.place if self.as_file and pulled.local.is_file() else None

    @contextmanager
    def _in_custody(self) -> Iterator[None]:
        """Keep the pod alive during a pull, and note on its lease if the pull failed."""
        self.lifetimes.allow_pull(self.lease)
        try:
            yield
        except Exception as error:
            # Of rpd's own errors these; besides, whatever this machine may lack: memory, files, threads.
            is_cut = isinstance(error, TransferError | ConnectionLost) or not isinstance(error, RpdError)
            if self.required and is_cut and not isinstance(error, MissingArtifact | PodLost):
                self.lease.could_not_fetch(self.source)
            raise

    def _plain(self) -> StepRequest[None]:
        """Return the request under which a pull is recorded that is not made by the job's own line."""
        name, command = self.name or f"pull {self.title}", f"pull {self.source}"
        return without_answer(StepKind.PULL, name, command, about=self.about)

    def _salvaged(self) -> Pulled | None:
        """Fetch whatever is there, for a job that failed before this line."""
        with self.steps.recorded(self.run, self._plain()):
            try:
                pulled = self._fetched(self.place, required=False)
            except DestinationTaken:
                # The job may have failed over this very pull: keep its files in another place.
                pulled = self._fetched(salvage_place(self.run), required=False)
        if pulled is not None:
            self.run.results.record_artifact(pulled, self.label)
        return pulled

    # --- again and again --------------------------------------------------------------------------------------------

    def _repeat(self, seconds: float) -> None:
        seen = self.connections.first.new_seen()

        def fetch_changes(remote: Remote, *, required: bool) -> Pulled | None:
            return self._fetch(remote, self.place, required=required, seen=seen)

        periodic = PeriodicPull(
            fetch_changes, connect=self.connections.another, seconds=seconds, failed=self._tell
        )
        self.run.pulls.endings.append(
            Ending(finish=lambda *, required: self._finish(periodic, required=required), close=periodic.close)
        )
        periodic.start()

    def _tell(self, text: str) -> None:
        run = self.run
        if not run.log.is_closed:
            run.events.notice(run.redactor.text(f"{run.node.id}: pull {self.source}: {text}; retrying"))

    def _finish(self, periodic: PeriodicPull, *, required: bool) -> None:
        with self.run.results.phase("pull"), self.steps.recorded(self.run, self._plain()) as end:
            try:
                with self._in_custody():
                    pulled = periodic.last(required=required and self.required)
                    if pulled is not None:
                        self._settled(pulled)
                end.result = dict
            except ConnectionLost:
                self.lease.connection_lost()
                raise
            finally:
                if periodic.latest is not None:
                    self.run.results.record_artifact(periodic.latest, self.label)


def salvage_place(run: NodeRun) -> Path:
    """Return a separate place for files that a failed job would have put where others are."""
    return run.files.artifacts / f"salvaged-{len(run.results.artifacts) + 1}"


def _pulled(answer: Mapping[str, Any] | None) -> Pulled | None:
    if answer is None:
        return None
    lists = {field: tuple(answer.get(field, ())) for field in ("older", "others")}
    return Pulled(**{**answer, **lists, "local": Path(answer["local"])})

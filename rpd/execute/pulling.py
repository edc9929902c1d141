"""Pulling: one path of a pod fetched for a node, once or again and again beside its job."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rpd.errors import ConnectionLost, MissingArtifact, PodLost, TransferError
from rpd.execute import custody
from rpd.execute.connections import Connections
from rpd.execute.noderun import Ending, NodeRun
from rpd.execute.steps import Asked, Steps, without_answer
from rpd.lease.lease import Lease
from rpd.remote.periodic import PeriodicPull
from rpd.remote.protocol import Remote
from rpd.remote.watchdog import Terms
from rpd.values.duration import format_duration
from rpd.values.step import Pulled, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulling:
    """What is pulled, for whom, and from where: ``source`` on the pod into the local ``folder``."""

    run: NodeRun
    lease: Lease
    connections: Connections
    steps: Steps
    terms: Terms
    title: str
    source: str
    folder: Path
    required: bool
    exclude: Sequence[str]
    about: object

    def once(self) -> Pulled | None:
        """Fetch it now. Raises MissingArtifact, TransferError, ConnectionLost."""
        run = self.run
        asked: Asked[Pulled | None] = Asked(
            kind=StepKind.PULL,
            name=f"pull {self.title}",
            command=f"pull {self.source}",
            about=self.about,
            salvaged=self._salvaged,
            keep=lambda pulled: {
                "pulled": None if pulled is None else {**asdict(pulled), "local": str(pulled.local)}
            },
            recall=lambda held: _pulled(held["pulled"]),
        )
        with run.phase("pull"):
            pulled = self.steps.do(run, asked, lambda _end: self._fetched(required=self.required))
        if pulled is not None and run.files is not None and not run.salvaging:
            run.record_artifact(pulled)
        return pulled

    def again_and_again(self, seconds: float) -> None:
        """Fetch it every ``seconds`` beside the job and once more at the end of the node; only that one can fail it."""
        often = f"every {format_duration(seconds)}"
        name, command = f"pull {self.title} {often}", f"pull {self.source} {often}"
        asked = without_answer(StepKind.PULL, name, command, about=self.about, salvaged=self._salvaged)
        self.steps.do(self.run, asked, lambda _end: None)
        if not self.run.salvaging and self.run.files is not None:
            self._repeat(seconds)

    # --- one fetch --------------------------------------------------------------------------------------------------

    def _fetched(self, *, required: bool) -> Pulled | None:
        with self._in_custody():
            return self._fetch(self.connections.of(self.run), required=required)

    def _fetch(self, remote: Remote, *, required: bool, seen: object = None) -> Pulled | None:
        files = self.run.files
        pulled = remote.pull(
            self.source,
            self.folder,
            # Where an earlier pull of this node may have brought links.
            within=files.artifacts if files and self.folder.is_relative_to(files.artifacts) else None,
            required=required,
            exclude=self.exclude,
            seen=seen,
        )
        if pulled is None:
            return None
        # The folder a pull goes to is shared by all of a node's pulls; what this one brought is meant.
        brought = pulled.local / posixpath.basename(self.source.rstrip("/"))
        return replace(pulled, local=brought) if brought.exists() else pulled

    @contextmanager
    def _in_custody(self) -> Iterator[None]:
        """Keep the pod alive for a pull, and note on its lease what could not be fetched whole."""
        if self.run.files is not None:
            custody.allow_pull(self.lease, self.terms)
        try:
            yield
        except (TransferError, ConnectionLost) as error:
            if self.required and not isinstance(error, MissingArtifact | PodLost):
                self.lease.unverified = self.source
            raise

    def _plain(self) -> Asked[None]:
        """Return the pull as it is recorded where it is not the job's own line that is carried out."""
        name, command = f"pull {self.title}", f"pull {self.source}"
        return without_answer(StepKind.PULL, name, command, about=self.about)

    def _salvaged(self) -> Pulled | None:
        """Fetch what there is, for a job that failed before it came to this line."""
        with self.steps.recorded(self.run, self._plain()):
            pulled = self._fetched(required=False)
        if pulled is not None and self.run.files is not None:
            self.run.record_artifact(pulled)
        return pulled

    # --- again and again --------------------------------------------------------------------------------------------

    def _repeat(self, seconds: float) -> None:
        seen = self.connections.first.new_seen()

        def fetch_changes(remote: Remote, *, required: bool) -> Pulled | None:
            return self._fetch(remote, required=required, seen=seen)

        periodic = PeriodicPull(
            fetch_changes, connect=self.connections.another, seconds=seconds, tell=self._tell
        )
        self.run.endings.append(
            Ending(finish=lambda *, required: self._finish(periodic, required=required), close=periodic.close)
        )
        periodic.start()

    def _tell(self, text: str) -> None:
        run = self.run
        if not run.is_closed:
            run.hook.rpd_notice(
                text=run.mask(f"{run.node.id}: pull {self.source}: {text}; it is tried again")
            )

    def _finish(self, periodic: PeriodicPull, *, required: bool) -> None:
        with self.run.phase("pull"), self.steps.recorded(self.run, self._plain()) as end:
            try:
                with self._in_custody():
                    periodic.last(required=required and self.required)
                end.result = {}
            except ConnectionLost:
                self.lease.lost = True
                raise
            finally:
                if periodic.latest is not None:
                    self.run.record_artifact(periodic.latest)


def _pulled(held: Mapping[str, Any] | None) -> Pulled | None:
    return None if held is None else Pulled(**{**held, "local": Path(held["local"])})

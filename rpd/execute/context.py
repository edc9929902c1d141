"""The state that all nodes of one run share: the backend, the files, the flags that override jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.config import Config
from rpd.events import Events
from rpd.execute.end_notices import Asides
from rpd.execute.local_disk import Disk
from rpd.execute.mode import Live
from rpd.execute.needed import NothingNeeded
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.execute.pod.renting import Renting
from rpd.execute.price_ceiling import Cover
from rpd.execute.uploads import Uploads
from rpd.execute.user_tracebacks import SHORT, Style
from rpd.journal.files import NodeFiles, RunFiles
from rpd.journal.journal import Journal
from rpd.lease.account_limit import Headroom
from rpd.lease.book import LeaseBook
from rpd.project.owner import owner
from rpd.redaction import Redactor
from rpd.stop import Stop
from rpd.values.job import Registry
from rpd.values.mutable import fresh, mutable
from rpd.values.overrides import Overrides
from rpd.values.pod import PodRequest
from rpd.values.report import SourceRecord

if TYPE_CHECKING:
    from rpd.journal.replay import Past  # a run that continues none has no past


@mutable
class RunContext:
    """State shared by all slots of a run. Every part can be used from several threads.

    The provider is made when the first pod is needed.
    """

    rootdir: Path
    run_id: str
    mode: Live
    """The mode of the run: live or dry."""
    files: RunFiles
    journal: Journal
    events: Events
    stop: Stop
    disk: Disk
    overrides: Overrides
    variables: Mapping[str, Any]
    redactor: Redactor
    secrets: Mapping[str, str | bytes]
    """Values of all secrets of the run by name, read before anything is created; bytes become a file on the pod."""
    source: Callable[[Path], SourceRecord]
    lifetimes: Lifetimes
    renting: Renting
    uploads: Uploads
    new_journal: Callable[[NodeFiles], Journal]
    """Creates the journal of a node."""
    cover: Cover
    """Keeps nodes within the worst case that was shown before the run."""
    trace_style: Style = SHORT
    config: Config | None = None
    """What ``request.config`` shows to fixtures."""
    headroom: Headroom = fresh(factory=Headroom)
    leases: LeaseBook = fresh(factory=LeaseBook)
    digest_of: Callable[[str, Registry | str | None], str] = lambda _image, _registry: ""
    """Returns the digest of a requested image; empty if it is unknown."""
    past: Past | None = None
    """The state that an earlier process left, if this run is resumed."""
    requests: dict[str, Sequence[PodRequest]] = fresh(factory=dict)
    """The pods that each node requested, by node id."""
    needed: NothingNeeded = fresh(factory=NothingNeeded)
    """The results that nodes take over from other nodes."""
    places: dict[str, int] = fresh(factory=dict)
    """The place of each node in the plan; one that joins during the run gets the next."""
    asides: Asides = fresh(factory=Asides)
    owner: str = fresh(factory=owner)
    _projects: dict[str, Path] = fresh(factory=dict)
    _locks: dict[str, str] = fresh(factory=dict)

    def __post_init__(self) -> None:
        self.surroundings = self.mode.surroundings()

    def project(self, file: str) -> Path:
        """Return the folder of a deploy file; its local paths are relative to it."""
        folder = self._projects.get(file)
        if folder is None:
            folder = self._projects[file] = (self.rootdir / file).parent
        return folder

    def lock_sha256(self, file: str) -> str:
        """Return the sha256 of the lock file next to a deploy file, read when it is first needed."""
        sha256 = self._locks.get(file)
        if sha256 is None:
            from rpd.project.code_state import lock_file_sha256  # a dry run records no code

            sha256 = self._locks[file] = lock_file_sha256(self.project(file))
        return sha256

"""The state that all nodes of one run share: the backend, the files, the flags that override jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.events import Events
from rpd.execute.end_notices import Asides
from rpd.execute.local_disk import Disk
from rpd.execute.mode import Live
from rpd.execute.needed import NothingNeeded
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.execute.price_ceiling import Cover
from rpd.execute.uploads import Uploads
from rpd.execute.user_tracebacks import SHORT, Style
from rpd.journal.files import NodeFiles, RunFiles
from rpd.journal.journal import Journal
from rpd.journal.replay import Past
from rpd.lease.account_limit import Headroom
from rpd.lease.book import LeaseBook
from rpd.lease.boot import Images
from rpd.lease.lease import Connect
from rpd.lease.pod_poller import PodView
from rpd.lease.recycle import Recycler
from rpd.lease.registries import Registries
from rpd.project.source import lock_file_sha256
from rpd.redaction import Redactor
from rpd.stop import Stop
from rpd.values.job import Job, Registry, check_cluster, check_cluster_gpu, check_kind, check_place
from rpd.values.mutable import fresh, mutable
from rpd.values.overrides import Overrides
from rpd.values.pod import Offer, PodRequest, Provider
from rpd.values.report import SourceRecord


@mutable
class RunContext:
    """State shared by all slots of a run. Every part can be used from several threads.

    ``provider`` is called when the first pod is needed.
    """

    rootdir: Path
    runs_path: Path
    run_id: str
    mode: Live
    """The mode of the run: live or dry."""
    files: RunFiles
    journal: Journal
    events: Events
    stop: Stop
    disk: Disk
    provider: Callable[[], Provider]
    connect: Connect
    overrides: Overrides
    variables: Mapping[str, Any]
    redactor: Redactor
    secrets: Mapping[str, str | bytes]
    """Values of all secrets of the run by name, read before anything is created; bytes become a file on the pod."""
    pod_env: Mapping[str, str]
    """Environment of every pod in addition to its job's: the public keys."""
    source: Callable[[Path], SourceRecord]
    lifetimes: Lifetimes
    uploads: Uploads
    new_journal: Callable[[NodeFiles], Journal]
    """Creates the journal of a node."""
    cover: Cover
    """Keeps nodes within the worst case that was shown before the run."""
    stock_seconds: float = 0.0
    """How long to retry sold-out offers, in seconds."""
    any_gpu: bool = False
    """Whether pods may have other GPUs than jobs request: with ``--local`` they have those of this machine."""
    connect_again: Callable[[Path, str], Connect] | None = None
    """Connects to a stopped pod, given its private key and its id: it accepts another key than the run's own."""
    recycler: Recycler | None = None
    """Finds stopped pods to reuse; None if the run wants only fresh ones."""
    trace_style: Style = SHORT
    config: Any = None
    """What ``request.config`` shows to fixtures."""
    headroom: Headroom = fresh(factory=Headroom)
    leases: LeaseBook = fresh(factory=LeaseBook)
    bad_offers: set[Offer] = fresh(factory=set)
    """Offers whose pods never became usable in this run; tried last."""
    images: Images = fresh(factory=Images)
    """Images whose pods rpd cannot work on, with the reason."""
    image_of: Callable[[PodRequest], str] = lambda request: request.image
    """Returns the image to create a pod with."""
    digest_of: Callable[[str, Registry | str | None], str] = lambda _image, _registry: ""
    """Returns the digest of a requested image; empty if it is unknown."""
    registries: Registries | None = None
    """Stores the registry credentials of jobs; None in a dry run."""
    past: Past | None = None
    """The state that an earlier process left, if this run is resumed."""
    requests: dict[str, Sequence[PodRequest]] = fresh(factory=dict)
    """The pods that each node requested, by node id."""
    needed: NothingNeeded = fresh(factory=NothingNeeded)
    """The results that nodes take over from other nodes."""
    asides: Asides = fresh(factory=Asides)
    _projects: dict[str, Path] = fresh(factory=dict)
    _locks: dict[str, str] = fresh(factory=dict)
    _requests: dict[int, tuple[Job, PodRequest]] = fresh(factory=dict)

    def __post_init__(self) -> None:
        self.view = PodView(self.provider)
        self.surroundings = self.mode.surroundings()

    def request(self, job: Job) -> PodRequest:
        """Return the pod that ``job`` requests under the flags of the run; nodes of one job share one request.

        Raise DefinitionError for a pod that RunPod never rents. That is checked here because fixtures may
        have changed the job.
        """
        pair = self._requests.get(id(job))
        if pair is None:  # the job is kept too: an id means nothing once its object is gone
            request = self.overrides.request(job, job.gpu)
            check_place(request)
            check_kind(request)
            check_cluster(request)
            check_cluster_gpu(request)
            pair = self._requests[id(job)] = (job, request)
        return pair[1]

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
            sha256 = self._locks[file] = lock_file_sha256(self.project(file))
        return sha256

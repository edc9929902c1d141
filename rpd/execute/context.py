"""What all nodes of one run share: the backend, the files, the flags that overrule jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rpd.errors import UsageError
from rpd.events import Events
from rpd.execute.end_notices import Asides
from rpd.execute.local_disk import Disk
from rpd.execute.mode import Live
from rpd.execute.needed import NothingNeeded
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.execute.price_ceiling import Cover
from rpd.execute.saved_environment import Surroundings
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
from rpd.project.keyfiles import is_secret_file, secret_rules
from rpd.project.own_output import OwnOutput
from rpd.project.source import lock_file_sha256
from rpd.project.upload_size import Scales, Weight
from rpd.redaction import Redactor
from rpd.stop import Stop
from rpd.values.job import Job, Registry, check_cluster, check_cluster_gpu, check_kind, check_place
from rpd.values.overrides import Overrides
from rpd.values.pod import Offer, PodRequest, Provider
from rpd.values.report import SourceRecord


@dataclass(kw_only=True)
class RunContext:
    """Shared by all slots of a run; everything in it is safe to use from several threads.

    ``provider`` is asked for when the first pod is needed.
    """

    rootdir: Path
    runs_path: Path
    run_id: str
    mode: Live
    """Live, or dry."""
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
    """Values of all secrets of the run by name, read before anything is created; bytes are to become a file."""
    pod_env: Mapping[str, str]
    """What every pod is created with besides its job's environment: the public keys."""
    source: Callable[[Path], SourceRecord]
    lifetimes: Lifetimes
    new_journal: Callable[[NodeFiles], Journal]
    """Makes the journal of a node."""
    cover: Cover
    """Holds nodes to the worst case that the run was priced at."""
    stock_seconds: float = 0.0
    """How long to go round sold-out offers."""
    any_gpu: bool = False
    """Whether pods may have other GPUs than jobs ask for: this machine's own."""
    connect_again: Callable[[Path, str], Connect] | None = None
    """Connects to a pod that was stopped, by the key that opens it and its id."""
    """How to reach pods that accept another private key than the run's own."""
    recycler: Recycler | None = None
    """Who finds stopped pods to use again; None where only fresh ones are wanted."""
    trace_style: Style = SHORT
    config: Any = None
    """What ``request.config`` shows to fixtures."""
    headroom: Headroom = field(default_factory=Headroom)
    leases: LeaseBook = field(default_factory=lambda: LeaseBook())
    bad_offers: set[Offer] = field(default_factory=set)
    """Offers whose pods never became usable in this run; they are tried last."""
    images: Images = field(default_factory=lambda: Images())
    """Of which images no pod comes that rpd can work on, and why."""
    image_of: Callable[[PodRequest], str] = lambda request: request.image
    """Names the image to create a pod with."""
    digest_of: Callable[[str, Registry | str | None], str] = lambda _image, _registry: ""
    """Returns the digest of an image that was asked for; empty where nobody knows it."""
    registries: Registries | None = None
    """Who stores the registry credentials of jobs; None in a dry run."""
    view: PodView = field(init=False)
    past: Past | None = None
    """What an earlier process left of this run, when it is carried on."""
    secret_files: tuple[Path, ...] = ()
    """The files that secrets of the run come from, which no pod is sent."""
    scales: Scales = field(default_factory=Scales)
    requests: dict[str, Sequence[PodRequest]] = field(default_factory=dict)
    """The pods that each node asked for, by its id."""
    own: OwnOutput = field(default_factory=OwnOutput)
    """What this process writes, so that it is not sent."""
    needed: NothingNeeded = field(default_factory=NothingNeeded)
    """What nodes get of others."""
    asides: Asides = field(default_factory=Asides)
    surroundings: Surroundings = field(init=False)
    _projects: dict[str, Path] = field(default_factory=dict)
    _locks: dict[str, str] = field(default_factory=dict)
    _requests: dict[int, tuple[Job, PodRequest]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.view = PodView(self.provider)
        self.surroundings = self.mode.surroundings()

    def request(self, job: Job) -> PodRequest:
        """Return the pod a job asks for under the flags of the run; nodes of one job share one request.

        Raises DefinitionError for a pod that RunPod never rents: only here is known what fixtures made of the job.
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
        """Return the folder of a deploy file: what its local paths are relative to."""
        folder = self._projects.get(file)
        if folder is None:
            folder = self._projects[file] = (self.rootdir / file).parent
        return folder

    def lock_sha256(self, file: str) -> str:
        """Return the sha256 of the lock file next to a deploy file, as it was when it was first asked for."""
        sha256 = self._locks.get(file)
        if sha256 is None:
            sha256 = self._locks[file] = lock_file_sha256(self.project(file))
        return sha256

    def weigh(self, local: Path, exclude: tuple[str, ...], *, ignored: bool = False) -> Weight:
        """Return what would be sent of ``local``. Raises UsageError if it does not exist."""
        return self.scales.weigh(local, exclude, ignored=ignored)

    def rules_for(self, local: Path) -> tuple[str, ...]:
        """Return rules that keep the files of secrets out of what is sent. Raises UsageError if ``local`` is one."""
        if not self.secret_files:
            return ()
        if is_secret_file(local, self.secret_files):
            raise UsageError(
                f"{local} is the file of a secret and is not sent: commands have its value in their environment"
            )
        return secret_rules(local, self.secret_files)

    def tell_withheld(self, local: Path, names: tuple[str, ...]) -> None:
        """Tell, once, which key files of a folder are not sent."""
        if notice := self.scales.news(local, names):
            self.events.notice(notice)

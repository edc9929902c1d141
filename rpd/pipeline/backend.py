"""The backend: provides the pods of a run, and with them the ways to reach, record, watch and stop them.

A run gets each part from its backend. ``rpd.pipeline.live_backend`` provides those of a live run, on RunPod or an
emulator, ``rpd.pipeline.dry_run_backend`` their null twins. No other code asks whether a run is dry.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.config import Config
from rpd.errors import UsageError
from rpd.events import Events
from rpd.execute.local_disk import Disk
from rpd.execute.mode import Live
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.execute.price_ceiling import Cover
from rpd.execute.run_budget import Purse
from rpd.hooks import PluginManager
from rpd.journal.files import NodeFiles, RunFiles
from rpd.journal.journal import Journal
from rpd.lease.lease import Connect
from rpd.pipeline.image_digests import ImageDigests
from rpd.pipeline.secrets import Value
from rpd.pipeline.worst_case import Prices
from rpd.redaction import Redactor
from rpd.stop import Stop
from rpd.threads import begun
from rpd.values.frozen import frozen
from rpd.values.node import Node
from rpd.values.overrides import Overrides
from rpd.values.pod import PodRequest, Provider
from rpd.values.report import SourceRecord

if TYPE_CHECKING:
    from rpd.lease.recycle import Recycler
    from rpd.lease.registries import Registries
    from rpd.pipeline.dry_run_report import DryRunPlugin
    from rpd.pipeline.live_check import Outlooks
    from rpd.record.plugin import ManifestPlugin
    from rpd.record.run_info import RunInfo


@frozen
class Session:
    """How pods are reached, and the environment they are created with so that they can be."""

    connect: Connect
    connect_again: Callable[[Path, str], Connect] | None
    pod_env: Mapping[str, str]


class Backend(ABC):
    """The parts that a run gets from its backend.

    The provider is made when it is first needed; ``prepare`` starts slow work in the background before that.
    ``owns_process``: the process is this run's alone.
    """

    mode: Live
    has_pods: bool
    """Whether pods are rented; else the run only finds out which ones nodes ask for."""

    def __init__(self, config: Config, manager: PluginManager, *, owns_process: bool = False) -> None:
        self._config = config
        self._owns_process = owns_process
        self._manager = manager
        self._lock = threading.Lock()
        self._provider: Provider | None = None
        self._background: threading.Thread | None = None
        self._failure: BaseException | None = None

    def prepare(self, nodes: Iterable[Node] = ()) -> None:  # noqa: ARG002
        """Start slow work for the pods of ``nodes`` in the background, so that planning continues meanwhile."""
        self._background = begun(self._begin_quietly, name="rpd-backend")

    def _begin_quietly(self) -> None:
        try:
            self._begin()
        except BaseException as error:  # noqa: BLE001 - raised where the provider is asked for
            self._failure = error

    def _begin(self) -> None:
        """Do the slow work, in the background."""
        self._open()

    def provider(self) -> Provider:
        """Return the provider. Raise AuthError without a key, ProvisioningError where the emulator does not start."""
        if self._background is not None and self._background is not threading.current_thread():
            self._background.join()
        if self._failure is not None:
            raise self._failure
        return self._open()

    def _open(self) -> Provider:
        with self._lock:
            if self._provider is None:
                self._provider = self._ask_plugins(self._config)
            return self._provider

    def _ask_plugins(self, config: Config) -> Provider:
        provider: object = Events(self._manager).provider(config=config)
        if provider is None:
            raise UsageError("no plugin provides pods: rpd's provider is switched off")
        if not isinstance(provider, Provider):
            raise UsageError(
                f"rpd_provider: expected an rpd.values.pod.Provider, got {provider!r}: derive the class of your "
                "provider from it"
            )
        provider.notify = lambda text: Events(self._manager).notice(text)
        return provider

    @abstractmethod
    def leave_word(self, files: RunFiles, disk: Disk) -> None:
        """Tell other terminals, in the run folder, how to reach the emulator if there is one; until ``close``."""

    @abstractmethod
    def among_others(self) -> AbstractContextManager[None]:
        """Return the context of a run that may not be alone in its process."""

    def close(self) -> None:
        """Give back the provider."""
        if self._background is not None:
            self._background.join()
        with self._lock:
            if self._provider is not None:
                self._provider.close()
                self._provider = None

    # --- before the run ---------------------------------------------------------------------------------------------

    @abstractmethod
    def describe(self, nodes: Iterable[Node]) -> str:
        """Return the text for the head of the run."""

    @abstractmethod
    def secrets(self, nodes: Iterable[Node]) -> Mapping[str, Value]:
        """Return the values of the secrets of ``nodes``. Raise UsageError for one that is missing."""

    @abstractmethod
    def balance_warning(self, worst_case_usd: float) -> str:
        """Return a warning if the credit may not be enough, else an empty text. Raise BalanceError, ProviderError."""

    @abstractmethod
    def digests(self, secrets: Mapping[str, Value]) -> ImageDigests:
        """Return the lookup of image digests, which uses the passwords among ``secrets``."""

    @abstractmethod
    def check_images(
        self, nodes: Sequence[Node], secrets: Mapping[str, Value], digests: ImageDigests
    ) -> tuple[str, ...]:
        """Return warnings about private images, and images to pin. Raise UsageError for those no pod could pull."""

    def outlooks(self, prices: Prices, events: Events, nodes: Sequence[Node]) -> Outlooks | None:  # noqa: ARG002
        """Return the live check of requests without renting; None: renting shows the result."""
        return None

    # --- the parts of a run -----------------------------------------------------------------------------------------

    @abstractmethod
    def files(self) -> AbstractContextManager[RunFiles]:
        """Make the folder of the run, locked while the context is open. Raise UsageError, LocalError."""

    @abstractmethod
    def events(self, events: Events) -> Events:
        """Return the events of which nodes and pods tell."""

    @abstractmethod
    def journal(self, files: RunFiles | NodeFiles, redactor: Redactor, disk: Disk) -> Journal:
        """Open the journal of the run, or of a node."""

    @abstractmethod
    def session(self, files: RunFiles) -> Session:
        """Make the key of the run. Raise LocalError where it cannot be written."""

    @abstractmethod
    def lifetimes(self) -> Lifetimes:
        """Return the object that sets the deadlines of pods."""

    @abstractmethod
    def registries(
        self, files: RunFiles, journal: Journal, secrets: Mapping[str, Value], *, is_resumed: bool
    ) -> Registries | None:
        """Return the store of jobs' registry credentials, including those that an earlier process left."""

    @abstractmethod
    def recycler(self, files: RunFiles) -> Recycler | None:
        """Return the finder of stopped pods to reuse."""

    @abstractmethod
    def purse(self, spent: float) -> Purse:
        """Return the budget of the run, of which so much is spent already."""

    @abstractmethod
    def cover(
        self, ceiling: Callable[[Node], float], overrides: Overrides, total: float, purse: Purse
    ) -> Cover:
        """Return the guard that keeps each node within the worst case it was priced at."""

    @abstractmethod
    def sources(
        self, files: RunFiles, nodes: Sequence[Node], redactor: Redactor, events: Events
    ) -> Callable[[Path], SourceRecord]:
        """Return a function for the source record of a project folder; start to read the folders now."""

    # --- around the run ---------------------------------------------------------------------------------------------

    @abstractmethod
    def keeper(
        self,
        events: Events,
        redactor: Redactor,
        resumed: RunInfo | None,
        prices: Prices,
        outlooks: Outlooks | None,
        requests: Mapping[str, Sequence[PodRequest]],
    ) -> ManifestPlugin | DryRunPlugin:
        """Register the plugin that keeps the record of the run."""

    @abstractmethod
    def balance_watch(
        self, nodes: Iterable[Node], stop: Stop, events: Events
    ) -> AbstractContextManager[object]:
        """Return the context in which the balance of the account is watched."""

    @abstractmethod
    def leftover(self, pods: tuple[str, ...], events: Events) -> tuple[str, ...]:
        """Return those of the pods that remain after the run; pods of the run's own emulator end with it."""

    @abstractmethod
    def forget_keys(self, files: RunFiles) -> None:
        """Remove the keys of the run, unless a pod that it left still needs them."""

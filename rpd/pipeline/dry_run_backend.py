"""The backends of dry runs: nothing is rented, sent, written or watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.config import Config
from rpd.events import DryRunEvents, Events
from rpd.execute import no_network
from rpd.execute.local_disk import Disk
from rpd.execute.mode import Dry, TracingDry
from rpd.execute.pod.lifetimes import Lifetimes, NoLifetimes
from rpd.execute.price_ceiling import Cover, NoCover
from rpd.execute.run_budget import Purse
from rpd.hooks import PluginManager
from rpd.journal.files import DryRunFiles, NodeFiles, RunFiles
from rpd.journal.journal import Journal, NoJournal
from rpd.pipeline.backend import Backend, Session
from rpd.pipeline.caller import Caller
from rpd.pipeline.check_upload_size import own_output
from rpd.pipeline.dry_run_report import DryRunPlugin
from rpd.pipeline.image_digests import ImageDigests, NoDigests
from rpd.pipeline.secrets import Value, known_secrets, only_texts
from rpd.pipeline.worst_case import Prices
from rpd.plan import uses_pod
from rpd.redaction import Redactor
from rpd.remote.dry_run import connect as connect_to_nothing
from rpd.runpod import plugin
from rpd.stop import Stop
from rpd.values.node import Node
from rpd.values.overrides import Overrides
from rpd.values.pod import PodRequest, Provider
from rpd.values.report import SourceRecord

if TYPE_CHECKING:
    from rpd.pipeline.live_check import Outlooks

TRACING = "tracing"
"""A plugin of this name wants to know what results depend on."""


class DryRunBackend(Backend):
    """The backend of a dry run: no network, no key, no pod."""

    mode: Dry = Dry()
    has_pods = False

    def prepare(self, nodes: Iterable[Node] = ()) -> None:
        """Do nothing: a dry run has nothing slow to start."""

    def leave_word(self, files: RunFiles, disk: Disk) -> None:
        """Do nothing: a dry run has no emulator."""

    def among_others(self) -> AbstractContextManager[None]:
        return nullcontext() if self._owns_process else no_network.among_others()

    def describe(self, nodes: Iterable[Node]) -> str:
        return "dry run: no network, no key, no pod"

    def secrets(self, nodes: Iterable[Node]) -> Mapping[str, Value]:
        """Return the values that can be read here: a dry run needs none of them, and masks them all."""
        return known_secrets(nodes)

    def balance_warning(self, worst_case_usd: float) -> str:
        return ""

    def digests(self, secrets: Mapping[str, Value]) -> ImageDigests:
        return NoDigests({})

    def check_images(
        self, nodes: Sequence[Node], secrets: Mapping[str, Value], digests: ImageDigests
    ) -> tuple[str, ...]:
        return ()

    def registries(
        self, files: RunFiles, journal: Journal, secrets: Mapping[str, Value], *, is_resumed: bool
    ) -> None:
        return None

    @contextmanager
    def files(self) -> Iterator[RunFiles]:
        yield DryRunFiles.below(self._config.runs_path)

    def events(self, events: Events) -> Events:
        return DryRunEvents(events.manager)

    def journal(self, files: RunFiles | NodeFiles, redactor: Redactor, disk: Disk) -> Journal:
        return _NO_JOURNAL

    def session(self, files: RunFiles) -> Session:
        return Session(
            connect=connect_to_nothing,
            connect_again=None,
            pod_env={"PUBLIC_KEY": "(a key made for this run)"},
        )

    def lifetimes(self) -> Lifetimes:
        return NoLifetimes()

    def recycler(self, files: RunFiles) -> None:
        return None

    def purse(self, spent: float) -> Purse:
        return Purse(None)

    def cover(
        self,
        ceiling: Callable[[Node], float],
        overrides: Overrides,
        total: float,
        purse: Purse,
    ) -> Cover:
        return NoCover()

    def sources(
        self,
        files: RunFiles,
        nodes: Sequence[Node],
        redactor: Redactor,
        events: Events,
    ) -> Callable[[Path], SourceRecord]:
        return _no_source

    def keeper(
        self,
        events: Events,
        redactor: Redactor,
        resumed: object,
        prices: Prices,
        outlooks: Outlooks | None,
        requests: Mapping[str, Sequence[PodRequest]],
    ) -> DryRunPlugin:
        """Register the plugin that reports the plan of each node."""
        keeper = DryRunPlugin(events, prices, requests, outlooks)
        self._manager.register(keeper, "dry run")
        return keeper

    def balance_watch(
        self,
        nodes: Iterable[Node],
        stop: Stop,
        events: Events,
    ) -> AbstractContextManager[object]:
        return nullcontext()

    def leftover(self, pods: tuple[str, ...], events: Events) -> tuple[str, ...]:
        return ()

    def forget_keys(self, files: RunFiles) -> None:
        """Do nothing: a dry run makes no keys."""


class LiveDryRunBackend(DryRunBackend):
    """The backend of a dry run that asks the provider about prices, stock and balance, and creates nothing."""

    def prepare(self, nodes: Iterable[Node] = ()) -> None:
        Backend.prepare(self, nodes)

    def _begin(self) -> None:
        if self._manager.has_plugin(plugin.__name__):
            plugin.begin_imports(self._config.pods.lifecycle)
        super()._begin()

    def _ask_plugins(self, config: Config) -> Provider:
        from rpd.runpod.dry.reading_provider import Onlooker

        return Onlooker(super()._ask_plugins(config), no_network.lowered)

    def describe(self, nodes: Iterable[Node]) -> str:
        if not any(map(uses_pod, nodes)):
            return super().describe(nodes)
        return f"dry run: {self.provider().name} is only read, nothing is created"

    def outlooks(self, prices: Prices, events: Events, nodes: Sequence[Node]) -> Outlooks | None:
        from rpd.pipeline.live_check import Outlooks  # it asks over the network

        return Outlooks(self.provider, prices, events, only_texts(known_secrets(nodes)))


_NO_JOURNAL = NoJournal()


_NO_SOURCE = SourceRecord()


def _no_source(_project: Path) -> SourceRecord:
    return _NO_SOURCE


def backend_for(config: Config, manager: PluginManager, caller: Caller) -> Backend:
    """Return the backend of the kind of dry run that ``config`` asks for."""
    kind = LiveDryRunBackend if config.run.dry_run_live else DryRunBackend
    backend = kind(config, manager, owns_process=caller.owns_process)
    if manager.has_plugin(TRACING):
        from rpd.pipeline.sent_digests import SentDigests  # it reads the tree that would be sent

        backend.mode = TracingDry(SentDigests(config.rootdir, own_output(config)).of)
    return backend

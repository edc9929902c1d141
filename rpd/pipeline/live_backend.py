"""The backend of a live run, on RunPod or an emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.config import Config
from rpd.errors import LocalError
from rpd.events import Events
from rpd.execute.local_disk import Disk
from rpd.execute.mode import Live
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.execute.price_ceiling import Cover
from rpd.execute.run_budget import Purse
from rpd.hooks import PluginManager
from rpd.journal import replay
from rpd.journal.files import NodeFiles, RunFiles
from rpd.journal.journal import FileJournal, Journal
from rpd.journal.lock import RunLock
from rpd.lease.lease import Connect
from rpd.lease.recycle import Recycler
from rpd.lease.registries import Registries, stored_by
from rpd.pipeline.backend import Backend, Session
from rpd.pipeline.balance_watch import BalanceWatch
from rpd.pipeline.check_registries import check_registries
from rpd.pipeline.image_digests import ImageDigests, is_emulated
from rpd.pipeline.local_backend import Machine, exported, leave, machine_of, start_emulator
from rpd.pipeline.secrets import Value, only_texts, read_secrets
from rpd.pipeline.worst_case import Prices, check_balance
from rpd.plan import uses_pod
from rpd.project.code_state import Sources
from rpd.project.owner import stamp
from rpd.record.plugin import ManifestPlugin
from rpd.redaction import Redactor
from rpd.remote.watchdog import Terms
from rpd.runpod import plugin
from rpd.stop import Stop
from rpd.values.endpoint import Endpoint
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.overrides import Overrides
from rpd.values.pod import PodRequest, Provider
from rpd.values.report import SourceRecord

if TYPE_CHECKING:
    from rpd.pipeline.dry_run_report import DryRunPlugin
    from rpd.pipeline.live_check import Outlooks
    from rpd.record.run_info import RunInfo


class LiveBackend(Backend):
    """Rents pods, and starts the emulator for them first in a ``--local`` run.

    Where it ``owns_process``, user code finds that emulator by the environment, too.
    """

    mode: Live = Live()
    has_pods = True

    def __init__(self, config: Config, manager: PluginManager, *, owns_process: bool = False) -> None:
        super().__init__(config, manager, owns_process=owns_process)
        self._opened = ExitStack()
        self._local: Endpoint | None = None
        self._word: Path | None = None
        self._volumes: Mapping[str, str | None] = {}

    @property
    def _is_emulated(self) -> bool:
        return is_emulated(self._config.api, local=self._config.run.local)

    @property
    def _machine(self) -> Machine:
        return machine_of(self._config.run, self._config.invocation_dir)

    def prepare(self, nodes: Iterable[Node] = ()) -> None:
        """Start the emulator and the import of the SDK in the background, so that planning continues meanwhile.

        An emulator gets the network volumes that the jobs of ``nodes`` name.
        """
        self._volumes = _volumes_of(nodes)
        super().prepare(nodes)

    def _begin(self) -> None:
        self._begin_imports()
        super()._begin()
        import_module("rpd.remote.ssh")  # fabric is slow: it comes while nodes are planned

    def _begin_imports(self) -> None:
        """Start importing the SDK, if rpd's own provider rents the pods; an emulator starts in parallel."""
        if self._manager.has_plugin(plugin.__name__):
            plugin.begin_imports(self._config.pods.lifecycle)

    def _ask_plugins(self, config: Config) -> Provider:
        if not config.run.local:
            return super()._ask_plugins(config)
        self._local = self._opened.enter_context(emulator(self._manager, self._volumes, self._machine))
        if self._owns_process:
            self._opened.enter_context(exported(self._local))
        return super()._ask_plugins(replace(config, api=self._local))

    def leave_word(self, files: RunFiles, disk: Disk) -> None:
        if self._local is None:
            return
        self._word = files.emulator
        try:
            leave(self._local, files.emulator)
        except OSError as error:
            disk.failed(files.emulator, error, "other commands cannot reach the emulator of this run")

    def among_others(self) -> AbstractContextManager[None]:
        return nullcontext()

    # --- before the run ---------------------------------------------------------------------------------------------

    def describe(self, nodes: Iterable[Node]) -> str:
        return self.provider().name if any(map(uses_pod, nodes)) else "no pods needed"

    def secrets(self, nodes: Iterable[Node]) -> Mapping[str, Value]:
        return read_secrets(nodes)

    def balance_warning(self, worst_case_usd: float) -> str:
        return check_balance(self.provider().account(), worst_case_usd)

    def digests(self, secrets: Mapping[str, Value]) -> ImageDigests:
        return ImageDigests(only_texts(secrets), pin=self._config.pods.pin_images, emulated=self._is_emulated)

    def check_images(
        self, nodes: Sequence[Node], secrets: Mapping[str, Value], digests: ImageDigests
    ) -> tuple[str, ...]:
        doubts = digests.check(nodes)
        return (
            *doubts,
            *check_registries(nodes, only_texts(secrets), self.provider, emulated=self._is_emulated),
        )

    # --- the parts of a run -----------------------------------------------------------------------------------------

    @contextmanager
    def files(self) -> Iterator[RunFiles]:
        files = RunFiles.create(self._config.runs_path)
        try:
            lock = RunLock.take(files.folder)
        except OSError as error:
            raise LocalError(f"cannot lock the run folder {files.folder}", error) from error
        with lock:
            yield files

    def events(self, events: Events) -> Events:
        return events

    def journal(self, files: RunFiles | NodeFiles, redactor: Redactor, disk: Disk) -> Journal:
        path = files.journal

        def failed(error: OSError) -> None:
            disk.failed(path, error, "its events are kept in memory until there is room")

        return FileJournal(path, redactor, failed)

    def session(self, files: RunFiles) -> Session:
        """Make the run's key pair; return the ways to connect with it. Raise LocalError."""
        from rpd.remote.keys import make_keypair, user_public_lines
        from rpd.remote.ssh import connect, forget_pin

        try:
            keys = make_keypair(files.keys)
        except OSError as error:
            raise LocalError(f"cannot write the SSH key of the run to {files.keys}", error) from error
        known_hosts, give_up = files.known_hosts, self._config.pods.ssh["give_up_after"]

        def connect_with(private_key: Path) -> Connect:
            return partial(
                connect, private_key=private_key, known_hosts=known_hosts, give_up=give_up, probes=True
            )

        def connect_again(private_key: Path, pod_id: str) -> Connect:
            forget_pin(known_hosts, pod_id)
            return connect_with(private_key)

        return Session(
            connect=connect_with(keys.private_key),
            connect_again=connect_again,
            pod_env={
                "PUBLIC_KEY": "\n".join([keys.public_line, *user_public_lines()]),
                **stamp(files.run_id),
            },
        )

    def lifetimes(self) -> Lifetimes:
        return Lifetimes(Terms.of(self._config.pods))

    def registries(
        self, files: RunFiles, journal: Journal, secrets: Mapping[str, Value], *, is_resumed: bool
    ) -> Registries | None:
        return Registries(
            self.provider,
            journal,
            run_id=files.run_id,
            passwords=only_texts(secrets),
            earlier=stored_by(files.journal) if is_resumed else (),
        )

    def recycler(self, files: RunFiles) -> Recycler | None:
        return Recycler(self._config.runs_path, only_of=files.run_id if self._config.pods.force_fresh else "")

    def purse(self, spent: float) -> Purse:
        return Purse(self._config.money.budget, spent=spent)

    def cover(
        self, ceiling: Callable[[Node], float], overrides: Overrides, total: float, purse: Purse
    ) -> Cover:
        return Cover(
            worst_case=ceiling,
            budget_of=lambda node: overrides.budget(node.job.budget),
            total=total,
            purse=purse,
        )

    def sources(
        self, files: RunFiles, nodes: Sequence[Node], redactor: Redactor, events: Events
    ) -> Callable[[Path], SourceRecord]:
        sources = Sources(files.folder, redactor, events)
        folders = ((self._config.rootdir / node.file).parent for node in nodes if uses_pod(node))
        sources.read_ahead(dict.fromkeys(folders))
        return sources.of

    # --- around the run ---------------------------------------------------------------------------------------------

    def keeper(
        self,
        events: Events,
        redactor: Redactor,
        resumed: RunInfo | None,
        prices: Prices,  # noqa: ARG002
        outlooks: Outlooks | None,  # noqa: ARG002
        requests: Mapping[str, Sequence[PodRequest]],  # noqa: ARG002
    ) -> ManifestPlugin | DryRunPlugin:
        keeper = ManifestPlugin(redactor=redactor, events=events, resumed=resumed)
        self._manager.register(keeper, "manifest")
        return keeper

    def balance_watch(
        self, nodes: Iterable[Node], stop: Stop, events: Events
    ) -> AbstractContextManager[object]:
        if not any(map(uses_pod, nodes)):
            return nullcontext()
        watch = BalanceWatch(
            self.provider().account, stop=stop, events=events, seconds=self._config.money.balance_interval
        )
        self._manager.register(watch, "balance")
        return watch

    def leftover(self, pods: tuple[str, ...], events: Events) -> tuple[str, ...]:
        if self._config.run.local and pods:
            events.notice(
                f"nothing is left and nothing bills: {', '.join(pods)} ended with the emulator of this --local run "
                "(rpd emulator starts one that stays)"
            )
            return ()
        return pods

    def forget_keys(self, files: RunFiles) -> None:
        with suppress(OSError):  # an unreadable journal may name such a pod
            if not replay.unreleased(files.journal):
                files.forget_keys()

    def close(self) -> None:
        """Give back the provider and end the emulator, if one was started."""
        super().close()
        if self._word is not None:
            self._word.unlink(missing_ok=True)
        self._opened.close()


def _volumes_of(nodes: Iterable[Node]) -> dict[str, str | None]:
    """Return the network volumes that jobs name, each with a data centre where the job may run."""
    jobs = {id(node.job): node.job for node in nodes}.values()
    return {
        job.storage.network_volume: next(iter(job.datacenters), None)
        for job in jobs
        if job.storage.network_volume is not None
    }


@contextmanager
def emulator(
    manager: PluginManager, volumes: Mapping[str, str | None], machine: Machine
) -> Iterator[Endpoint]:
    """Run an emulator.

    It has empty network volumes of the names in ``volumes``, each in its data centre if one is given.
    """
    launched = start_emulator(machine=machine)
    for notice in launched.notices:
        Events(manager).notice(notice)
    try:
        for name, datacenter in volumes.items():
            with suppress(ValueError):  # a data centre without network volumes: renting a pod will tell
                launched.make_volume(name, datacenter)
                Events(manager).notice(
                    text=f"network volume {name!r}: the emulator has an empty one, which is deleted when it ends; on "
                    "RunPod create it first, with rpd volume create"
                )
        yield Endpoint(base_url=launched.base_url, api_key=launched.api_key)
    finally:
        launched.close()

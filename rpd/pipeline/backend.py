"""The backend: whose pods a run gets, RunPod's, an emulator's or nobody's, all behind one path."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path

from rpd.config import Config
from rpd.errors import UsageError
from rpd.events import Events
from rpd.execute import no_network
from rpd.hooks import PluginManager
from rpd.pipeline.local_backend import exported, leave, start_emulator
from rpd.runpod import plugin
from rpd.values.endpoint import Endpoint
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.pod import Provider


class Backend:
    """Makes the provider when it is first needed; ``prepare`` lets slow things begin in the background before that.

    ``owns_process``: user code finds the emulator of a ``--local`` run by the environment, too.
    """

    def __init__(self, config: Config, manager: PluginManager, *, owns_process: bool = False) -> None:
        self._config = config
        self._owns_process = owns_process
        self._manager = manager
        self._lock = threading.Lock()
        self._provider: Provider | None = None
        self._opened = ExitStack()
        self._local: Endpoint | None = None
        self._word: Path | None = None
        self._volumes: Mapping[str, str | None] = {}
        self._background: threading.Thread | None = None
        self._failure: BaseException | None = None

    def prepare(self, nodes: Iterable[Node] = ()) -> None:
        """Begin to start the emulator and to import the SDK, so that planning goes on meanwhile.

        An emulator gets the network volumes that the jobs of ``nodes`` name.
        """
        self._volumes = _volumes_of(nodes)
        if not self._config.run.dry_run or self._config.run.dry_run_live:
            self._background = threading.Thread(target=self._open_quietly, name="rpd-backend", daemon=True)
            self._background.start()

    def _open_quietly(self) -> None:
        try:
            self._begin_imports()
            self._open()
            if not self._config.run.dry_run:
                import_module("rpd.remote.ssh")  # fabric is slow to import, too
        except BaseException as error:  # noqa: BLE001 - raised where the provider is asked for
            self._failure = error

    def _begin_imports(self) -> None:
        """Start importing the SDK, if rpd's own provider rents the pods; an emulator starts in parallel."""
        if self._manager.has_plugin(plugin.__name__):
            plugin.begin_imports(self._config)

    def provider(self) -> Provider:
        """Return the provider. Raises AuthError without a key, ProvisioningError where the emulator does not start."""
        if self._background is not None and self._background is not threading.current_thread():
            self._background.join()
        if self._failure is not None:
            raise self._failure
        return self._open()

    def _open(self) -> Provider:
        with self._lock:
            if self._provider is None:
                if self._config.run.local:
                    self._local = self._opened.enter_context(emulator(self._manager, self._volumes))
                    if self._owns_process:
                        self._opened.enter_context(exported(self._local))
                self._provider = self._ask_plugins()
            return self._provider

    def _ask_plugins(self) -> Provider:
        config = self._config if self._local is None else replace(self._config, api=self._local)
        provider: object = Events(self._manager).provider(config=config)
        if provider is None:
            raise UsageError("no plugin provides pods: rpd's own provider is switched off")
        if not isinstance(provider, Provider):
            raise UsageError(
                f"rpd_provider: expected an rpd.values.pod.Provider, got {provider!r}: derive the class of your "
                "provider from it"
            )
        provider.notify = lambda text: Events(self._manager).notice(text)
        if self._config.run.dry_run_live:
            from rpd.runpod.dry.live import Onlooker  # whatever provider it is, a dry run creates nothing

            return Onlooker(provider, no_network.lowered)
        return provider

    def leave_word(self, path: Path) -> None:
        """Tell other terminals, in ``path``, how to reach the emulator if there is one now; until ``close``."""
        if self._local is not None:
            self._word = path
            leave(self._local, path)

    def close(self) -> None:
        """Give back the provider and end the emulator, if one was started."""
        if self._background is not None:
            self._background.join()
        with self._lock:
            if self._provider is not None:
                self._provider.close()
                self._provider = None
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
def emulator(manager: PluginManager, volumes: Mapping[str, str | None]) -> Iterator[Endpoint]:
    """Run an emulator.

    It has empty network volumes of the names in ``volumes``, each in its data centre if one is given.
    """
    launched = start_emulator()
    for notice in launched.notices:
        Events(manager).notice(notice)
    try:
        for name, datacenter in volumes.items():
            with suppress(ValueError):  # a data centre without network volumes: renting a pod will tell
                launched.make_volume(name, datacenter)
                Events(manager).notice(
                    text=f"network volume {name!r}: the emulator has an empty one, which goes when it ends; on RunPod "
                    "you make it in the console first"
                )
        yield Endpoint(base_url=launched.base_url, api_key=launched.api_key)
    finally:
        launched.close()

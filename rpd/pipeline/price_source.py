"""The source of prices outside of a run: RunPod if there is a key, else the prices shipped with rpd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rpd.config import Config
from rpd.errors import AuthError
from rpd.runpod.dry.provider import OfflineProvider
from rpd.runpod.key import NO_KEY
from rpd.values.frozen import frozen
from rpd.values.gpus import PRICES_READ_ON

if TYPE_CHECKING:
    from rpd.runpod.switch import SwitchingProvider  # without a key nothing that calls RunPod is loaded

SHIPPED = f"no API key: prices of {PRICES_READ_ON}, shipped with rpd; stock is unknown"


@frozen
class Source:
    """The source of prices; ``live`` is None without a key."""

    live: SwitchingProvider | None

    @property
    def provider(self) -> SwitchingProvider | OfflineProvider:
        """The provider that makes offers."""
        return self.live or OfflineProvider()

    @property
    def name(self) -> str:
        """For people and JSON: ``RunPod``, ``emulator at …`` or ``shipped``."""
        return self.live.name if self.live else "shipped"


@contextmanager
def price_source(config: Config, notify: Callable[[str], None], *, live: bool = True) -> Iterator[Source]:
    """Open the source, and close it at the end; ``notify`` is called with its notices.

    Without ``live`` no API is called. Raise AuthError for an unreadable key, UsageError.
    """
    provider = _provider(config) if live else None
    try:
        if provider is not None:
            provider.notify = notify
        yield Source(live=provider)
    finally:
        if provider is not None:
            provider.close()


def _provider(config: Config) -> SwitchingProvider | None:
    """Return RunPod with the user's key; None if there is no key."""
    from rpd.runpod.plugin import make_provider

    try:
        return make_provider(config)
    except AuthError as error:
        if str(error) != NO_KEY:
            raise
        return None

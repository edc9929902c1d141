"""The plugin that provides pods: it rents them from RunPod, except in a dry run that makes no calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rpd.config import Config

if TYPE_CHECKING:
    from rpd.runpod.switch import Lifecycle, SwitchingProvider


def rpd_provider(config: Config) -> SwitchingProvider | None:
    """Return RunPod with the user's key, and start to import its SDK. Raise AuthError, UsageError."""
    if config.run.is_offline:
        return None
    provider = make_provider(config)
    begin_imports(config.pods.lifecycle)
    return provider


def begin_imports(lifecycle: str) -> None:
    """Start importing the SDK in the background, if it will create the pods."""
    if lifecycle != "rest":
        # Imported here and below, not at the top: a dry run registers this plugin and must not pay for what
        # it does not use.
        from rpd.runpod.graphql.sdk import preload

        preload()


def make_provider(config: Config) -> SwitchingProvider:
    """Return the provider that ``config`` selects, with the user's key unless ``config.api`` has another.

    Raise AuthError, UsageError.
    """
    from rpd.runpod.address import checked_url, key_url
    from rpd.runpod.key import find_key

    url = key_url() if config.api is None else checked_url(config.api.base_url)
    key = find_key() if config.api is None else config.api.api_key
    # With a key only: who has none is answered from the prices that rpd knows, without what calls RunPod.
    from rpd.runpod.catalogue.cache import default_store
    from rpd.runpod.switch import SwitchingProvider

    return SwitchingProvider(
        key,
        lifecycle=cast("Lifecycle", config.pods.lifecycle),
        store=default_store(url, refresh=config.money.refresh or config.run.dry_run_live),
        strict=config.run.dry_run_live,
        url=url,
    )

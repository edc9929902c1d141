"""The plugin that answers who rents the pods of a run: RunPod, unless the run is a dry one that asks nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rpd.config import Config

if TYPE_CHECKING:
    from rpd.runpod.switch import Lifecycle, SwitchingProvider


def rpd_provider(config: Config) -> SwitchingProvider | None:
    """Return RunPod with the user's key, its SDK being imported meanwhile. Raises AuthError, UsageError."""
    if config.run.dry_run and not config.run.dry_run_live:
        return None
    # Not at the top, here and below: a dry run registers this plugin and must not pay for what it will not use.
    from rpd.runpod.graphql.sdk import preload

    provider = make_provider(config)
    if config.pods.lifecycle == "sdk":
        preload()
    return provider


def make_provider(config: Config) -> SwitchingProvider:
    """Return RunPod with the user's key, as ``config`` wants it spoken to. Raises AuthError, UsageError."""
    from rpd.runpod.address import key_url
    from rpd.runpod.catalogue.cache import default_store
    from rpd.runpod.key import find_key
    from rpd.runpod.switch import SwitchingProvider

    key_url()
    return SwitchingProvider(
        find_key(),
        lifecycle=cast("Lifecycle", config.pods.lifecycle),
        store=default_store(refresh=config.money.refresh or config.run.dry_run_live),
        strict=config.run.dry_run_live,
    )

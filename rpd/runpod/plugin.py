"""The plugin that answers who rents the pods of a run: RunPod, unless the run is a dry one."""

from __future__ import annotations

from rpd.config import Config
from rpd.runpod.address import check_url
from rpd.runpod.key import find_key
from rpd.runpod.provider import RunPodProvider
from rpd.runpod.sdk import preload


def rpd_provider(config: Config) -> RunPodProvider | None:
    """Return RunPod with the user's key and start importing its SDK. Raises AuthError, UsageError."""
    if config.dry_run:
        return None
    check_url()
    key = find_key()
    preload()
    return RunPodProvider(key)

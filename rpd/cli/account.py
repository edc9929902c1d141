"""The account: RunPod as commands outside of a run reach it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rpd.cli.out import note
from rpd.config import Config
from rpd.pipeline.local_end import LocalEnd
from rpd.values.pod import Provider


@contextmanager
def account(config: Config, local: LocalEnd | None = None) -> Iterator[Provider]:
    """Give the provider of the user's key, or the emulator at ``local``; what it has to say goes to stderr.

    Raises AuthError, UsageError.
    """
    from rpd.runpod.plugin import make_provider

    with local.in_force() if local is not None else nullcontext():
        provider = make_provider(config)
        provider.notify = lambda text: note(f"rpd: {text}")
        try:
            yield provider
        finally:
            provider.close()

"""The account: RunPod as commands outside of a run reach it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rpd.config import Config
from rpd.values.pod import Provider


@contextmanager
def account(config: Config) -> Iterator[Provider]:
    """Give the provider of the user's key; what it has to say goes to stderr. Raises AuthError, UsageError."""
    from rpd.runpod.plugin import make_provider

    provider = make_provider(config)
    provider.notify = lambda text: print(f"rpd: {text}", file=sys.stderr)
    try:
        yield provider
    finally:
        provider.close()

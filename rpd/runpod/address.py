"""Where the calls go: RUNPOD_API_BASE_URL, which the SDK reads as well, or RunPod itself."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from rpd.errors import UsageError

DEFAULT_URL = "https://api.runpod.io"

EMULATOR = "emulator"
"""How the name of a far end on this machine begins."""


def api_url() -> str:
    """Return where the SDK sends its calls, without ``/graphql``; it reads the variable at each call."""
    return os.environ.get("RUNPOD_API_BASE_URL", DEFAULT_URL).rstrip("/")


def api_name() -> str:
    """Return what people call the place the calls go to: ``RunPod``, an emulator, or its address."""
    url = api_url()
    if url == DEFAULT_URL:
        return "RunPod"
    return f"{EMULATOR} at {url}" if is_local(url) else url


def what_to_check() -> str:
    """Return the question a user should answer first where nothing can be reached at the address."""
    url = api_url()
    if url == DEFAULT_URL:
        return "Is there a network, and does it need a proxy (HTTPS_PROXY)?"
    return f"Is RUNPOD_API_BASE_URL right{', and does the emulator still run' if is_local(url) else ''}?"


def check_url() -> None:
    """Raise UsageError if RUNPOD_API_BASE_URL is set to something that is no URL."""
    parts = urlsplit(api_url())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"RUNPOD_API_BASE_URL: expected a URL such as {DEFAULT_URL}, got {api_url()!r}")


def is_local(url: str) -> bool:
    """Return whether ``url`` is on this machine."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")

"""The address of the API: RUNPOD_API_BASE_URL, which the SDK reads as well, or RunPod itself."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from rpd.errors import UsageError

DEFAULT_URL = "https://api.runpod.io"

EMULATOR = "emulator"
"""First word of the name of a server on this machine."""


def api_url() -> str:
    """Return the address to which the SDK sends its calls, without ``/graphql``.

    It reads the variable at each call.
    """
    return os.environ.get("RUNPOD_API_BASE_URL", DEFAULT_URL).rstrip("/")


def api_name(url: str) -> str:
    """Return the name of the server at ``url``: ``RunPod``, an emulator, or its address."""
    if url == DEFAULT_URL:
        return "RunPod"
    return f"{EMULATOR} at {url}" if is_local(url) else url


def what_to_check(url: str) -> str:
    """Return the first question to ask a user if ``url`` cannot be reached."""
    if url == DEFAULT_URL:
        return "Are you online, and does your network need a proxy (HTTPS_PROXY)?"
    return f"Is RUNPOD_API_BASE_URL right{', and is the emulator still running' if is_local(url) else ''}?"


def key_url() -> str:
    """Return ``api_url()`` if the API key may be sent there. Raise UsageError.

    Every sender of the key calls this each time, because a deploy file can change the environment.
    """
    return checked_url(api_url())


def checked_url(url: str) -> str:
    """Return ``url`` if the API key may be sent there. Raise UsageError."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is no number
        is_url = False
    if not is_url:
        raise UsageError(f"RUNPOD_API_BASE_URL: expected a URL such as {DEFAULT_URL}, got {url!r}")
    if parts.username is not None or parts.password is not None:
        # Both HTTP libraries would send that name and password instead of the API key.
        shown = f"{parts.scheme}://…@{parts.netloc.rpartition('@')[2]}"
        raise UsageError(
            f"RUNPOD_API_BASE_URL: expected a URL without a user name or password, got {shown!r}: they would be "
            "sent instead of the API key"
        )
    if parts.scheme == "http" and not is_local(url):
        raise UsageError(
            f"RUNPOD_API_BASE_URL: expected https://, got {url!r}: the API key would cross the network in clear "
            "text. http:// is for servers on this machine; forward a port (ssh -L) to reach one elsewhere"
        )
    return url


def is_local(url: str) -> bool:
    """Return whether ``url`` is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    if not (host.startswith("127.") or ":" in host):
        return False
    from ipaddress import ip_address  # most addresses are names

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

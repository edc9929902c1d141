"""Endpoint: a server that speaks RunPod's API, with the key it asks for."""

from __future__ import annotations

from rpd.values.frozen import frozen


@frozen
class Endpoint:
    """Where a server is (``base_url``, without ``/graphql`` or ``/v2``), and the key to send there."""

    base_url: str
    api_key: str

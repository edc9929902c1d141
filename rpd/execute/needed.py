"""Results that nodes take over from other nodes: the seam through which they arrive, and its null twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpd.errors import UsageError
from rpd.values.node import Node


class NothingNeeded:
    """The null twin, for runs in which no node needs another."""

    def by(self, node: Node, sent: dict[str, str]) -> Any:  # noqa: ARG002
        """Return the value of the fixture ``needs``; hashes of its reads go to ``sent``. Raise UsageError."""
        raise UsageError(f"{node.id} asks for the fixture needs, but has no mark rpd.mark.needs(…)")

    def fingerprint(self, node: Node, sent: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002
        """Return hashes, by name, of the other nodes' results that the node depends on, in addition to ``sent``."""
        return {}

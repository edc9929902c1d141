"""Results that nodes take over from other nodes: the seam through which they arrive, and its null twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rpd.errors import UsageError

if TYPE_CHECKING:
    from rpd.execute.node.run import NodeRun


class NothingNeeded:
    """The null twin, for runs in which no node needs another."""

    def by(self, run: NodeRun) -> Any:
        """Return the value of the fixture ``needs`` for a node. Raise UsageError if it has no mark ``needs``."""
        raise UsageError(f"{run.node.id} asks for the fixture needs, and has no mark rpd.mark.needs(…)")

    def fingerprint(self, run: NodeRun) -> Mapping[str, str]:  # noqa: ARG002
        """Return the hashes, by name, of the other nodes' results that this node's result depends on."""
        return {}

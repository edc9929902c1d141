"""What nodes get of other nodes: the seam at which a run is told, and its twin for runs in which none needs another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rpd.errors import UsageError

if TYPE_CHECKING:
    from rpd.execute.node.run import NodeRun


class NothingNeeded:
    """Nobody needs another node."""

    def by(self, run: NodeRun) -> Any:
        """Return the value of the fixture ``needs``. Raises UsageError."""
        raise UsageError(f"{run.node.id} asks for the fixture needs, and has no mark rpd.mark.needs(…)")

    def fingerprint(self, run: NodeRun) -> Mapping[str, str]:  # noqa: ARG002
        """Return what the result of a node depends on of what others left, as hashes by name."""
        return {}

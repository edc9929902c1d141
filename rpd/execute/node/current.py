"""The current node run: the one that fixtures and pod handles on this thread act for."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpd.execute.node.node_run import NodeRun

_current: ContextVar[NodeRun] = ContextVar("rpd_node_run")


def current_run() -> NodeRun:
    """Return the node run of this thread. Raise LookupError if there is none."""
    return _current.get()


def is_acting_for_node() -> bool:
    """Return whether this thread acts for a node."""
    return _current.get(None) is not None


class acting_for:  # noqa: N801 - used as a function is
    """Make ``run`` the current node run of this thread for a ``with`` block."""

    __slots__ = ("_run", "_token")

    def __init__(self, run: NodeRun) -> None:
        self._run = run

    def __enter__(self) -> None:
        self._token: Token[NodeRun] = _current.set(self._run)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)

"""Whose turn it is: the node run that fixtures and pod handles on this thread act for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpd.execute.node.run import NodeRun

_current: ContextVar[NodeRun] = ContextVar("rpd_node_run")


def current_run() -> NodeRun:
    """Return the node run of this thread. Raises LookupError outside of one."""
    return _current.get()


@contextmanager
def acting_for(run: NodeRun) -> Iterator[None]:
    """Make ``run`` the one that this thread acts for."""
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)

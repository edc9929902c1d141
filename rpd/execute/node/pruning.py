"""Pruning: asks plugins whether a node should end early because of its metrics, and ends its running command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

from rpd.errors import Pruned
from rpd.events import Events
from rpd.values.node import Node


class Pruning:
    """Asks plugins about each value until one says to end. Used on the thread that follows the node's commands."""

    def __init__(self, node: Node, events: Events) -> None:
        self._node = node
        self._events = events
        self._error: BaseException | None = None
        """The error to end the node with: Pruned, or the error of a plugin."""
        self._end: Callable[[], None] = _nothing

    @cached_property
    def _is_heard(self) -> bool:
        """Whether there is anybody to ask; most nodes never want to know."""
        return self._events.is_heard("prune")

    def ask(self, name: str, step: float, value: float) -> None:
        """Ask the plugins about a value; end the running command if one says so."""
        if self._error is not None or not self._is_heard:
            return
        try:
            reason = self._events.prune(node=self._node, name=name, step=step, value=value)
        except Exception as error:  # noqa: BLE001 - raised once the command has ended: it must not outlive this
            self._error = error
        else:
            if reason is None:
                return
            self._error = Pruned(str(reason) or "by a plugin")
        self._end()

    def check(self) -> None:
        """Raise Pruned if the node has to end, or the error of the plugin that was asked."""
        if self._error is not None:
            raise self._error

    @contextmanager
    def through(self, end: Callable[[], None]) -> Iterator[None]:
        """Call ``end`` during the block when the node has to end; it ends the running command."""
        self._end = end
        try:
            yield
        finally:
            self._end = _nothing


def _nothing() -> None:
    """End nothing: no command is running."""

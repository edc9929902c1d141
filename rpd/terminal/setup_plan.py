"""The set-up plan: which fixture is set up and torn down when, around the nodes that use it."""

from __future__ import annotations

from collections.abc import Callable

from rpd.hooks import hookimpl
from rpd.values.fixture import FixtureDef, Scope
from rpd.values.node import Node
from rpd.values.skip_and_fail import Skipped

_NODE_INDENT = " " * 2 * (Scope.SESSION - Scope.JOB + 1)


class SetupPlan:
    """Writes a line for each set-up, each node and each teardown, the narrower the scope the further to the right.

    With ``only`` no job is run: its node is skipped once its fixtures are set up.
    """

    def __init__(self, write: Callable[[str], object], *, only: bool = False) -> None:
        self._write = write
        self._only = only

    @hookimpl
    def rpd_fixture_setup(self, node: Node, fixture: FixtureDef) -> None:
        """Write the set-up of a fixture, with its parameter and the fixtures it requests."""
        value = node.fixture_params.get(fixture.name)
        param = "" if value is None else f"[{value.value!r}]"
        self._write(
            f"{_headed('SETUP', fixture)}{param}{_used([name for name in fixture.argnames if name != 'request'])}"
        )

    @hookimpl(tryfirst=True)
    def rpd_run_node(self, node: Node) -> None:
        """Write the node; the next hook implementation runs it."""
        used = [name for name in node.definition.closure.names if name in node.definition.closure.definitions]
        self._write(f"{_NODE_INDENT}{node.id}{_used(used)}")
        if self._only:
            raise Skipped("--setup-only: its fixtures were set up, it did not run")

    @hookimpl
    def rpd_fixture_teardown(self, fixture: FixtureDef) -> None:
        """Write the teardown of a fixture."""
        self._write(_headed("TEARDOWN", fixture))


def _headed(word: str, fixture: FixtureDef) -> str:
    indent = " " * 2 * (Scope.SESSION - fixture.scope)
    return f"{indent}{word:<8} {fixture.scope.label[0].upper()} {fixture.name}"


def _used(names: list[str] | tuple[str, ...]) -> str:
    return f" (fixtures used: {', '.join(names)})" if names else ""

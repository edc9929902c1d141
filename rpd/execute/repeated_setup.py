"""Wide fixtures of a resumed run: a notice names those that are set up again although they had a value."""

from __future__ import annotations

from rpd.execute.context import RunContext
from rpd.journal.journal import WIDE_FIXTURE
from rpd.values.fixture import FixtureDef


def note_wide_fixture(context: RunContext, definition: FixtureDef) -> None:
    """Record that a user's wide fixture gets a value, and report it if a killed process already had one.

    Pods are taken over; everything else of such a fixture (a counter, a server, a temporary folder) died with
    the process.
    """
    if definition.is_variable or definition.is_built_in:
        return
    if context.past is not None and context.past.is_set_up_again(definition.name):
        context.events.notice(
            text=f"fixture {definition.name!r} ({definition.location}, scope {definition.scope.label}) is set up "
            "again: its value was lost with the killed process; the pods it rented are reused"
        )
    context.journal.write(WIDE_FIXTURE, fixture=definition.name, scope=definition.scope.label)

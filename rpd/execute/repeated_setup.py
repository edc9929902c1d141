"""Wide fixtures of a resumed run are set up again; a notice names those that had a value before."""

from __future__ import annotations

from rpd.execute.context import RunContext
from rpd.journal.journal import WIDE_FIXTURE
from rpd.values.fixture import FixtureDef


def note_wide_fixture(context: RunContext, definition: FixtureDef) -> None:
    """Write down that a user's wide fixture gets a value, and say so where a killed process had one already.

    Pods are taken over; what else such a fixture holds (a counter, a server, a temporary folder) died with the process.
    """
    if definition.is_variable or definition.is_built_in:
        return
    if context.past is not None and context.past.is_set_up_again(definition.name):
        context.events.notice(
            text=f"fixture {definition.name!r} ({definition.location}, scope {definition.scope.label}) is set up "
            "again: the process that was killed took its value with it; pods that it rented are taken over"
        )
    context.journal.write(WIDE_FIXTURE, fixture=definition.name, scope=definition.scope.label)

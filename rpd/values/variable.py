"""``rpd.variable``: a value that ``--var NAME=VALUE`` sets, declared where it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rpd.errors import DefinitionError
from rpd.values.frozen import frozen

if TYPE_CHECKING:
    from rpd.values.node import Definition


ALL = "variables"
"""The fixture that has every variable by name, declared or not."""


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@frozen
class Variable:
    """A fixture of session scope whose value is the variable of the name it is bound to in the module."""

    default: Any
    type: Callable[[str], Any]


def variable(*, default: Any = REQUIRED, type: Callable[[str], Any] | None = None) -> Variable:  # noqa: A002
    """Declare a variable: ``lr = rpd.variable(default=0.1)``; without a default ``--var lr=…`` must give it.

    ``type`` turns the text of the command line into the value; by default it is the type of ``default``, or text.
    """
    if type is None:
        type = str if default is REQUIRED or default is None else default.__class__  # noqa: A001
    if not callable(type):
        raise DefinitionError("variable", "type", "expected a function such as int", type)
    return Variable(default=default, type=_boolean if type is bool else type)


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"expected true or false, got {text!r}")


def takes_all(definition: Definition) -> bool:
    """Return whether a job, or a fixture it uses, asks for all variables, so that none has to be declared."""
    fixtures = (fixture for chain in definition.closure.definitions.values() for fixture in chain)
    return ALL in definition.argnames or any(
        ALL in fixture.argnames for fixture in fixtures if not fixture.is_variable
    )

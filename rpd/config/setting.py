"""A setting: everywhere one field of Config may get its value from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rpd.values.frozen import Declared


class Setting(Declared):
    """How one field of Config is set: ``flags`` on the command line of ``commands``, ``key`` in the file, ``env``.

    ``name`` is that of the field, ``kind`` its type as written. ``parse`` turns the text of a flag or variable into the
    value, and raises ValueError with a rule to show. ``const`` is the text a flag stands for that is given without a
    value; None: it needs one. ``action`` is argparse's. ``is_address``: its values are addresses that nobody should
    see, because who has one can write to it.
    """

    __slots__ = (
        *("help", "flags", "commands", "group", "_key", "env"),
        *("metavar", "parse", "choices", "const", "action", "is_address"),
    )

    def __init__(
        self,
        default: Any,
        help: str,  # noqa: A002 - argparse's own word
        *flags: str,
        commands: tuple[str, ...] = (),
        group: str = "options",
        key: str | bool = False,
        env: str | None = None,
        metavar: str | None = None,
        parse: Callable[[str], Any] | None = None,
        choices: tuple[str, ...] = (),
        const: str | None = None,
        action: str = "store",
        is_address: bool = False,
    ) -> None:
        """Take the setting as declared; ``key=True`` is a key with the name of the field."""
        super().__init__(default)
        self.help = help
        self.flags = flags
        self.commands = commands
        self.group = group
        self._key = key
        self.env = env
        self.metavar = metavar
        self.parse = parse
        self.choices = choices
        self.const = const
        self.action = action
        self.is_address = is_address

    @property
    def key(self) -> str | None:
        """The key in the file."""
        return self.name if self._key is True else self._key or None

    @property
    def appends(self) -> bool:
        """Whether the flag may be given several times, each adding a value."""
        return self.action == "append"


class Section:
    """Settings that stand together in ``--help``; made for ``commands``, where one does not name others."""

    def __init__(self, group: str, *commands: str) -> None:
        self._how: dict[str, Any] = {"group": group, "commands": commands}

    def option(self, default: Any, help: str, *flags: str, **how: Any) -> Any:  # noqa: A002
        """Declare a setting with a value."""
        return Setting(default, help, *flags, **{**self._how, **how})

    def several(self, help: str, *flags: str, **how: Any) -> Any:  # noqa: A002
        """Declare a setting with any number of values, none to begin with."""
        return self.option((), help, *flags, action="append", **how)

    def switch(self, help: str, *flags: str, **how: Any) -> Any:  # noqa: A002
        """Declare a setting that is off until its flag is given."""
        return self.option(False, help, *flags, action="store_true", **how)

    def counter(self, help: str, *flags: str, **how: Any) -> Any:  # noqa: A002
        """Declare a setting that counts how often its flag is given."""
        return self.option(0, help, *flags, action="count", **how)


def in_file(default: Any, help: str, *, key: str | bool = True, **how: Any) -> Any:  # noqa: A002
    """Declare a setting that has no flag, only a key in the file."""
    return Setting(default, help, key=key, **how)

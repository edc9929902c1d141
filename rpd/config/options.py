"""The options that plugins add to the command line."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from rpd.errors import UsageError


class OptionGroup:
    """The options of one plugin, the argument of ``rpd_addoption``. ``taken`` are the names of rpd's own."""

    def __init__(self, parser: argparse.ArgumentParser, plugin: str, taken: Collection[str]) -> None:
        self._group = parser.add_argument_group(f"plugin {plugin}")
        self._plugin = plugin
        self._taken = taken
        self.defaults: dict[str, Any] = {}
        """Destination name to the default of an option that was not given."""

    def add(self, *flags: str, **keywords: Any) -> None:
        """Add an option, with argparse's own keywords; its value is ``config.plugin_options[dest]``.

        Raise UsageError if it is not an option, or one of that name exists.
        """
        if not all(flag.startswith("-") for flag in flags) or not flags:
            raise UsageError(
                f"plugin {self._plugin}: an option begins with -, got {', '.join(flags) or 'no name'}"
            )
        switch = {"store_true": False, "store_false": True}.get(str(keywords.get("action")))
        default = keywords.pop("default", switch)
        try:
            # An option that is not given stays absent, so that its default does not override ``addopts``.
            action = self._group.add_argument(*flags, default=argparse.SUPPRESS, **keywords)
        except (argparse.ArgumentError, TypeError, ValueError) as error:
            raise UsageError(f"plugin {self._plugin}: cannot add the option {flags[0]}: {error}") from error
        if action.dest == "args" or action.dest in self._taken:
            raise UsageError(
                f"plugin {self._plugin}: {flags[0]}: {action.dest!r} is rpd's own, choose another dest"
            )
        self.defaults[action.dest] = default

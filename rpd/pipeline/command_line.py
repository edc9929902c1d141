"""A command line before it is parsed: which command it is for, and what its words alone tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from rpd.config.config import NoOptions, PodSettings, RunSettings, settings
from rpd.errors import UsageError
from rpd.hooks import PluginManager
from rpd.values.frozen import frozen


class Command(Protocol):
    """The part of a command that the parser needs: its name, its help and its positional arguments."""

    @property
    def name(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def arguments(self) -> str: ...
    @property
    def arguments_help(self) -> str: ...
    @property
    def takes_command(self) -> bool: ...
    @property
    def own_options(self) -> type:
        """The class that declares the options only it has."""


@frozen
class Silent:
    """A command without help: its arguments come from a program, or from a configuration file."""

    name: str
    help: str = ""
    arguments: str = "PATH|NODEID"
    arguments_help: str = ""
    takes_command: bool = False
    own_options: type = NoOptions


Hint = Callable[[str], str]
"""What a flag that rpd does not have means elsewhere, and what does that here; empty if nobody knows."""


def asks_help(argv: Sequence[str]) -> bool:
    """Return whether a command line asks for the help of its command."""
    return "-h" in argv or "--help" in argv


def has_options_of_plugins(manager: PluginManager) -> bool:
    """Return whether a plugin, or a conftest that is loaded by now, adds options to the command line."""
    return any(hasattr(plugin, "rpd_addoption") for plugin in manager.get_plugins())


def read_plain(
    command: Command, argv: Sequence[str], manager: PluginManager
) -> tuple[dict[str, Any], list[str]] | None:
    """Return the flags (field name -> value) and arguments of a line that needs no parser; None if it may need one.

    It needs none if every word is an argument or a flag that takes no value, and no plugin has an option whose default
    would count. Most lines are such, and to load argparse takes longer than to read a small deploy file.
    """
    if has_options_of_plugins(manager):
        return None
    args = [word for word in argv if not word.startswith("-")]
    if args and not command.arguments:
        return None
    switches = _switches(command) if len(args) < len(argv) else {}
    flags: dict[str, Any] = {}
    for word in argv:
        if word in switches:
            field, counts = switches[word]
            # Taken out first: flags are in the order in which they were given last.
            before = flags.pop(field, 0)
            flags[field] = before + 1 if counts else True
        elif word.startswith("-"):
            return None
    return implied(flags), args


def _switches(command: Command) -> dict[str, tuple[str, bool]]:
    """Return the flags of a command that take no value: the field of each, and whether it counts."""
    return {
        flag: (field, setting.action == "count")
        for field, setting in settings(command.own_options).items()
        if setting.action in ("store_true", "count") and command.name in setting.commands
        for flag in setting.flags
    }


def implied(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``flags`` with those that others mean: ``--setup-plan`` and ``--dry-run=live`` are dry runs.

    ``-x`` is ``--maxfail=1``, so the later of the two counts.
    """
    overruled = [field for field in flags if field in ("exitfirst", "maxfail")][:-1]
    meant = {field: value for field, value in flags.items() if field not in overruled}
    is_dry = flags.get("setup_plan") or flags.get("dry_run_live")
    return {**meant, "dry_run": True} if is_dry else meant


_OF_THIS_MACHINE = {
    "gpus": "--gpus",
    "python": "--python",
    "pod_memory_mb": "--pod-memory",
    "pod_processes": "--pod-processes",
    "pod_disk_mb": "--pod-disk",
}


def check_together(run: RunSettings, pods: PodSettings, *, command: str = "run") -> None:
    """Raise UsageError for flags that contradict or need each other."""
    flags = [flag for name, flag in _OF_THIS_MACHINE.items() if getattr(run, name)]
    if flags and not run.local and command == "run":
        raise UsageError(f"{flags[0]} needs --local: it sets what local pods may use of this machine")
    if bool(pods.gpu_id) != bool(pods.datacenter_id):
        given, missing = ("--gpu-id", "--datacenter-id") if pods.gpu_id else ("--datacenter-id", "--gpu-id")
        raise UsageError(f"{given} needs {missing}: a pinned GPU needs a data centre")
    if run.local and run.dry_run:
        raise UsageError(
            "--local and --dry-run exclude each other: --local runs jobs on an emulator, --dry-run runs nothing"
        )

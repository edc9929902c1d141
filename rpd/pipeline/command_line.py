"""A command line before it is parsed: which command it is for, and what its words alone tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rpd.config.config import NoOptions, PodSettings, RunSettings
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


def is_plain(command: Command, argv: Sequence[str], manager: PluginManager) -> bool:
    """Return whether every word is an argument, and no plugin has an option whose default would count."""
    takes_them = bool(command.arguments) or not argv
    has_flags = any(word.startswith("-") for word in argv)
    return takes_them and not has_flags and not has_options_of_plugins(manager)


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

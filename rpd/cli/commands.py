"""The commands of ``rpd``: the help of each, and the function that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

import rpd
from rpd.errors import UsageError
from rpd.values.frozen import frozen

if TYPE_CHECKING:
    from rpd.config import Config, Setting
    from rpd.hooks import PluginManager


@frozen
class Command:
    """One command: its help, its positional arguments, and the function that runs it."""

    name: str
    help: str
    module: str
    function: str = "main"
    arguments: str = ""
    arguments_help: str = ""
    takes_command: bool = False
    """Whether the words after ``--`` are a command to run."""
    options: str = ""
    """The class in ``rpd.cli.command_options`` that declares the options only it has; empty: it has none."""

    @property
    def own_options(self) -> type:
        """The class that declares the options only it has."""
        # Not at the top: help and version need no settings.
        if not self.options:
            from rpd.config.config import NoOptions

            return NoOptions
        from rpd.cli import command_options

        own: type = getattr(command_options, self.options)
        return own


_NODES = "a folder, a deploy file, a node id (path::job[case]), or @FILE with such arguments, one per line"
_A_RUN = "a run: its id, or the beginning of it (default: the newest)"
_A_NODE = "a node: its id, the beginning of its id or name, or a part of its id"

COMMANDS = {
    command.name: command
    for command in (
        Command(
            name="collect",
            help="list what would run",
            module="rpd.cli.collect",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(
            name="run",
            help="run jobs on RunPod, an emulator (--local) or dry (--dry-run)",
            module="rpd.cli.run",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(
            name="resume",
            help="resume a run that was killed",
            module="rpd.cli.run",
            function="resume",
            arguments="RUN",
            arguments_help="a run: its id, or the beginning of it (default: the last unfinished one)",
        ),
        Command(name="runs", help="list past runs", module="rpd.cli.runs", options="RunsOptions"),
        Command(
            name="show",
            help="show a past run, or one of its nodes",
            module="rpd.cli.show",
            arguments="RUN|NODE",
            arguments_help=f"{_A_RUN}; then {_A_NODE}",
        ),
        Command(
            name="diff",
            help="show the differences between two runs or two nodes",
            module="rpd.cli.diff",
            arguments="RUN[:NODE]",
            arguments_help="two runs, or two nodes of runs",
            options="DiffOptions",
        ),
        Command(
            name="events",
            options="EventsOptions",
            help="print the events of a run, in order",
            module="rpd.cli.events",
            arguments="RUN|NODE",
            arguments_help=f"{_A_RUN}; then {_A_NODE}",
        ),
        Command(
            name="query",
            help="filter, group and total the nodes of all past runs",
            module="rpd.cli.query",
            arguments="EXPRESSION",
            arguments_help="such as 'outcome == \"failed\" and lr < 0.01' (default: every node)",
            options="QueryOptions",
        ),
        Command(
            name="report",
            help="print the results of a past run, or make a page of runs",
            module="rpd.cli.runs",
            function="report",
            arguments="RUN",
            arguments_help=f"{_A_RUN}; with --html any number of runs",
            options="ReportOptions",
        ),
        Command(
            name="advise",
            help="show where a run's money went, and how to spend less",
            module="rpd.cli.advise",
            arguments="RUN",
            arguments_help=f"{_A_RUN}; any number of them",
            options="AdviseOptions",
        ),
        Command(
            name="ui",
            help="show runs on a live page in your browser",
            module="rpd.cli.ui",
            arguments="PATH",
            arguments_help="a run folder, or a folder of run folders, of any machine (default: this project's)",
            options="UiOptions",
        ),
        Command(
            name="verify",
            help="check the pulled files of a run against their sha256 sums",
            module="rpd.cli.runs",
            function="verify",
            arguments="RUN",
            arguments_help=_A_RUN,
        ),
        Command(
            name="logs",
            help="print the log of a node, or of all nodes of a run",
            module="rpd.cli.logs",
            arguments="NODE",
            arguments_help=f"{_A_NODE} (default: all of them, each line after the name of its node)",
            options="LogsOptions",
        ),
        Command(
            name="ssh",
            help="open a shell or run a command on the pod of a node",
            module="rpd.cli.ssh",
            arguments="NODE|POD",
            arguments_help=f"{_A_NODE}; or a pod: its id or name. After --, a command to run there",
            takes_command=True,
            options="SshOptions",
        ),
        Command(
            name="ps",
            help="list the pods of the account and what they cost",
            module="rpd.cli.pods",
            function="ps",
            options="PsOptions",
        ),
        Command(
            name="stop",
            help="delete pods",
            module="rpd.cli.pods",
            function="stop",
            arguments="NODE|POD",
            arguments_help="a pod: its id or name; or a node that has one",
            options="StopOptions",
        ),
        Command(
            name="audit",
            help="explain RunPod's charges by the pods that runs rented",
            module="rpd.cli.audit",
            arguments="PATH",
            arguments_help="folders of run folders, such as those of a team (default: this project's)",
            options="AuditOptions",
        ),
        Command(
            name="gc",
            help="find and delete pods that no run needs any more",
            module="rpd.cli.pods",
            function="gc",
        ),
        Command(
            name="capture-env",
            help="record python, packages and source of a project as TOML",
            module="rpd.cli.capture",
            arguments="FOLDER",
            arguments_help="the project (default: the current folder)",
            options="CaptureEnvOptions",
        ),
        Command(
            name="volume",
            help="list, make and delete network volumes",
            module="rpd.cli.volume",
            arguments="ls|create|rm NAME",
            arguments_help="ls (default); create and the name of a volume; rm and the names or ids of volumes",
            options="VolumeOptions",
        ),
        Command(
            name="gpus",
            help="list GPU types, their prices, and where they are in stock",
            module="rpd.cli.gpus",
            arguments="WORD",
            arguments_help="only types whose ids contain this word, or that are in stock in this data centre",
            options="GpusOptions",
        ),
        Command(
            name="estimate",
            help="estimate what nodes may cost",
            module="rpd.cli.estimate",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
            options="EstimateOptions",
        ),
        Command(
            name="plan",
            help="show which nodes are new or changed, and what they may cost",
            module="rpd.cli.plan",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
            options="PlanOptions",
        ),
        Command(
            name="doctor",
            help="check for problems before you spend money",
            module="rpd.cli.doctor",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
            options="DoctorOptions",
        ),
        Command(
            name="fixtures",
            help="list the fixtures that jobs can ask for",
            module="rpd.cli.fixtures",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
            options="FixturesOptions",
        ),
        Command(name="markers", help="list the marks that jobs can have", module="rpd.cli.markers"),
        Command(
            name="init",
            help="write a first deploy file, a conftest and settings",
            module="rpd.cli.init",
            arguments="FOLDER",
            arguments_help="the folder to write to (default: the current one)",
        ),
        Command(
            name="import",
            help="rewrite runpod-deploy YAML files as deploy files",
            module="rpd.cli.import_yaml",
            arguments="FILE.yaml",
            arguments_help="configurations with schema_version: 2",
            options="ImportOptions",
        ),
        Command(
            name="completion",
            help="print the completion script for a shell",
            module="rpd.cli.completion",
            arguments="SHELL",
            arguments_help="bash, zsh or fish",
        ),
        Command(
            name="emulator",
            help="start an emulator of RunPod on this machine",
            module="rpd.cli.emulator",
            options="EmulatorOptions",
        ),
    )
}


def command(name: str) -> Command:
    """Return the command of that name. Raise UsageError that names the command to type instead."""
    entry = COMMANDS.get(name)
    if entry is None:
        from rpd.cli.command_hints import instead_of  # only a mistake needs it

        raise UsageError(f"rpd has no command {name!r}. {instead_of(name, COMMANDS)}")
    return entry


def every_setting() -> list[Setting]:
    """Return the settings of all commands."""
    from rpd.config import settings
    from rpd.values.frozen import declared

    own = (declared(entry.own_options).values() for entry in COMMANDS.values())
    return [*settings().values(), *cast("Iterator[Setting]", chain.from_iterable(own))]


def overview() -> str:
    """Return the help of ``rpd`` itself."""
    width = max(map(len, COMMANDS))
    lines = [f"  rpd {entry.name:<{width}}  {entry.help}" for entry in COMMANDS.values()]
    return "\n".join(
        [
            f"rpd {rpd.__version__}: run GPU jobs on RunPod the way pytest runs tests",
            "",
            *lines,
            "",
            f"  rpd {'--dry-run':<{width}}  short for rpd run --dry-run",
            "",
            "`rpd COMMAND --help` lists the options of a command.",
            "Only `rpd run`, `rpd resume` of a run, `rpd estimate --measure` and",
            "`rpd volume create` can spend money.",
        ]
    )


def configure(name: str, argv: Sequence[str], cwd: Path) -> tuple[Config, PluginManager]:
    """Return the Config and the plugins of the command ``name``. Raise UsageError."""
    # Not at the top: help and version need no parser, no settings and no plugins.
    from rpd.pipeline import setup

    return setup.configure(
        command(name), argv, cwd, hint=_hint, formats=_register_formats, diverts_output=True
    )


def _register_formats(manager: PluginManager, texts: Sequence[str]) -> None:
    if any(".y" in text for text in texts):
        from rpd.compat.formats import register_formats  # few name a file of another tool

        register_formats(manager, texts)


def _hint(flag: str) -> str:
    from rpd.cli.command_hints import for_flag  # only a mistake needs it

    return for_flag(flag)

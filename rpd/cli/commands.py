"""The commands of ``rpd``: what each is for, and where it is done."""

from __future__ import annotations

import rpd
from rpd.errors import UsageError
from rpd.values.frozen import frozen


@frozen
class Command:
    """One command: what it is for, its positional arguments, and the function that does it."""

    name: str
    help: str
    module: str
    function: str = "main"
    arguments: str = ""
    arguments_help: str = ""
    takes_command: bool = False
    """Whether what stands after ``--`` is a command line of its own."""


_NODES = "a folder, a deploy file, a node id (path::job[case]) or @FILE with such arguments, one a line"
_A_RUN = "a run by its id or how that begins (default: the newest)"
_A_NODE = "a node by its id, how that or its name begins, or a part of it"

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
            help="carry on a run that was killed",
            module="rpd.cli.run",
            function="resume",
            arguments="RUN",
            arguments_help="the run's id or how it begins (default: the last unfinished one)",
        ),
        Command(name="runs", help="list past runs", module="rpd.cli.runs"),
        Command(
            name="show",
            help="tell of a past run, or of one of its nodes",
            module="rpd.cli.show",
            arguments="RUN|NODE",
            arguments_help=f"{_A_RUN}; then {_A_NODE}",
        ),
        Command(
            name="diff",
            help="tell what differs between two runs or two nodes",
            module="rpd.cli.diff",
            arguments="RUN[:NODE]",
            arguments_help="two runs, or two nodes of runs",
        ),
        Command(
            name="events",
            help="print what happened in a run, in order",
            module="rpd.cli.events",
            arguments="RUN|NODE",
            arguments_help=f"{_A_RUN}; then {_A_NODE}",
        ),
        Command(
            name="query",
            help="choose, group and total the nodes of all past runs",
            module="rpd.cli.query",
            arguments="EXPRESSION",
            arguments_help="such as 'outcome == \"failed\" and lr < 0.01' (default: every node)",
        ),
        Command(
            name="report",
            help="print the results of a past run again",
            module="rpd.cli.runs",
            function="report",
            arguments="RUN",
            arguments_help=_A_RUN,
        ),
        Command(
            name="verify",
            help="check the files that a run pulled against their sha256 sums",
            module="rpd.cli.runs",
            function="verify",
            arguments="RUN",
            arguments_help=_A_RUN,
        ),
        Command(
            name="logs",
            help="print the log of a node",
            module="rpd.cli.logs",
            arguments="NODE",
            arguments_help=_A_NODE,
        ),
        Command(
            name="ssh",
            help="open a shell, or run a command, on the pod of a node",
            module="rpd.cli.ssh",
            arguments="NODE|POD",
            arguments_help=f"{_A_NODE}, or a pod by its id or name; after -- a command to run there",
            takes_command=True,
        ),
        Command(
            name="ps",
            help="list the pods of the account and what they cost",
            module="rpd.cli.pods",
            function="ps",
        ),
        Command(
            name="stop",
            help="delete pods",
            module="rpd.cli.pods",
            function="stop",
            arguments="NODE|POD",
            arguments_help="a pod by its id or name, or the node that has it",
        ),
        Command(
            name="gc",
            help="delete the pods that nobody needs any more",
            module="rpd.cli.pods",
            function="gc",
        ),
        Command(
            name="capture-env",
            help="write down python, packages and source of a project as TOML",
            module="rpd.cli.capture",
            arguments="FOLDER",
            arguments_help="the project (default: here)",
        ),
        Command(
            name="gpus",
            help="list GPU types, their prices and where they are in stock",
            module="rpd.cli.gpus",
            arguments="WORD",
            arguments_help="only types whose ids hold this word, or that are in stock in this data centre",
        ),
        Command(
            name="estimate",
            help="tell what nodes may cost",
            module="rpd.cli.estimate",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(
            name="doctor",
            help="check what can go wrong before money is spent",
            module="rpd.cli.doctor",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(
            name="fixtures",
            help="list the fixtures that jobs may ask for",
            module="rpd.cli.fixtures",
            arguments="PATH|NODEID",
            arguments_help=_NODES,
        ),
        Command(name="markers", help="list the marks that jobs may have", module="rpd.cli.markers"),
        Command(
            name="init",
            help="write a first deploy file and a conftest",
            module="rpd.cli.init",
            arguments="FOLDER",
            arguments_help="where to (default: here)",
        ),
        Command(
            name="import",
            help="rewrite YAML configurations of runpod-deploy as deploy files",
            module="rpd.cli.import_yaml",
            arguments="FILE.yaml",
            arguments_help="configurations with schema_version: 2",
        ),
        Command(
            name="completion",
            help="print the script that completes rpd's words in a shell",
            module="rpd.cli.completion",
            arguments="SHELL",
            arguments_help="bash, zsh or fish",
        ),
        Command(name="emulator", help="serve a RunPod on this machine", module="rpd.cli.emulator"),
    )
}


def command(name: str) -> Command:
    """Return the command of that name. Raises UsageError that says what to type instead."""
    found = COMMANDS.get(name)
    if found is None:
        from rpd.cli.command_hints import instead_of  # only somebody's slip is worth loading it

        raise UsageError(f"rpd has no command {name!r}. {instead_of(name, COMMANDS)}")
    return found


def overview() -> str:
    """Return the help of ``rpd`` itself."""
    width = max(map(len, COMMANDS))
    lines = [f"  rpd {held.name:<{width}}  {held.help}" for held in COMMANDS.values()]
    return "\n".join(
        [
            f"rpd {rpd.__version__}: run GPU jobs on RunPod the way pytest runs tests",
            "",
            *lines,
            "",
            f"  rpd {'--dry-run':<{width}}  short for rpd run --dry-run",
            "",
            "`rpd COMMAND --help` tells more.",
            "Nothing that costs money happens without `rpd run` (or `rpd resume` of a run).",
        ]
    )

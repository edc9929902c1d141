"""Candidates for shell completion: the words that may stand at the cursor.

Completion neither runs nor imports the user's code. It finds jobs in the text of deploy files, and their cases in the
records of earlier runs. Where it offers nothing, the shell completes file names.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.cli.commands import COMMANDS
from rpd.cli.output import say
from rpd.cli.typed import escaped, split
from rpd.config import Setting, settings
from rpd.config.settings_file import find_root, read_file
from rpd.errors import RpdError
from rpd.user_text import parse_python

Candidates = Mapping[str, str]
"""What may be typed, with what it is for."""

_WANT_RUNS = ("resume", "report", "verify", "diff", "advise")
_WANT_RUNS_AND_NODES = ("show", "events")
_WANT_NODES = ("logs", "ssh", "stop")
_WANT_JOBS = ("collect", "run", "estimate", "plan", "doctor", "fixtures")
_ALIASES = {
    "--dry-run": "short for rpd run --dry-run",
    "--help": "list the commands",
    "--version": "print the version",
}
_MOST_RUNS = 50


def answer(words: Sequence[str]) -> int:
    """Print the candidates for ``bash LINE BREAKS``, ``zsh WORD …`` or ``fish WORD …``; a mistake prints nothing."""
    shell, *rest = words or [""]
    try:
        if shell == "bash" and rest:
            lines = _for_bash(rest[0], rest[1] if len(rest) > 1 else "")
        else:
            lines = [
                f"{value}\t{text}" if text else value
                for value, text in candidates(rest[1:], Path.cwd()).items()
            ]
    except (RpdError, OSError):
        return 0
    if lines:
        say("\n".join(lines))
    return 0


def _for_bash(line: str, breaks: str) -> list[str]:
    """Return bash's replacements for its own idea of the current word, which starts after a break character."""
    typed = split(line, breaks)
    values = candidates(typed.words[1:], Path.cwd())
    if typed.quote:
        return [value[typed.kept :] for value in values]
    return [escaped(value[typed.kept :]) for value in values]


def candidates(words: Sequence[str], cwd: Path) -> Candidates:
    """Return the completions for the last of ``words``, those of a command line after ``rpd``."""
    *before, current = words or [""]
    if not before:
        helps = {name: command.help for name, command in COMMANDS.items()}
        return _beginning(current, {**helps, **_ALIASES} if current.startswith("-") else helps)
    command = before[0] if before[0] in COMMANDS else "run" if before[0].startswith("--dry-run") else ""
    if not command or "--" in before:
        return {}
    flags = _flags(command)
    flag, equals, value = current.partition("=")
    if equals and flag in flags:
        return {f"{flag}={each}": text for each, text in _values(flags[flag], value, cwd).items()}
    if current.startswith("-"):
        helps = {name: setting.help for name, setting in flags.items() if name.startswith("--")}
        return _beginning(current, {**helps, "--help": "print the help of the command"})
    last = flags.get(before[-1])
    if last is not None and _takes_value(last):
        return _values(last, current, cwd)
    positional = [word for word in before[1:] if not word.startswith("-")]
    return _beginning(current, _positional(command, positional, current, cwd))


def _beginning(current: str, values: Candidates) -> Candidates:
    return {value: text for value, text in values.items() if value.startswith(current)}


# --- flags ----------------------------------------------------------------------------------------------------------


def _flags(command: str) -> Mapping[str, Setting]:
    return {
        flag: setting
        for setting in settings(COMMANDS[command].own_options).values()
        if command in setting.commands
        for flag in setting.flags
    }


def _takes_value(setting: Setting) -> bool:
    return setting.action in ("store", "append") and setting.const is None


def _values(setting: Setting, current: str, cwd: Path) -> Candidates:
    """Return the values of a flag, where they are known."""
    if setting.choices:
        return _beginning(current, dict.fromkeys(setting.choices, ""))
    match setting.name:
        case "of_run":
            return _beginning(current, _runs(cwd))
        case "markexpr":
            return _beginning(current, _marks(cwd))
        case "overrides":
            keys = (f"{each.key}=" for each in settings().values() if each.key)
            return _beginning(current, dict.fromkeys(keys, ""))
        case "gpu_id":
            from rpd.values.gpus import KNOWN_GPU_TYPES

            return _beginning(current, dict.fromkeys(KNOWN_GPU_TYPES, ""))
        case "datacenter_id":
            from rpd.values.datacenters import KNOWN_DATACENTERS

            return _beginning(current, dict.fromkeys(sorted(KNOWN_DATACENTERS), ""))
        case "last_failed":
            from rpd.config.texts import CAUSES

            return _beginning(current, dict.fromkeys(CAUSES, ""))
    return {}


def _marks(cwd: Path) -> Candidates:
    from rpd.collect.marks import BUILT_IN

    own = [text.partition(":") for text in _file_values(cwd)[1].get("markers", ())]
    texts = {**BUILT_IN, **{head: text.strip() for head, _, text in own}}
    return {head.partition("(")[0].strip(): text for head, text in texts.items()}


# --- positional arguments -------------------------------------------------------------------------------------------


def _positional(command: str, given: Sequence[str], current: str, cwd: Path) -> Candidates:
    if command == "completion":
        from rpd.cli.completion import SCRIPTS

        return {} if given else dict.fromkeys(SCRIPTS, "")
    if command in _WANT_JOBS and "::" in current:
        return _jobs(current, cwd)
    if command in _WANT_RUNS:
        return {} if len(given) >= (2 if command == "diff" else 1) else _runs(cwd)
    if command in _WANT_RUNS_AND_NODES:
        return {**_runs(cwd), **_nodes(cwd, "")} if not given else _nodes(cwd, given[0])
    if command in _WANT_NODES:
        return _nodes(cwd, "")
    return {}


def _jobs(current: str, cwd: Path) -> Candidates:
    """Return the node ids in the file that ``current`` names: its jobs, and the cases that ever ran."""
    file, _, name = current.partition("::")
    root, _ = _file_values(cwd)
    path = cwd / file
    # Remembered ids start at the root folder, typed ones at the current folder.
    inside = os.path.relpath(path, root).replace(os.sep, "/")
    past_nodes = [
        node_id.partition("::")[2] for node_id in _remembered(root) if node_id.startswith(f"{inside}::")
    ]
    jobs = list(_decorated(path))
    cases = [each for each in past_nodes if each.partition("[")[0] in jobs]
    has_job = any(name.startswith(job) for job in jobs)
    return dict.fromkeys((f"{file}::{each}" for each in (*jobs, *(cases if has_job or not jobs else ()))), "")


def _decorated(path: Path) -> Iterator[str]:
    """Yield the functions of a file that are decorated by anything but a fixture; the file is read, not imported."""
    try:
        tree = parse_python(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            texts = [ast.unparse(decorator) for decorator in node.decorator_list]
            if not any(re.search(r"\b(?:fixture|hookimpl)\b", text) for text in texts):
                yield node.name


def _remembered(root: Path) -> Iterable[str]:
    from rpd.record.last_outcomes import Memory

    return sorted(Memory(root).read().known)


def _file_values(cwd: Path) -> tuple[Path, Mapping[str, Any]]:
    root, file = find_root(cwd)
    return root, read_file(file)


def _runs_path(cwd: Path) -> Path:
    root, values = _file_values(cwd)
    default = settings()["runs_dir"].default
    return root / str(os.environ.get("RPD_RUNS_DIR") or values.get("runs_dir") or default)


def _runs(cwd: Path) -> Candidates:
    """Return the newest runs by their ids; which state they are in would take reading each."""
    return dict.fromkeys((folder.name for folder in _run_folders(cwd)[:_MOST_RUNS]), "")


def _run_folders(cwd: Path) -> list[Path]:
    try:
        folders = [entry for entry in _runs_path(cwd).iterdir() if not entry.is_symlink()]
    except OSError:
        return []
    runs = (folder for folder in folders if (folder / "run.toml").is_file())
    return sorted(runs, key=lambda folder: folder.name, reverse=True)


def _nodes(cwd: Path, run: str) -> Candidates:
    """Return the names of the nodes that were planned in a run, by default the newest."""
    from rpd.journal import journal
    from rpd.journal.files import RunFiles

    folders = [folder for folder in _run_folders(cwd) if folder.name.startswith(run)]
    for folder in folders[:1]:
        path = RunFiles(folder, folder.name).journal
        events = journal.read(path) if path.is_file() else iter(())
        ids = journal.planned_ids(events)
        return {node_id.rpartition("::")[2]: node_id.rpartition("::")[0] for node_id in ids}
    return {}

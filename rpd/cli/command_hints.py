"""Words and flags of other tools, typed at rpd: their equivalents here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from rpd.values.suggestions import closest

_END = "Ctrl-C ends a run, with its pods; `rpd stop NODE|POD` deletes single pods"
_RUN = "`rpd run` runs jobs; `rpd run --dry-run` shows first what it would do"
_LIST = "`rpd collect` lists what would run, `rpd runs` past runs, `rpd ps` pods"
_STATE = "`rpd ps` lists the pods and what they cost, `rpd show` shows the state of the newest run"
_REAP = "`rpd gc` shows the pods that killed runs left behind; `rpd gc --yes` deletes them"
_CHECK = "`rpd doctor` checks for problems, `rpd run --dry-run` shows what would happen"
_SHELL = "`rpd ssh NODE` opens a shell on its pod"
_RESULTS = "`rpd report` prints the results of a run (--csv, --json, --html FILE)"
_AGAIN = "`rpd run --lf` reruns the nodes that did not pass, `rpd resume` resumes a run that was killed"
_FILES = "A job pulls its files with pod.pull; `rpd show NODE` shows where they are"
_BEGIN = "`rpd init` writes a first deploy file"
_KEY = "Set RUNPOD_API_KEY, or store a key with `runpod config`; `rpd doctor` checks it"
_SETTINGS = (
    "Settings live in rpd.toml or pyproject.toml ([tool.rpd]); `rpd collect --show-config` prints them"
)
_PRICES = "`rpd gpus` lists GPU types and prices, `rpd estimate` what your jobs may cost"

_INSTEAD = {
    _END: ("cancel", "kill", "abort", "terminate", "delete", "rm", "remove", "down", "destroy", "scancel"),
    _RUN: (
        "deploy",
        "up",
        "launch",
        "start",
        "submit",
        "exec",
        "execute",
        "sbatch",
        "create",
        "test",
        "job",
        "jobs",
    ),
    _LIST: ("list", "ls", "sweep", "sweeps"),
    _STATE: (
        "status",
        "state",
        "queue",
        "squeue",
        "top",
        "watch",
        "info",
        "describe",
        "pods",
        "pod",
        "instances",
    ),
    _REAP: ("ls-stale", "stale", "clean", "cleanup", "clean-up", "prune", "reap", "sweep-stale", "purge"),
    _CHECK: (
        "validate",
        "check",
        "lint",
        "verify-config",
        "preview",
        "dry-run",
        "dryrun",
        "preflight",
    ),
    _SHELL: ("shell", "attach", "connect", "sh", "bash", "console", "tunnel", "port-forward"),
    _RESULTS: ("results", "result", "metrics", "summary", "export", "csv", "table"),
    _AGAIN: ("retry", "rerun", "restart", "continue", "requeue"),
    _FILES: ("pull", "fetch", "download", "artifacts", "cp", "scp", "rsync", "sync", "push", "upload"),
    _BEGIN: ("new", "scaffold", "setup", "template"),
    _KEY: ("login", "auth", "configure", "whoami"),
    _SETTINGS: ("config", "settings", "set", "options"),
    _PRICES: (
        *("price", "prices", "pricing", "cost", "costs", "gpu", "inventory", "offers"),
        *("gpu-list", "gpu-prices", "gpu-inventory"),
    ),
    "`rpd logs NODE` prints a log, -f follows it": ("log", "tail", "output"),
    "`rpd runs` lists past runs": ("history", "past"),
    "`rpd diff RUN RUN` compares two runs": ("compare", "compare-runs", "delta"),
    "`rpd query` filters, groups and totals the nodes of all runs": (
        "events-query",
        "manifest-summary",
        "ls-runs",
    ),
    "`rpd capture-env` records python, packages and source": ("freeze", "env", "environment", "snapshot"),
    "`rpd --version` prints the version": ("version",),
}
_COMMANDS = {word: hint for hint, words in _INSTEAD.items() for word in words}

_CONFIG = (
    "`rpd run FILE` runs a deploy file, or a YAML configuration of runpod-deploy; settings live in rpd.toml or "
    "pyproject.toml"
)
_FLAGS = {
    "--config": _CONFIG,
    "-c": _CONFIG,
    "--collect-only": "`rpd collect` lists what would run",
    "--co": "`rpd collect` lists what would run",
    "--offline-dry-run": "--dry-run uses no network; --dry-run=live asks for prices and stock",
    "--all": "without arguments, a command takes all nodes",
    "--env": "env={…} in rpd.job sets the environment, --var NAME=VALUE sets a variable of the deploy file",
    "--gpu": "--gpu-id ID with --datacenter-id ID, or gpu=Gpu(…) in rpd.job",
    "--image": "image=… in rpd.job",
    "--numprocesses": "-n N runs N nodes at a time",
    "-j": "-n N runs N nodes at a time",
    "--jobs": "-n N runs N nodes at a time",
    "--parallel": "-n N runs N nodes at a time",
    "--timeout": "--max-runtime-minutes MIN for every node, or @rpd.mark.timeout for one job",
    "--spot": "spot=True in rpd.job",
    "--force": "--yes skips the question",
}


def instead_of(word: str, commands: Iterable[str]) -> str:
    """Return a sentence with the command to type instead of ``word``, which is not one."""
    quoted = shlex.quote(word)
    if _is_node(word):
        return f"`rpd run {quoted}` runs it, `rpd collect {quoted}` lists what is in it"
    if word.endswith((".yaml", ".yml")):
        rewrites = f"`rpd import {quoted}` turns it into a deploy file"
        return f"`rpd run {quoted}` runs a configuration of runpod-deploy, {rewrites}"
    if word.startswith("-"):
        return for_flag(word) or "Start with a command, such as `rpd run`; `rpd --help` lists them"
    close = closest(word, commands, likeness=0.75)
    hint = _COMMANDS.get(word.lower().replace("_", "-"))
    if hint is not None:
        return hint
    close = close or closest(word, commands)
    return f"Did you mean {close!r}?" if close else f"The commands are {', '.join(commands)}"


def _is_node(word: str) -> bool:
    return "::" in word or word.endswith(".py") or (word[:1] in "./~" and Path(word).expanduser().exists())


def for_flag(flag: str) -> str:
    """Return the equivalent of another tool's flag; empty if none is known."""
    return _FLAGS.get(flag.partition("=")[0], "")

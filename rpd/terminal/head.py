"""The head of a run: its nodes and backend, printed before anything starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import rpd
from rpd.terminal.screen import Screen
from rpd.terminal.styles import counted, rule
from rpd.values.report import NodeReport


def head(
    screen: Screen,
    *,
    title: str,
    backend: str,
    rootdir: Path,
    config_file: Path | None,
    folder: Path | None,
    nodes: int,
    deselected: int,
    done: Sequence[NodeReport],
    facts: Sequence[str],
    is_most: bool = False,
    has_own_emulator: bool = False,
) -> list[str]:
    """Return the lines of the head; ``done`` are reports of nodes that need not run, ``facts`` follow the counts.

    ``is_most``: there may turn out to be fewer nodes. ``has_own_emulator``: the run started it (``--local``).
    """
    ink = screen.ink
    where = f"root: {rootdir}"
    python = ".".join(map(str, sys.version_info[:3]))
    if config_file:
        where += f", configuration: {config_file.name}"
    return [
        ink(rule(title, "=", screen.width), "bold"),
        ink(f"rpd {rpd.__version__}, Python {python}, backend: {_server(backend, is_own=has_own_emulator)}"),
        ink(where),
        *([ink(f"run folder: {ink.relative(folder)}")] if folder else []),
        ink(", ".join([("up to " if is_most else "") + _counts(nodes, deselected, done), *facts]), "bold"),
        "",
    ]


def _server(backend: str, *, is_own: bool) -> str:
    """Return the backend in words; nobody knows what a server on this machine is that the run did not start."""
    name, _, url = backend.partition(" at ")
    if is_own or not url:
        return backend
    from rpd.runpod.address import EMULATOR  # a dry run has no server

    return f"server on this machine, {url} (RUNPOD_API_BASE_URL)" if name == EMULATOR else backend


def _counts(nodes: int, deselected: int, done: Sequence[NodeReport]) -> str:
    """Return ``3 nodes (1 deselected, 2 cached)``."""
    cached = sum(report.result.word == "cached" for report in done)
    others = [(deselected - cached, "deselected"), (cached, "cached"), (len(done) - cached, "over")]
    parts = [f"{number} {word}" for number, word in others if number > 0]
    named = f" ({', '.join(parts)})" if parts else ""
    return f"{counted(nodes, 'node')}{named}"

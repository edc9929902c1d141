"""A plugin for rpd: appends the results of a run to a file, for a program that watches it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rpd

_lock = threading.Lock()
_file: Path | None = None


def rpd_addoption(options: Any) -> None:
    """Add ``--notify-file``."""
    options.add("--notify-file", metavar="FILE", help="append what became of the run to this file")


def rpd_markers() -> list[str]:
    """Register the mark ``loud``."""
    return ["loud: tell of this node as soon as it is over"]


def rpd_configure(config: Any) -> None:
    """Remember the file."""
    global _file
    name = config.plugin_options["notify_file"]
    _file = config.invocation_dir / name if name else None


@rpd.fixture(scope="session")
def notify() -> Callable[[str], None]:
    """``notify(text)`` appends a line to the file of ``--notify-file``."""
    return _append


@rpd.hookimpl(trylast=True)
def rpd_node_report(node: Any, report: Any) -> None:
    """Report a loud node that has ended. Called on the thread of a slot: other nodes may report at the same time."""
    if node.mark("loud"):
        _append(f"{report.result.outcome} {node.id}")


def rpd_run_finished(summary: Any) -> None:
    """Report the whole run."""
    failed = sum(not report.result.outcome.is_ok for report in summary.reports)
    _append(f"{len(summary.reports)} nodes, {failed} failed, ${summary.estimated_usd:.2f}")


def _append(line: str) -> None:
    if _file is not None:
        with _lock, _file.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

"""The command line that runs the node of a report again."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from pathlib import Path

from rpd.disk.regular import is_regular
from rpd.errors import RpdError
from rpd.record import run_info
from rpd.values.report import NodeReport

_TRIAL = re.compile(r"(\[|-)trial(\d+(?:-confirm)?(?:-again\d+)?)\]$")
_STUDIES = "studies.json"


def again(report: NodeReport) -> str:
    """Return the command line that runs the node again, with the variables it had then, and for free if it was."""
    words = ["rpd", "run", *_place(report)]
    if report.folder and _was_local(Path(report.folder).parent):
        words.append("--local")
    for name, value in report.variables.items():
        words += ["--var", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(words)


@lru_cache(maxsize=64)
def _was_local(run: Path) -> bool:
    """Return whether a run began with ``--local``; what its command line says never changes."""
    try:
        return "--local" in run_info.read(run / run_info.FILE_NAME).argv
    except (OSError, ValueError, RpdError):
        return False


def _place(report: NodeReport) -> list[str]:
    """Return the arguments that name the node: its id, or for a trial, known to its run only, study and trial."""
    node_id, run = report.node.id, Path(report.folder).parent
    trial = _TRIAL.search(node_id)
    if trial is None or not report.folder or not is_regular(run / _STUDIES):
        return [node_id]
    study = node_id[: trial.start()] + ("]" if trial[1] == "-" else "")
    return [study, "--trial", f"{run.name}:{trial[2]}"]

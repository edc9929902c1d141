"""The command line that runs the node of a report again."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from rpd.disk.regular import is_regular
from rpd.values.report import NodeReport

_TRIAL = re.compile(r"(\[|-)trial(\d+(?:-confirm)?(?:-again\d+)?)\]$")
_STUDIES = "studies.json"


def again(report: NodeReport) -> str:
    """Return the command line that runs the node again, with the variables it had then."""
    words = ["rpd", "run", *_place(report)]
    for name, value in report.variables.items():
        words += ["--var", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(words)


def _place(report: NodeReport) -> list[str]:
    """Return the arguments that name the node: its id, or for a trial, known to its run only, study and trial."""
    node_id, run = report.node.id, Path(report.folder).parent
    trial = _TRIAL.search(node_id)
    if trial is None or not report.folder or not is_regular(run / _STUDIES):
        return [node_id]
    study = node_id[: trial.start()] + ("]" if trial[1] == "-" else "")
    return [study, "--trial", f"{run.name}:{trial[2]}"]

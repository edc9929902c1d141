"""Running a node again: the command line that a report stands for."""

from __future__ import annotations

import shlex

from rpd.values.report import NodeReport


def again(report: NodeReport) -> str:
    """Return the command line that runs the node again, with the variables it had then."""
    words = ["rpd", "run", report.node.id]
    for name, value in report.variables.items():
        words += ["--var", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(words)

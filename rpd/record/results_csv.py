"""The results of a run as a table for spreadsheets: ``results.csv``."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rpd.record.toml_records import toml_value
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.report import NodeReport
from rpd.values.safe_text import plain

FILE_NAME = "results.csv"
_BEFORE = ("node", "job", "outcome", "cause")
_AFTER = ("attempts", "gpu", "seconds", "usd")
_BEGIN_FORMULAS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""The last four are the wide forms of the first four."""


def dumps(reports: Sequence[NodeReport], redactor: Redactor = NO_SECRETS) -> str:
    """Return one row for each node, secrets masked: who it is, its outcome, parameters, metrics, seconds and USD.

    A parameter or metric whose name is taken by another column becomes ``parameter.NAME`` or ``metric.NAME``.
    """
    import csv  # not at the top: the module is loaded by those who list runs, too

    parameters = _names(report.node.parameters for report in reports)
    metrics = _names(report.metrics for report in reports)
    header = _header(parameters, metrics)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_inert(redactor.text(name)) for name in header)
    writer.writerows(map(_inert, _row(report, parameters, metrics, redactor)) for report in reports)
    return out.getvalue()


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _header(parameters: Sequence[str], metrics: Sequence[str]) -> list[str]:
    header = list(_BEFORE)
    for prefix, names in (("parameter", parameters), ("metric", metrics)):
        header += [f"{prefix}.{name}" if name in (*header, *_AFTER) else name for name in names]
    return [*header, *_AFTER]


def _row(
    report: NodeReport, parameters: Sequence[str], metrics: Sequence[str], redactor: Redactor
) -> list[str]:
    node, result = report.node, report.result
    return [
        redactor.text(node.id),
        redactor.text(node.job),
        result.word,
        result.cause or "",
        *(_cell(node.parameters.get(name, ""), redactor) for name in parameters),
        *(_cell(report.metrics.get(name, ""), redactor) for name in metrics),
        str(result.attempts),
        redactor.text(report.pod.gpu) if report.pod else "",
        f"{result.seconds:.3f}",
        f"{report.cost.estimated_usd:.6f}",
    ]


def _inert(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (text that looks like one gets an apostrophe in front).

    Nor does it act on the terminal of somebody who looks at the file with ``cat``.
    """
    text = plain(text)
    is_formula = text.lstrip(" ")[:1] in _BEGIN_FORMULAS and text != "" and not _is_number(text)
    return f"'{text}" if is_formula else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cell(value: Any, redactor: Redactor) -> str:
    written = redactor.data(toml_value(value))
    return json.dumps(written, default=str) if isinstance(written, dict | list | bool) else str(written)

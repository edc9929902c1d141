"""The size of the uploads of a run, reported and checked before a pod is paid for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rpd.config import Config
from rpd.events import Events
from rpd.execute.project_folder import PROJECT, check_weight, checked_project, has_own_project, stages_project
from rpd.execute.rental_calls import Unforeseen
from rpd.pipeline.expected_pods import Foresight
from rpd.project.own_output import OwnOutput
from rpd.project.upload_size import Scales
from rpd.values.node import Node

LARGE_BYTES = 50_000_000
"""The size of a folder above this is always reported."""


def own_output(config: Config, environ: Mapping[str, str] = os.environ) -> OwnOutput:
    """Return the files this run writes itself: run folders, reports, and the files its output is redirected to."""
    named = (config.output.html, config.output.junit_xml, environ.get("GITHUB_STEP_SUMMARY"))
    reports = [config.invocation_dir / Path(path).expanduser() for path in named if path]
    return OwnOutput.of_process([config.runs_path, *reports])


def check_staging(
    rootdir: Path,
    nodes: Iterable[Node],
    foresight: Foresight,
    scales: Scales,
    events: Events,
    *,
    limit_mb: float,
    is_verbose: bool,
) -> None:
    """Check the size of each project folder that ``staged_dir`` will send.

    Raise UsageError for one above the limit, and for one that cannot be meant. A ``project_dir`` that is
    known only during the run is checked then, before the pod of its node is rented.
    """
    for folder in dict.fromkeys(_folders(rootdir, nodes, foresight)):
        weight = check_weight(folder, limit_mb, scales)
        if text := scales.news(folder, weight.withheld):
            events.notice(text)
        if weight.bytes > LARGE_BYTES or is_verbose:
            largest = f"; largest: {weight.heaviest}" if weight.bytes > LARGE_BYTES else ""
            events.notice(f"staging {weight} from {folder}{largest}")
        text = weight.left_out.sentence(every=is_verbose) if weight.left_out else ""
        if text:
            events.notice(f"staging {folder}: {text}{'' if is_verbose else ' (-v names all)'}")


def _folders(rootdir: Path, nodes: Iterable[Node], foresight: Foresight) -> Iterator[Path]:
    for node in nodes:
        if not stages_project(node) or node.mark("skip"):
            continue
        if not has_own_project(node):
            yield checked_project((rootdir / node.file).parent)
            continue
        try:
            value = foresight.value(PROJECT, node)
        except Unforeseen:
            continue
        yield checked_project(value)

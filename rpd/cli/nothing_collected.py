"""The reasons why nothing was collected or selected, and the next step for the user."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from rpd.config import Config
from rpd.config.config import SelectSettings
from rpd.pipeline.collect_and_select import Gathered


def why_nothing(config: Config, gathered: Gathered) -> str:
    """Return one sentence for an invocation whose selection is empty."""
    if gathered.deselected:
        flags = " ".join(_selecting(config.select))
        by = f"{flags} selects none of them" if flags else "a conftest or plugin deselected them all"
        return f"{by}: `rpd collect{_where(config.args)}` lists all nodes"
    if gathered.collection.files:
        count = gathered.collection.files
        files = "the deploy file" if count == 1 else f"{count} deploy files"
        return f"no job in {files}: mark a function with @rpd.job"
    patterns = " or ".join(config.collect.deploy_files)
    from_root = config.collect.deploypaths if config.invocation_dir == config.rootdir else ()
    places = shlex.join(config.args or from_root) or str(config.invocation_dir)
    return f"no file {patterns} in {places}: `rpd init` writes a first one"


def _where(args: Sequence[str]) -> str:
    return f" {shlex.join(args)}" if args else ""


def _selecting(select: SelectSettings) -> Iterator[str]:
    """Yield the flags that select, as they would be typed."""
    if select.keyword:
        yield f"-k {shlex.quote(select.keyword)}"
    if select.markexpr:
        yield f"-m {shlex.quote(select.markexpr)}"
    if select.deselect:
        yield "--deselect"
    if select.last_failed:
        yield "--lf"
    if select.is_stepwise:
        yield "--sw"

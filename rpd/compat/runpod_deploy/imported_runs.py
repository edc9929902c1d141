"""Past runs of runpod-deploy as run folders of rpd, for ``rpd runs``, ``query``, ``show`` and ``estimate``.

Each of its runs left ``runpod_deploy_pull_manifest.json`` in a folder named after its start. The run folder
made from it always gets the same name, so that importing again adds only new runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rpd.compat.runpod_deploy.spec import BUILT_IN, TEMPLATE, read_spec
from rpd.compat.runpod_deploy.writer import job_name
from rpd.errors import Cause, RpdError, UsageError
from rpd.journal import journal
from rpd.journal.files import folder_name, ignore_itself
from rpd.record import manifest, run_info
from rpd.record.run_info import RunInfo
from rpd.user_text import read_bytes
from rpd.values.frozen import frozen, replace
from rpd.values.number_bounds import MOST_USD
from rpd.values.report import (
    ArtifactRecord,
    CostRecord,
    NodeRecord,
    NodeReport,
    Outcome,
    PodRecord,
    Result,
    SourceRecord,
)

MANIFEST = "runpod_deploy_pull_manifest.json"
BACKEND = "runpod-deploy"
_MOST_BYTES = 4 << 20
_MOST_SECONDS = 400 * 86400.0
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_STATES = {"EXITED": "stopped", "TERMINATED": "deleted"}
"""What RunPod called the end of a pod; they asked before they released it, so that RUNNING says nothing."""


@frozen
class Imported:
    """The import of one manifest: its run folder (``is_new``: made just now), or the problem that prevented it."""

    source: Path
    run_id: str = ""
    is_new: bool = False
    problem: str = ""


def import_runs(folder: Path, rootdir: Path, runs_path: Path) -> Iterator[Imported]:
    """Make a run folder below ``runs_path`` of each manifest below ``folder``. Raise UsageError without any."""
    manifests = sorted(_manifests(folder))
    if not manifests:
        raise UsageError(
            f"rpd import --runs: no {MANIFEST} below {folder}; runpod-deploy keeps its runs in artifacts/runpod"
        )
    for path in manifests:
        try:
            yield _imported(path, rootdir, runs_path)
        except (ValueError, RecursionError, OSError) as error:
            yield Imported(source=path, problem=str(getattr(error, "strerror", "") or error))


def _manifests(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if MANIFEST in files:
            yield Path(place) / MANIFEST


def _imported(path: Path, rootdir: Path, runs_path: Path) -> Imported:
    """Import one manifest. Raise ValueError for a file that is no manifest, and OSError."""
    raw = read_bytes(path, _MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ValueError("too large for a manifest")
    value = json.loads(raw)
    if not isinstance(value, dict) or not isinstance(value.get("failed"), bool):
        raise ValueError("not a manifest of runpod-deploy")
    theirs = _Theirs(value, path.parent)
    known_by = f"{theirs.text('run_id')} {path.parent.name}"
    run_id = f"{theirs.stamp}-{hashlib.sha256(known_by.encode()).hexdigest()[:6]}"
    target = runs_path / run_id
    if target.exists():
        return Imported(source=path, run_id=run_id)
    report = theirs.report(rootdir, target)
    beside = runs_path / f".{run_id}.new"
    shutil.rmtree(beside, ignore_errors=True)
    node = beside / folder_name(report.node.id)
    node.mkdir(mode=0o700, parents=True)
    beside.chmod(0o700)
    (node / manifest.FILE_NAME).write_text(manifest.dumps(report), encoding="utf-8")
    event = {"at": report.result.finished, "event": "imported", "from": str(path.parent)}
    (beside / journal.FILE_NAME).write_text(f"{json.dumps(event)}\n", encoding="utf-8")
    run_info.write(beside / run_info.FILE_NAME, theirs.run(run_id, rootdir, report))
    beside.rename(target)
    ignore_itself(target)
    return Imported(source=path, run_id=run_id, is_new=True)


class _Theirs:
    """One manifest of runpod-deploy; missing fields and those of an unexpected type are empty here."""

    def __init__(self, value: Mapping[str, Any], folder: Path) -> None:
        self._value = value
        self._folder = folder
        self._config = Path(self.text("config_path"))

    def text(self, key: str) -> str:
        value = self._value.get(key)
        return value[:4096] if isinstance(value, str) else ""

    def _number(self, key: str, most: float) -> float:
        value = self._value.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return 0.0
        return float(value) if 0 <= value <= most else 0.0

    def _table(self, key: str) -> Mapping[str, Any]:
        value = self._value.get(key)
        return value if isinstance(value, dict) else {}

    @property
    def stamp(self) -> str:
        """When the run began, as run folders are named."""
        named = _STAMP.fullmatch(self._folder.name) or _STAMP.search(self.text("run_id"))
        return named[0] if named else f"{self._ended:%Y%m%dT%H%M%SZ}"

    @property
    def _ended(self) -> datetime:
        with suppress(ValueError):
            ended = datetime.fromisoformat(self.text("pulled_at_utc"))
            return ended.astimezone(UTC) if ended.tzinfo else ended.replace(tzinfo=UTC)
        return datetime.fromtimestamp((self._folder / MANIFEST).stat().st_mtime, UTC)

    def _file(self, rootdir: Path) -> str:
        """Return which file the node is of: the deploy file that was made of the configuration, else that itself."""
        path = self._config
        if not path.is_relative_to(rootdir):
            return path.name or "runpod-deploy.yaml"
        made = path.with_name(f"deploy_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}.py")
        return (made if made.exists() else path).relative_to(rootdir).as_posix()

    def report(self, rootdir: Path, run_folder: Path) -> NodeReport:
        """Return the report of the one node that a run of theirs is."""
        job, file = job_name(self.text("job_name")), self._file(rootdir)
        seconds = self._number("wall_time_sec", _MOST_SECONDS)
        rate = self._number("gpu_price_per_hour_usd", MOST_USD)
        failed, metadata = bool(self._value["failed"]), self._table("deploy_metadata")
        pod = self._pod(rate)
        node_id = f"{file}::{job}"
        node_folder = run_folder / folder_name(node_id)
        began = datetime.strptime(f"{self.stamp}+0000", "%Y%m%dT%H%M%SZ%z")
        return NodeReport(
            node=NodeRecord(id=node_id, job=job, file=file, line=1),
            result=Result(
                outcome=Outcome.FAILED if failed else Outcome.PASSED,
                cause=self._cause() if failed else None,
                reason=f"failed according to runpod-deploy; its files are in {self._folder}"
                if failed
                else "",
                started=began.isoformat(),
                finished=self._ended.isoformat(),
                phases={"job": seconds} if seconds else {},
            ),
            pod=pod,
            pods=(pod,) if pod else (),
            cost=CostRecord(
                rate_usd_per_hr=rate,
                rate_source="offer" if rate else "unknown",
                billed_seconds=seconds,
                estimated_usd=self._number("estimated_cost_usd", MOST_USD) or round(rate * seconds / 3600, 6),
                cap_usd=self._number("cost_cap_usd", MOST_USD),
            ),
            source=SourceRecord(
                git_sha=_text(metadata.get("local_git_sha")),
                dirty=metadata.get("local_git_dirty") is True,
                lock_file_sha256=_text(metadata.get("payload_lockfile_sha256")),
            ),
            artifacts=tuple(self._artifacts(node_folder)),
            variables=self._variables(),
        )

    def _pod(self, rate: float) -> PodRecord | None:
        pod_id = self.text("pod_id")
        if not pod_id:
            return None
        return PodRecord(
            id=pod_id,
            name=self.text("run_id"),
            gpu=self.text("gpu_id"),
            count=1,
            datacenter=self.text("datacenter_id"),
            image=self.text("image"),
            rate=rate,
            final_state=_STATES.get(self.text("pod_final_state").upper(), "unknown"),
            reused=self._value.get("pod_resumed") is True,
        )

    def _cause(self) -> Cause:
        """Return the cause of a failure, as far as the events of the run tell."""
        with suppress(OSError):
            path = self._folder / "events.jsonl"
            if b"pod_killed_unexpected" in read_bytes(path, _MOST_BYTES):
                return Cause.LOST
        return Cause.CODE

    def _artifacts(self, node_folder: Path) -> Iterator[ArtifactRecord]:
        value = self._value.get("artifacts")
        for each in value if isinstance(value, list) else ():
            if not isinstance(each, dict) or each.get("status") != "success":
                continue
            local = _text(each.get("local_path"))
            yield ArtifactRecord(
                label=_text(each.get("label")),
                remote=_text(each.get("remote_path")),
                local=os.path.relpath(self._folder / local, node_folder) if local else "",
                files=0,
                bytes=0,
                required=each.get("required") is not False,
            )

    def _variables(self) -> Mapping[str, str]:
        """Return the variables that the run's id tells, by the configuration it was made from."""
        try:
            spec = read_spec(self._config)
        except (RpdError, OSError):
            return {}
        plain = {name: text.text for name, text in spec.variables.items() if not text.names}
        pattern, seen = "", set()
        at = 0
        for match in TEMPLATE.finditer(spec.run_id_prefix):
            pattern += re.escape(spec.run_id_prefix[at : match.start()])
            pattern += f"(?P={match[2]})" if match[2] in seen else f"(?P<{match[2]}>.+?)"
            seen.add(match[2])
            at = match.end()
        pattern += re.escape(spec.run_id_prefix[at:])
        fit = re.fullmatch(rf"{pattern}-\d{{8}}T\d{{6}}Z", self.text("run_id"))
        groups = fit.groupdict() if fit else {}
        return {**plain, **{name: value for name, value in groups.items() if name not in BUILT_IN}}

    def run(self, run_id: str, rootdir: Path, report: NodeReport) -> RunInfo:
        """Return the contents of ``run.toml``."""
        info = RunInfo(
            id=run_id,
            rpd=BACKEND,
            argv=("runpod-deploy", "run", "--config", self.text("config_path")),
            rootdir=str(rootdir),
            invocation_dir=str(rootdir),
            backend=BACKEND,
            nodes=1,
            git_sha=report.source.git_sha,
            started=report.result.started,
            finished=report.result.finished,
            seconds=report.cost.billed_seconds,
            exit_code=0 if report.result.outcome.is_ok else 1,
            usd=report.cost.estimated_usd,
            outcomes={report.result.outcome.value: 1},
        )
        return replace(info, worst_case_usd=report.cost.cap_usd)


def _text(value: object) -> str:
    return value[:4096] if isinstance(value, str) else ""

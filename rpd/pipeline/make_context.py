"""The context of a run, made from what was prepared: keys and SSH, journal, masks, sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rpd.config import Config
from rpd.errors import LocalError
from rpd.execute.context import RunContext
from rpd.execute.local_disk import Disk
from rpd.execute.price_ceiling import Cover
from rpd.execute.run_budget import Purse
from rpd.execute.user_tracebacks import Style
from rpd.journal.files import RunFiles
from rpd.journal.journal import FileJournal, NoJournal
from rpd.lease.lease import Connect
from rpd.lease.recycle import Recycler
from rpd.pipeline.prepare import Prepared
from rpd.pipeline.secrets import secret_files
from rpd.plan import uses_pod
from rpd.project.source import Sources
from rpd.redaction import Redactor
from rpd.remote import dry_run
from rpd.stop import Stop
from rpd.values.pod import PodRequest
from rpd.values.report import SourceRecord


def _journal(files: RunFiles, redactor: Redactor, disk: Disk) -> FileJournal:
    def failed(error: OSError) -> None:
        disk.failed(files.journal, error, "its events are kept until there is room")

    return FileJournal(files.journal, redactor, failed)


def make_context(
    prepared: Prepared,
    files: RunFiles | None,
    stop: Stop,
    purse: Purse,
    asked: dict[str, Sequence[PodRequest]],
) -> RunContext:
    """Return the context of a run; ``asked`` fills up with the pods that its nodes ask for. ``files``: None, if dry.

    Raises LocalError where the key of the run cannot be written.
    """
    config, events, redactor = prepared.config, prepared.events, prepared.redactor
    ssh = _ssh(files, config.pods.ssh["give_up_after"])
    disk = Disk(stop, events, redactor)
    sources = Sources(files.folder, redactor, events) if files else None
    if sources is not None:
        pods = filter(uses_pod, prepared.plan.nodes)
        sources.read_ahead({(config.rootdir / node.file).parent: None for node in pods})
    return RunContext(
        rootdir=config.rootdir,
        runs_path=config.runs_path,
        run_id=files.run_id if files else "dryrun",
        files=files,
        journal=_journal(files, redactor, disk) if files else NoJournal(),
        events=events,
        stop=stop,
        disk=disk,
        provider=prepared.backend.provider,
        connect=ssh.connect,
        connect_again=ssh.connect_again,
        recycler=_recycler(config, files),
        overrides=prepared.overrides,
        cover=Cover(
            worst_case=prepared.prices.ceiling,
            budget_of=lambda node: prepared.overrides.budget(node.job.budget),
            total=prepared.plan.worst_case_usd,
            purse=purse,
        )
        if files
        else None,
        asked=asked,
        variables=prepared.variables,
        redactor=redactor,
        secrets=prepared.secrets,
        pod_env=ssh.pod_env,
        past=prepared.resumed.past if prepared.resumed else None,
        stock_seconds=config.money.wait_for_stock or 0.0,
        trace_style=_trace_style(config),
        secret_files=secret_files(prepared.plan.nodes),
        scales=prepared.scales,
        own=prepared.own,
        config=config,
        source=sources.of if sources else _no_source,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ssh:
    """How pods are reached, and the environment they are created with so that they can be."""

    connect: Connect
    connect_again: Callable[[Path, str], Connect] | None
    pod_env: Mapping[str, str]


def _recycler(config: Config, files: RunFiles | None) -> Recycler | None:
    if files is None:
        return None
    return Recycler(config.runs_path, only_of=files.run_id if config.pods.force_fresh else "")


def _trace_style(config: Config) -> Style:
    return Style(
        source=config.output.traceback == "long",
        native=config.output.traceback == "native",
        full=config.output.full_trace,
        values=config.output.show_locals,
    )


def _ssh(files: RunFiles | None, give_up: float) -> _Ssh:
    if files is None:
        return _Ssh(
            connect=dry_run.connect, connect_again=None, pod_env={"PUBLIC_KEY": "(a key made for this run)"}
        )
    from rpd.remote.keys import make_keypair, user_public_lines
    from rpd.remote.ssh import connect, forget_pin

    try:
        keys = make_keypair(files.keys)
    except OSError as error:
        raise LocalError(f"the SSH key of the run cannot be written to {files.keys}", error) from error
    known_hosts = files.known_hosts

    def connect_with(private_key: Path) -> Connect:
        return partial(connect, private_key=private_key, known_hosts=known_hosts, give_up=give_up)

    def connect_again(private_key: Path, pod_id: str) -> Connect:
        forget_pin(known_hosts, pod_id)
        return connect_with(private_key)

    return _Ssh(
        connect=connect_with(keys.private_key),
        connect_again=connect_again,
        pod_env={"PUBLIC_KEY": "\n".join([keys.public_line, *user_public_lines()])},
    )


def _no_source(_project: Path) -> SourceRecord:
    return SourceRecord()

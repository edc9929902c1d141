"""Makes the context of a run from the prepared parts; the backend decides which twin of each part it gets."""

from __future__ import annotations

from rpd.config.config import OutputSettings
from rpd.execute.context import RunContext
from rpd.execute.local_disk import Disk
from rpd.execute.needed import NothingNeeded
from rpd.execute.pod.renting import Renting
from rpd.execute.run_budget import Purse
from rpd.execute.uploads import Uploads
from rpd.execute.user_tracebacks import Style
from rpd.journal.files import RunFiles
from rpd.pipeline.prepare import Prepared
from rpd.pipeline.secrets import secret_files
from rpd.stop import Stop


def make_context(prepared: Prepared, files: RunFiles, stop: Stop, purse: Purse) -> RunContext:
    """Return the context of a run. Raise LocalError if the key of the run cannot be written."""
    config, backend, redactor = prepared.config, prepared.backend, prepared.redactor
    events = backend.events(prepared.events)
    session = backend.session(files)
    disk = Disk(stop, events, redactor)
    journal = backend.journal(files, redactor, disk)
    return RunContext(
        mode=backend.mode,
        lifetimes=backend.lifetimes(),
        rootdir=config.rootdir,
        run_id=files.run_id,
        files=files,
        journal=journal,
        new_journal=lambda node: backend.journal(node, redactor, disk),
        digest_of=prepared.digests.of,
        events=events,
        stop=stop,
        disk=disk,
        overrides=prepared.overrides,
        cover=backend.cover(prepared.prices.ceiling, prepared.overrides, prepared.plan.worst_case_usd, purse),
        variables=prepared.variables,
        redactor=redactor,
        secrets=prepared.secrets,
        past=prepared.resumed.past if prepared.resumed else None,
        places=_places(prepared),
        trace_style=_trace_style(config.output),
        renting=Renting(
            provider=backend.provider,
            connect=session.connect,
            connect_again=session.connect_again,
            overrides=prepared.overrides,
            env=session.pod_env,
            recycler=backend.recycler(files),
            registries=backend.registries(
                files, journal, prepared.secrets, is_resumed=prepared.resumed is not None
            ),
            image_of=prepared.digests.to_create_with,
            stock_seconds=config.money.wait_for_stock or 0.0,
            any_gpu=config.run.gpus,
            end_with_run=config.run.local,
        ),
        uploads=Uploads(
            rootdir=config.rootdir,
            events=events,
            limit_mb=config.pods.stage_limit_mb,
            secret_files=secret_files(prepared.plan.kinds),
            scales=prepared.scales,
            own=prepared.own,
        ),
        config=config,
        needed=prepared.gathered.graph.left if prepared.gathered.graph else NothingNeeded(),
        source=backend.sources(files, prepared.plan.kinds, redactor, events),
    )


def _places(prepared: Prepared) -> dict[str, int]:
    """Return the place of each node; in a resumed run, the one that it had in the first plan."""
    planned = dict.fromkeys(prepared.resumed.order if prepared.resumed else ())
    planned |= dict.fromkeys(node.id for node in prepared.plan.nodes)
    return {node_id: place for place, node_id in enumerate(planned)}


def _trace_style(output: OutputSettings) -> Style:
    return Style(
        source=output.traceback == "long",
        native=output.traceback == "native",
        full=output.full_trace,
        values=output.show_locals,
    )

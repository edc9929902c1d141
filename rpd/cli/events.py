"""``rpd events``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rpd.cli.command_options import EventsOptions
from rpd.cli.filters import Filter
from rpd.cli.json_document import say_line
from rpd.cli.output import note, say
from rpd.cli.query import since
from rpd.config import Config
from rpd.errors import ExitCode, RpdError, UsageError
from rpd.hooks import PluginManager
from rpd.journal.journal import Damage
from rpd.pipeline.past_runs import run_and_node
from rpd.query.rows import Scope, read_events
from rpd.record import run_events
from rpd.record.run_events import Event

_SHOWN_ELSEWHERE = frozenset({"at", "event", "node", "run"})
_FOR_PROGRAMS = frozenset(
    {
        "fingerprint",
        "result",
        "terms",
        "key",
        "log_bytes",
        "series_bytes",
        "holder",
        "secrets",
        "facts",
        "pid",
        "host",
    }
)
_LONGEST = 100


def main(config: Config, manager: PluginManager) -> int:
    """Print the journal of a run and its nodes, of one node, or of all runs, in the order of time.

    Exit code 5 where a filter leaves nothing.
    """
    own: EventsOptions = config.own
    del manager
    if own.all_runs and config.args:
        raise UsageError("rpd events --all takes no run: leave --all out, or the run")
    filter_, earliest = Filter(own.filters), since(own.since)
    count = 0
    for event in _events(config, earliest):
        if str(event.get("at", "")) >= earliest and filter_.matches(event):
            count += 1
            if config.output.as_json:
                say_line(event)
            else:
                say(line(event, all_runs=own.all_runs))
    if count or not (own.filters or earliest):
        return ExitCode.OK
    filter_.check("event")
    note("rpd: no event matches --filter and --since")
    return ExitCode.NOTHING_COLLECTED


def _events(config: Config, earliest: str) -> Iterator[Event]:
    own: EventsOptions = config.own
    if own.all_runs:
        return read_events(Scope(runs_path=config.runs_path), changed_since=earliest, damaged=_tell)
    info, entry = run_and_node(config.invocation_dir, config.runs_path, config.args)
    folder = Path(info.folder)
    events = (
        run_events.of_node(entry.id, entry.folder, _tell) if entry else run_events.in_order(folder, _tell)
    )
    return ({"run": info.id, **event} for event in events)


def _tell(damage: Damage | RpdError) -> None:
    note(f"rpd: {damage}")


def line(event: Event, *, all_runs: bool = False) -> str:
    """Return one event for a person: time, node, what happened, details; of ``all_runs`` with the day and the run."""
    moment = str(event.get("at", ""))
    at = f"{moment[:10]} {moment[11:19]}  {event['run']}" if all_runs else moment[11:23]
    name = str(event.get("node", "")).rpartition("::")[2]
    # For a requested pod, the kind is a hash for finding similar ones.
    hidden = _SHOWN_ELSEWHERE | _FOR_PROGRAMS | ({"kind"} if event["event"] == "intent" else set())
    details = (_detail(key, value) for key, value in event.items() if key not in hidden)
    text = " ".join(detail for detail in details if detail)
    return f"{at}  {name + '  ' if name else ''}{event['event']}  {text}".rstrip()


def _detail(key: str, value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    text = str(value).replace("\n", " ")
    return f"{key}={text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}"

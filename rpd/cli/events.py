"""``rpd events``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rpd.cli.output import note, say
from rpd.config import Config
from rpd.errors import ExitCode
from rpd.hooks import PluginManager
from rpd.journal.journal import Damage
from rpd.pipeline.past_runs import run_and_node
from rpd.record import run_events
from rpd.record.run_events import Event

_TOLD_ELSEWHERE = frozenset({"at", "event", "node"})
_FOR_PROGRAMS = frozenset(
    {"fingerprint", "result", "terms", "key", "log_bytes", "holder", "secrets", "facts", "pid", "host"}
)
_LONGEST = 100


def main(config: Config, manager: PluginManager) -> int:
    """Print the journal of a run and its nodes, or of one node, in the order of time."""
    del manager
    info, entry = run_and_node(config, config.args)
    folder = Path(info.folder)
    found = (
        run_events.of_node(entry.id, entry.folder, _tell)
        if entry is not None
        else run_events.in_order(folder, _tell)
    )
    for event in found:
        say(json.dumps(event) if config.output.as_json else line(event))
    return ExitCode.OK


def _tell(damage: Damage) -> None:
    note(f"rpd: {damage}")


def line(event: Event) -> str:
    """Return one event for a person: time, node, what happened, details."""
    at = str(event.get("at", ""))[11:23]
    name = str(event.get("node", "")).rpartition("::")[2]
    # Of a pod that is asked for, the kind is a hash that finds like ones again.
    hidden = _TOLD_ELSEWHERE | _FOR_PROGRAMS | ({"kind"} if event["event"] == "intent" else set())
    details = (_detail(key, value) for key, value in event.items() if key not in hidden)
    told = " ".join(detail for detail in details if detail)
    return f"{at}  {name + '  ' if name else ''}{event['event']}  {told}".rstrip()


def _detail(key: str, value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    text = str(value).replace("\n", " ")
    return f"{key}={text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}"

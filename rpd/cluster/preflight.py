"""The pre-flight of a cluster: every member reaches every other over their private network, and how fast."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache, partial
from importlib import resources
from typing import Any

from rpd.cluster.together import side_by_side
from rpd.errors import RemoteError
from rpd.remote.protocol import Remote
from rpd.values.frozen import frozen

PORT = 29_700
SECONDS = 20
"""How long a member tries to reach the others."""
_REPORT = re.compile(r"^rpd-preflight (\{.*\})$", re.MULTILINE)
_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")
USUAL_INTERFACE = "ens1"
"""The interface of the private network, as RunPod documents it."""


@frozen
class Report:
    """What the members found out: ``text`` for people, ``failure`` empty where all is well.

    ``interfaces`` by rank, empty where nobody told; ``gbps`` is the slowest way that was measured, None if none was.
    """

    text: str
    failure: str
    interfaces: tuple[str, ...]
    gbps: float | None = None


def check(remotes: Sequence[Remote], addresses: Sequence[str]) -> Report:
    """Let every member look for every other. Raises ConnectionLost, PodLost."""
    acts = [partial(_ask, remote, rank, addresses) for rank, remote in enumerate(remotes)]
    return read(side_by_side(acts, name="rpd-preflight"), len(remotes))


def _ask(remote: Remote, rank: int, addresses: Sequence[str]) -> str:
    script = (
        "command -v python3 >/dev/null || { echo rpd-preflight absent; exit 0; }\n"
        f"exec python3 - {rank} {PORT} {SECONDS} {' '.join(addresses)} <<'RPD_PREFLIGHT'\n{_program()}\nRPD_PREFLIGHT\n"
    )
    return remote.script(script, timeout=SECONDS + 40.0)


@cache
def _program() -> str:
    return (resources.files("rpd.cluster") / "preflight_probe.py").read_text(encoding="utf-8")


def read(said: Sequence[str], nodes: int) -> Report:
    """Return what the members said, by rank. They are not trusted with shapes, nor with what is shown."""
    told = [_told(text) for text in said]
    interfaces = tuple(_interface(each) for each in told)
    silent = [rank for rank, each in enumerate(told) if each is None]
    if silent:
        known = any(text.strip() for text in said)  # a dry run says nothing at all
        why = f"rank {_listed(silent)} has no python3 to do it with" if known else ""
        return Report(text=f"not checked: {why}" if why else "", failure="", interfaces=interfaces)
    failures = [
        f"rank {rank} does not reach rank {_listed(sorted(unreached))}"
        for rank, each in enumerate(told)
        if (unreached := _unreached(each or {}, rank, nodes))
    ]
    if failures:
        return Report(
            text="; ".join(failures),
            failure=f"its private network is broken: {'; '.join(failures)}",
            interfaces=interfaces,
        )
    rates = [
        rate for each in told if isinstance(rate := (each or {}).get("gbps"), int | float) and 0 < rate < 1e6
    ]
    slowest = round(min(rates), 2) if rates else None
    over = f" over {interfaces[0]}" if len(set(interfaces)) == 1 and interfaces[0] else ""
    speed = f", at {slowest:g} Gbit/s or more (one stream)" if slowest else ""
    return Report(
        text=f"every rank reaches every other{over}{speed}", failure="", interfaces=interfaces, gbps=slowest
    )


def _told(text: str) -> dict[str, Any] | None:
    found = _REPORT.search(text)
    if found is None:
        return None
    try:
        held = json.loads(found[1])
    except ValueError as error:
        raise RemoteError(f"the pre-flight of a member makes no sense: {error}") from None
    return held if isinstance(held, dict) else None


def _interface(told: dict[str, Any] | None) -> str:
    name = (told or {}).get("interface")
    return name if isinstance(name, str) and _INTERFACE.fullmatch(name) else ""


def _unreached(told: dict[str, Any], rank: int, nodes: int) -> set[int]:
    reached = told.get("reached")
    known = {each for each in reached if isinstance(each, int)} if isinstance(reached, list) else set()
    return set(range(nodes)) - known - {rank}


def _listed(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks))

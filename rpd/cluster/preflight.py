"""The pre-flight check of a cluster: whether its members reach each other over the private network, and how fast."""

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
from rpd.values.safe_text import plain

PORT = 29_700
SECONDS = 20
"""How long a member tries to reach the others."""
_REPORT = re.compile(r"^rpd-preflight (\{.*\})$", re.MULTILINE)
_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")
_LONGEST_ERROR = 200
USUAL_INTERFACE = "ens1"
"""The interface of the private network, as RunPod documents it."""


@frozen
class Report:
    """The findings of the members: ``text`` for people, ``failure`` empty if all is well.

    ``interfaces`` by rank, empty if unknown; ``gbps`` is the slowest measured connection, None if none was
    measured.
    """

    text: str
    failure: str
    interfaces: tuple[str, ...]
    gbps: float | None = None


def check(remotes: Sequence[Remote], addresses: Sequence[str]) -> Report:
    """Let every member look for every other. Raise ConnectionLost, PodLost."""
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
    """Return the reports of the members, by rank. Their shapes and texts are not trusted."""
    answers = [_answer(text) for text in said]
    interfaces = tuple(_interface(each) for each in answers)
    silent = [rank for rank, each in enumerate(answers) if each is None]
    if silent:
        is_live = any(text.strip() for text in said)  # a dry run says nothing at all
        why = f"rank {_listed(silent)} has no python3, which the check needs" if is_live else ""
        return Report(text=f"not checked: {why}" if why else "", failure="", interfaces=interfaces)
    failures = [text for rank, each in enumerate(answers) if (text := _failure(each or {}, rank, nodes))]
    if failures:
        return Report(
            text="; ".join(failures),
            failure=f"its private network is broken: {'; '.join(failures)}",
            interfaces=interfaces,
        )
    rates = [
        rate
        for each in answers
        if isinstance(rate := (each or {}).get("gbps"), int | float) and 0 < rate < 1e6
    ]
    slowest = round(min(rates), 2) if rates else None
    over = f" over {interfaces[0]}" if len(set(interfaces)) == 1 and interfaces[0] else ""
    speed = f", at {slowest:g} Gbit/s or more (one stream)" if slowest else ""
    return Report(
        text=f"every rank reaches every other{over}{speed}", failure="", interfaces=interfaces, gbps=slowest
    )


def _answer(text: str) -> dict[str, Any] | None:
    match = _REPORT.search(text)
    if match is None:
        return None
    try:
        answer = json.loads(match[1])
    except ValueError as error:
        raise RemoteError(f"the pre-flight report of a member is unreadable: {error}") from None
    return answer if isinstance(answer, dict) else None


def _interface(answer: dict[str, Any] | None) -> str:
    name = (answer or {}).get("interface")
    return name if isinstance(name, str) and _INTERFACE.fullmatch(name) else ""


def _unreached(answer: dict[str, Any], rank: int, nodes: int) -> set[int]:
    reached = answer.get("reached")
    met = (
        {each for each in reached if isinstance(each, int) and not isinstance(each, bool)}
        if isinstance(reached, list)
        else set()
    )
    return set(range(nodes)) - met - {rank}


def _failure(member: dict[str, Any], rank: int, nodes: int) -> str:
    """Return in words how a member failed; empty if it did not."""
    error = member.get("error")
    if isinstance(error, str):
        return f"rank {rank} cannot listen there ({plain(error)[:_LONGEST_ERROR]})"
    unreached = _unreached(member, rank, nodes)
    return f"rank {rank} does not reach rank {_listed(sorted(unreached))}" if unreached else ""


def _listed(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks))

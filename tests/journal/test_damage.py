"""Damaged journals: every reader uses the sound parts, and none takes a living run for a dead one."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.cli import events as cli_events
from rpd.journal import replay
from rpd.journal.driver_alive import birth
from rpd.journal.files import RunFiles
from rpd.journal.reading import Damage, read
from rpd.lease.recycle import Recycler
from rpd.pipeline import connect_to_node, orphans
from rpd.record import lookup, run_events
from rpd.runpod.dry.provider import OfflineProvider
from rpd.values.pod import PodInfo, PodStatus

AT = "2026-11-28T01:00:00.000+00:00"
OFFER = {
    "gpu_id": "NVIDIA L4", "count": 1, "cloud": "secure", "datacenter": None, "usd_per_hr": 0.4, "stock": "high",
}  # fmt: skip
ATTEMPT = {"number": 1, "outcome": "error", "cause": "infra", "reason": "gone", "seconds": 2.0}
DRIVEN: list[dict[str, Any]] = [
    {
        "event": "run_started", "pid": os.getppid(), "host": socket.gethostname(),
        "process": birth(os.getppid()), "nodes": 1,
    },
    {"event": "planned", "ids": ["deploy_a.py::fit"]},
    {"event": "intent", "pod_name": "rpd-a", "node": "deploy_a.py::fit", "holder": "", "terms": OFFER, "kind": "k"},
    {"event": "created", "pod_name": "rpd-a", "pod_id": "p", "node": "deploy_a.py::fit", "holder": ""},
    {"event": "armed", "pod_name": "rpd-a", "deadline": 1e9, "linger": 900, "seconds": 60},
]  # fmt: skip
NODE: list[dict[str, Any]] = [
    {"event": "node_started", "node": "deploy_a.py::fit", "attempt": 1},
    {"event": "node_finished", "outcome": "error", "cause": "infra", "attempt": ATTEMPT},
    {"event": "node_started", "node": "deploy_a.py::fit", "attempt": 2},
    {"event": "step_started", "index": 0, "kind": "run", "fingerprint": "f", "pod": "rpd-a", "log_bytes": 0},
    {"event": "step_finished", "index": 0, "exit_code": 0, "seconds": 1.0, "result": {"exit_code": 0}},
    {"event": "step_started", "index": 1, "kind": "run", "fingerprint": "g", "pod": "rpd-a", "log_bytes": 7},
    {"event": "released", "pod_name": "rpd-b", "pod_id": "q", "how": "recycle", "final_state": "stopped"},
]
POD = PodInfo(id="p", name="rpd-a", status=PodStatus.RUNNING)


JOURNALS = ("events.jsonl", "a.fit/events.jsonl")
"""The journals of a run and of its node, in its folder."""


def as_lines(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps({"at": AT, **event}).encode() + b"\n" for event in events)


def write(runs: Path, of_run: bytes, of_node: bytes) -> Path:
    folder = runs / "20261128T010000Z-aaaaaa"
    (folder / "a.fit").mkdir(parents=True, exist_ok=True)
    for path, data in zip(JOURNALS, (of_run, of_node), strict=True):
        (folder / path).write_bytes(data)
    return folder


def read_everything(runs: Path, folder: Path) -> None:
    """Let every reader of journals read."""
    result = replay.read(RunFiles(folder, folder.name))
    for node_id in [*result.nodes, ""]:
        result.take(node_id, "")
    orphans.claims(runs)
    connect_to_node.work_of(folder / "a.fit")
    connect_to_node.is_driven(folder)
    lookup.entries(folder)
    for event in run_events.in_order(folder):
        cli_events.line(event)

    class Listing(OfflineProvider):
        def list(self) -> tuple[PodInfo, ...]:
            return (POD, PodInfo(id="q", name="rpd-b", status=PodStatus.EXITED))

    Recycler(runs).take("k", Listing())


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_reader_minds_other_bytes(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bytes that are cut out, put in or written over end no reader; the lines before and after them are read."""
    runs = tmp_path_factory.mktemp("runs")
    spoiled, before, after = [], [], []
    for whole in (as_lines(DRIVEN), as_lines(NODE)):
        start = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.integers(start, len(whole)))
        spoiled.append(whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:])
        before.append(whole[:start].splitlines(keepends=True)[: whole[:start].count(b"\n")])
        after.append(whole[end:].splitlines(keepends=True)[1:])
    folder = write(runs, *spoiled)
    read_everything(runs, folder)
    for path, first, last in zip(JOURNALS, before, after, strict=True):
        events = list(read(folder / path))
        assert events[: len(first)] == [json.loads(line) for line in first]
        assert events[len(events) - len(last) :] == [json.loads(line) for line in last]


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**400)
    | st.just(1e300),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_reader_minds_other_values(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fields that are missing or hold something else end no reader, and cost no other event."""
    runs = tmp_path_factory.mktemp("runs")
    spoiled, sound = [], []
    for whole in (DRIVEN, NODE):
        events = [dict(event) for event in whole]
        at = data.draw(st.integers(0, len(events) - 1))
        sound.append([{"at": AT, **each} for each in (*whole[:at], *whole[at + 1 :])])
        event = events[at]
        name = data.draw(st.sampled_from(sorted(event)))
        inner = event[name]
        if isinstance(inner, dict) and data.draw(st.booleans()):
            event[name] = {**inner, data.draw(st.sampled_from(sorted(inner))): data.draw(ODD)}
        elif data.draw(st.booleans()):
            event[name] = data.draw(ODD)
        else:
            del event[name]
        spoiled.append(as_lines(events))
    folder = write(runs, *spoiled)
    read_everything(runs, folder)
    for path, others in zip(JOURNALS, sound, strict=True):
        assert [event for event in read(folder / path) if event in others] == others


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_living_run_keeps_its_pod_whatever_its_journal_looks_like(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Cut short, written over with nothing, or with a mark before it: rpd gc never offers its pod."""
    runs = tmp_path_factory.mktemp("runs")
    whole = as_lines(DRIVEN)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    filler = data.draw(st.sampled_from([b"\0", b"\xff", b"x", b"\n"]))
    front = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\n"]))
    spoiled = data.draw(
        st.sampled_from([whole[:start], whole[:start] + filler * (end - start) + whole[end:]])
    )
    write(runs, front + spoiled, b"")
    assert orphans.leftovers([POD], runs) == []


@pytest.mark.parametrize("filler", [b"x", b"\xff"])
def test_a_damaged_birth_of_the_process_makes_no_run_look_dead(filler: bytes, tmp_path: Path) -> None:
    """Text that is no such birth is damage: it would differ from that of the process, which runs."""
    whole = as_lines(DRIVEN)
    at = whole.index(b'"process": "') + len(b'"process": "')
    write(tmp_path, whole[:at] + filler + whole[at + 1 :], b"")
    assert orphans.leftovers([POD], tmp_path) == []


def test_damage_names_its_lines(tmp_path: Path) -> None:
    """Sound lines are read, and the place of others is reported."""
    path = tmp_path / "events.jsonl"
    read_damage: list[Damage] = []
    path.write_bytes(b"\0\0\n" + as_lines(NODE) + b"[[[[\n" * 6)
    assert [event["event"] for event in read(path, read_damage.append)] == [event["event"] for event in NODE]
    assert [str(damage) for damage in read_damage] == [
        f"{path}: lines 1, 9, 10, 11, 12 and 2 more are damaged and left out"
    ]


def test_a_nest_without_end_is_damage(tmp_path: Path) -> None:
    """Nesting that Python's parser gives up on is no event."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"[" * 100_000 + b"\n" + as_lines(NODE[:1]))
    read_damage: list[Damage] = []
    assert len(list(read(path, read_damage.append))) == 1
    assert [damage.lines for damage in read_damage] == [(1,)]


def test_a_pod_outlives_the_line_of_its_intent(tmp_path: Path) -> None:
    """A pod whose intent is damaged, but not its creation, is known; a node with a lost story does not work on it."""
    folder = write(tmp_path, as_lines([DRIVEN[0], DRIVEN[3]]), b"")
    result = replay.read(RunFiles(folder, folder.name))
    assert result.take("deploy_a.py::fit", "") is None
    (lease,) = result.rest()
    assert (lease.pod_id, lease.created, lease.offer) == ("p", AT, None)


def test_steps_past_a_damaged_line_are_done_again(tmp_path: Path) -> None:
    """Only steps without a gap before them count as done."""
    steps = [{"event": "step_started", "index": index, "kind": "run"} for index in (0, 2, 3)]
    folder = write(tmp_path, as_lines(DRIVEN), as_lines([NODE[0], *steps]))
    node = replay.read(RunFiles(folder, folder.name)).nodes["deploy_a.py::fit"]
    assert [step.index for step in node.steps] == [0]

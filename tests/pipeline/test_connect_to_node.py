"""Attaching: a journal's record of a node's work, and the key that opens its pod."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rpd.errors import RpdError, UsageError
from rpd.pipeline import connect_to_node
from rpd.runpod.dry.provider import OfflineProvider
from rpd.values.pod import PodInfo, PodStatus, SshEndpoint

NODE = "deploy_a.py::fit"
STARTED = {"event": "node_started", "node": NODE, "attempt": 1}
CREATED = {"event": "created", "pod_name": "rpd-a", "pod_id": "p1"}
INTENT = {"event": "intent", "pod_name": "rpd-a", "node": NODE}


def step(index: int, kind: str = "run", **facts: Any) -> dict[str, Any]:
    detail = {"key": f"k{index}", "cwd": "/w", "secrets": ["TOKEN"]} if kind == "run" else {}
    return {
        "event": "step_started",
        "index": index,
        "kind": kind,
        "pod": "rpd-a",
        "log_bytes": 7,
        **detail,
        **facts,
    }


def finished(index: int, exit_code: int | None = 0) -> dict[str, Any]:
    return {"event": "step_finished", "index": index, "exit_code": exit_code}


def write(folder: Path, *events: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"at": "2026-01-01T00:00:00.000+00:00", **event}) for event in events]
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def write_run(runs: Path, name: str, *node_events: Mapping[str, Any], has_key: bool = True) -> None:
    folder = write(runs / name, {"event": "run_started"}, INTENT, CREATED)
    (folder / "run.toml").write_text(
        f'schema_version = 1\n[run]\nid = "{name}"\nstarted = "{name}"\n', encoding="utf-8"
    )
    write(folder / "node", *(node_events or (STARTED, CREATED)))
    if has_key:
        (folder / ".ssh").mkdir()
        (folder / ".ssh/id_ed25519").touch()


class Account(OfflineProvider):
    """A provider with these pods."""

    def __init__(self, *pods: PodInfo) -> None:
        super().__init__()
        self._there = pods

    def list(self) -> tuple[PodInfo, ...]:
        return self._there


def pod(**facts: Any) -> PodInfo:
    ssh = SshEndpoint(host="h", port=1)
    return PodInfo(**{"id": "p1", "name": "rpd-a", "status": PodStatus.RUNNING, "ssh": ssh, **facts})


def test_the_last_command_is_where_a_node_stands(tmp_path: Path) -> None:
    """Later files that are sent or fetched do not change where; the command that runs is not over."""
    work = connect_to_node.work_of(
        write(tmp_path / "n", STARTED, CREATED, step(0), finished(0), step(1, cwd="/x"), step(2, "pull"))
    )
    assert work.command == connect_to_node.LastCommand(key="k1", cwd="/x", secrets=("TOKEN",), log_bytes=7)
    assert (work.pod_name, work.is_over) == ("rpd-a", False)


def test_a_command_that_ended_is_over(tmp_path: Path) -> None:
    """So is a node whose journal ends with its end."""
    work = connect_to_node.work_of(
        write(tmp_path / "n", STARTED, CREATED, step(0), finished(0), {"event": "node_finished"})
    )
    assert work.is_over
    assert work.command is not None
    assert work.command.is_over


def test_another_attempt_begins_anew(tmp_path: Path) -> None:
    """The events of an earlier attempt are forgotten; a resumed one continues where it was."""
    again = {**STARTED, "attempt": 2}
    fresh = connect_to_node.work_of(
        write(tmp_path / "n", STARTED, CREATED, step(0), {"event": "node_finished"}, again)
    )
    assert fresh == connect_to_node.Work(attempt=2)
    resumed = {"event": "node_resumed", "node": NODE, "attempt": 1}
    assert (
        connect_to_node.work_of(write(tmp_path / "m", STARTED, CREATED, step(0), resumed)).command is not None
    )


def test_a_place_has_only_the_secrets_that_are_here(tmp_path: Path) -> None:
    """The environment of this process gives the values; the journal names them."""
    write_run(tmp_path, "1", STARTED, CREATED, step(0))
    target = connect_to_node.find(tmp_path, "fit", Account(pod()))
    place = target.place({"TOKEN": "t", "OTHER": "o"})
    assert (place.key, place.cwd, dict(place.secrets)) == ("k0", "/w", {"TOKEN": "t"})
    assert dict(place.env) == {"RPD_NODE": NODE, "RPD_ATTEMPT": "1"}
    assert dict(target.place({}).secrets) == {}


@pytest.mark.parametrize("wanted", ["p1", "rpd-a", "fit", NODE, "p"])
def test_a_pod_by_node_or_itself(tmp_path: Path, wanted: str) -> None:
    """A node, or the pod's id or name, lead to the same target."""
    write_run(tmp_path, "1")
    target = connect_to_node.find(tmp_path, wanted, Account(pod()))
    assert (target.pod.id, target.node and target.node.id) == ("p1", NODE)


def test_a_pod_that_is_used_again_has_the_key_of_its_maker(tmp_path: Path) -> None:
    """The first run that made it put its key there."""
    write_run(tmp_path, "1")
    write_run(tmp_path, "2")
    target = connect_to_node.find(tmp_path, "fit", Account(pod()))
    assert target.private_key == tmp_path / "1/.ssh/id_ed25519"


def test_the_newest_run_that_has_the_node_is_meant(tmp_path: Path) -> None:
    """Without ``--run`` older runs are searched if the newest has no such node.

    A waiting one is named in the error.
    """
    write_run(tmp_path, "1")
    write_run(tmp_path, "2", {**STARTED, "node": "deploy_b.py::other"}, CREATED)
    assert connect_to_node.node_named(tmp_path, "fit")[0].id == "1"
    with pytest.raises(UsageError, match="there is no node 'fit'"):
        connect_to_node.node_named(tmp_path, "fit", "2")
    write(tmp_path / "2", {"event": "planned", "ids": ["deploy_a.py::fit[9]"]})
    for run in ("", "2"):
        with pytest.raises(UsageError, match=r"deploy_a.py::fit\[9\] has not begun yet in run 2"):
            connect_to_node.node_named(tmp_path, "fit", run)


def test_what_cannot_be_reached(tmp_path: Path) -> None:
    """A pod that is gone, one that is stopped, and one without a local key have different errors."""
    write_run(tmp_path, "1", has_key=False)
    stopped = pod(status=PodStatus.EXITED, ssh=None)
    for account, kind, text in (
        (Account(), RpdError, "is gone"),
        (Account(stopped), RpdError, "cannot be reached"),
        (Account(pod()), UsageError, "has the key"),
        (Account(pod(id="q", name="theirs")), RpdError, "is gone"),
    ):
        with pytest.raises(kind, match=text):
            connect_to_node.find(tmp_path, "fit", account)
    with pytest.raises(UsageError, match="neither a pod nor a node"):
        connect_to_node.find(tmp_path, "nope", Account(pod()))


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ('["run", "--local"]', "its pods ended with its emulator"),
        ('["run"]', "export RUNPOD_API_BASE_URL=http://127.0.0.1:9 and its RUNPOD_API_KEY"),
    ],
)
def test_only_a_local_run_took_its_emulator_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: str, told: str
) -> None:
    """An emulator that somebody else started may still be there, with the pods of the run."""
    monkeypatch.delenv("RUNPOD_API_BASE_URL", raising=False)
    write_run(tmp_path, "1")
    with (tmp_path / "1/run.toml").open("a", encoding="utf-8") as file:
        file.write(f'argv = {argv}\nbackend = "emulator at http://127.0.0.1:9"\n')
    newest = connect_to_node.newest_local(tmp_path)
    assert newest is not None
    assert told in newest.over

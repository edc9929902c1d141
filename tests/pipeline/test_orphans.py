"""The journals' record of pods, and the pods that no run needs any more."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rpd.errors import PodNotFound, ReleaseError, TransientError, UsageError
from rpd.lease import pod_release
from rpd.pipeline import orphans
from rpd.runpod.dry.provider import OfflineProvider
from rpd.values.pod import PodInfo, PodStatus

HOST = socket.gethostname()
DEAD = {"event": "run_started", "pid": 2**22 + 1, "host": HOST}
ALIVE = {"event": "run_started", "pid": os.getppid(), "host": HOST}
ELSEWHERE = {"event": "run_started", "pid": 2**22 + 1, "host": "another"}
CREATED = {"event": "created", "pod_name": "rpd-a", "pod_id": "p"}
NOW = 1000.0


def pod(name: str = "rpd-a", **facts: Any) -> PodInfo:
    return PodInfo(**{"id": "p", "name": name, "status": PodStatus.RUNNING, **facts})


def write_run(runs: Path, name: str, *events: Mapping[str, Any]) -> None:
    folder = runs / name
    folder.mkdir()
    lines = [json.dumps({"at": "2026-01-01T00:00:00.000+00:00", **event}) for event in events]
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def intent(name: str = "rpd-a") -> dict[str, str]:
    return {"event": "intent", "pod_name": name, "node": "deploy_a.py::fit[n1]"}


def ended(event: str, how: str) -> dict[str, str]:
    return {"event": event, "pod_name": "rpd-a", "pod_id": "p", "how": how}


def armed(deadline: float) -> dict[str, Any]:
    return {"event": "armed", "pod_name": "rpd-a", "deadline": deadline}


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([DEAD, intent(), CREATED], "without deleting it"),
        ([DEAD, intent()], "without deleting it"),
        ([ALIVE, intent(), CREATED], ""),
        ([ELSEWHERE, intent(), CREATED], ""),
        ([DEAD, intent(), CREATED, armed(NOW + 1), ended("kept", "preserve")], ""),
        ([DEAD, intent(), CREATED, armed(NOW - 1), ended("kept", "preserve")], "a time that is over"),
        ([ALIVE, intent(), CREATED, armed(NOW - 1), ended("kept", "preserve")], "a time that is over"),
        ([DEAD, intent(), CREATED, ended("kept", "preserve")], ""),
        ([DEAD, intent(), CREATED, ended("released", "stop")], ""),
        ([DEAD, intent(), CREATED, ended("released", "recycle")], ""),
        ([DEAD, intent(), CREATED, ended("released", "delete")], "deleted it, but it still exists"),
        ([DEAD, ALIVE, intent(), CREATED], ""),
    ],
)
def test_which_pods_are_left_over(tmp_path: Path, events: Sequence[Mapping[str, Any]], reason: str) -> None:
    """A pod is reaped when its run is dead and never gave it back, or when it was kept for a time that is over."""
    write_run(tmp_path, "run", *events)
    left = orphans.leftovers([pod()], tmp_path, now=NOW)
    assert [each.run for each in left] == (["run"] if reason else [])
    assert all(reason in each.reason for each in left)


def test_pods_without_our_stamp_are_never_left_over(tmp_path: Path) -> None:
    """Neither a pod of another name, though a journal knew it, nor one no journal knows is reaped."""
    write_run(tmp_path, "run", DEAD, intent("theirs"), intent("rpd-a"))
    assert orphans.leftovers([pod("theirs"), pod("rpd-unknown")], tmp_path, now=NOW) == []


def test_a_later_run_has_the_last_word(tmp_path: Path) -> None:
    """A pod that was stopped to be used again belongs to the run that uses it."""
    write_run(tmp_path, "1", DEAD, intent(), CREATED, ended("released", "recycle"))
    write_run(tmp_path, "2", ALIVE, intent(), CREATED)
    claim = orphans.claims(tmp_path)["rpd-a"]
    assert (claim.run, claim.is_driven, claim.ending, claim.pod_id) == ("2", True, "", "p")


def test_a_stop_that_is_noted_is_on_purpose(tmp_path: Path) -> None:
    """The event that ``rpd stop --keep-disk`` writes keeps ``rpd gc`` away from the pod."""
    write_run(tmp_path, "run", DEAD, intent(), CREATED)
    stopped = pod(status=PodStatus.EXITED)
    assert len(orphans.leftovers([stopped], tmp_path, now=NOW)) == 1
    orphans.note_stopped(orphans.claims(tmp_path)["rpd-a"], stopped, usd=0.5)
    assert orphans.claims(tmp_path)["rpd-a"].usd == 0.5
    assert orphans.leftovers([stopped], tmp_path, now=NOW) == []


def spoil(runs: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = runs / name / "events.jsonl"
    path.write_bytes(change(path.read_bytes()))


def without_line(number: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        return b"".join([*lines[:number], *lines[number + 1 :]])

    return change


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (lambda data: b"?" + data, "line 1 is damaged"),
        (lambda data: data.replace(b'"pid":', b'"pid" '), "line 1 is damaged"),
        (lambda data: data.replace(b'"pid": ', b'"pid": -'), "line 1 is damaged"),
        (without_line(0), "does not say which process"),
        (lambda data: data + b'{"at": "\xff garbage}\n', "line 5 is damaged"),
    ],
    ids=["first line damaged", "no JSON", "no process id", "first line gone", "another line damaged"],
)
def test_what_cannot_be_told_is_left_alone(
    tmp_path: Path, change: Callable[[bytes], bytes], doubt: str
) -> None:
    """The pod of a run whose journal is damaged is never left over: the line that is missing may be the one that counts."""
    write_run(tmp_path, "run", DEAD, intent(), CREATED, armed(NOW + 1))
    assert len(orphans.leftovers([pod()], tmp_path, now=NOW)) == 1
    spoil(tmp_path, "run", change)
    assert orphans.leftovers([pod()], tmp_path, now=NOW) == []
    claim = orphans.claims(tmp_path).of(pod())
    assert claim is not None
    assert doubt in claim.doubt


@pytest.mark.parametrize(
    "change",
    [lambda data: b"\xef\xbb\xbf" + data, lambda data: data.replace(b"\n", b"\r\n"), lambda data: data[:-30]],
)
def test_what_editors_and_a_kill_leave_is_no_damage(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """A byte order mark, line ends of Windows and a torn last line say nothing wrong."""
    write_run(tmp_path, "alive", ALIVE, intent(), CREATED, armed(NOW + 1))
    write_run(tmp_path, "dead", DEAD, intent("rpd-b"), CREATED, armed(NOW + 1))
    for name in ("alive", "dead"):
        spoil(tmp_path, name, change)
    left = orphans.leftovers([pod(), pod("rpd-b")], tmp_path, now=NOW)
    assert [each.run for each in left] == ["dead"]


def test_one_journal_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    """The rest is reported, the file is named, and the pods that bear the name of its run are left alone."""
    unreadable = tmp_path / "20261128T010101Z-abc123" / "events.jsonl"
    unreadable.mkdir(parents=True)
    write_run(tmp_path, "dead", DEAD, intent(), CREATED)
    other = pod("rpd-20261128t010101zabc123-fit-0f0f0f")
    known = orphans.claims(tmp_path)
    assert [damage.path for damage in known.damage] == [unreadable]
    assert [each.pod.name for each in orphans.leftovers([other, pod()], tmp_path, now=NOW)] == ["rpd-a"]
    claim = known.of(other)
    assert claim is not None
    assert (claim.run, "cannot be read" in claim.doubt) == (unreadable.parent.name, True)


@pytest.mark.parametrize("wanted", ["p1", "rpd-a", "p1"[:2], "deploy_a.py::fit[n1]", "fit[n1]", "fit", "n1"])
def test_a_pod_goes_by_id_name_or_node(tmp_path: Path, wanted: str) -> None:
    """Its id, its name, how they begin, or the node that asked for it."""
    write_run(tmp_path, "run", DEAD, intent("rpd-a"))
    listed = [pod("rpd-a", id="p1"), pod("rpd-b", id="q1")]
    assert orphans.find(listed, wanted, orphans.claims(tmp_path)).id == "p1"


@pytest.mark.parametrize("wanted", ["rpd-", "x"])
def test_a_pod_that_cannot_be_told(tmp_path: Path, wanted: str) -> None:
    """More than one pod, and none, are usage errors."""
    with pytest.raises(UsageError, match=r"name one|no pod"):
        orphans.find([pod("rpd-a", id="p1"), pod("rpd-b", id="q1")], wanted)


def test_what_a_pod_costs() -> None:
    """Disks come on top of the rate; a stopped pod costs its volume at twice the price; unknown is not nothing."""
    running = pod(usd_per_hr=1.0, volume_gb=53, container_disk_gb=20)
    assert orphans.usd_per_hr(running) == pytest.approx(1.01)
    assert orphans.usd_per_hr(replace(running, status=PodStatus.EXITED)) == pytest.approx(53 * 0.2 / 730)
    assert orphans.usd_per_hr(pod()) is None


HOUR = 3600.0


def at(hours: float, event: Mapping[str, Any]) -> dict[str, Any]:
    return {**event, "at": datetime.fromtimestamp(hours * HOUR, UTC).isoformat()}


def test_what_a_pod_has_cost_so_far(tmp_path: Path) -> None:
    """Runs, and stopped times between and after them, add up; unknown costs are not guessed."""
    stopped = {
        "event": "released",
        "pod_name": "rpd-a",
        "pod_id": "p",
        "final_state": "stopped",
        "how": "recycle",
    }
    write_run(tmp_path, "1", DEAD, at(1, intent()), at(1, CREATED), at(2, {**stopped, "usd": 3.0}))
    write_run(tmp_path, "2", DEAD, at(12, intent()), at(12, CREATED), at(13, {**stopped, "usd": 4.0}))
    claim = orphans.claims(tmp_path)["rpd-a"]
    kept = pod(status=PodStatus.EXITED, volume_gb=73)
    assert (claim.since, orphans.stopped_at(kept, claim)) == (1 * HOUR, 13 * HOUR)
    assert orphans.spent_usd(kept, claim, 23 * HOUR) == pytest.approx(7.0 + 20 * 0.02)
    assert orphans.spent_usd(pod(usd_per_hr=1.0), claim, 23 * HOUR) is None  # somebody else started it

    write_run(tmp_path, "3", ALIVE, at(23, intent()), at(23, CREATED))
    claim = orphans.claims(tmp_path)["rpd-a"]
    running = pod(usd_per_hr=1.0, volume_gb=73)
    assert orphans.spent_usd(running, claim, 25 * HOUR) == pytest.approx(7.0 + 20 * 0.02 + 2 * 1.01)
    assert orphans.spent_usd(pod(), claim, 25 * HOUR) is None  # its rate is not known
    assert orphans.spent_usd(kept, claim, 25 * HOUR) is None  # stopped elsewhere


@pytest.mark.parametrize(
    ("message", "moment"),
    [
        ("Exited by user: Thu Jan 01 1970 02:00:00 GMT+0000 (Coordinated Universal Time)", 2 * HOUR),
        ("Rented by User: Thu Jan 31 1970 99:00:00 GMT+0000", None),
        ("EXITED", None),
        ("", None),
    ],
)
def test_runpod_may_tell_when_a_pod_changed(message: str, moment: float | None) -> None:
    """Where no journal knows a pod, its last change of state does."""
    assert orphans.bills_since(pod(last_status_change=message), None) == moment
    assert orphans.stopped_at(pod(last_status_change=message), None) == moment


class Stubborn(OfflineProvider):
    """A provider whose pod goes away after so many deletions, none of which says whether it worked."""

    def __init__(self, deletions: int, error: Exception | None = None) -> None:
        super().__init__()
        self.deletions, self.error = deletions, error
        self.asked: list[str] = []

    def delete(self, pod_id: str) -> None:
        self.asked.append(pod_id)
        if self.error is not None:
            raise self.error

    def get(self, pod_id: str) -> PodInfo | None:
        return None if len(self.asked) >= self.deletions else pod()


@pytest.mark.parametrize("error", [None, TransientError("502"), PodNotFound("p")])
def test_a_deletion_counts_when_it_is_read_back(error: Exception | None) -> None:
    """Whatever the call answers, only reading the pod back proves it."""
    provider = Stubborn(2, error)
    pod_release.delete(provider, pod())
    assert provider.asked == ["p", "p"]


def test_a_deletion_that_is_never_confirmed() -> None:
    """It ends in an error with the pod's id and the command that releases it."""
    with pytest.raises(ReleaseError, match=r"rpd stop p$"):
        pod_release.delete(Stubborn(9, TransientError("502")), pod(), tries=2)

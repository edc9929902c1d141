"""The journal: what is written is read back, whatever happened to the process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rpd.journal.journal import FileJournal, NoJournal, read
from rpd.redaction import NO_SECRETS, Redactor


def write(path: Path, *names: str) -> None:
    journal = FileJournal(path, NO_SECRETS)
    for name in names:
        journal.write(name)
    journal.close()


def names_in(path: Path) -> list[str]:
    return [event["event"] for event in read(path)]


def test_events_are_read_back_in_order(tmp_path: Path) -> None:
    """Each event has its time and details; opening again appends."""
    path = tmp_path / "events.jsonl"
    journal = FileJournal(path, NO_SECRETS)
    journal.write("intent", sync=True, pod_name="rpd-x", usd=0.5, where=Path("/x"))
    journal.write("ready", text="two\nlines \ud800")
    journal.close()
    write(path, "later")
    first, second, third = read(path)
    assert (first["pod_name"], first["usd"], first["where"]) == ("rpd-x", 0.5, "/x")
    assert first["at"].endswith("+00:00")
    assert second["text"] == "two\nlines \ud800"
    assert third["event"] == "later"


@given(cut=st.integers(1, 60))
def test_a_torn_line_costs_only_itself(cut: int, tmp_path_factory: Any) -> None:
    """However a crash cut the last line, the events before it and those written after it are read."""
    path = tmp_path_factory.mktemp("journal") / "events.jsonl"
    write(path, "first", "second")
    whole = path.read_bytes()
    cut = min(cut, len(whole.splitlines(keepends=True)[1]))
    path.write_bytes(whole[:-cut])
    write(path, "third")
    assert names_in(path) == (["first", "second", "third"] if cut == 1 else ["first", "third"])


def test_what_is_no_event_is_passed_over(tmp_path: Path) -> None:
    """Lines that are no JSON object with an event are ignored."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'[1]\n{"no": "event"}\n\xff\xfe\n\n{"event": "node_finished"}\n"text"\n')
    assert names_in(path) == ["node_finished"]


def test_threads_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    """Events of many threads are all there, each whole."""
    path = tmp_path / "events.jsonl"
    journal = FileJournal(path, NO_SECRETS)

    def work(number: int) -> None:
        for index in range(50):
            journal.write("e", who=number, index=index, pad="x" * 500)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    seen = [(event["who"], event["index"]) for event in read(path)]
    assert sorted(seen) == [(who, index) for who in range(8) for index in range(50)]
    assert all([i for w, i in seen if w == who] == list(range(50)) for who in range(8))


def test_secrets_are_masked_and_late_events_dropped(tmp_path: Path) -> None:
    """What goes in passes the redactor; after ``close`` nothing is written any more."""
    path = tmp_path / "events.jsonl"
    journal = FileJournal(path, Redactor(["canary"]))
    journal.write("e", token="canary")
    journal.close()
    journal.write("late")
    journal.close()
    assert "canary" not in path.read_text(encoding="utf-8")
    assert names_in(path) == ["e"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """The journal of a dry run takes everything and keeps nothing."""
    journal = NoJournal()
    journal.write("e", sync=True)
    journal.close()
    assert list(tmp_path.iterdir()) == []

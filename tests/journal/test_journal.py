"""The journal: every written event is read back, whatever happened to the process."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.errors import LocalError
from rpd.journal.journal import FileJournal, NoJournal, read
from rpd.redaction import NO_SECRETS, Redactor
from tests.waiting import wait_until


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
    """Text passes the redactor; after ``close`` nothing is written any more."""
    path = tmp_path / "events.jsonl"
    journal = FileJournal(path, Redactor(["canary"]))
    journal.write("e", token="canary")
    journal.close()
    journal.write("late")
    journal.close()
    assert "canary" not in path.read_text(encoding="utf-8")
    assert names_in(path) == ["e"]


class SlowDisk:
    """The disk of a busy machine: a sync takes until ``free`` is set.

    ``begun`` has, by sync, the file's contents then.
    """

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = threading.Event()
        self.begun: list[list[str]] = []
        self.errors: list[OSError] = []
        self._path = path
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, _descriptor: int) -> None:
        self.begun.append(names_in(self._path))
        assert self.free.wait(30)
        if self.errors:
            raise self.errors.pop()


def test_who_waits_for_the_disk_waits_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During one sync other threads write.

    One more sync serves them all, and none continues before its own is over.
    """
    path = tmp_path / "events.jsonl"
    disk = SlowDisk(path, monkeypatch)
    journal = FileJournal(path, NO_SECRETS)
    through: list[str] = []

    def begin(name: str) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: (journal.write(name, sync=True), through.append(name)), daemon=True
        )
        thread.start()
        wait_until(lambda: name in names_in(path), f"{name} is written")
        return thread

    threads = [begin("first")]
    wait_until(lambda: bool(disk.begun), "the first one waits for the disk")
    threads += [begin(name) for name in "abcdefgh"]
    assert (len(disk.begun), through) == (1, [])
    disk.free.set()
    for thread in threads:
        thread.join(30)
    journal.close()
    assert [len(names) for names in disk.begun] == [1, 9]
    assert sorted(through) == sorted(["first", *"abcdefgh"])


def test_a_sync_that_works_excuses_no_write_that_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod is not rented by an intent that found no room, whatever others bring to the disk meanwhile."""
    path = tmp_path / "events.jsonl"
    disk = SlowDisk(path, monkeypatch)
    heard: list[OSError] = []
    journal = FileJournal(path, NO_SECRETS, heard.append)
    other = threading.Thread(target=lambda: journal.write("other", sync=True), daemon=True)
    other.start()
    wait_until(lambda: bool(disk.begun), "the other one waits for the disk")
    with monkeypatch.context() as full:
        full.setattr(os, "write", raiser(OSError(28, "No space left on device")))
        journal.write("intent", sync=True, pod_name="rpd-x")
    disk.free.set()
    other.join(30)
    with pytest.raises(LocalError):
        journal.check()
    assert [error.errno for error in heard] == [28]
    journal.write("later", sync=True)
    journal.check()
    assert names_in(path) == ["other", "intent", "later"]


def test_a_sync_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that may not be on the disk is none to rely on, until a sync works again."""
    disk = SlowDisk(tmp_path / "events.jsonl", monkeypatch)
    disk.free.set()
    disk.errors = [OSError(5, "Input/output error")]
    heard: list[OSError] = []
    journal = FileJournal(tmp_path / "events.jsonl", NO_SECRETS, heard.append)
    journal.write("intent", sync=True, pod_name="rpd-x")
    with pytest.raises(LocalError):
        journal.check()
    assert [error.errno for error in heard] == [5]
    journal.write("later", sync=True)
    journal.check()


class ForgetfulDisk:
    """A disk on which a sync that fails loses what it should have written; the next one succeeds all the same."""

    def __init__(self, path: Path) -> None:
        self.fails = False
        self._path = path
        self._safe = 0

    def fsync(self, descriptor: int) -> None:
        """Take the place of ``os.fsync``."""
        size = os.fstat(descriptor).st_size
        if self.fails:
            with self._path.open("r+b") as file:
                file.seek(self._safe)
                file.write(bytes(size - self._safe))
            raise OSError(5, "Input/output error")
        self._safe = size


@settings(max_examples=25)
@given(moves=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=8))
def test_what_a_failed_sync_lost_is_written_again(
    moves: list[tuple[bool, bool]], tmp_path_factory: Any
) -> None:
    """Whatever order of events with or without a sync, on a disk that works or not: one sync makes up for all."""
    path = tmp_path_factory.mktemp("journal") / "events.jsonl"
    path.write_text('{"event": "torn')
    disk = ForgetfulDisk(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", disk.fsync)
        journal = FileJournal(path, NO_SECRETS, lambda _error: None)
        for number, (sync, disk.fails) in enumerate(moves):
            journal.write(f"e{number}", sync=sync)
        disk.fails = False
        journal.write("last", sync=True)
        journal.check()
    assert names_in(path) == [*(f"e{number}" for number in range(len(moves))), "last"]
    journal.close()


def test_a_journal_that_another_process_wrote_to_is_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync nobody knows where the lost events were: the error stays, and no pod is rented."""
    path = tmp_path / "events.jsonl"
    journal = FileJournal(path, NO_SECRETS, lambda _error: None)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", raiser(OSError(5, "Input/output error")))
        journal.write("first", sync=True)
    write(path, "theirs")
    journal.write("later", sync=True)
    with pytest.raises(LocalError):
        journal.check()
    assert names_in(path) == ["first", "theirs", "later"]
    journal.close()


def raiser(error: OSError) -> Any:
    """Return a function that raises ``error``."""

    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """The journal of a dry run takes everything and keeps nothing."""
    journal = NoJournal()
    journal.write("e", sync=True)
    journal.close()
    assert list(tmp_path.iterdir()) == []

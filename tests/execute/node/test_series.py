"""The series of a node: heard in order, kept once, whatever comes in which pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.errors import Pruned
from rpd.events import Events
from rpd.execute.node import series
from rpd.execute.node.pruning import Pruning
from rpd.execute.node.series import NodeSeries
from rpd.hooks import make_plugin_manager, register
from rpd.journal.files import NodeFiles
from rpd.journal.series import read
from rpd.redaction import Redactor

NODE: Any = SimpleNamespace(id="deploy_a.py::fit")


class Heard:
    def __init__(self) -> None:
        self.points: list[tuple[str, float, float]] = []
        self.notices: list[str] = []
        self.prune: Callable[[float], str | None] = lambda _value: None
        manager = make_plugin_manager()
        register(manager, self, "heard")
        self.events = Events(manager)

    def rpd_metric(self, name: str, step: float, value: float) -> None:
        self.points.append((name, step, value))

    def rpd_prune(self, value: float) -> str | None:
        return self.prune(value)

    def rpd_notice(self, text: str) -> None:
        self.notices.append(text)


def made(folder: Path, heard: Heard, **more: Any) -> NodeSeries:
    return NodeSeries(NODE, NodeFiles(folder), heard.events, Redactor(["hunter2-secret"]), **more)


STREAM = b'{"step": 1, "a": 1}\nstep=2 a=2 b=NaN\n\na=7\nstep=1\n{"step": 3, "hunter2-secret": 4}\na=8\na=9'
POINTS = [
    ("a", 1, 1.0),
    ("a", 2, 2.0),
    ("b", 2, "nan"),
    ("a", 0, 7.0),
    ("***", 3, 4.0),
    ("a", 1, 8.0),
    ("a", 2, 9.0),
]


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, len(STREAM))), killed_at=st.integers(0, len(STREAM)))
def test_a_stream_says_the_same_in_whatever_pieces_and_after_a_kill(
    cuts: list[int], killed_at: int, tmp_path_factory: Any
) -> None:
    """A driver killed anywhere leaves a part; the next one cuts it off and reads all again: no gaps, no doubles."""
    folder = tmp_path_factory.mktemp("node")
    killed = made(folder, Heard())
    killed.begin()
    killed.feed(b"before=1\n")
    killed.end()
    length = killed.size
    killed.begin()
    killed.feed(STREAM[:killed_at])

    heard = Heard()
    after = made(folder, heard)
    after.resume()
    after.cut(length)
    after.begin()
    places = [0, *sorted(cuts), len(STREAM)]
    for at, until in itertools.pairwise(places):
        after.feed(STREAM[at:until])
    after.end()
    told = [(name, step, "nan" if value != value else value) for name, step, value in heard.points]
    assert told == [("before", 0, 1.0), *POINTS]
    assert {name: record.points for name, record in after.records.items()} == {
        "before": 1,
        "a": 5,
        "b": 1,
        "***": 1,
    }
    assert repr(read(folder / "series.jsonl")["a"]) == "{0: 7.0, 1: 8.0, 2: 9.0}"
    assert len(heard.notices) == 1
    assert heard.notices == [
        f"{NODE.id}: line 5 of its metrics is ignored, and so are others like it: it contains no number: step=1"
    ]
    # Another process reads the same.
    third = made(folder, Heard())
    third.resume()
    assert third.records["a"] == after.records["a"]


def test_a_second_attempt_counts_anew_and_its_values_replace_the_first(tmp_path: Path) -> None:
    """Measurements from before a lost host stay unless the next attempt repeats them."""
    first = made(tmp_path, Heard())
    first.begin()
    first.feed(b"a=1\na=2\na=3\n")
    second = made(tmp_path, Heard(), attempt=2)
    second.begin()
    second.feed(b"a=10\na=20\n")
    assert read(tmp_path / "series.jsonl")["a"] == {0: 10.0, 1: 20.0, 2: 3.0}
    second.restart()
    second.feed(b"a=5\n")
    assert read(tmp_path / "series.jsonl")["a"] == {0: 5.0, 1: 20.0, 2: 3.0}


def test_a_pod_that_floods_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless lines, countless series, endless files: each is reported once and costs no more."""
    monkeypatch.setattr(series, "MOST_BYTES", 2000)
    monkeypatch.setattr(series, "MOST_READ", 200_000)
    monkeypatch.setattr(series, "MOST_SERIES", 5)
    heard = Heard()
    flooded = made(tmp_path, heard)
    flooded.begin()
    for _ in range(10):
        flooded.feed(b"x" * 10_000)
        assert len(flooded._line) <= series.LONGEST_LINE + 1
    flooded.feed(b"\n")
    for number in range(100):
        flooded.feed(b"n%d=1 step=%d\n" % (number, number))
        flooded.feed(b"n1=%d\n" % number)
    flooded.feed(b"n1=1\n" * 40_000)
    flooded.feed(b"n1=1\n")
    assert [text.partition(": ")[2][:30] for text in heard.notices] == [
        "line 1 of its metrics is ignored, and"[:30],
        "it writes more than 5 series; "[:30],
        "series.jsonl has 0 MB; later v"[:30],
        "it writes more than 0 MB of me"[:30],
    ]
    assert flooded.size <= 2000
    assert set(flooded.records) == {"n0", "n1", "n2", "n3", "n4"}


def test_lines_of_output_are_searched(tmp_path: Path) -> None:
    """Only if a pattern is declared; of a progress bar, its last state counts."""
    heard = Heard()
    searched = made(tmp_path, heard)
    searched.begin([r"loss=(?P<loss>\S+)"])
    for data in (b"loss=0.5\n", b"loss=9\rloss=", b"0.25\r\n", b"x" * 9000 + b" loss=1\nloss=2"):
        searched.hear_output(data)
    searched.end()
    searched.begin()
    searched.hear_output(b"loss=3\n")
    assert [value for _, _, value in heard.points] == [0.5, 0.25, 1.0, 2.0]


def test_the_first_answer_prunes_and_an_error_is_raised_when_the_command_is_over(tmp_path: Path) -> None:
    """After the answer no other plugin is asked; an exception of a plugin waits until the command has ended."""
    heard = Heard()
    asked: list[float] = []

    def prune(value: float) -> str | None:
        asked.append(value)
        return "too high" if value > 2 else None

    heard.prune = prune
    ended: list[str] = []
    pruning = Pruning(NODE, heard.events)
    pruned = made(tmp_path, heard, ask=pruning.ask)
    pruned.begin()
    with pruning.through(lambda: ended.append("ended")):
        pruned.feed(b"a=1\na=3\na=4\n")
    assert (asked, ended) == ([1.0, 3.0], ["ended"])
    assert [value for _, _, value in heard.points] == [1.0, 3.0, 4.0]
    with pytest.raises(Pruned, match=r"^too high$"):
        pruning.check()

    def broken(_value: float) -> str | None:
        raise ZeroDivisionError("of the plugin")

    heard.prune = broken
    failing = Pruning(NODE, heard.events)
    with failing.through(lambda: ended.append("again")):
        failing.ask("a", 1, 1.0)
    assert ended == ["ended", "again"]
    with pytest.raises(ZeroDivisionError):
        failing.check()

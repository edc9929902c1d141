"""The memory of earlier runs: every recorded outcome is read back, whatever happens to the process meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.errors import Cause
from rpd.record.last_outcomes import FOLDER, Memory

IDS = st.sampled_from(["deploy_a.py::a", "deploy_a.py::b[x-é]", "exp/deploy_c.py::c"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("begun"), IDS, st.booleans()),
        st.tuples(
            st.just("ended"),
            IDS,
            st.sampled_from([None, *Cause]),
            st.floats(0, 1e6),
            st.sampled_from(["", "behind", "failed"]),
        ),
        st.tuples(st.just("left out"), IDS, st.sampled_from(Cause)),
        st.tuples(st.just("stepwise"), st.integers(0, 9)),
    ),
    max_size=30,
)


def tell(memory: Memory, events: list[tuple]) -> None:
    for kind, *rest in events:
        if kind == "begun":
            memory.begun(rest[0], step=rest[1])
        elif kind == "ended":
            memory.ended(rest[0], cause=rest[1], seconds=rest[2], step=rest[3])
        elif kind == "left out":
            memory.left_out(rest[0], rest[1])
        else:
            memory.begin_stepwise(rest[0])


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path)


def test_nothing_is_remembered_at_first(memory: Memory) -> None:
    """Without a file nothing failed and nothing is known, and reading makes none."""
    remembered = memory.read()
    assert (dict(remembered.failed), dict(remembered.seconds), remembered.known) == ({}, {}, frozenset())
    assert not memory.path.exists()


@pytest.mark.parametrize("cause", list(Cause))
def test_a_failure_is_remembered_with_its_cause(memory: Memory, cause: Cause) -> None:
    """A failure is read back with its cause and duration."""
    memory.ended("a.py::x", cause=cause, seconds=1.5)
    assert memory.read().failed == {"a.py::x": cause}
    assert memory.read().seconds == {"a.py::x": 1.5}


def test_failures_add_up_and_passing_clears(tmp_path: Path) -> None:
    """Failures of several runs are kept until the node passes."""
    for name in ("x", "y"):
        memory = Memory(tmp_path)
        memory.ended(f"a.py::{name}", cause=Cause.CODE, seconds=1)
        memory.close()
    assert set(memory.read().failed) == {"a.py::x", "a.py::y"}
    memory.ended("a.py::x", cause=None, seconds=1)
    assert set(memory.read().failed) == {"a.py::y"}


def test_what_began_and_was_never_reported_is_lost(memory: Memory) -> None:
    """A node that began and was not heard of again counts as failed, with the cause ``lost``."""
    memory.begun("a.py::x")
    assert memory.read().failed == {"a.py::x": Cause.LOST}
    memory.ended("a.py::x", cause=None, seconds=1)
    assert memory.read().failed == {}


def test_a_later_report_of_a_node_counts(memory: Memory) -> None:
    """A node that passed and whose pod could not be torn down afterwards has failed."""
    memory.ended("a.py::x", cause=None, seconds=1, step="behind")
    memory.ended("a.py::x", cause=Cause.INFRA, seconds=1, step="failed")
    remembered = memory.read()
    assert remembered.failed == {"a.py::x": Cause.INFRA}
    assert (remembered.stepwise.failed, remembered.stepwise.behind) == ("a.py::x", frozenset())


def test_stepwise_stops_at_the_first_failure_until_it_is_behind(memory: Memory) -> None:
    """The place where ``--sw`` stopped stays the first failure until that node is passed."""
    memory.begin_stepwise(4)
    memory.ended("a", cause=None, seconds=0, step="behind")
    memory.ended("b", cause=Cause.CODE, seconds=0, step="failed")
    memory.ended("c", cause=Cause.CODE, seconds=0, step="failed")
    remembered = memory.read().stepwise
    assert (remembered.failed, remembered.count, remembered.behind) == ("b", 4, {"a"})
    memory.ended("b", cause=None, seconds=0, step="behind")
    assert memory.read().stepwise.failed == ""
    memory.begin_stepwise(5)
    assert (memory.read().stepwise.count, memory.read().stepwise.behind) == (5, frozenset())


def test_a_run_without_stepwise_leaves_its_place_alone(memory: Memory) -> None:
    """Nodes that end outside of ``--sw`` do not move the place where that stopped."""
    memory.begin_stepwise(2)
    memory.ended("a", cause=Cause.CODE, seconds=0, step="failed")
    memory.ended("a", cause=None, seconds=0)
    assert memory.read().stepwise.failed == "a"


def test_a_node_lost_under_stepwise_is_where_it_stopped(memory: Memory) -> None:
    """A killed process leaves ``--sw`` at the node that was running."""
    memory.begin_stepwise(2)
    memory.begun("a", step=True)
    assert memory.read().stepwise.failed == "a"


@pytest.mark.parametrize(
    "junk", [b'{"ended":"a.py::y","cau', b"\xff\xfe\n", b"[1, 2]\n", b'{"other": 1}\n', b"\n"]
)
def test_lines_that_make_no_sense_are_passed_over(memory: Memory, junk: bytes) -> None:
    """A torn or foreign line costs only itself: the lines before and after it are read."""
    memory.ended("a.py::x", cause=Cause.OOM, seconds=1)
    memory.close()
    with memory.path.open("ab") as file:
        file.write(junk)
    memory.ended("a.py::z", cause=Cause.STOCK, seconds=1)
    assert memory.read().failed == {"a.py::x": Cause.OOM, "a.py::z": Cause.STOCK}


@pytest.mark.parametrize("cause", ["nonsense", 7, None, ["code"]])
def test_a_cause_from_elsewhere_is_a_failure_all_the_same(memory: Memory, cause: object) -> None:
    """A cause that is not known (of a later version) is read as ``code``."""
    memory.path.parent.mkdir()
    memory.path.write_text(json.dumps({"ended": "a.py::x", "cause": cause}) + "\n", encoding="utf-8")
    assert memory.read().failed == {"a.py::x": Cause.CODE}


@settings(max_examples=50)
@given(EVENTS)
def test_tidying_changes_nothing_that_is_read(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple]
) -> None:
    """After tidying the file up the same is remembered, and it never grows."""
    memory = Memory(tmp_path_factory.mktemp("m"), tidy_above=0)
    tell(memory, events)
    before = memory.read()
    size = memory.path.stat().st_size if memory.path.exists() else 0
    memory.tidy()
    assert memory.read() == before
    assert not memory.path.exists() or memory.path.stat().st_size <= size
    memory.close()


@settings(max_examples=50)
@given(EVENTS)
def test_the_last_word_on_a_node_counts(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple]
) -> None:
    """A node counts as failed exactly if its last record is a failure, a start, or an omission."""
    memory = Memory(tmp_path_factory.mktemp("m"))
    tell(memory, events)
    last = {event[1]: event for event in events if event[0] != "stepwise"}
    expected = {
        node_id: Cause.LOST if event[0] == "begun" else event[2]
        for node_id, event in last.items()
        if event[0] == "begun" or event[2] is not None
    }
    remembered = memory.read()
    assert remembered.failed == expected
    assert remembered.known == {event[1] for event in events if event[0] in ("begun", "ended")}
    memory.close()


def test_a_large_file_of_repetitions_shrinks(tmp_path: Path) -> None:
    """Many runs of the same nodes do not let the file grow for ever."""
    memory = Memory(tmp_path, tidy_above=10_000)
    for _ in range(200):
        memory.begun("a.py::x")
        memory.ended("a.py::x", cause=Cause.CODE, seconds=1)
    assert memory.path.stat().st_size > 10_000
    memory.tidy()
    assert memory.path.stat().st_size < 200
    assert memory.read().failed == {"a.py::x": Cause.CODE}


def test_another_run_may_tidy_up_meanwhile(tmp_path: Path) -> None:
    """Outcomes that a run records after another one has tidied the file up go into the new file."""
    running, other = Memory(tmp_path), Memory(tmp_path, tidy_above=0)
    for _ in range(20):
        running.ended("a.py::x", cause=Cause.CODE, seconds=1)
    other.tidy()
    running.ended("a.py::y", cause=Cause.CODE, seconds=1)
    assert set(other.read().failed) == {"a.py::x", "a.py::y"}


def test_slots_may_remember_at_once(memory: Memory) -> None:
    """No line of several threads is lost or mixed with another."""

    def work(slot: int) -> None:
        for number in range(100):
            memory.ended(f"a.py::x[{slot}-{number}]", cause=Cause.CODE, seconds=1)

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memory.read().failed) == 400


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """A process killed right after the call returned has remembered it."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from rpd.record.last_outcomes import Memory; from rpd.errors import Cause\n"
        "memory = Memory(Path(sys.argv[1]))\n"
        "memory.ended('a.py::x', cause=Cause.CODE, seconds=1); memory.begun('a.py::y')\n"
        "print('done', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        process.send_signal(signal.SIGKILL)
    assert Memory(tmp_path).read().failed == {"a.py::x": Cause.CODE, "a.py::y": Cause.LOST}


@pytest.fixture
def ignored(tmp_path: Path) -> Callable[[str], bool]:
    def ask(name: str) -> bool:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        done = subprocess.run(["git", "-C", str(tmp_path), "check-ignore", "-q", name], check=False)
        return done.returncode == 0

    return ask


def test_the_folder_is_not_committed(memory: Memory, tmp_path: Path, ignored: Callable[[str], bool]) -> None:
    """The folder of the memory ignores itself, and backup tools know it as a cache."""
    memory.begun("a.py::x")
    assert ignored(f"{FOLDER}/nodes.jsonl")
    assert (tmp_path / FOLDER / "CACHEDIR.TAG").read_text(encoding="utf-8").startswith("Signature: 8a477f59")

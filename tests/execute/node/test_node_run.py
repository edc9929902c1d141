"""The live side of a node: its steps, output, metrics and clock."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import TransferError
from rpd.events import Events
from rpd.execute import fixtures
from rpd.execute.end_notices import Asides
from rpd.execute.mode import Dry, Live
from rpd.execute.node.current import acting_for
from rpd.execute.node.log import TAIL_LINES
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.pod_use import PodUse
from rpd.execute.node.pulls import Ending
from rpd.execute.node.step_history import StepRequest, StepsChanged
from rpd.hooks import make_plugin_manager, register
from rpd.journal import journal
from rpd.journal.files import DryRunFiles, NodeFiles
from rpd.journal.journal import FileJournal, NoJournal
from rpd.journal.replay import PastStep
from rpd.redaction import Redactor
from rpd.stop import Stop
from rpd.values.job import Budget
from rpd.values.node import Node
from rpd.values.step import Pulled, Step, StepKind
from rpd.values.telemetry import Sample
from tests.nodes import definition

SECRET = "sesame-81f2"
NODE = Node(definition=definition(), id="deploy_x.py::fit")
CONTEXT: Any = SimpleNamespace(asides=Asides(), run_id="run", mode=Live(), stop=Stop())
DRY: Any = SimpleNamespace(**{**vars(CONTEXT), "mode": Dry()})


class Heard:
    """A plugin that records its hooks as (hook, subject); ``events`` calls it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        manager = make_plugin_manager()
        register(manager, self, "heard")
        self.events = Events(manager)

    def rpd_step_started(self, node: Node, step: Step) -> None:
        self.told.append(("step_started", step))

    def rpd_notice(self, text: str) -> None:
        self.told.append(("notice", text))

    def rpd_step_finished(self, node: Node, step: Step) -> None:
        self.told.append(("step_finished", step))

    def rpd_step_mark(self, node: Node, name: str) -> None:
        self.told.append(("step_mark", name))

    def rpd_step_output(self, node: Node, data: bytes) -> None:
        self.told.append(("step_output", data))

    def rpd_transfer_progress(self, node: Node, done: int, total: int) -> None:
        self.told.append(("transfer_progress", (done, total)))

    def rpd_telemetry(self, node: Node, sample: Sample) -> None:
        self.told.append(("telemetry", sample))


def step(name: str, command: str = "", kind: StepKind = StepKind.RUN, **more: Any) -> StepRequest[Any]:
    return StepRequest(
        kind=kind, name=name, command=command or name, salvaged=lambda: None, keep=dict, recall=dict, **more
    )


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def run(tmp_path: Path, heard: Heard) -> Iterator[NodeRun]:
    redactor = Redactor([SECRET])
    made = NodeRun(
        node=NODE,
        context=CONTEXT,
        use=PodUse(node=NODE, budget=Budget()),
        files=NodeFiles(tmp_path),
        journal=FileJournal(tmp_path / journal.FILE_NAME, redactor),
        events=heard.events,
        redactor=redactor,
    )
    yield made
    made.close()


def events(run: NodeRun) -> list[dict[str, Any]]:
    assert run.files
    return list(journal.read(run.files.journal))


# --- steps ----------------------------------------------------------------------------------------------------------


def test_a_step_is_on_record_before_and_after(run: NodeRun, heard: Heard) -> None:
    """The journal has the step before its work begins and its end after it, secrets masked; hooks get both."""
    run.log.write(b"before\n")
    train = step("train", f"train --token {SECRET}", detail={"cwd": "/w"})
    with run.steps.step(train, "pod-1") as end:
        (begun,) = [event for event in events(run) if event["event"] == "step_started"]
        assert begun["command"] == "train --token ***"
        assert (begun["index"], begun["fingerprint"], begun["pod"], begun["cwd"]) == (
            0,
            train.fingerprint,
            "pod-1",
            "/w",
        )
        assert begun["log_bytes"] == 7
        end.exit_code, end.result = 3, lambda: {"tail": []}
    (ended,) = [event for event in events(run) if event["event"] == "step_finished"]
    assert (ended["index"], ended["exit_code"], ended["result"]) == (0, 3, {"tail": []})
    assert [(step.command, step.exit_code) for step in run.steps.taken] == [("train --token ***", 3)]
    assert [name for name, _ in heard.told] == ["step_output", "step_started", "step_finished"]


def test_a_command_says_what_it_does(run: NodeRun, heard: Heard) -> None:
    """Lines of output become marks, however they are cut; other lines, and other kinds of steps, do not."""
    run.log.write(b"::rpd-step before\n")
    with run.steps.step(step("sh run.sh"), "p"):
        for data in (
            b"::rpd-st",
            b"ep load it\nx\n::rpd-stepping\n ::rpd-step no\n",
            b"::rpd-step fit " + SECRET.encode(),
        ):
            run.log.write(data)
        run.log.flush()
        run.log.write(b"\r\n::rpd-step\n::rpd-step " + b"x" * 300 + b"\n")
    with run.steps.step(step("pull", kind=StepKind.PULL), "p"):
        run.log.write(b"::rpd-step after\n")
    assert [(mark.step, mark.name) for mark in run.steps.marks] == [(0, "load it"), (0, "fit ***")]
    marks = [(event["index"], event["name"]) for event in events(run) if event["event"] == "step_mark"]
    assert marks == [(0, "load it"), (0, "fit ***"), (0, "")]
    assert [about for name, about in heard.told if name == "step_mark"] == ["load it", "fit ***", ""]


def test_marks_outlive_the_process(run: NodeRun) -> None:
    """A resumed node has the marks of the steps already done, and gets later ones once, with their original times."""
    then = (datetime.now(UTC) - timedelta(seconds=50)).isoformat()
    later = (datetime.now(UTC) - timedelta(seconds=20)).isoformat()
    first, second = step("a"), step("b")
    done = PastStep(
        index=0, kind="run", fingerprint=first.fingerprint, log_bytes=0, began=then, pod="p", result={}, seconds=50.0,
        marks=(("load", then), ("fit", later), ("", "no time")),
    )  # fmt: skip
    going_on = replace(
        done, index=1, fingerprint=second.fingerprint, result=None, marks=(("load", then), ("fit", later))
    )
    run.steps.remembered.extend([done, going_on])
    assert run.steps.recall(first, "p") == {}
    assert run.steps.recall(second, "p") is None
    with run.steps.step(second, "p"):
        run.log.write(b"::rpd-step load\n::rpd-step fit\n::rpd-step test\n")
    marks = run.steps.marks
    assert [(mark.step, mark.name) for mark in marks] == [
        (0, "load"),
        (0, "fit"),
        (1, "load"),
        (1, "fit"),
        (1, "test"),
    ]
    assert [round(mark.seconds / 10) for mark in marks] == [3, 0, 3, 2, 0]
    names = [event["name"] for event in events(run) if event["event"] == "step_mark"]
    assert names == ["test"]


def test_a_step_that_raises_is_ended(run: NodeRun) -> None:
    """Its end is on record without a result, so that a resumed run does it again."""
    with pytest.raises(ValueError, match="boom"), run.steps.step(step("put", kind=StepKind.PUT), "p"):
        raise ValueError("boom")
    (ended,) = [event for event in events(run) if event["event"] == "step_finished"]
    assert ended["result"] is None


def test_a_dry_step_leaves_nothing(heard: Heard) -> None:
    """In a dry run a step is only listed."""
    run = NodeRun(
        node=NODE,
        context=DRY,
        use=PodUse(node=NODE, budget=Budget()),
        files=DryRunFiles.below(Path("runs")).node(NODE),
        journal=NoJournal(),
        events=heard.events,
    )
    with run.steps.step(step("a"), "p"):
        pass
    assert [taken.name for taken in run.steps.taken] == ["a"]
    assert heard.told == []
    assert not Path("runs").exists()


def past(
    index: int,
    request: StepRequest[Any],
    *,
    result: dict[str, Any] | None = None,
    pod: str = "p",
) -> PastStep:
    return PastStep(
        index=index,
        kind=request.kind,
        fingerprint=request.fingerprint,
        log_bytes=4,
        pod=pod,
        result=result,
        exit_code=0,
        seconds=2.5,
    )


def test_finished_steps_are_recalled(run: NodeRun) -> None:
    """A step that was finished returns its result and counts; one that was not is done again, its log cut back."""
    run.steps.remembered = deque([past(0, step("a"), result={"x": 1}), past(1, step("b"))])
    run.log.write(b"one\ntwo\nthr")
    assert run.steps.recall(step("a"), "p") == {"x": 1}
    assert [(step.index, step.exit_code, step.seconds) for step in run.steps.taken] == [(0, 0, 2.5)]
    assert run.deadlines.recalled_seconds == 2.5
    assert run.steps.recall(step("b"), "p") is None
    assert run.files
    assert run.files.output.read_bytes() == b"one\n"
    assert run.steps.recall(step("c"), "p") is None


def test_what_was_done_on_another_pod_is_forgotten(run: NodeRun) -> None:
    """Every step is done anew there, and the log begins anew."""
    run.steps.remembered = deque([past(index, step("a"), result={}, pod="gone") for index in (0, 1)])
    run.log.write(b"old\n")
    assert run.steps.recall(step("a"), "new") is None
    assert not run.steps.remembered
    assert run.files
    assert run.files.output.read_bytes() == b""
    assert [event["event"] for event in events(run)] == ["steps_forgotten"]


@pytest.mark.parametrize("changed", [{"about": "more"}, {"kind": StepKind.PUT}])
def test_a_job_that_does_something_else_is_refused(run: NodeRun, changed: dict[str, Any]) -> None:
    """A step of another kind or fingerprint than before cannot be carried on; the command is masked."""
    run.steps.remembered = deque([past(0, step("a", f"echo {SECRET}"), result={})])
    with pytest.raises(
        StepsChanged,
        match=r"step 1 of deploy_x.py::fit changed since the run was interrupted .*: echo \*\*\*\)",
    ):
        run.steps.recall(step("a", f"echo {SECRET}", **changed), "p")
    assert not run.steps.remembered


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("echo a", "echo b", "was run: echo a, now run: echo b"),
        ("echo a", "echo a", "was run: echo a, now the same with other arguments"),
        ("x" * 99 + "a", "x" * 99 + "b" * 199, f"was run: …{'x' * 40}a, now run: …{'x' * 40}{'b' * 120}…"),
    ],
)
def test_a_changed_step_is_told_with_both_commands(run: NodeRun, was: str, now: str, told: str) -> None:
    """You see what differs, also at the end of a long command."""
    run.steps.remembered = deque([replace(past(0, step("a", was, about=1)), command=was)])
    with pytest.raises(StepsChanged) as raised:
        run.steps.recall(step("a", now), "p")
    assert f"({told})" in str(raised.value)


def test_a_second_call_gets_the_same_answers(run: NodeRun) -> None:
    """Steps that were done answer from memory, in order; past the last one the other answer is given."""
    for answer in ("first", "second"):
        run.steps.keep_answer(lambda answer=answer: answer)
    assert [run.steps.replay(lambda: "else") for _ in range(4)] == ["first", "second", "else", "else"]


# --- output ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_output_goes_everywhere_whole(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]) -> None:
    """However output is cut, the log, the listeners and the tail have it, in order."""
    files = NodeFiles(tmp_path_factory.mktemp("node"))
    heard = Heard()
    run = NodeRun(
        node=NODE,
        context=CONTEXT,
        use=PodUse(node=NODE, budget=Budget()),
        files=files,
        journal=NoJournal(),
        events=heard.events,
    )
    for chunk in chunks:
        run.log.write(chunk)
    run.close()
    whole = b"".join(chunks)
    assert (files.output.read_bytes() if files.output.exists() else b"") == whole
    assert b"".join(data for _, data in heard.told) == whole
    lines = whole.split(b"\n")
    wanted = [line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace") for line in lines]
    if not lines[-1]:
        wanted.pop()
    assert list(run.log.tail) == wanted[-TAIL_LINES:]


def test_a_secret_that_is_cut_in_two_is_masked(run: NodeRun) -> None:
    """Bytes that could begin a secret are held back until it is certain."""
    for piece in ("token sesa", "me-81f2 end"):
        run.log.write(piece.encode())
    run.log.flush()
    assert run.files
    assert run.files.output.read_bytes() == b"token *** end"
    assert run.log.tail == ("token *** end",)


# --- results --------------------------------------------------------------------------------------------------------


def pulled(local: Path) -> Pulled:
    return Pulled(remote="/w/out", local=local, files=1, bytes=2, verified=True)


@pytest.mark.parametrize("name", ["out/metrics.json", "metrics.json"])
def test_a_pulled_metrics_file_gives_metrics(run: NodeRun, name: str) -> None:
    """Scalars of an object in it become metrics, be it pulled by itself or in a folder; the rest is ignored."""
    assert run.files
    path = run.files.artifacts / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"f1": 0.5, "best": True, "name": "x", "curve": [1, 2], "none": None}))
    run.results.record_metric("epochs", 3)
    run.results.record_artifact(pulled(path.parent if "/" in name else path))
    assert run.results.metrics == {"epochs": 3, "f1": 0.5, "best": True, "name": "x"}
    assert run.results.artifacts[0].local.startswith("artifacts")


@pytest.mark.parametrize("text", ["[1, 2]", "{", "3", "\xff", "[" * 100_000])
def test_a_metrics_file_that_is_none(run: NodeRun, heard: Heard, text: str) -> None:
    """Anything but a JSON object holds no metrics, does no harm, and is reported."""
    assert run.files
    path = run.files.artifacts / "metrics.json"
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    run.results.record_artifact(pulled(path))
    assert run.results.metrics == {}
    [(_, message)] = [each for each in heard.told if each[0] == "notice"]
    assert message.startswith("deploy_x.py::fit: cannot read metrics from its metrics.json: ")


def test_a_second_call_records_no_metrics(run: NodeRun) -> None:
    """While only missing pulls are fetched, metrics that the job records do not count."""
    with acting_for(run):
        record = fixtures.record_metric()
        record("loss", 0.5)
        run.steps.salvaging = True
        record("loss", 1.0)
    assert run.results.metrics == {"loss": 0.5}


def test_phases_add_up(run: NodeRun) -> None:
    """A phase that comes twice counts both times, also when it ends in an error."""
    with run.results.phase("pull"):
        pass
    first = run.results.phases["pull"]
    with pytest.raises(ValueError), run.results.phase("pull"):
        raise ValueError
    assert run.results.phases["pull"] > first > 0


# --- the end --------------------------------------------------------------------------------------------------------


def test_what_goes_on_beside_is_ended_in_spite_of_errors(run: NodeRun) -> None:
    """Everything is brought to its end, the first error is raised, and nothing is ended twice."""
    ended: list[tuple[str, bool]] = []

    def ending(name: str, error: Exception | None = None) -> Ending:
        def finish(*, required: bool) -> None:
            ended.append((name, required))
            if error:
                raise error

        return Ending(finish=finish, close=lambda: ended.append((name, False)))

    run.pulls.endings = [
        ending("a", TransferError("first")),
        ending("b"),
        ending("c", TransferError("second")),
    ]
    with pytest.raises(TransferError, match="first"):
        run.pulls.finish(required=True)
    run.close()
    assert ended == [("a", True), ("b", True), ("c", True)]


def test_a_closed_run_hears_no_more_telemetry(run: NodeRun, heard: Heard) -> None:
    """Samples are kept while the node runs; one that comes late is dropped."""
    assert run.files
    sample = Sample(at="2026-01-02T03:04:05+00:00", load=0.5)
    run.log.telemetry(sample)
    assert not run.log.is_closed
    run.close()
    assert run.log.is_closed
    run.log.telemetry(sample)
    assert len(run.files.telemetry.read_text().splitlines()) == 1
    assert heard.told == [("telemetry", sample)]


def test_progress_is_told_now_and_then(run: NodeRun, heard: Heard) -> None:
    """Of many small pieces few are reported, and always the last."""
    tell = run.transfer_progress
    assert tell is not None
    for done in range(1, 1001):
        tell(done, 1000)
    numbers = [what for _, what in heard.told]
    assert numbers[-1] == (1000, 1000)
    assert 1 <= len(numbers) < 100

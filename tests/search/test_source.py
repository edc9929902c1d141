"""A study as the scheduler sees it: the trials it hands out, and its use of their results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpd
from rpd.errors import Cause, RpdError, UsageError
from rpd.search.source import StudySource
from rpd.search.study import Study, study_of
from rpd.search.trials import State, Trial
from rpd.values.fixture import Closure
from rpd.values.job import Gpu, Job
from rpd.values.node import Definition, Node
from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, Result

L4, H100 = Gpu("NVIDIA L4"), Gpu("NVIDIA H100 80GB HBM3")
TRAIN = Definition(
    name="train", file="f.py", line=1, function=lambda: None, job=Job(gpu=L4), argnames=("lr",),
    closure=Closure(), keywords=frozenset(),
)  # fmt: skip


def study(**given: Any) -> Study:
    return study_of(
        rpd.mark.search(
            **{"lr": rpd.uniform(0, 1), "minimize": "loss", "sampler": "random", "trials": 4, **given}
        )
    )


def source(searched: Study, *, case: str = "", said: list[str] | None = None, **how: Any) -> StudySource:
    name = f"f.py::train[{case}]" if case else "f.py::train"
    template = Node(definition=TRAIN, id=name, case=case, params={"lr": 0.0})
    tell = (lambda _text: None) if said is None else said.append
    return StudySource(template, searched, tell=tell, curve_of=lambda _report: (), **how)


def report(
    node: Node,
    outcome: Outcome = Outcome.PASSED,
    cause: Cause | None = None,
    metrics: Mapping[str, Any] | None = None,
    at: int = 0,
) -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=node.id, job="train", file="f.py", line=1),
        result=Result(outcome=outcome, cause=cause, reason="because", finished=f"2026-01-01T00:00:{at:02}"),
        cost=CostRecord(estimated_usd=0.5),
        metrics={"loss": node.params["lr"]} if metrics is None else metrics,
    )


def take(of: StudySource) -> Node | None:
    lane = of.next()
    return None if lane is None else lane.nodes[0]


def must_take(of: StudySource) -> Node:
    node = take(of)
    assert node is not None
    return node


def test_trials_are_numbered_in_the_id_of_their_study() -> None:
    plain, with_case = source(study()), source(study(), case="deberta")
    assert must_take(plain).id == "f.py::train[trial1]"
    assert must_take(with_case).id == "f.py::train[deberta-trial1]"
    assert 0 <= must_take(plain).params["lr"] <= 1
    assert plain.ahead[0].most == 4


KINDS = st.sampled_from(["pass", "pruned", "crash", "lost"])
ENDS = {
    "pass": (Outcome.PASSED, None),
    "pruned": (Outcome("pruned"), None),
    "crash": (Outcome.FAILED, Cause.CODE),
    "lost": (Outcome.ERROR, Cause.LOST),
}


@given(st.lists(KINDS, min_size=20, max_size=20), st.integers(0, 19), st.integers(1, 3), st.randoms())
@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_a_killed_study_goes_on_with_the_same_trials(sampler, ends, killed_after, width, random) -> None:  # type: ignore[no-untyped-def]
    """Killed after any event and restored from journal and manifests, it hands out the same set, nothing twice."""
    space = {"lr": rpd.choice([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])} if sampler == "grid" else {}

    def begin() -> StudySource:
        return source(study(sampler=sampler, trials=7, **space))

    def play(of: StudySource, lines: dict[str, Any], reports: dict[str, NodeReport], stop_after: int) -> bool:
        """Carry it out; return whether it came to its end."""
        running: list[Node] = []
        events = 0
        while events < stop_after:
            node = take(of) if len(running) < width else None
            if node is not None:
                assert node.id not in reports
                lines.setdefault(node.id, json.loads(json.dumps({"id": node.id, **of.note(node)})))
                running.append(node)
            elif running:
                node = running.pop(random.randrange(len(running)))
                # How it ends depends on nothing but who it is.
                outcome, cause = ENDS[
                    ends[len(node.id) * 7 % 20 if "again" in node.id else int(node.id[17:-1])]
                ]
                reports[node.id] = report(node, outcome, cause, at=len(reports))
                of.ended(node, reports[node.id])
            else:
                assert of.is_over
                return True
            events += 1
        return False

    lines: dict[str, Any] = {}
    reports: dict[str, NodeReport] = {}
    if not play(begin(), lines, reports, killed_after):
        again = begin()
        again.restore(list(lines.values()), reports)
        assert play(again, lines, reports, 100)
    values = [json.dumps(line["values"]) for line in lines.values() if line.get("tries", 1) == 1]
    assert len(values) == len(set(values))
    assert len(lines) == len(reports) <= 7
    if not any(kind == "lost" for kind in ends):
        whole: dict[str, Any] = {}
        play(begin(), whole, {}, 100)
        assert {name: line["values"] for name, line in whole.items()} == {
            name: line["values"] for name, line in lines.items()
        }


def test_a_lost_host_is_no_bad_score() -> None:
    """The same values are tried again; the sampler does not learn of the first time."""
    said: list[str] = []
    of = source(study(trials=3), said=said)
    first = must_take(of)
    of.ended(first, report(first, Outcome.ERROR, Cause.LOST))
    again = must_take(of)
    assert (again.id, again.params) == ("f.py::train[trial1-again1]", first.params)
    assert said == ["f.py::train[trial1]: lost; its values are tried again as train[trial1-again1]"]
    of.ended(again, report(again, Outcome.ERROR, Cause.LOST))
    last = must_take(of)
    assert last.id == "f.py::train[trial2]"
    assert take(of) is None  # the repeated trial counts among the three that were priced
    assert of.trials == []


def test_without_stock_nothing_more_is_proposed() -> None:
    said: list[str] = []
    of = source(study(trials=9), said=said)
    for _ in range(3):
        node = must_take(of)
        of.ended(node, report(node, Outcome.ERROR, Cause.STOCK))
    assert take(of) is None
    assert of.is_over
    assert said[-1].startswith("f.py::train: no more trials after 3: 3 trials in a row got no pod")


def test_a_crash_is_a_failure() -> None:
    of = source(study())
    node = must_take(of)
    of.ended(node, report(node, Outcome.FAILED, Cause.OOM))
    assert [trial.state for trial in of.trials] == [State.FAILED]


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        (
            {"accuracy": 1.0},
            r"train\[trial1\] passed, but it recorded no metric 'loss' \(those it recorded: accuracy\)",
        ),
        ({"loss": "low"}, r"its metric 'loss' is not a number \('low'\)"),
        ({"loss": float("nan")}, r"its metric 'loss' is not a number \(nan\)"),
    ],
)
def test_a_metric_that_never_comes_is_told_after_the_first_trial(metrics: dict[str, Any], told: str) -> None:
    of = source(study())
    crashed, node = must_take(of), must_take(of)
    of.ended(crashed, report(crashed, Outcome.FAILED, Cause.CODE, {}))
    of.ended(node, report(Node(definition=TRAIN, id="f.py::train[trial1]"), metrics=metrics))
    assert not of.is_over
    with pytest.raises(UsageError, match=told):
        of.next()


def test_a_dry_run_measures_nothing() -> None:
    of = source(study(), is_dry=True)
    for _ in range(4):
        node = must_take(of)
        of.ended(node, report(node, metrics={}))
    assert of.is_over


def test_the_budget_ends_a_study_in_order() -> None:
    """A refused trial counts as not handed out; running ones end, and the best ones are still confirmed."""
    said: list[str] = []
    of = source(study(trials=9, confirm=H100, top=1), said=said)
    first, second = must_take(of), must_take(of)
    assert of.refused(second, "budget: $1.00 of $2.00 is spent")
    assert take(of) is None
    of.ended(first, report(first))
    confirming = must_take(of)
    assert (confirming.id, confirming.job.gpu) == ("f.py::train[trial1-confirm]", H100)
    assert of.ahead_of(confirming).is_set_aside
    of.ended(confirming, report(confirming))
    assert (take(of), of.is_over) == (None, True)
    assert said == ["f.py::train: no more trials after 1: budget: $1.00 of $2.00 is spent"]


def test_a_study_without_any_trial_is_an_error() -> None:
    """Whether its sampler had no values or the budget no room: a run in which nothing was tried must not pass."""

    class Empty:
        def __init__(self, *_: object) -> None: ...

        def ask(self, number: int) -> None: ...

        def tell(self, trial: Trial) -> None: ...

    with pytest.raises(RpdError, match=r"^f\.py::train: no trial: its sampler proposes nothing more$"):
        take(source(study(sampler=Empty)))
    refused = source(study())
    assert refused.refused(must_take(refused), "budget: $1.00 of $1.00 is spent")
    with pytest.raises(RpdError, match="no trial: budget"):
        take(refused)
    tried = [Trial(number=1, values={"lr": 1}, state=State.COMPLETE, scores=(0.0,))]
    assert take(source(study(lr=rpd.choice([1])), earlier=tried)) is None


def test_the_best_ones_are_confirmed_on_the_other_card() -> None:
    of = source(study(trials=4, confirm=H100, top=2))
    nodes = [must_take(of) for _ in range(4)]
    assert take(of) is None  # until the last one is over
    for node in nodes:
        of.ended(node, report(node))
    best = sorted(nodes, key=lambda node: node.params["lr"])[:2]
    confirming = [must_take(of), must_take(of)]
    assert [node.params for node in confirming] == [node.params for node in best]
    assert {node.job for node in confirming} == {confirming[0].job}
    assert [(ahead.most, ahead.is_set_aside) for ahead in of.ahead] == [(4, False), (2, True)]
    assert of.judge(confirming[0].id, "loss", 1, float("nan")) is None


def test_a_gpu_in_the_space_is_rented_and_priced() -> None:
    of = source(study(gpu=rpd.choice(["NVIDIA L4", H100]), trials=20))
    assert [node.job.gpu for node in of.ahead[0].nodes] == [L4, H100]
    nodes = [must_take(of) for _ in range(20)]
    assert {str(node.job.gpu) for node in nodes} == {str(L4), str(H100)}
    assert all(node.params["gpu"] == node.job.gpu for node in nodes)
    # Results computed for a job are kept by its identity: trials on one card share theirs.
    assert {id(node.job) for node in nodes} == {id(node.job) for node in of.ahead[0].nodes}


def test_an_earlier_study_is_gone_on_from() -> None:
    """Its numbers follow, its values are not tried again, and its best one can be confirmed."""
    earlier = [Trial(number=7, values={"lr": 1}, state=State.COMPLETE, scores=(0.0,))]
    of = source(study(lr=rpd.choice([1, 2]), trials=2, confirm=H100, top=1), earlier=earlier)
    node = must_take(of)
    assert (node.id, node.params["lr"]) == ("f.py::train[trial8]", 2)
    of.ended(node, report(node))
    confirming = must_take(of)
    assert (confirming.id, confirming.params["lr"]) == ("f.py::train[trial7-confirm]", 1)


def test_another_space_cannot_be_resumed() -> None:
    of = source(study(lr=rpd.uniform(2, 3)))
    with pytest.raises(
        UsageError, match=r"trial1\] can't be resumed: its study has a different space now \(lr: "
    ):
        of.restore([{"id": "f.py::train[trial1]", "trial": 1, "values": {"lr": 0.5}}], {})


def test_a_trial_that_diverges_is_pruned() -> None:
    of = source(study(prune=rpd.halving(3)))
    node = must_take(of)
    assert of.judge(node.id, "loss", 1, float("nan")) == "loss is nan"
    assert of.judge(node.id, "grad_norm", 1, float("inf")) is None
    assert of.judge("f.py::other", "loss", 1, float("nan")) is None


def test_a_resumed_study_prunes_by_what_it_knew() -> None:
    """The curves of an earlier process count: the first new trial that falls behind them is ended."""
    searched = study(prune=rpd.halving(2))
    reports = {
        name: report(Node(definition=TRAIN, id=name, params={"lr": 0.5}))
        for name in ("f.py::train[trial1]", "f.py::train[trial2]")
    }
    of = source(searched)
    of._curve_of = lambda _report: ((1, 1.0), (2, 0.5))
    of.restore(
        [
            {"id": name, "trial": number, "values": {"lr": number / 10}}
            for number, name in enumerate(reports, 1)
        ],
        reports,
    )
    node = must_take(of)
    assert node.id == "f.py::train[trial3]"
    assert of.judge(node.id, "loss", 2, 9.0) == "3rd of 3 at step 2, where one in 3 continues"

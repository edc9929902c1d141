"""How far a run has come, and when it will be over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import Cause
from rpd.terminal.progress import Progress, rough
from rpd.values.node import Definition, Node
from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, Result
from tests.nodes import definition


def nodes_of(kind: Definition, count: int) -> list[Node]:
    return [Node(definition=kind, id=f"deploy_x.py::{kind.name}[{n}]", case=str(n)) for n in range(count)]


def report(
    node: Node, outcome: Outcome = Outcome.PASSED, usd: float = 0.0, cause: Cause | None = None
) -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=node.id, job="fit", file=node.file, line=1),
        result=Result(outcome=outcome, cause=cause),
        cost=CostRecord(estimated_usd=usd),
    )


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=30), st.integers(1, 8), st.data())
def test_every_node_is_counted_once(outcomes: list[Outcome], width: int, data: st.DataObject) -> None:
    """Whatever order nodes begin and end in: those done, running and waiting are all, and the money is theirs."""
    nodes = nodes_of(definition(), len(outcomes))
    progress = Progress(nodes)
    waiting, running, now = list(nodes), [], 0.0
    usd = 0.0
    while waiting or running:
        now += data.draw(st.floats(0, 10))
        if waiting and (not running or (len(running) < width and data.draw(st.booleans()))):
            progress.begin(node := waiting.pop(0), now)
            running.append(node)
        else:
            node = running.pop(data.draw(st.integers(0, len(running) - 1)))
            cost = data.draw(st.floats(0, 5))
            usd += cost
            # A wider teardown may report it again, with another outcome.
            progress.end(node, report(node, data.draw(st.sampled_from(list(Outcome))), cost / 2), now)
            progress.end(node, report(node, outcomes[nodes.index(node)], cost), now)
        assert progress.done + len(running) + progress.waiting == len(nodes)
        assert progress.spent_usd == pytest.approx(usd)
        left = progress.seconds_left(now)
        assert left is None or left > 0
        in_all = progress.usd_in_all(running_usd=0.0)
        assert in_all is None or in_all >= progress.spent_usd - 1e-9
    assert progress.failed == sum(not outcome.is_ok for outcome in outcomes)
    assert progress.seconds_left(now) is None


def test_the_estimate_of_a_steady_sweep_is_right() -> None:
    """Twelve nodes of 10 s, three at once, are over after 40 s: seen so from the first that is over on."""
    nodes = nodes_of(definition(), 12)
    progress = Progress(nodes)
    for wave in range(4):
        for node in nodes[3 * wave : 3 * wave + 3]:
            progress.begin(node, 10.0 * wave)
        if wave:
            assert progress.seconds_left(10.0 * wave + 4) == pytest.approx(36 - 10 * wave)
        else:
            assert progress.seconds_left(4.0) is None
        for node in nodes[3 * wave : 3 * wave + 3]:
            progress.end(node, report(node, usd=0.5), 10.0 * wave + 10)
        if wave < 3:
            assert progress.usd_in_all(0.0) == pytest.approx(6.0)


def test_each_job_is_foreseen_by_its_own() -> None:
    """Short jobs that are over do not shorten the estimate of a long one; who runs longer than any gives none."""
    short, long = nodes_of(definition("short"), 3), nodes_of(definition("long"), 3)
    progress = Progress([*short, *long])
    for node in short:
        progress.begin(node, 0.0)
        progress.end(node, report(node), 1.0)
    progress.begin(long[0], 1.0)
    progress.end(long[0], report(long[0]), 101.0)
    progress.begin(long[1], 101.0)
    assert progress.seconds_left(151.0) == pytest.approx(150)
    progress.end(long[1], report(long[1]), 201.0)
    progress.begin(long[2], 201.0)
    assert progress.seconds_left(290.0) == pytest.approx(11)
    assert progress.seconds_left(400.0) is None


def test_skipped_nodes_foresee_nothing() -> None:
    """A node that was skipped took no time, but says nothing of how long the others take."""
    first, second = nodes_of(definition(), 2)
    progress = Progress([first, second])
    progress.begin(first, 0.0)
    progress.end(first, report(first, Outcome.SKIPPED), 0.1)
    progress.begin(second, 0.1)
    assert progress.seconds_left(0.2) is None
    assert progress.counts(3.0) == "1 of 2 done, 1 running · 3s"


def test_a_run_that_is_cut_short_foresees_what_still_runs() -> None:
    """Nodes that will not start are in no estimate; if running nodes are ended, there is none."""
    nodes = nodes_of(definition(), 10)
    progress = Progress(nodes)
    for node in nodes[:2]:
        progress.begin(node, 0.0)
    progress.end(nodes[0], report(nodes[0], usd=1.0), 10.0)
    progress.begin(nodes[2], 10.0)
    progress.cut_short(is_ending=False)
    assert progress.seconds_left(12.0) == pytest.approx(8)
    assert progress.usd_in_all(0.0) == pytest.approx(3)
    assert progress.counts(12.0) == "1 of 10 done, 2 running, 7 left out · 12s, about 10s left"
    progress.cut_short(is_ending=True)
    progress.end(nodes[2], report(nodes[2], Outcome.ERROR, cause=Cause.INTERRUPTED), 13.0)
    assert progress.counts(13.0) == "2 of 10 done, 1 interrupted, 1 running, 7 left out · 13s"


def test_a_budget_stands_beside_the_money() -> None:
    """The money is shown against the budget if there is one, else against the worst case."""
    amounts = {"running_usd": 1.0, "usd_per_hr": 2.0}
    assert Progress(worst_case_usd=9.0).money(**amounts) == "$1.00 so far, $2.00/h now, worst case $9.00"
    assert Progress(worst_case_usd=9.0, budget_usd=4.0).money(**amounts).endswith(", budget $4.00")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "5s"), (42, "40s"), (56, "1m"), (725, "12m"), (3580, "1h00m"), (6100, "1h40m"), (100_000, "27h45m")],
)
def test_an_estimate_is_rough(seconds: float, text: str) -> None:
    """It has no more digits than it deserves, and does not change with every second."""
    assert rough(seconds) == text

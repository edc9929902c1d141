"""Waiting for shared pods: which runs are due, in which order, however their pods end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rpd.execute.node.pod_use import PodUse
from rpd.execute.workers import Waiting
from rpd.values.job import Budget
from rpd.values.node import Node
from tests.nodes import definition


@dataclass(eq=False)
class Pod:
    is_open: bool = True


@dataclass(eq=False)
class Run:
    use: PodUse


def a_run(*pods: Any) -> Run:
    return Run(PodUse(node=Node(definition=definition(), id="n"), budget=Budget(), leases=list(pods)))


PODS = 4
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, PODS - 1), min_size=1, unique=True)),
        st.tuples(st.just("end"), st.integers(0, PODS - 1)),
        st.tuples(st.just("take"), st.none()),
    )
)


@given(STEPS)
def test_runs_are_due_once_all_their_pods_are_gone(steps: list[tuple[str, Any]]) -> None:
    """Whatever order pods end in, each run is due once, when its last pod is gone, in the order runs were added."""
    pods = [Pod() for _ in range(PODS)]
    waiting, plain = Waiting(), list[Run]()
    for step, what in steps:
        if step == "add":
            run = a_run(*(pods[number] for number in what))
            waiting.add(run)  # type: ignore[arg-type]
            plain.append(run)
        elif step == "end":
            pods[what].is_open = False
        else:
            due = [run for run in plain if not any(pod.is_open for pod in run.use.leases)]
            plain = [run for run in plain if run not in due]
            assert waiting.take_due() == due


def test_many_runs_on_one_pod_are_not_looked_at_one_by_one() -> None:
    """While their pod is there, asking who is due looks at the pod, not at the runs that wait for it."""
    looks = 0

    class Counting:
        @property
        def is_open(self) -> bool:
            nonlocal looks
            looks += 1
            return True

    pod, waiting = Counting(), Waiting()
    for _ in range(1000):
        waiting.add(a_run(pod))  # type: ignore[arg-type, list-item]
        assert waiting.take_due() == []
    assert looks <= 3000

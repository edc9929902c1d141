"""Foresight: the pods of nodes, from the source of their jobs and the fixtures that decide about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rpd.config import config_of
from rpd.execute.rental_calls import Unforeseen
from rpd.pipeline.expected_pods import Foresight
from rpd.values.fixture import Closure, FixtureDef, Scope
from rpd.values.job import Gpu, Job
from rpd.values.mark import Location
from rpd.values.node import Node
from tests.nodes import definition

L4, A40 = Gpu("NVIDIA L4"), Gpu("NVIDIA A40")
HERE = Location("conftest.py", 3)


def rents(provision: Any, gpu: Any) -> None:
    with provision(gpu=gpu):
        pass


def fixture(name: str, function: Callable[..., Any], *needs: str, **more: Any) -> FixtureDef:
    return FixtureDef(
        name=name, function=function, argnames=needs, location=HERE, **{"scope": Scope.JOB, **more}
    )


def node(*fixtures: FixtureDef, **params: Any) -> Node:
    provision = fixture("provision", lambda: None, scope=Scope.SESSION)
    by_name = {each.name: (each,) for each in (*fixtures, provision)}
    made = definition(
        function=rents,
        job=Job(gpu=L4),
        argnames=("provision", "gpu"),
        closure=Closure(names=tuple(by_name), definitions=by_name),
    )
    return Node(definition=made, id="deploy_x.py::fit", params=params)


def gpus(foresight: Foresight, of: Node) -> list[Gpu | None]:
    return [job.gpu for jobs in foresight.pods(of) for job in jobs]


def test_a_fixture_that_decides_about_the_pod_is_called_once(tmp_path: Path) -> None:
    """A parameter of that name needs no call."""
    calls: list[int] = []

    def choose() -> Gpu:
        calls.append(1)
        return A40

    chosen = node(fixture("gpu", choose))
    foresight = Foresight(config_of(command="run", rootdir=tmp_path, invocation_dir=tmp_path), [chosen])
    assert gpus(foresight, chosen) == gpus(foresight, chosen) == [A40]
    assert foresight.pods(chosen)[0][0] is foresight.pods(chosen)[0][0]
    assert len(calls) == 1
    assert gpus(foresight, node(gpu=L4)) == [L4]


def fails() -> Gpu:
    raise LookupError("nothing there")


def yields() -> Any:
    yield A40


def after_a_look(provision: Any) -> Gpu:
    with provision(gpu=L4) as pod:
        return A40 if pod.gpu else L4


@pytest.mark.parametrize(
    ("fixtures", "why"),
    [
        ((), "has no fixture 'gpu'"),
        ((fixture("gpu", fails),), "cannot be called before the run: LookupError: nothing there"),
        ((fixture("gpu", yields, is_generator=True),), "(conftest.py:3) yields"),
        (
            (fixture("gpu", lambda held: held, "held"), fixture("held", yields, is_generator=True)),
            "needs 'held', which yields",
        ),
        ((fixture("gpu", after_a_look, "provision"),), "needs a pod"),
    ],
)
def test_what_cannot_be_foreseen_says_why_with_its_place(
    tmp_path: Path, fixtures: tuple[FixtureDef, ...], why: str
) -> None:
    """Twice the same, and nothing that holds something is set up for it."""
    of = node(*fixtures)
    foresight = Foresight(config_of(command="run", rootdir=tmp_path, invocation_dir=tmp_path), [of])
    for _ in range(2):
        with pytest.raises(Unforeseen) as caught:
            foresight.pods(of)
        assert why in str(caught.value)

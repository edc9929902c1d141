"""The cases that meet: agreement in shared parameters, errors that name the mismatch, and rings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.collect.needs import Links, Need
from rpd.graph.meeting import meet
from rpd.graph.topological_order import needed_by, ring_in
from rpd.values.frozen import replace
from rpd.values.node import Definition, Node
from tests.nodes import definition

HERE = Path(__file__).parent
FEWER = settings(max_examples=60)
VALUES = st.sampled_from([1, 2, "a", 1.5, None, [1], (2, "x"), {"k": [1]}])


def job(name: str) -> Definition:
    return definition(name, file="f.py")


def cases_of(definition: Definition, cases: list[dict[str, Any]]) -> list[Node]:
    return [
        Node(definition=definition, id=f"f.py::{definition.name}[{number}]", case=str(number), params=params)
        for number, params in enumerate(cases)
    ]


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from("xyz"), unique=True, max_size=3))
    return draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, VALUES)), min_size=1, max_size=6))


@FEWER
@given(tables(), tables(), st.booleans())
def test_cases_meet_that_agree_in_every_parameter_both_have(
    needing: list[dict[str, Any]], needed: list[dict[str, Any]], every: bool
) -> None:
    """The tables against every pair; one that meets nothing, or several without all=True, is one error for its job."""
    train, evaluate = job("train"), job("evaluate")
    nodes = [*cases_of(evaluate, needing), *cases_of(train, needed)]
    links = Links(needs={evaluate: (Need("f.py", "train", every),), train: ()})
    met = meet(nodes, links, HERE)
    expected = [
        tuple(
            f"f.py::train[{place}]"
            for place, other in enumerate(needed)
            if all(own[name] == other[name] for name in own.keys() & other.keys())
        )
        for own in needing
    ]
    is_wrong = any(not ids or (len(ids) > 1 and not every) for ids in expected)
    assert len(met.errors) == is_wrong
    kept = [node for node in met.nodes if node.definition is evaluate]
    assert [node.needs for node in kept] == ([] if is_wrong else expected)


def test_an_error_says_which_case_and_what_to_do() -> None:
    train, evaluate = job("train"), job("evaluate")
    links = Links(needs={evaluate: (Need("f.py", "train"),), train: ()})

    def told(needing: list[dict[str, Any]], needed: list[dict[str, Any]]) -> str:
        (error,) = meet([*cases_of(evaluate, needing), *cases_of(train, needed)], links, HERE).errors
        assert error.file
        return str(error)

    assert "evaluate[1] meets nothing" in told([{"x": 1}, {"x": 9}], [{"x": 1}])
    several = told([{"x": 1}], [{"x": 1, "y": 1}, {"x": 1, "y": 2}])
    assert "evaluate[0] meets 2 cases of train" in several
    assert "parametrize evaluate by y, too, or take all of them with needs(train, all=True)" in several
    assert "has no case" in told([{"x": 1}], [])


def test_a_ring_is_told_in_its_order() -> None:
    a, b, c = (Node(definition=job(name), id=f"f.py::{name}") for name in "abc")
    ring = [replace(a, needs=(b.id,)), replace(b, needs=(c.id,)), replace(c, needs=(a.id,))]
    error = ring_in(ring, HERE)
    assert error is not None
    assert "none of them could ever run" in str(error)
    names = str(error).partition("E   ")[2]
    assert names.startswith(
        ("a needs b, which needs c", "b needs c, which needs a", "c needs a, which needs b")
    )
    assert ring_in(ring[:2], HERE) is None


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Nodes in any order, each needing some of those with smaller numbers."""
    nodes = [
        Node(
            definition=job(f"j{number}"),
            id=f"f.py::j{number}",
            needs=tuple(
                f"f.py::j{each}"
                for each in draw(st.sets(st.integers(0, number - 1)) if number else st.just(()))
            ),
        )
        for number in range(draw(st.integers(1, 10)))
    ]
    return draw(st.permutations(nodes))


@FEWER
@given(graphs(), st.data())
def test_what_is_chosen_brings_what_it_needs_and_nothing_else(nodes: list[Node], data: st.DataObject) -> None:
    known = {node.id: node for node in nodes}
    chosen = data.draw(st.lists(st.sampled_from(nodes), unique_by=lambda node: node.id))
    wanted = set[str]()

    def add(node_id: str) -> None:
        wanted.add(node_id)
        for need in known[node_id].needs:
            add(need)

    for node in chosen:
        add(node.id)
    ordered = [node.id for node in needed_by(chosen, known)]
    assert set(ordered) == wanted
    assert len(ordered) == len(wanted)
    assert all(ordered.index(need) < ordered.index(each) for each in ordered for need in known[each].needs)
    alone = needed_by(nodes, {})
    assert alone == nodes, "where nothing has to move, nothing does"

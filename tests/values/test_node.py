"""Nodes and definitions."""

from __future__ import annotations

from rpd.values.mark import Mark
from rpd.values.node import FixtureParam, Node
from tests.nodes import definition

DEFINITION = definition(
    "train",
    file="exp/deploy_x.py",
    line=3,
    argnames=("x", "fx"),
    marks=(Mark("slow", (1,)), Mark("slow", (2,))),
)


def test_a_node_shows_its_names_and_parameters():
    """Name, file and every parameter, direct and through fixtures."""
    node = Node(
        definition=DEFINITION,
        id="exp/deploy_x.py::train[x1-a]",
        case="x1-a",
        params={"x": 1},
        fixture_params={"fx": FixtureParam(key=0, value="a")},
    )
    assert (node.name, node.file, node.job, str(node.definition.location)) == (
        "train[x1-a]",
        "exp/deploy_x.py",
        DEFINITION.job,
        "exp/deploy_x.py:3",
    )
    assert node.parameters == {"x": 1, "fx": "a"}


def test_a_node_without_a_case_has_the_functions_name():
    """The name is the part behind the double colon, also with an empty case."""
    assert Node(definition=DEFINITION, id="exp/deploy_x.py::train").name == "train"
    assert Node(definition=DEFINITION, id="exp/deploy_x.py::train[]").name == "train[]"


def test_the_nearest_mark_comes_first():
    """``mark`` gives the nearest, ``marks_named`` all of that name."""
    node = Node(
        definition=DEFINITION, id="exp/deploy_x.py::train", marks=(Mark("slow", (0,)), *DEFINITION.marks)
    )
    assert node.mark("slow") == Mark("slow", (0,))
    assert [mark.args for mark in node.marks_named("slow")] == [(0,), (1,), (2,)]
    assert DEFINITION.mark("slow") == Mark("slow", (1,))
    assert (node.mark("fast"), DEFINITION.mark("fast")) == (None, None)

"""Paths and node ids on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rpd.collect.arguments import Target, widest
from rpd.errors import UsageError

JOB = "@rpd.job\ndef train(): ...\n"
TWO = """
@rpd.job
@rpd.mark.parametrize("seed", [1, 2])
def train(seed): ...

@rpd.job
def evaluate(): ...
"""


@pytest.fixture
def two(project):
    project.write({"deploy_b.py": TWO, "exp/deploy_a.py": TWO})
    return project


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["deploy_b.py::train"], ["deploy_b.py::train[seed1]", "deploy_b.py::train[seed2]"]),
        (["deploy_b.py::train[seed2]"], ["deploy_b.py::train[seed2]"]),
        (
            ["exp/deploy_a.py::evaluate", "deploy_b.py::evaluate"],
            ["exp/deploy_a.py::evaluate", "deploy_b.py::evaluate"],
        ),
        (["deploy_b.py::evaluate", "deploy_b.py::evaluate"], ["deploy_b.py::evaluate"]),
        (
            ["deploy_b.py::evaluate", "deploy_b.py"],
            ["deploy_b.py::train[seed1]", "deploy_b.py::train[seed2]", "deploy_b.py::evaluate"],
        ),
        (["./exp/../deploy_b.py::evaluate"], ["deploy_b.py::evaluate"]),
    ],
)
def test_arguments_narrow_what_is_collected(two, args, expected):
    """Ids and paths choose nodes in the order of the arguments; overlaps are collected once."""
    assert two.ids(*args) == expected


ALL_A = ["one", "two[a]", "two[b]", "three"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("a::two[b] a", [f"a::{job}" for job in ALL_A]),
        ("a::three a::one", ["a::three", "a::one"]),
        ("a::two[b] a::two", ["a::two[a]", "a::two[b]"]),
        ("b .", [f"{file}::{job}" for file in "ab" for job in ALL_A]),
        ("b::three a .", [f"{file}::{job}" for file in "ab" for job in ALL_A]),
        ("b a", [f"{file}::{job}" for file in "ba" for job in ALL_A]),
        ("a::three b a::one", ["a::three", *(f"b::{job}" for job in ALL_A), "a::one"]),
        ("a a::three a", [f"a::{job}" for job in ALL_A]),
    ],
)
def test_what_overlaps_comes_in_the_order_of_the_wider_argument(args, expected, project):
    """As in pytest: a file that is named keeps its order, whatever of it was named before, and names each node once."""
    text = "@rpd.job\ndef one(): ...\n@rpd.job\n@rpd.mark.parametrize('x', ['a', 'b'])\ndef two(x): ...\n@rpd.job\ndef three(): ...\n"
    project.write({"deploy_a.py": text, "deploy_b.py": text})
    words = [re.sub(r"^[ab]", lambda result: f"deploy_{result[0]}.py", word) for word in args.split()]
    assert project.ids(*words) == [
        re.sub(r"^[ab]", lambda result: f"deploy_{result[0]}.py", each) for each in expected
    ]


def test_what_a_wider_argument_leaves_out_can_still_be_named(project):
    """A named file is collected even if no pattern matches it or it is ignored; an unknown id is an error."""
    project.write({"deploy_a.py": JOB, "sweep.py": JOB, "deploy_b.py": JOB})
    ids = project.ids("sweep.py", "deploy_b.py", ".", ignore=("deploy_b.py",))
    assert ids == ["deploy_a.py::train", "sweep.py::train", "deploy_b.py::train"]
    with pytest.raises(UsageError, match=r"not found: deploy_a\.py::nothing"):
        project.collect("deploy_a.py::nothing", "deploy_a.py")


def test_many_arguments_cost_no_more_than_their_number(project):
    """Ten thousand ids from a file are no reason to compare each with all."""
    targets = [Target(path=Path(f"/x/deploy_{n % 10}.py"), name=f"job[{n}]") for n in range(10_000)]
    assert widest([*targets, Target(path=Path("/x/deploy_3.py"), name="job")])[-1].name == "job"
    assert len(widest([*targets, Target(path=Path("/x/deploy_3.py"), name="job")])) == 9001


def test_arguments_are_relative_to_where_rpd_was_called(two):
    """Without arguments the current folder is collected, and arguments are relative to it; ids are not."""
    inside = two.root / "exp"
    assert two.ids(invocation_dir=inside)[0] == "exp/deploy_a.py::train[seed1]"
    assert two.ids("deploy_a.py::evaluate", invocation_dir=inside) == ["exp/deploy_a.py::evaluate"]


def test_arguments_may_come_from_a_file(two):
    """``@file`` stands for the lines of that file."""
    two.write({"args.txt": "deploy_b.py::evaluate\n\nexp/deploy_a.py::train[seed1]\n"})
    assert two.ids("@args.txt") == ["deploy_b.py::evaluate", "exp/deploy_a.py::train[seed1]"]


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("nope.py", "file or directory not found: nope.py"),
        ("nope.py::train", "file or directory not found: nope.py::train"),
        ("exp::train", "directory argument cannot contain :: : exp::train"),
        ("deploy_b.py[seed1]", "path cannot contain [] parametrization: deploy_b.py[seed1]"),
        ("deploy_b.py::nope", "not found: deploy_b.py::nope\n(no match in any of [<File deploy_b.py>])"),
        (
            "deploy_b.py::train[seed3]",
            "not found: deploy_b.py::train[seed3]\n(no match in any of [<File deploy_b.py>])",
        ),
        ("@nope.txt", "@nope.txt: cannot read arguments from this file"),
    ],
)
def test_arguments_that_do_not_exist_are_usage_errors(two, arg, message):
    """A missing path is named, with the folder in which it was looked for."""
    with pytest.raises(UsageError) as caught:
        two.collect(arg)
    assert str(caught.value).startswith(message)


def test_a_misspelt_job_is_answered_with_the_likely_one(two):
    """A close name in the same file is offered."""
    with pytest.raises(UsageError, match=r"did you mean deploy_b\.py::evaluate\?"):
        two.collect("deploy_b.py::evaluat")


def test_all_missing_arguments_are_told_together(two):
    """One run tells every argument that does not exist."""
    with pytest.raises(UsageError) as caught:
        two.collect("a.py", "b.py")
    assert str(caught.value).splitlines() == [
        f"file or directory not found: {name}" for name in ("a.py", "b.py")
    ]


def test_a_job_that_is_broken_is_not_called_missing(two):
    """Asking for a job with an error tells the error, not that there is no such job."""
    two.write({"deploy_c.py": "@rpd.job\ndef train(nope): ...\n"})
    assert "fixture 'nope' not found" in two.error("deploy_c.py::train").message


def test_errors_outside_of_the_arguments_do_not_count(two):
    """A node id leaves the errors of other jobs in its file aside."""
    two.write({"deploy_c.py": "@rpd.job\ndef bad(nope): ...\n@rpd.job\ndef good(): ...\n"})
    assert two.ids("deploy_c.py::good") == ["deploy_c.py::good"]


def test_deploypaths_are_collected_without_arguments(two):
    """``deploypaths`` say where to look when rpd is called in the root folder without arguments; globs are fine."""
    assert {i.partition("::")[0] for i in two.ids(deploypaths=("ex*",))} == {"exp/deploy_a.py"}
    assert two.ids("deploy_b.py::evaluate", deploypaths=("exp",)) == ["deploy_b.py::evaluate"]
    with pytest.raises(UsageError, match="deploypaths: 'nope' matches nothing"):
        two.collect(deploypaths=("nope",))


def test_a_folder_with_brackets_in_its_name_is_a_path(project):
    """A path that exists is that path, whatever its characters."""
    project.write({"a[1]/deploy_a.py": "@rpd.job\ndef train(): ...\n"})
    assert project.ids("a[1]") == ["a[1]/deploy_a.py::train"]

"""Paths and node ids on the command line."""

from __future__ import annotations

import pytest

from rpd.errors import UsageError

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
            ["deploy_b.py::evaluate", "deploy_b.py::train[seed1]", "deploy_b.py::train[seed2]"],
        ),
        (["./exp/../deploy_b.py::evaluate"], ["deploy_b.py::evaluate"]),
    ],
)
def test_arguments_narrow_what_is_collected(two, args, expected):
    """Ids and paths choose nodes in the order of the arguments; what overlaps is collected once."""
    assert two.ids(*args) == expected


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
    """What does not exist is named, with where it was looked for."""
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

"""Collecting as a whole."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpd.errors import ExitCode


def test_ids_are_unique_and_stable(project):
    """Collecting twice gives the same ids in the same order, each once."""
    body = "@rpd.job\n@rpd.mark.parametrize('x', range(20))\n@rpd.mark.parametrize('y', ['a', 'b'])\ndef train(x, y): ...\n"
    project.write({f"{folder}deploy_{name}.py": body for folder in ("", "a/", "a/b/") for name in "xyz"})
    first = project.ids()
    project.manager = project.new_manager()
    assert first == project.ids()
    assert len(set(first)) == len(first) == 360


def test_nothing_is_called_while_collecting(project):
    """Jobs and fixtures are looked at, not run."""
    project.write(
        {
            "deploy_x.py": "@rpd.fixture(autouse=True, scope='session', params=[1])\ndef fx(request):\n    raise AssertionError\n@rpd.job\ndef train(fx):\n    raise AssertionError\n"
        }
    )
    assert project.ids() == ["deploy_x.py::train[fx1]"]


def test_good_files_are_collected_beside_errors(project):
    """Errors do not hide good nodes; each error ends in exit code 2."""
    project.write(
        {
            "deploy_a.py": "@rpd.job\ndef good(): ...\n@rpd.job\ndef bad(nope): ...\n@rpd.job\ndef worse(nope2): ...\n"
        }
    )
    collection = project.collect()
    assert [node.id for node in collection.nodes] == ["deploy_a.py::good"]
    assert [error.place for error in collection.errors] == ["deploy_a.py:4", "deploy_a.py:6"]
    assert {error.exit_code for error in collection.errors} == {ExitCode.INTERRUPTED}


def test_an_empty_folder_has_no_nodes(project):
    """Nothing to collect is not an error of the collection."""
    collection = project.collect()
    assert (collection.nodes, collection.errors) == ((), ())


@pytest.mark.parametrize("name", ["nodes", "errors", "fixtures"])
def test_a_collection_is_frozen(project, name):
    """A different collection has to be made anew."""
    with pytest.raises(AttributeError):
        setattr(project.collect(), name, ())


def test_collecting_imports_no_sdk_no_ssh_and_no_terminal():
    """Collecting stays light: modules that take seconds to import are not imported."""
    code = "import sys, rpd.collect, rpd.select; print([n for n in ('runpod', 'fabric', 'paramiko', 'rich') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "line", ['rpd.importorskip("no_such_module")', 'rpd.skip("not here", allow_module_level=True)']
)
def test_a_file_that_skips_itself(project, line):
    """It has no nodes and is no error; its reason is kept, and other files are collected."""
    job = "@rpd.job\ndef train(): ...\n"
    project.write({"deploy_a.py": f"{line}\n{job}", "deploy_b.py": job})
    collection = project.collect()
    assert collection.errors == ()
    assert [node.id for node in collection.nodes] == ["deploy_b.py::train"]
    assert [file for file, _ in collection.skipped] == ["deploy_a.py"]
    named = project.collect("deploy_a.py::train")
    assert (named.nodes, named.errors) == ((), ())


def test_a_conftest_cannot_skip(project):
    """A skip in a conftest is an error, because everything below needs it."""
    project.write({"conftest.py": 'rpd.importorskip("no_such_module")\n', "deploy_b.py": "x = 1\n"})
    assert "could not import 'no_such_module'" in project.error().message


CELLS = st.one_of(
    st.text(max_size=3),
    st.integers(0, 3),
    st.floats(0, 1),
    st.none(),
    st.booleans(),
    st.just([1]),
    st.binary(max_size=2),
)
SETS = st.lists(st.lists(CELLS, max_size=4), min_size=1, max_size=2)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(files=st.dictionaries(st.sampled_from("abcdef"), SETS, min_size=1, max_size=4), data=st.data())
def test_ids_do_not_depend_on_the_order_of_files(project, files, data):
    """Whatever the parameters: ids are unique, and the same in whatever order files are named, alone or together."""
    for path in project.root.glob("deploy_*.py"):
        path.unlink()
    for name, axes in files.items():
        marks = "".join(f"@rpd.mark.parametrize('p{n}', {axis!r})\n" for n, axis in enumerate(axes))
        names = ", ".join(f"p{n}" for n in range(len(axes)))
        project.write({f"deploy_{name}.py": f"@rpd.job\n{marks}def train({names}): ...\n"})
    relaxed = {"strict_parametrization_ids": False, "empty_parameter_set_mark": "skip"}

    def ids(*names):
        project.manager = project.new_manager()
        return project.ids(*(f"deploy_{name}.py" for name in names), **relaxed)

    every = ids(*files)
    assert (
        len({*every})
        == len(every)
        == sum(math.prod(max(1, len(axis)) for axis in axes) for axes in files.values())
    )
    assert sorted(ids(*data.draw(st.permutations(list(files))))) == sorted(every)
    assert sorted(each for name in files for each in ids(name)) == sorted(every)

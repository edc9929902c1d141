"""Parameter sets from files: the meaning of each format, and the errors for a wrong file."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpd
from rpd.errors import DefinitionError

JOB = """
@rpd.job
@rpd.mark.parametrize(*rpd.params_from("{file}"))
def train(lr, seed): ...
"""


@pytest.fixture
def train_ids(project):
    """Return the case ids of a job parametrized by a file of that name and text."""

    def ids(name: str, text: str) -> list[str]:
        project.write({name: text, "deploy_x.py": JOB.format(file=name)})
        return [each.removeprefix("deploy_x.py::train") for each in project.ids()]

    return ids


PRODUCT = ["[lr0.1-seed1]", "[lr0.1-seed2]", "[lr0.2-seed1]", "[lr0.2-seed2]"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("grid.toml", "lr = [0.1, 0.2]\nseed = [1, 2]\n"),
        ("grid.json", '{"lr": [0.1, 0.2], "seed": [1, 2]}'),
    ],
)
def test_lists_multiply(train_ids, name, text):
    """Lists of values by name are a product, the first varying slowest; ids are those of any parametrization."""
    assert train_ids(name, text) == PRODUCT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("grid.toml", "[[params]]\nid = 'small'\nlr = 0.1\nseed = 1\n[[params]]\nseed = 2\nlr = 0.2\n"),
        ("grid.json", '[{"id": "small", "lr": 0.1, "seed": 1}, {"seed": 2, "lr": 0.2}]'),
        ("grid.json", '{"params": [{"id": "small", "lr": 0.1, "seed": 1}, {"seed": 2, "lr": 0.2}]}'),
    ],
)
def test_tables_are_one_set_each(train_ids, name, text):
    """Sets written out one by one may have an id, and may name their values in any order."""
    assert train_ids(name, text) == ["[small]", "[lr0.2-seed2]"]


def test_rows_are_one_set_each(project, tmp_path):
    """A row of a CSV is a set: numbers and booleans as in JSON, all else text; an empty line is none."""
    project.write(
        {
            "grid.csv": "\ufeffid, lr,name,flag,code\nfirst,1e-3,adam,true,007\n\n2,5,a b,no,\n",
            "deploy_x.py": (
                "@rpd.job\n@rpd.mark.parametrize(*rpd.params_from('grid.csv'))\ndef train(lr, name, flag, code): ...\n"
            ),
        }
    )
    first, second = project.collect().nodes
    assert [first.name, second.name] == ["train[first]", "train[2]"]
    assert dict(first.params) == {"lr": 0.001, "name": "adam", "flag": True, "code": "007"}
    assert dict(second.params) == {"lr": 5, "name": "a b", "flag": "no", "code": ""}
    assert type(second.params["lr"]) is int


def test_the_path_is_relative_to_the_deploy_file(project):
    """Wherever the command is given, the file is looked for next to the file that names it."""
    project.write(
        {
            "sweeps/grid.toml": "lr = [1]\nseed = [1]\n",
            "sweeps/deploy_x.py": JOB.format(file="grid.toml"),
        }
    )
    assert project.ids() == ["sweeps/deploy_x.py::train[lr1-seed1]"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "grid.toml",
            "lr = 0.1\nseed = [1]",
            'params_from("grid.toml").lr: expected a list of values, got 0.1',
        ),
        (
            "grid.toml",
            "lr = []\nseed = [1]",
            'params_from("grid.toml").lr: expected a list of values, got []',
        ),
        ("grid.toml", "lr = [", 'params_from("grid.toml"): expected TOML, got'),
        ("grid.toml", "", 'params_from("grid.toml"): expected at least one set of parameters'),
        ("grid.toml", "id = ['a']\nlr = [1]", 'params_from("grid.toml").id: expected no ids with lists'),
        ("grid.toml", "'learning rate' = [1]", "expected names of arguments, got 'learning rate'"),
        (
            "grid.toml",
            "lr = [1]\n[[params]]\nlr = 1",
            "expected lists of values, or 'params' and nothing else, got 'lr'",
        ),
        ("grid.toml", "params = 3", 'params_from("grid.toml").params: expected a list of tables'),
        (
            "grid.toml",
            "[[params]]\nlr = 1\n[[params]]\nl = 1",
            "params[1]: expected the names of the first set, lr, got 'l'",
        ),
        ("grid.toml", "[[params]]\nlr = 1\nid = 3", "params[0].id: expected a string, got 3"),
        ("grid.toml", "[[params]]\nid = 'a'", "params[0]: expected values by the names of arguments"),
        ("grid.json", "{", 'params_from("grid.json"): expected JSON, got'),
        ("grid.json", "3", "expected an object of lists, or a list of objects, got 3"),
        ("grid.csv", "lr,seed\n1,2\n1\n", 'params_from("grid.csv").line 3: expected 2 cells, got'),
        ("grid.csv", "lr,lr\n1,2\n", "expected each name once in the first row, got 'lr,lr'"),
        ("grid.yaml", "lr: [1]", "expected a file that ends in .toml, .json, .csv, got 'grid.yaml'"),
    ],
)
def test_wrong_files_are_told_at_the_line_that_names_them(project, name, text, message):
    """The error has file and key, at the place in the deploy file."""
    project.write({name: text, "deploy_x.py": JOB.format(file=name)})
    error = project.error()
    assert message in error.message
    assert error.place == "deploy_x.py:3"


def test_a_missing_file_is_told(project):
    """The path that was looked for is named."""
    project.write({"deploy_x.py": JOB.format(file="gird.toml")})
    message = project.error().message
    assert 'params_from("gird.toml"): expected a file that can be read' in message
    assert "No such file" in message


NAMES = st.sampled_from(["a", "b", "lr"])
VALUES = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@given(st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=3), min_size=1))
def test_a_product_and_its_rows_are_the_same(tmp_path_factory, axes):
    """A grid in JSON and its sets written out as a CSV give the same values of the same types."""
    folder = tmp_path_factory.getbasetemp()
    (folder / "grid.json").write_text(json.dumps(axes), encoding="utf-8")
    names, sets = rpd.params_from(folder / "grid.json")
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(names)
    rows.writerows([json.dumps(value) for value in each.values] for each in sets)
    (folder / "grid.csv").write_text(text.getvalue(), encoding="utf-8")
    assert rpd.params_from(folder / "grid.csv") == (names, sets)
    assert [[type(value) for value in each.values] for each in rpd.params_from(folder / "grid.csv")[1]] == [
        [type(value) for value in each.values] for each in sets
    ]


def test_outside_of_collecting_it_raises(tmp_path):
    """Called by other code, it raises the error that collecting would report."""
    with pytest.raises(DefinitionError, match="expected a file that can be read"):
        rpd.params_from(tmp_path / "nowhere.csv")

"""The output of ``rpd collect``."""

from __future__ import annotations

import json

import pytest

from rpd.collect.tree import collect_json, count_lines, plain_value, requested_gpu, tree_lines

FILES = {
    "deploy_a.py": """
    train = rpd.job(gpu=rpd.Gpu("NVIDIA L4"))

    @train
    @rpd.mark.parametrize("seed", [1, 2])
    def finetune(pod, seed):
        '''Fine-tune.

        For long.
        '''
    """,
    "exp/deploy_b.py": "@rpd.job\ndef check(): ...\n",
    "exp/deploy_c.py": "@rpd.job\ndef check(): ...\n",
}


@pytest.fixture
def collection(project):
    project.write(FILES)
    return project.collect()


def test_the_tree_names_folders_and_files_once(collection):
    """Folders, files and jobs are indented below each other."""
    assert tree_lines(collection.nodes) == [
        "<File deploy_a.py>",
        "  <Job finetune[seed1]>",
        "  <Job finetune[seed2]>",
        "<Dir exp>",
        "  <File deploy_b.py>",
        "    <Job check>",
        "  <File deploy_c.py>",
        "    <Job check>",
    ]


def test_the_verbose_tree_has_gpu_cost_and_docstring(collection):
    """With ``-v`` each job has columns, aligned, and its docstring below."""
    lines = tree_lines(collection.nodes, verbose=1, price=lambda node: 5.0 if node.job.gpu else None)
    assert lines[:5] == [
        "<File deploy_a.py>",
        "  <Job finetune[seed1]>  NVIDIA L4  <= $5.00",
        "    Fine-tune.",
        "",
        "    For long.",
    ]
    assert lines[-1] == "    <Job check>          CPU"


def test_counts_for_each_file(collection):
    """``-qq`` shows how many nodes a file has."""
    assert count_lines(collection.nodes) == ["deploy_a.py: 2", "exp/deploy_b.py: 1", "exp/deploy_c.py: 1"]


def test_json_has_nodes_and_errors(project):
    """The JSON holds all that a script needs before it runs anything."""
    project.write({**FILES, "deploy_z.py": "1 / 0\n"})
    text = "".join(collect_json(project.collect(), lambda node: 5.0))
    value = json.loads(text)
    assert text == json.dumps(value, indent=2)
    assert value["schema_version"] == 1
    assert value["nodes"][0] == {
        "id": "deploy_a.py::finetune[seed1]",
        "job": "finetune",
        "file": "deploy_a.py",
        "line": 4,
        "parameters": {"seed": 1},
        "marks": ["parametrize"],
        "needs": [],
        "fixtures": ["gpu", "pod"],
        "image": "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
        "gpu": "NVIDIA L4",
        "worst_case_usd": 5.0,
    }
    (error,) = value["errors"]
    assert (error["file"], error["line"]) == ("deploy_z.py", 2)
    assert "ZeroDivisionError" in error["message"]


@pytest.mark.parametrize("how", ["", ", indirect=True"])
def test_a_parametrized_gpu_is_what_the_node_asks_for(project, how):
    """Parametrizing ``gpu``, directly or through the fixture, replaces the job's own."""
    project.write(
        {
            "deploy_x.py": f"@rpd.job\n@rpd.mark.parametrize('gpu', [rpd.Gpu('NVIDIA L4')], ids=['l4']{how})\ndef train(pod, gpu): ...\n"
        }
    )
    (node,) = project.collect().nodes
    assert str(requested_gpu(node)) == "NVIDIA L4"


class Opaque:
    def __repr__(self):
        return "<opaque>"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, 1.5),
        (None, None),
        (float("nan"), "nan"),
        ((1, [True]), [1, [True]]),
        ({"a": {1}}, {"a": "{1}"}),
        ({1: 2}, "{1: 2}"),
        (len, "len"),
        (Opaque(), "<opaque>"),
    ],
)
def test_parameters_become_plain_values(value, expected):
    """Values that JSON cannot hold become text."""
    assert plain_value(value) == expected

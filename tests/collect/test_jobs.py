"""The functions that are jobs, and the contents of their nodes."""

from __future__ import annotations

import pytest


def test_jobs_are_collected_in_the_order_of_the_file(project):
    """Definition order, whatever the names; a decorator's place among others does not matter."""
    project.write(
        {
            "deploy_x.py": "@rpd.job\n@rpd.mark.slots(1)\ndef zeta(): ...\n@rpd.mark.slots(1)\n@rpd.job\ndef alpha(): ...\ndef helper(): ...\n"
        }
    )
    assert project.ids() == ["deploy_x.py::zeta", "deploy_x.py::alpha"]


def test_an_imported_job_is_not_collected_again(project):
    """A job belongs to the file that defines it."""
    project.write(
        {
            "deploy_a.py": "@rpd.job\ndef train(): ...\n",
            "deploy_b.py": "from deploy_a import train\n@rpd.job\ndef evaluate(): ...\n",
        }
    )
    assert project.ids() == ["deploy_a.py::train", "deploy_b.py::evaluate"]


def test_a_job_under_two_names_is_one_job(project):
    """An alias does not run, and pay for, a job twice."""
    project.write({"deploy_x.py": "@rpd.job\ndef train(): ...\nagain = train\n"})
    assert project.ids() == ["deploy_x.py::train"]


def test_jobs_may_be_made_in_a_loop(project):
    """A job made by a function has the name it is bound to."""
    project.write(
        {
            "deploy_x.py": "def make(n):\n    @rpd.job\n    def run():\n        return n\n    return run\nfor n in (1, 2):\n    globals()[f'train_{n}'] = make(n)\n"
        }
    )
    assert project.ids() == ["deploy_x.py::train_1", "deploy_x.py::train_2"]


def test_a_wrapped_job_keeps_its_arguments_and_place(project):
    """A decorator that uses functools.wraps changes neither the fixtures asked for nor the line."""
    project.write(
        {
            "deploy_x.py": """
            import functools
            def loud(function):
                @functools.wraps(function)
                def wrapper(*args, **kwargs):
                    return function(*args, **kwargs)
                return wrapper

            @loud
            @rpd.job
            def train(gpu): ...
            """
        }
    )
    (node,) = project.collect().nodes
    assert (node.definition.argnames, node.definition.line) == (("gpu",), 9)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("@rpd.job\nasync def train(): ...\n", "async def functions are not supported"),
        ("@rpd.job\ndef train():\n    yield\n", "generator 'train' cannot be a job"),
        ("@rpd.job\nclass train: ...\n", "class 'train' cannot be a job"),
        ("class Deploy:\n    @rpd.job\n    def train(self): ...\n", "'Deploy.train' cannot be a job"),
        (
            "@rpd.job\ndef train(): ...\n@rpd.job\ndef train(): ...\n",
            "two jobs are called 'train' (lines 3, 5)",
        ),
        ("@rpd.job(spot=True)\n@rpd.job\ndef train(): ...\n", "decorated with two different jobs"),
        (
            "def fit(): ...\na = rpd.job(fit)\nb = rpd.job(spot=True)(fit)\n",
            "decorated with two different jobs",
        ),
    ],
)
def test_what_cannot_be_a_job_is_an_error(project, body, text):
    """A function that would silently not run is reported, with its place."""
    project.write({"deploy_x.py": body})
    error = project.error()
    assert text in error.message
    assert error.file == "deploy_x.py"


def test_the_same_job_twice_and_a_wrapper_of_a_job_are_fine(project):
    """The wrapper has the attributes of what it wraps, but only one job was given to it."""
    project.write(
        {
            "deploy_x.py": """
            import functools
            @rpd.job
            @rpd.job
            def fit(): ...

            @rpd.job(spot=True)
            @functools.wraps(fit)
            def train(): fit()
            """
        }
    )
    nodes = project.collect().nodes
    assert [(node.definition.name, node.job.spot) for node in nodes] == [("fit", False), ("train", True)]


def test_one_of_two_definitions_may_be_chosen(project):
    """A job defined in both branches of an ``if`` is one job."""
    project.write(
        {
            "deploy_x.py": "if True:\n    @rpd.job\n    def train(): ...\nelse:\n    @rpd.job\n    def train(): ...\n"
        }
    )
    assert project.ids() == ["deploy_x.py::train"]


def test_a_definition_knows_what_was_written(project):
    """File, line, docstring, arguments, job and the words ``-k`` matches."""
    project.write(
        {
            "exp/deploy_x.py": "@rpd.job(image='a/b:c')\n@rpd.mark.timeout('5m')\ndef train(request, pod):\n    '''Train it.'''\ntrain.Owner = 1\n"
        }
    )
    (node,) = project.collect().nodes
    definition = node.definition
    assert (str(definition.location), definition.doc, definition.argnames) == (
        "exp/deploy_x.py:2",
        "Train it.",
        ("request", "pod"),
    )
    assert definition.job.image == "a/b:c"
    assert definition.keywords == {"exp", "deploy_x.py", "train", "timeout", "owner"}
    assert "request" not in definition.closure.names


def test_a_file_may_parametrize_its_own_jobs(project):
    """``rpd_generate_nodes`` in a deploy file is called for its jobs."""
    project.write(
        {
            "deploy_x.py": """
            def rpd_generate_nodes(metafunc):
                assert metafunc.definition.name == metafunc.function.__name__
                if "x" in metafunc.fixturenames:
                    metafunc.parametrize("x", metafunc.module.VALUES, ids=["a", "b"])
            VALUES = [1, 2]

            @rpd.job
            def train(x): ...

            @rpd.job
            def other(): ...
            """
        }
    )
    assert project.ids() == ["deploy_x.py::train[a]", "deploy_x.py::train[b]", "deploy_x.py::other"]


def test_a_hook_may_look_at_the_marks_of_the_function(project):
    """``metafunc.definition.mark`` gives the marks of function and module."""
    project.write(
        {
            "conftest.py": "def rpd_generate_nodes(metafunc):\n    mark = metafunc.definition.mark('slots')\n    metafunc.parametrize('n', mark.args)\n",
            "deploy_x.py": "@rpd.job\n@rpd.mark.slots(3)\ndef train(n): ...\n",
        }
    )
    assert project.ids() == ["deploy_x.py::train[n3]"]

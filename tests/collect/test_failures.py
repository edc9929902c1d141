"""The error messages for deploy files that cannot be used."""

from __future__ import annotations

import pytest

from rpd.errors import DefinitionError

JOB = "@rpd.job\ndef train(): ...\n"


def test_an_import_error_shows_the_users_frames_only(project):
    """The message holds file:line and source of each frame of the user's, and none of ours."""
    project.write(
        {
            "helper.py": "def load():\n    import nope_nope\n",
            "deploy_x.py": "import helper\n\nhelper.load()\n" + JOB,
        }
    )
    error = project.error()
    assert error.place == "helper.py:3"
    assert error.message.splitlines() == [
        "deploy_x.py:4: in <module>",
        "    helper.load()",
        "helper.py:3: in load",
        "    import nope_nope",
        "E   ModuleNotFoundError: No module named 'nope_nope'",
    ]


def test_the_full_trace_keeps_everything(project):
    """``--full-trace`` shows Python's own traceback, our frames included."""
    project.write({"deploy_x.py": "import nope_nope\n"})
    message = project.error(full_trace=True).message
    assert "Traceback (most recent call last)" in message
    assert "imports.py" in message


def test_a_syntax_error_has_its_line(project):
    """SyntaxError is placed where the syntax is wrong."""
    project.write({"deploy_x.py": "x = 1\ndef train(:\n    pass\n"})
    error = project.error()
    assert error.place == "deploy_x.py:3"
    assert "SyntaxError" in error.message
    assert "def train(:" in error.message


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise BaseException('odd')", "BaseException: odd"),
        ("rpd.skip('not today')", "rpdmark = rpd.mark.skip(reason=…)"),
        ("assert 1 == 2, 'sums'", "AssertionError: sums"),
        ("raise ValueError('one\\ntwo')", "E   two"),
    ],
)
def test_whatever_a_file_raises_is_a_collection_error(project, line, text):
    """Even the end of the program becomes an error of that file, with the line that caused it."""
    project.write({"deploy_x.py": f"{line}\n"})
    error = project.error()
    assert error.place == "deploy_x.py:2"
    assert line in error.message
    assert text in error.message


def test_a_wrong_value_has_its_line_and_the_rule(project):
    """A DefinitionError keeps field, rule and value, and gets the place of the deepest frame of the user's."""
    project.write(
        {
            "common.py": "from rpd import Gpu\n\ndef big():\n    return Gpu('NVIDIA H100')\n",
            "deploy_x.py": "from common import big\nbig()\n",
        }
    )
    error = project.error()
    assert isinstance(error, DefinitionError)
    assert error.place == "common.py:5"
    assert error.message.splitlines()[-1].startswith(
        "E   Gpu.ids: expected an id RunPod knows, got 'NVIDIA H100'"
    )


def test_errors_of_all_files_are_told_together(project):
    """One run reports the errors of every file and still collects the sound ones."""
    project.write({"deploy_a.py": "1 / 0\n", "deploy_b.py": JOB, "deploy_c.py": "import nope_nope\n"})
    collection = project.collect()
    assert [error.place for error in collection.errors] == ["deploy_a.py:2", "deploy_c.py:2"]
    assert [node.id for node in collection.nodes] == ["deploy_b.py::train"]


def test_the_cause_of_an_exception_is_told(project):
    """``raise … from …`` shows the original exception."""
    project.write(
        {
            "deploy_x.py": "try:\n    {}['lr']\nexcept KeyError as error:\n    raise ValueError('no lr') from error\n"
        }
    )
    error = project.error()
    assert error.place == "deploy_x.py:5"
    assert error.message.splitlines() == [
        "deploy_x.py:3: in <module>",
        "    {}['lr']",
        "E   KeyError: 'lr'",
        "which led to:",
        "deploy_x.py:5: in <module>",
        "    raise ValueError('no lr') from error",
        "E   ValueError: no lr",
    ]


def test_an_exception_in_an_ids_function_is_told_with_its_parameter(project):
    """User code that is called while ids are made is shown with the parameter it was called for."""
    project.write(
        {
            "deploy_x.py": "def name(value):\n    return 1 / value\n\n@rpd.job\n@rpd.mark.parametrize('x', [1, 0], ids=name)\ndef train(x): ...\n"
        }
    )
    error = project.error()
    assert error.place == "deploy_x.py:3"
    assert "error raised while trying to determine id of parameter 'x' at position 1" in error.message
    assert "In deploy_x.py::train:" in error.message


def test_an_exception_in_a_hook_is_told_with_the_job(project):
    """A hook that raises is shown with the job it was called for."""
    project.write({"conftest.py": "def rpd_generate_nodes(metafunc):\n    1 / 0\n", "deploy_x.py": JOB})
    error = project.error()
    assert error.place == "conftest.py:3"
    assert "In deploy_x.py::train:" in error.message
    assert "pluggy" not in error.message

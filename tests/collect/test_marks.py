"""Marks: registration, arguments, and which node has which."""

from __future__ import annotations

import pytest

from rpd.collect import registered_marks


def test_unregistered_marks_are_errors_with_a_suggestion(project):
    """A typo in a mark costs no money: it is reported, with the likely name."""
    project.write({"deploy_x.py": "@rpd.job\n@rpd.mark.timeuot('5m')\ndef train(): ...\n"})
    error = project.error()
    assert error.place == "deploy_x.py:2"
    assert "'timeuot' not found in `markers` configuration option; did you mean 'timeout'?" in error.message


@pytest.mark.parametrize(
    "settings",
    [
        {"markers": ("slow: takes long",)},
        {"markers": ("slow(level): takes long",)},
        {"strict_markers": False},
    ],
)
def test_registered_marks_are_accepted(project, settings):
    """The setting ``markers`` registers marks; without ``strict_markers`` any may be used."""
    project.write({"deploy_x.py": "@rpd.job\n@rpd.mark.slow\ndef train(): ...\n"})
    assert project.ids(**settings) == ["deploy_x.py::train"]


@pytest.mark.parametrize(
    "body",
    [
        "@rpd.job\n@rpd.mark.parametrize('x', [rpd.param(1, marks=rpd.mark.nope)])\ndef train(x): ...\n",
        "rpdmark = rpd.mark.nope\n@rpd.job\ndef train(): ...\n",
        "@rpd.fixture(params=[rpd.param(1, marks=[rpd.mark.nope])])\ndef x(request): ...\n@rpd.job\ndef train(x): ...\n",
    ],
)
def test_marks_of_cases_and_modules_are_checked_too(project, body):
    """Unknown marks are found wherever they stand."""
    project.write({"deploy_x.py": body})
    assert "'nope' not found in `markers`" in project.error().message


def test_a_node_has_its_marks_nearest_first(project):
    """Marks of the case, then of the function from the bottom up, then of the module."""
    project.write(
        {
            "deploy_x.py": """
            rpdmark = [rpd.mark.m1, rpd.mark.m2]

            @rpd.mark.f2
            @rpd.job
            @rpd.mark.f1
            @rpd.mark.parametrize("x", [rpd.param(1, marks=rpd.mark.case), 2])
            def train(x): ...
            """
        }
    )
    first, second = project.collect(strict_markers=False).nodes
    assert [mark.name for mark in first.marks] == ["case", "parametrize", "f1", "f2", "m1", "m2"]
    assert [mark.name for mark in second.marks] == ["parametrize", "f1", "f2", "m1", "m2"]
    assert first.mark("f2") is second.mark("f2")


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("timeout('soon')", "rpd.mark.timeout: expected a duration"),
        ("timeout()", "rpd.mark.timeout: expected one duration, got 0"),
        ("timeout(jbo='5m')", "rpd.mark.timeout: expected job or silent, got jbo='5m'; did you mean job=…?"),
        (
            "retry(infar=2)",
            "rpd.mark.retry: expected infra, oom, timeout or code, got infar=2; did you mean infra=…?",
        ),
        ("retry(infra='2')", "rpd.mark.retry.infra: expected a whole number >= 0, got '2'"),
        ("retry(code=True)", "rpd.mark.retry.code: expected a whole number >= 0, got True"),
        ("retry(oom='next')", "rpd.mark.retry.oom: expected a whole number >= 0 or 'next-gpu', got 'next'"),
        ("retry(3)", "rpd.mark.retry: expected keywords: infra, oom, timeout, code, got (3,)"),
        ("gpu()", "Gpu.ids: expected at least one GPU id, or min_vram_gb, got ()"),
        ("gpu('NVIDIA H1000')", "Gpu.ids: "),
        ("gpu('NVIDIA L4', cuont=2)", "rpd.mark.gpu: expected "),
        ("gpu('NVIDIA L4', count=0)", "Gpu.count: expected a whole number >= 1, got 0"),
        ("budget(20)", "rpd.mark.budget: expected limits by name (cost_cap_usd=…), got (20,)"),
        ("budget(cost_cap=20)", "did you mean cost_cap_usd=…?"),
        ("budget(cost_cap_usd=-1)", "Budget.cost_cap_usd: expected "),
        ("slots(gpu=0)", "rpd.mark.slots.gpu: expected a whole number >= 1, got 0"),
        ("slots('1')", "rpd.mark.slots.gpu: expected a whole number >= 1, got '1'"),
        ("slots(1, 2)", "rpd.mark.slots: expected one number of GPUs, got (1, 2)"),
        ("slots(gpus=1)", "rpd.mark.slots: expected gpu, got gpus=1; did you mean gpu=…?"),
        ("skip(True)", "rpd.mark.skip.reason: expected a string, got True. A condition: skipif"),
        ("skip(because='x')", "rpd.mark.skip: expected reason, got because='x'"),
        ("skipif(reason='x')", "rpd.mark.skipif: expected a condition"),
        ("skipif(True, reson='x')", "expected condition or reason, got reson='x'; did you mean reason=…?"),
        (
            "skipif('needs a driver')",
            "expected a Python expression as condition (invalid syntax), got 'needs a driver'",
        ),
        ("skipif(True, reason=3)", "rpd.mark.skipif.reason: expected a string, got 3"),
        (
            "skipif(True, condition=False, reason='x')",
            "expected a condition by name or by position, got both",
        ),
        ("xfail('is flaky')", "got 'is flaky'. A reason goes by its name: reason=…"),
        ("xfail(strict='no')", "rpd.mark.xfail.strict: expected True or False, got 'no'"),
        (
            "xfail(raises='OSError')",
            "rpd.mark.xfail.raises: expected an exception or a tuple of them, got 'OSError'",
        ),
        ("xfail(raise_=OSError)", "did you mean raises=…?"),
        ("usefixtures(3)", "rpd.mark.usefixtures: expected names of fixtures, got 3"),
        ("parametrize('x')", "rpd.mark.parametrize: missing a required argument: 'argvalues'"),
        ("parametrize('x', [1], nope=2)", "rpd.mark.parametrize: got an unexpected keyword argument 'nope'"),
    ],
)
def test_wrong_arguments_are_told(project, mark, text):
    """Marks whose arguments cannot be right are errors of the job."""
    project.write({"deploy_x.py": f"@rpd.job\n@rpd.mark.{mark}\ndef train(): ...\n"})
    error = project.error()
    assert text in error.message
    assert error.place == "deploy_x.py:2"


@pytest.mark.parametrize(
    "mark",
    [
        "retry(infra=0, oom='next-gpu', timeout=1, code=2)",
        "gpu('NVIDIA L4')",
        "gpu(min_vram_gb=24, count=2, max_price_usd=1.5, prefer='cheapest')",
        "gpu(rpd.Gpu('NVIDIA L4'))",
        "gpu(None)",
        "budget(cost_cap_usd=2, max_runtime='2h')",
        "slots",
        "slots(2)",
        "slots(gpu=2)",
        "skip",
        "skip('later')",
        "skipif(False)",
        "skipif('os.name == 1', 0, reason='x')",
        "skipif(condition='True')",
        "xfail",
        "xfail(1 > 0, reason='x', raises=(OSError, ValueError), run=False, strict=True)",
        "timeout('5m', silent=30)",
    ],
)
def test_right_arguments_are_accepted(project, mark):
    """Whatever the documentation says of a mark is accepted."""
    project.write({"deploy_x.py": f"@rpd.job\n@rpd.mark.{mark}\ndef train(): ...\n"})
    assert project.ids() == ["deploy_x.py::train"]


@pytest.mark.parametrize(
    "body",
    [
        "@rpd.job\n@rpd.mark.parametrize('x', [rpd.param(1, marks=rpd.mark.retry(infra=-1))])\ndef train(x): ...\n",
        "rpdmark = rpd.mark.retry(infra=-1)\n@rpd.job\ndef train(): ...\n",
    ],
)
def test_wrong_arguments_are_told_wherever_the_mark_stands(project, body):
    """Marks of a parameter set and of a module are judged as those of a function are."""
    project.write({"deploy_x.py": body})
    error = project.error()
    assert error.file == "deploy_x.py"
    assert "rpd.mark.retry.infra: expected a whole number >= 0, got -1" in error.message


@pytest.mark.parametrize("name", ["usefixtures('pod')", "parametrize('x', [1])"])
def test_some_marks_cannot_belong_to_a_case(project, name):
    """``usefixtures`` and ``parametrize`` shape the whole function."""
    project.write(
        {
            "deploy_x.py": f"@rpd.job\n@rpd.mark.parametrize('x', [rpd.param(1, marks=rpd.mark.{name})])\ndef train(x): ...\n"
        }
    )
    assert f"rpd.param cannot add rpd.mark.{name.partition('(')[0]}" in project.error().message


def test_rpdmark_holds_marks_only(project):
    """Anything else in ``rpdmark`` is an error of the file."""
    project.write({"deploy_x.py": "rpdmark = 'slow'\n@rpd.job\ndef train(): ...\n"})
    error = project.error()
    assert error.file == "deploy_x.py"
    assert "rpdmark: expected a mark or a list of marks, got 'slow'" in error.message


def test_module_marks_may_parametrize_and_use_fixtures(project):
    """``rpdmark`` applies to every job of the file."""
    project.write(
        {
            "deploy_x.py": """
            rpdmark = [rpd.mark.parametrize("x", [1, 2]), rpd.mark.usefixtures("staged_dir")]

            @rpd.job
            def train(x): ...
            """
        }
    )
    nodes = project.collect().nodes
    assert [node.name for node in nodes] == ["train[x1]", "train[x2]"]
    assert "staged_dir" in nodes[0].definition.closure.names


def test_every_registered_mark_has_a_description():
    """Names are those a user writes after ``rpd.mark.``."""
    marks = registered_marks(["slow: takes long", "bare"])
    assert {
        "parametrize",
        "skip",
        "skipif",
        "xfail",
        "usefixtures",
        "retry",
        "timeout",
        "slots",
    } < marks.keys()
    assert (marks["slow"], marks["bare"]) == ("takes long", "")


def test_a_marked_case_has_a_job_of_its_own(project):
    """``gpu`` and ``budget`` change the job of one case.

    Nodes share as much as they can, and each keeps its one object.
    """
    project.write(
        {
            "deploy_x.py": """
            @rpd.job(gpu=rpd.Gpu("NVIDIA L4"))
            @rpd.mark.budget(cost_cap_usd=4)
            @rpd.mark.parametrize("n", [1, 2, rpd.param(3, marks=rpd.mark.budget(cost_cap_usd=9))])
            def train(n): ...
            """
        }
    )
    first, second, third = project.collect().nodes
    assert [node.job.budget.cost_cap_usd for node in (first, second, third)] == [4, 4, 9]
    assert first.job is second.job is first.job
    assert third.job is third.job is not first.job

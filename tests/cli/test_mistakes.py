"""Mistakes in deploy files, conftests, plugins and configuration: one clear error each, none of our frames."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import rpd
from rpd.cli import main

DRY = ("run", "--dry-run")
ONE = "import rpd\n\n@rpd.job\ndef fit(): ...\n"
TWO = "import rpd\n\n@rpd.job\n@rpd.mark.parametrize('n', [1, 2])\ndef fit(n): ...\n"


@dataclass(frozen=True)
class Mistake:
    """The exit code and the output (stdout and stderr together) for wrong files and arguments."""

    exit_code: int
    says: tuple[str, ...]
    deploy: str = ONE
    args: tuple[str, ...] = DRY
    files: dict[str, str | bytes] = field(default_factory=dict)


def conftest(exit_code: int, says: str, text: str, deploy: str = TWO) -> Mistake:
    return Mistake(exit_code, (says,), deploy, files={"conftest.py": text})


def config(says: str, text: str) -> Mistake:
    return Mistake(4, (says,), files={"rpd.toml": text})


def deploy(exit_code: int, *says: str, text: str) -> Mistake:
    return Mistake(exit_code, says, "import rpd\n" + textwrap.dedent(text))


MISTAKES = {
    # files that are odd, but ours to read
    "TOML nested too deeply": config("rpd.toml: not valid TOML: nested too deeply", "x=" + 5000 * "["),
    "a number too long for Python": config("rpd.toml: not valid TOML: .*digits", "n=" + 5000 * "9"),
    "vars nested too deeply": Mistake(
        4,
        ("--vars-file v.json: expected JSON",),
        args=(*DRY, "--vars-file", "v.json"),
        files={"v.json": 90000 * "["},
    ),
    # the deploy file
    "a module that is not there": deploy(
        2, "deploy_a.py:2", "No module named 'nexist'", text="import nexist\n"
    ),
    "a file that exits": deploy(2, "SystemExit: 1: the file ended the program", text="raise SystemExit(1)\n"),
    "endless recursion": deploy(
        2, "RecursionError", re.escape("frames …"), text="def f(): return f()\nf()\n"
    ),
    "null bytes": Mistake(2, ("null bytes",), "import rpd\n\0\n"),
    "mixed indentation": deploy(2, "TabError", text="@rpd.job\ndef f():\n\tpass\n        pass\n"),
    "rpd.skip in a file": deploy(2, r"rpdmark = rpd\.mark\.skip", text="rpd.skip('x')\n"),
    "a job of an int": deploy(2, "a job decorates one function", text="f = rpd.job(3)\n"),
    "a job of a partial": deploy(
        2, "a job decorates a function", text="import functools\nf = rpd.job(functools.partial(print, 1))\n"
    ),
    "a job of a callable": deploy(
        2,
        "a job decorates a function",
        text="class F:\n    def __call__(self): ...\nf = rpd.job(F())\n",
    ),
    "an argument before a /": deploy(
        2, r"deploy_a\.py:2: in f", "'pod' stands before a /", text="@rpd.job\ndef f(pod, /): ...\n"
    ),
    "a fixture's argument before a /": deploy(
        2,
        "fixture 'x': argument 'pod' stands before a /",
        text="@rpd.fixture\ndef x(pod, /): ...\n@rpd.job\ndef f(x): ...\n",
    ),
    "a job that is a fixture": deploy(
        2, "both a job and a fixture", text="@rpd.job\n@rpd.fixture\ndef f(): ...\n"
    ),
    "an unknown mark": deploy(
        2, "'slw' not found in `markers`", text="@rpd.job\n@rpd.mark.slw\ndef f(): ...\n"
    ),
    "parametrize without values": deploy(
        2, "missing a required argument: 'argnames'", text="@rpd.job\n@rpd.mark.parametrize\ndef f(a): ...\n"
    ),
    "parametrize with an int": deploy(
        2,
        "expected a sequence of values, got 3",
        text="@rpd.job\n@rpd.mark.parametrize('a', 3)\ndef f(a): ...\n",
    ),
    "too few ids": deploy(
        2,
        "2 parameter sets specified, with different number of ids: 1",
        text="@rpd.job\n@rpd.mark.parametrize('a', [1, 2], ids=['x'])\ndef f(a): ...\n",
    ),
    "a parameter whose hash raises": deploy(
        2,
        "ValueError: no hash",
        text="""
        class Odd:
            def __hash__(self): raise ValueError("no hash")
        @rpd.fixture
        def x(request): ...
        @rpd.job
        @rpd.mark.parametrize("x", [Odd()], indirect=True)
        def f(x): ...
        """,
    ),
    "a parameter whose repr raises": deploy(
        1,
        r"AssertionError: \(its text is not available: ValueError\)",
        text="""
        class Odd:
            def __repr__(self): raise ValueError("no repr")
        @rpd.job
        @rpd.mark.parametrize("x", [Odd()])
        def f(x): assert x is None, x
        """,
    ),
    "an exception without a text": deploy(
        1,
        r"Odd: \(its text is not available: ValueError\)",
        text="""
        class Odd(Exception):
            def __str__(self): raise ValueError("no str")
        @rpd.job
        def f(): raise Odd()
        """,
    ),
    "fixture params that are none": deploy(
        2,
        r"fixture\.params: expected a sequence of values, got 3",
        text="@rpd.fixture(params=3)\ndef x(): ...\n",
    ),
    "a scope that raises": deploy(
        2,
        "ZeroDivisionError",
        "Error evaluating",
        text="@rpd.fixture(scope=lambda **_: 1 / 0)\ndef x(): ...\n@rpd.job\ndef f(x): ...\n",
    ),
    "a fixture without a yield": deploy(
        1,
        "fixture 'x' did not yield a value\n\ndeploy_a.py:2\n",
        text="@rpd.fixture\ndef x():\n    if 0: yield\n@rpd.job\ndef f(x): ...\n",
    ),
    "a fixture with two": deploy(
        1,
        "fixture 'x' yielded more than once\n\ndeploy_a.py:2\n",
        text="@rpd.fixture\ndef x():\n    yield\n    yield\n@rpd.job\ndef f(x): ...\n",
    ),
    "a finalizer that is none": deploy(
        1,
        r"request\.addfinalizer: expected a function, got 3",
        text="@rpd.job\ndef f(request): request.addfinalizer(3)\n",
    ),
    "a fixture that is not there at run time": deploy(
        1,
        "fixture 'pd' not found; did you mean 'pod'",
        text="@rpd.job\ndef f(request): request.getfixturevalue('pd')\n",
    ),
    "rpdmark that is none": Mistake(2, ("rpdmark: expected a mark",), f"{ONE}rpdmark = 'slow'\n"),
    "a hook that belongs elsewhere": Mistake(
        2,
        ("rpd does not call rpd_node_report in a deploy file", r"conftest\.py of its folder"),
        f"{ONE}def rpd_node_report(node): ...\n",
    ),
    "a misspelt hook": Mistake(
        2, ("did you mean rpd_generate_nodes",), f"{ONE}def rpd_generate_node(metafunc): ...\n"
    ),
    "a wrong argument of the file's hook": Mistake(
        2, ("has the argument metafunc, not 'meta'",), f"{ONE}def rpd_generate_nodes(meta): ...\n"
    ),
    "KeyboardInterrupt in a job": deploy(
        2, "interrupted", text="@rpd.job\ndef f(): raise KeyboardInterrupt\n"
    ),
    "a command that is none": deploy(
        1,
        r"deploy_a\.py:3",
        r"pod\.run: expected a shell command as one string, got 3",
        text="@rpd.job\ndef f(pod): pod.run(3)\n",
    ),
    "a timeout that is none": deploy(
        1,
        r"pod\.run: timeout='soon': expected a duration",
        text="@rpd.job\ndef f(pod): pod.run('ls', timeout='soon')\n",
    ),
    "bytes as a text": deploy(
        1, r"pod\.write: expected a string, got bytes", text="@rpd.job\ndef f(pod): pod.write('a', b'x')\n"
    ),
    "a project that is no folder": deploy(
        4,
        "project_dir: expected the path of a folder, got 3",
        text="@rpd.fixture\ndef project_dir(): return 3\n@rpd.job\ndef f(staged_dir): ...\n",
    ),
    "provision of no job": deploy(
        1,
        "provision: expected a job",
        text="@rpd.job\ndef f(provision):\n    with provision(3): ...\n",
    ),
    "a variable without a value": deploy(
        4,
        r"variable 'x' has no value: set it with --var x=VALUE \(declared at deploy_a\.py:2\)",
        text="x = rpd.variable(type=int)\n@rpd.job\ndef f(x): ...\n",
    ),
    "a variable of another type": Mistake(
        4,
        ("variable 'x': expected int, got 'abc'",),
        "import rpd\nx = rpd.variable(default=1, type=int)\n@rpd.job\ndef f(x): ...\n",
        args=(*DRY, "--var", "x=abc"),
    ),
    "marks that are none": deploy(
        2,
        r"param\.marks: expected a mark or a sequence of marks, got 3",
        text="@rpd.job\n@rpd.mark.parametrize('a', [rpd.param(1, marks=3)])\ndef f(a): ...\n",
    ),
    "fixture ids that are none": deploy(
        2,
        r"fixture\.ids: expected a sequence or a function",
        text="@rpd.fixture(params=[1], ids=3)\ndef x(): ...\n",
    ),
    "a fixture's name that is none": deploy(
        2,
        r"fixture\.name: expected the name of an argument, got 3",
        text="@rpd.fixture(name=3)\ndef x(): ...\n",
    ),
    "autouse that is none": deploy(
        2,
        r"fixture\.autouse: expected True or False, got 'no'",
        text="@rpd.fixture(autouse='no')\ndef x(): ...\n",
    ),
    "a variable's type that is none": deploy(
        2,
        r"variable\.type: expected a function such as int, got 'int'",
        text="x = rpd.variable(type='int')\n",
    ),
    "a job of a built-in function": deploy(
        2, "a job decorates a function written in Python", text="f = rpd.job(print)\n"
    ),
    "an argument that is too long": Mistake(
        4, ("file or directory not found: xxx",), args=("collect", "x" * 5000)
    ),
    # conftests
    "a conftest that is not Python": conftest(2, r"(?s)conftest\.py.*SyntaxError", "def (\n"),
    "a hook that is none": conftest(2, "did you mean rpd_node_report", "def rpd_node_reports(): ...\n"),
    "collect_ignore that is none": conftest(
        2, "collect_ignore: expected a list of paths, got 3", "collect_ignore = 3\n"
    ),
    "collect_ignore_glob that is a text": conftest(
        2, r"collect_ignore_glob: expected a list of paths, got '\*'", "collect_ignore_glob = '*'\n"
    ),
    "marks that are a text": conftest(
        4, "rpd_markers: expected a list", "def rpd_markers(): return 'slow'\n"
    ),
    "a mark without a name": conftest(
        4, 'expected "name: description"', "def rpd_markers(): return [': x']\n"
    ),
    "a node that is none": conftest(
        4, "rpd_modify_nodes: expected nodes only, got 3", "def rpd_modify_nodes(nodes): nodes.append(3)\n"
    ),
    "a selected node that is none": conftest(
        4,
        "rpd_select_nodes: expected nodes only, got 'x'",
        "def rpd_select_nodes(nodes): nodes.append('x')\n",
    ),
    "a node that is there twice": conftest(
        4, r"deploy_a\.py::fit\[n1\] appears twice", "def rpd_modify_nodes(nodes): nodes.append(nodes[0])\n"
    ),
    "a plan that is none": conftest(
        4, "rpd_modify_plan: expected a Plan or None, got 3", "def rpd_modify_plan(): return 3\n"
    ),
    "a provider that is none": conftest(
        4,
        r"rpd_provider: expected an rpd\.values\.pod\.Provider, got 5: derive the class",
        "import rpd\n@rpd.hookimpl(tryfirst=True)\ndef rpd_provider(): return 5\n",
        "import rpd\n\n@rpd.job\ndef fit(pod): ...\n",
    ),
    "an id that is no text": conftest(
        2, "expected a string or None for 'n', got 7", "def rpd_make_parametrize_id(): return 7\n"
    ),
    "options that raise": conftest(3, r"conftest\.py:1", "def rpd_addoption(options): 1 / 0\n"),
    "a wrapper that does not yield": conftest(
        1, "did not yield", "import rpd\n@rpd.hookimpl(wrapper=True)\ndef rpd_run_node():\n    if 0: yield\n"
    ),
    "a hook that is async": conftest(2, "rpd_configure is async", "async def rpd_configure(): ...\n"),
    "a hook that is a class": conftest(2, "rpd_configure: expected a function", "class rpd_configure: ...\n"),
    "a hook that is a number": conftest(
        2, "rpd_configure: expected a function, got 3", "rpd_configure = 3\n"
    ),
    "an option for rpd's own setting": conftest(
        4,
        "--mine: 'width' is rpd's own",
        "def rpd_addoption(options): options.add('--mine', dest='width')\n",
    ),
    # plugins
    "a plugin that exits": Mistake(
        4,
        (r"plugin plug_exits: cannot be imported: SystemExit: 3 \(.*plug_exits\.py:1\)",),
        args=(*DRY, "-p", "plug_exits"),
        files={"plug_exits.py": "raise SystemExit(3)\n"},
    ),
    "a plugin that raises": Mistake(
        4,
        (r"plugin plug_raises: cannot be imported: ZeroDivisionError: .*plug_raises\.py:2\)",),
        args=(*DRY, "-p", "plug_raises"),
        files={"plug_raises.py": "\n1 / 0\n"},
    ),
    # configuration
    "an unknown key": config("unknown key 'deploypath'. Did you mean 'deploypaths'", "deploypath = ['x']\n"),
    "TOML that is none": config("not valid TOML", "deploypaths = [\n"),
    "a file that is no text": Mistake(4, ("not valid TOML",), files={"rpd.toml": b"\xff\xfe"}),
    "markers that are a number": config("markers: expected a list of strings, got 3", "markers = 3\n"),
    "a marker without a name": config('expected "name: description"', "markers = [': y']\n"),
    "addopts with an open quote": config("addopts: No closing quotation", 'addopts = "-k \'a"\n'),
    "addopts with an unknown flag": config("addopts: unknown argument --nope", "addopts = ['--nope']\n"),
    "a tool table that is none": Mistake(
        4,
        (r"pyproject\.toml \[tool\.rpd\]: expected a table, got 3",),
        files={"pyproject.toml": "[tool]\nrpd = 3\n", "rpd.toml": b""},
    ),
    "a field of the job table": config("table job: Job.imge: unknown field", "[job]\nimge = 'x'\n"),
    "a wrong empty_parameter_set_mark": Mistake(
        4,
        ("empty_parameter_set_mark: expected one of fail_at_collect, skip, xfail, got 'foo'",),
        "import rpd\n\n@rpd.job\n@rpd.mark.parametrize('n', [])\ndef fit(n): ...\n",
        files={"rpd.toml": "empty_parameter_set_mark = 'foo'\n"},
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output names the mistake and its place; no frame of rpd is shown; no run folder is made."""
    for name, text in {"rpd.toml": "", "deploy_a.py": mistake.deploy, **mistake.files}.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    if "pyproject.toml" in mistake.files:
        (tmp_path / "rpd.toml").unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    code = main(mistake.args)
    printed = "".join(capsys.readouterr())
    assert code == mistake.exit_code, printed
    for part in mistake.says:
        assert re.search(part, printed), printed
    assert "Traceback" not in printed
    assert str(Path(rpd.__file__).parent) not in printed
    assert "defect of rpd" not in printed
    assert not (tmp_path / "rpd-runs").exists()


def test_a_pyproject_whose_tool_is_no_table_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a file is not rpd's to judge: it configures nothing."""
    (tmp_path / "pyproject.toml").write_text("tool = 3\n")
    (tmp_path / "deploy_a.py").write_text(ONE)
    monkeypatch.chdir(tmp_path)
    assert main(["collect", "-q"]) == 0
    assert capsys.readouterr().out == "deploy_a.py::fit\n"


def test_addopts_may_be_one_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text is split as a shell would."""
    (tmp_path / "rpd.toml").write_text("addopts = \"-q -k 'n1 or n3'\"\n")
    (tmp_path / "deploy_a.py").write_text(TWO)
    monkeypatch.chdir(tmp_path)
    assert main(["collect"]) == 0
    assert capsys.readouterr().out == "deploy_a.py::fit[n1]\n"


def test_a_variable_that_nobody_declares_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--var`` with a mistyped name says so, unless a job or fixture reads ``variables`` and may know it."""
    declares = "import rpd\n\nepochs = rpd.variable(default=1)\n\n@rpd.job\ndef fit(epochs{}): ...\n"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rpd.toml").write_text("")
    for also, text in (("", True), (", variables", False)):
        (tmp_path / "deploy_a.py").write_text(declares.format(also))
        assert main(["collect", "-q", "--var", "epoch=3"]) == 0
        meant = "--var epoch: no collected file declares this variable; did you mean 'epochs'?"
        assert (meant in capsys.readouterr().err) is text


def test_a_number_with_more_digits_than_python_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a parameter has an id, is listed, run and reported like any other."""
    text = "import rpd\n\n@rpd.job\n@rpd.mark.parametrize('n', [10**5000, [10**5000]])\ndef fit(n): assert not n\n"
    (tmp_path / "deploy_a.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["collect", "-q"]) == 0
    assert capsys.readouterr().out == "deploy_a.py::fit[n0]\ndeploy_a.py::fit[n1]\n"
    assert main(["collect", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"][0]["parameters"]["n"] == hex(10**5000)
    assert main(["run", "--local", "-l", "--junitxml=j.xml", "--html=h.html"]) == 1
    assert "2 failed" in capsys.readouterr().out
    assert main(["run", "--changed"]) == 1
    assert main(["report", "--csv"]) == 0


ODD = """
import rpd

class Odd:
    def __repr__(self): raise ValueError("no repr")

@rpd.job
@rpd.mark.parametrize("x", [Odd()])
def fit(x, record_metric):
    record_metric("held", {"odd": x})

@rpd.job
def named(record_metric):
    record_metric(3, "x")
"""


def test_values_without_a_text_cost_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A parameter or metric whose ``repr`` raises is shown by its type, in every report; nothing is lost."""
    (tmp_path / "rpd.toml").write_text("")
    (tmp_path / "deploy_a.py").write_text(ODD)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--junitxml=a.xml", "--html=a.html"]) == 1
    text = "".join(capsys.readouterr())
    assert "<Odd>" in text
    assert "record_metric: expected a name, got 3" in text
    (manifest,) = tmp_path.glob("rpd-runs/2*/deploy_a.fit-x0/manifest.toml")
    assert 'x = "<Odd>"' in manifest.read_text()
    assert "&lt;" in (tmp_path / "a.xml").read_text()
    assert "\\u003cOdd\\u003e" in (tmp_path / "a.html").read_text()

"""Introspection: fixtures, marks, configuration, and the plan of set-ups."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from tests.cli.conftest import Project

FILES = {
    "conftest.py": '''
    import rpd

    lr = rpd.variable(default=0.1)
    needed = rpd.variable()

    @rpd.fixture(scope="session")
    def dataset():
        """The data of all jobs.

        It is large.
        """
        return "data"

    @rpd.fixture(autouse=True)
    def _quiet(): ...

    @rpd.fixture
    def gpu(gpu):
        """Another GPU."""
        return gpu
    ''',
    "exp/conftest.py": '''
    import rpd

    @rpd.fixture(scope="module", params=[1, 2])
    def fold(request):
        """One fold."""
        return request.param
    ''',
    "exp/deploy_a.py": """
    import rpd

    @rpd.fixture
    def local(dataset, fold):
        yield

    @rpd.job
    def train(local): ...

    @rpd.job
    def other(lr): ...
    """,
}


@pytest.fixture
def rich(project: Project) -> Project:
    project.write(FILES)
    return project


# --- rpd fixtures ---------------------------------------------------------------------------------------------------


def test_fixtures_are_listed_by_place(rich: Project) -> None:
    """Every fixture has its scope, place and the first line of its docstring, below where it comes from."""
    result = rich.command("fixtures")
    assert result.exit_code == 0
    sections = re.split(r"^--- (.+) ---$", result.out, flags=re.MULTILINE)[1:]
    assert sections[::2] == [
        "fixtures of rpd",
        "fixtures of conftest.py",
        "fixtures of exp/conftest.py",
        "fixtures of exp/deploy_a.py",
    ]
    assert "\ndataset [session scope] -- conftest.py:7\n    The data of all jobs.\n" in sections[3]
    assert "It is large." not in result.out
    assert (
        "\nlr [session scope] -- conftest.py:4\n    A variable: --var lr=VALUE; default 0.1.\n" in sections[3]
    )
    assert (
        "needed [session scope] -- conftest.py:5\n    A variable: --var needed=VALUE; required."
        in sections[3]
    )
    assert "fold [module scope] -- exp/conftest.py:4\n    One fold." in sections[5]
    assert "local -- exp/deploy_a.py:4\n    no docstring available" in sections[7]
    assert re.search(r"^pod -- \.\.\./rpd/execute/fixtures\.py:\d+\n    A pod ", sections[1], re.MULTILINE)


def test_verbose_shows_hidden_fixtures_and_whole_docstrings(rich: Project) -> None:
    """``-v`` shows names with a leading underscore and docstrings to their end."""
    assert "_quiet" not in rich.command("fixtures").out
    result = rich.command("fixtures", "-v")
    assert "_quiet [autouse] -- conftest.py:" in result.out
    assert "    The data of all jobs.\n\n    It is large.\n" in result.out


def test_a_path_narrows_what_is_listed(rich: Project) -> None:
    """With a path, only the fixtures that its files see are listed."""
    rich.write({"deploy_b.py": "import rpd\n\n@rpd.fixture\ndef aside(): ...\n"})
    assert "fixtures of deploy_b.py" in rich.command("fixtures").out
    narrowed = rich.command("fixtures", "exp").out
    assert "fold" in narrowed
    assert "aside" not in narrowed


def test_fixtures_of_each_node(rich: Project) -> None:
    """``--per-node`` lists each selected node's fixtures in order of set-up, overrides by the nearest definition."""
    result = rich.command("fixtures", "--per-node", "-k", "train and fold1")
    assert result.exit_code == 0
    assert re.findall(r"^--- (.+) ---$", result.out, re.MULTILINE) == [
        "fixtures used by exp/deploy_a.py::train[fold1] (exp/deploy_a.py:8)"
    ]
    names = re.findall(r"^(\w+)(?: \[.*\])? -- ", result.out, re.MULTILINE)
    assert names == ["dataset", "fold", "local"]
    assert "_quiet" in rich.command("fixtures", "--per-node", "-v", "-k", "other").out


def test_broken_files_do_not_hide_the_others(rich: Project) -> None:
    """An uncollectable file is reported on stderr, exit 2; fixtures of the others are listed."""
    rich.write({"deploy_b.py": "1 / 0"})
    result = rich.command("fixtures")
    assert result.exit_code == 2
    assert "ZeroDivisionError" in result.err
    assert "dataset" in result.out


def test_built_in_fixtures_without_any_file(project: Project) -> None:
    """In an empty folder rpd's own fixtures are listed, exit 0."""
    result = project.command("fixtures")
    assert result.exit_code == 0
    names = set(re.findall(r"^(\w+)(?: \[.*\])? -- ", result.out, re.MULTILINE))
    assert {"pod", "gpu", "staged_dir", "run_dir", "record_metric", "variables", "provision"} <= names


def test_the_worst_case_of_marked_cases(project: Project) -> None:
    """Each case is priced by its own cap, whichever of them were priced before."""
    project.write(
        {
            "deploy_a.py": """
            import rpd

            caps = [rpd.param(cap, marks=rpd.mark.budget(cost_cap_usd=cap)) for cap in range(1, 9)]

            @rpd.job(gpu=rpd.Gpu("NVIDIA L4"))
            @rpd.mark.parametrize("n", caps)
            def fit(pod, n): ...
            """
        }
    )
    matches = re.findall(r"<= \$([\d.]+)", project.command("collect", "-v").out)
    assert matches == [f"{cap}.00" for cap in range(1, 9)]


# --- rpd markers ----------------------------------------------------------------------------------------------------


def test_marks_are_listed(project: Project) -> None:
    """Built-in marks come with their arguments, then those of the configuration."""
    project.write({"rpd.toml": 'markers = ["slow: takes hours", "bare"]'})
    lines = project.command("markers").out.splitlines()
    assert "@rpd.mark.skip(reason=None): do not run the job" in lines
    assert lines[-2:] == ["@rpd.mark.slow: takes hours", "@rpd.mark.bare"]


def test_every_built_in_mark_can_be_used(project: Project) -> None:
    """Each mark that is listed is accepted on a job."""
    heads = re.findall(r"^@rpd\.mark\.(\w+)", project.command("markers").out, re.MULTILINE)
    arguments = {
        "parametrize": '("n", [1])',
        "timeout": '("1h")',
        "slots": "(1)",
        "needs": "('deploy_gpu.py::job')",
        "gpu": "('NVIDIA L4')",
        "budget": "(cost_cap_usd=1)",
        "retry": "(infra=1)",
        "search": "(n=rpd.integers(1, 2), minimize='loss')",
        "skipif": "(False)",
    }
    for head in heads:
        function = "def job(n): ..." if head in ("parametrize", "search") else "def job(): ..."
        text = f"import rpd\n\n@rpd.job\n@rpd.mark.{head}{arguments.get(head, '()')}\n{function}\n"
        project.write({f"deploy_{head}.py": text})
    result = project.command("collect", "-q")
    assert result.exit_code == 0, result.err
    assert len(result.out.splitlines()) == len(heads)


def test_ids_that_k_cannot_name_are_told(project: Project) -> None:
    """A case id with a blank in it is reported once, on stderr; stdout stays ids."""
    project.write(
        {
            "deploy_a.py": "import rpd\n\n@rpd.job\n@rpd.mark.parametrize('n', ['a b', 'c,d', 'fine'])\ndef job(n): ...\n"
        }
    )
    result = project.command("collect", "-q")
    assert result.out.splitlines() == [
        "deploy_a.py::job[a b]",
        "deploy_a.py::job[c,d]",
        "deploy_a.py::job[fine]",
    ]
    assert result.err.count("-k cannot match the whole id deploy_a.py::job[a b] and 1 more") == 1
    assert "cannot match" not in project.command("collect", "-q", "-k", "fine").err


@pytest.mark.parametrize("typed", ["日本", r"\u65e5\u672c"])
def test_letters_beyond_ascii_and_their_escapes_both_select(project: Project, typed: str) -> None:
    """Ids are ASCII; typing the letter itself selects the same."""
    text = "import rpd\n\n@rpd.job\n@rpd.mark.parametrize('city', ['日本', 'Österreich', 'x'])\ndef a(city): ...\n"
    project.write({"deploy_a.py": text})
    id_ = r"deploy_a.py::a[\u65e5\u672c]" + "\n"
    assert project.command("collect", "-q", "-k", typed).out == id_
    assert project.command("collect", "-q", f"deploy_a.py::a[{typed}]").out == id_
    assert id_ not in project.command("collect", "-q", "--deselect", f"deploy_a.py::a[{typed}]").out
    assert project.command("collect", "-q", "-k", "österreich").out == "deploy_a.py::a[\\xd6sterreich]\n"
    assert project.command("collect", "-k", "nothing").out.endswith(
        "3 nodes collected, 3 deselected, none selected\n"
    )


@pytest.mark.parametrize(
    ("flags", "limit"),
    [
        (["-x", "--maxfail=2"], 2),
        (["--maxfail=2", "-x"], 1),
        (["-x", "--maxfail=2", "-x"], 1),
        (["--maxfail=3", "-x", "--maxfail", "2"], 2),
    ],
)
@pytest.mark.parametrize("added", [0, 1])
def test_the_later_of_x_and_maxfail_wins(project: Project, flags: list[str], limit: int, added: int) -> None:
    """Both limit the same, as in pytest: nodes that do not pass, and errors of the collection; ``addopts`` come first."""
    broken = {f"deploy_{name}.py": "1 / 0\n" for name in "bcde"}
    project.write(
        {
            "rpd.toml": f"addopts = {flags[:added]}",
            "deploy_a.py": "import rpd\n\n@rpd.job\ndef a(): ...\n",
            **broken,
        }
    )
    result = project.run(*flags[added:], "--continue-on-collection-errors")
    assert result.exit_code == 2
    assert result.err.count("ZeroDivisionError") == limit
    noun = "error" if limit == 1 else "errors"
    assert f"nothing was run: 1 node collected, {limit} {noun}; the collection stopped there" in result.err
    text = "import rpd\n\n@rpd.job\n@rpd.mark.parametrize('n', range(5))\ndef a(n): 1 / 0\n"
    project.write({"deploy_a.py": text, **dict.fromkeys(broken, "")})
    assert f"{limit} failed" in project.run(*flags[added:]).out


# --- --show-config and --trace-config -------------------------------------------------------------------------------


def test_show_config_tells_where_values_come_from(project: Project) -> None:
    """Each setting has its value and its source, flag, environment, file or default; nothing runs."""
    project.write({"rpd.toml": 'runs_dir = "out"\nmarkers = ["slow"]', "deploy_a.py": "1 / 0"})
    hook = "https://hooks.slack.com/services/T0/B0/s3cr3t"
    result = project.run(
        "--show-config", "-x", "--lf=infra", env={"RPD_N": "3", "RPD_NOTIFY": f"desktop,{hook}"}
    )
    assert result.exit_code == 0
    assert (
        "notify = ['desktop', '***']  (environment RPD_NOTIFY)" in result.out
    )  # who has the address can use it
    lines = result.out.splitlines()
    assert "exitfirst = True  (flag -x)" in lines
    assert "width = 3  (environment RPD_N)" in lines
    assert "runs_dir = 'out'  (rpd.toml)" in lines
    assert "last_failed = ['infra']  (flag --lf)" in lines
    assert "maxfail = None  (default)" in lines


@pytest.mark.parametrize("command", ["collect", "run", "fixtures", "markers"])
def test_trace_config_tells_what_is_loaded(rich: Project, command: str) -> None:
    """Root folder, configuration file, plugins and conftests go to stderr, as do switched-off plugins."""
    flags = ["--lf"] if command == "run" else []
    err = rich.command(command, "--trace-config", "-p", "no:extra", *flags).err
    assert f"root folder: {rich.folder}" in err
    assert f"configuration file: {rich.folder / 'rpd.toml'}" in err
    assert "  extra (switched off)" in err
    conftests = err.partition("conftests:\n")[2].splitlines()
    assert "  conftest.py" in conftests
    assert ("  exp/conftest.py" in conftests) == (command != "markers")
    if command != "markers":
        assert re.search(r"^  rpd\.execute\.fixtures +/.+/rpd/execute/fixtures\.py$", err, re.MULTILINE)


def test_trace_config_leaves_stdout_alone(rich: Project) -> None:
    """``collect -q --trace-config`` still prints just ids on stdout."""
    plain = rich.command("collect", "-q").out
    assert rich.command("collect", "-q", "--trace-config").out == plain


# --- --setup-plan ---------------------------------------------------------------------------------------------------


def setup_lines(out: str) -> list[str]:
    return [line for line in out.splitlines() if re.match(r" *(SETUP|TEARDOWN) |  +\S+::", line)]


def test_setup_plan_shows_the_order_of_fixtures(rich: Project) -> None:
    """Set-ups, nodes and teardowns are shown in order, wider scopes further to the left, with each one's fixtures."""
    result = rich.run("--setup-plan", "-k", "train")
    assert result.exit_code == 0
    assert setup_lines(result.out) == [
        "SETUP    S dataset",
        "    SETUP    M fold[1]",
        "      SETUP    J _quiet",
        "      SETUP    J local (fixtures used: dataset, fold)",
        "        exp/deploy_a.py::train[fold1] (fixtures used: dataset, fold, _quiet, local)",
        "      TEARDOWN J local",
        "      TEARDOWN J _quiet",
        "    TEARDOWN M fold",
        "    SETUP    M fold[2]",
        "      SETUP    J _quiet",
        "      SETUP    J local (fixtures used: dataset, fold)",
        "        exp/deploy_a.py::train[fold2] (fixtures used: dataset, fold, _quiet, local)",
        "      TEARDOWN J local",
        "      TEARDOWN J _quiet",
        "    TEARDOWN M fold",
        "TEARDOWN S dataset",
    ]


SWITCHED_SET_UP = """
import rpd

@rpd.fixture
def around(pod):
    yield

@rpd.job(budget=rpd.Budget(cost_cap_usd=1))
def fails(around, pod):
    pod.run("exit 3")
"""


def test_setup_show_and_setup_only(project: Project, emulator: Launched) -> None:
    """The first shows fixtures around jobs that run; the second runs none, and earlier failures stay remembered."""
    project.write({"deploy_a.py": SWITCHED_SET_UP})
    shown = project.run("--setup-show", "--yes")
    assert shown.report("fails").result.outcome == "failed", shown.out + shown.err
    only = project.run("--setup-only", "--yes", "--lf")
    report = only.report("fails")
    assert (only.exit_code, report.result.outcome) == (0, "skipped"), only.out + only.err
    assert report.steps == ()
    assert report.pod is not None
    for result in (shown, only):
        lines = setup_lines(result.out)
        assert "      SETUP    J around (fixtures used: pod)" in lines
        assert lines[-1].split()[0] == "TEARDOWN"
    assert project.run("--dry-run", "--lf").exit_code == 0


def test_setup_plan_is_a_dry_run(project: Project) -> None:
    """It makes no run folder, needs no key, and cannot be had together with ``--local``."""
    project.write({"deploy_a.py": "import rpd\n\n@rpd.job\ndef only(pod): ...\n"})
    result = project.run("--setup-plan", env={"RUNPOD_API_KEY": None})
    assert result.exit_code == 0
    assert "      SETUP    J pod (fixtures used: provision, gpu)" in setup_lines(result.out)
    assert not (project.folder / "rpd-runs").exists()
    assert project.run("--setup-plan", "--local").exit_code == 4


def test_setup_plan_shows_a_broken_fixture(project: Project) -> None:
    """A failing fixture is shown, the job is not, and earlier set-ups are torn down."""
    project.write(
        {
            "deploy_a.py": """
            import rpd

            @rpd.fixture(scope="module")
            def broken(): raise RuntimeError("no")

            @rpd.fixture(scope="session")
            def fine(): ...

            @rpd.job
            def only(fine, broken): ...
            """
        }
    )
    result = project.run("--setup-plan")
    assert result.exit_code == 1
    assert setup_lines(result.out) == [
        "SETUP    S fine",
        "    SETUP    M broken",
        "    TEARDOWN M broken",
        "TEARDOWN S fine",
    ]


def test_the_screen_is_free_of_the_plan_of_nodes(project: Project, tmp_path: Path) -> None:
    """``--setup-plan`` leaves out the requests and steps of a plain dry run."""
    project.write({"deploy_a.py": "import rpd\n\n@rpd.job\ndef only(pod): ...\n"})
    assert "offers" in project.run("--dry-run").out
    assert "offers" not in project.run("--setup-plan").out


# --- lists at the end -----------------------------------------------------------------------------------------------

ENDINGS = """
import rpd

@rpd.job
def passes(): ...

@rpd.job
def fails(): assert False

@rpd.job
@rpd.mark.skip(reason="later")
def skipped(): ...

@rpd.job
@rpd.mark.xfail(reason="known")
def xfails(): assert False

@rpd.job
@rpd.mark.xfail
def xpasses(): ...
"""


@pytest.mark.parametrize(
    ("flags", "listed"),
    [
        ((), ["FAILED"]),
        (("-rs",), ["SKIPPED"]),
        (("-r", "xX"), ["XFAILED", "XPASSED"]),
        (("-ra",), ["FAILED", "SKIPPED", "XFAILED", "XPASSED"]),
        (("-rA",), ["PASSED", "FAILED", "SKIPPED", "XFAILED", "XPASSED"]),
        (("-rN",), []),
        (("-rANp",), ["PASSED"]),
    ],
)
def test_r_chooses_what_the_summary_lists(
    project: Project, flags: tuple[str, ...], listed: list[str]
) -> None:
    """``-r`` takes pytest's letters; without it failures and errors are listed."""
    project.write({"deploy_a.py": ENDINGS})
    summary = project.run(*flags).out.partition("= short summary =")[2]
    assert re.findall(r"^([A-Z]+) deploy_a", summary, re.MULTILINE) == listed


@pytest.mark.parametrize("flag", ["-rq", "-r=", "--durations=-1", "--costs=x", "--durations-min=x"])
def test_wrong_values_of_lists_are_usage_errors(project: Project, flag: str) -> None:
    """Meaningless letters and numbers are reported with the allowed values."""
    result = project.run(flag)
    assert result.exit_code == 4
    assert "expected" in result.err


def test_durations_are_listed(project: Project) -> None:
    """``--durations N`` lists the slowest phases, the slowest first; quick ones are hidden but counted."""
    project.write(
        {
            "deploy_a.py": """
            import rpd
            import rpd.execute.node.runner as runner

            elapsed = [0.0]
            runner.uptime = lambda: sum(elapsed)

            @rpd.fixture
            def slow(): elapsed.append(0.25)

            @rpd.job
            def job(slow): elapsed.append(0.05)
            """
        }
    )
    out = project.run("--durations=5", "--durations-min=0.1").out
    section = out.partition("= slowest 5 durations =")[2]
    assert re.search(r"^ +0\.25s  setup  deploy_a\.py::job$", section, re.MULTILINE)
    assert "job    deploy_a" not in section
    assert "(1 duration below 0.1 s: -vv shows all)" in section
    everything = project.run("--durations=0", "-vv", "--durations-min=0.1").out.partition(
        "= slowest durations ="
    )[2]
    assert re.findall(r"s  (\w+) +deploy_a\.py::job$", everything, re.MULTILINE) == ["setup", "job"]


def test_costs_are_listed(project: Project) -> None:
    """``--costs N`` lists nodes on pods by their cost, with pod, time and price; others are left out."""
    project.write(
        {
            "deploy_a.py": """
            import rpd

            @rpd.job
            def free(): ...

            @rpd.job
            def paid(pod): ...
            """
        }
    )
    section = project.run("--local", "--costs=0").out.partition("= most expensive nodes =")[2]
    assert re.search(r"^\S*\$0\.0\d  deploy_a\.py::paid  CPU \d+\.\d\ds at \$0\.06/h$", section, re.MULTILINE)
    assert "::free" not in section


def test_notices_are_told_again(project: Project) -> None:
    """``-rw`` repeats the notices of the run at its end."""
    project.write({"deploy_a.py": ENDINGS})
    out = project.run("-rw", "--ff").out
    assert out.count("no previously failed nodes") == 2
    assert "= notices =" in out


def test_clouds_may_be_written_in_upper_case(project: Project) -> None:
    """``--cloud SECURE`` is RunPod's own spelling; an unknown cloud is still an error that lists them."""
    project.write({"deploy_a.py": "import rpd\n@rpd.job(cloud='COMMUNITY')\ndef fit(pod): ...\n"})
    shown = project.run("--dry-run", "--cloud", "SECURE", "--fallback-cloud-type", "COMMUNITY")
    assert shown.exit_code == 0, shown.err
    assert "(secure)" in shown.out
    assert "invalid choice: 'public'" in project.run("--dry-run", "--cloud", "PUBLIC").err

"""Plugins and conftests: hooks are called, options, marks and fixtures work, mistakes are reported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RunResult
from tests.cli.conftest import Project

ONE = """
import rpd

@rpd.job
def only(): ...
"""

MANY = """
import rpd

@rpd.job
@rpd.mark.parametrize("n", [1, 2, 3])
def job(n): ...
"""


def plugged(project: Project, text: str, *args: str, command: str = "run", **env: str) -> RunResult:
    """Run with ``text`` as a plugin called ``mine``."""
    project.write({"plugins/mine.py": text})
    path = f"{project.folder / 'plugins'}{os.pathsep}{Path(__file__).parents[2]}"
    return project.command(command, "-p", "mine", *args, env={"PYTHONPATH": path, **env})


def ids(result: RunResult) -> list[str]:
    return [report.node.id.rpartition("::")[2] for report in result.reports]


# --- mistakes -------------------------------------------------------------------------------------------------------

WRONG = [
    ("def rpd_node_reports(report): ...", "unknown hook rpd_node_reports; did you mean rpd_node_report?"),
    ("def rpd_qqqqqqq(): ...", "unknown hook rpd_qqqqqqq"),
    ("def rpd_node_report(result): ...", "in the hookspec; its arguments are node, report"),
    ("1 / 0", "ZeroDivisionError"),
    ("import nothing_of_that_name", "nothing_of_that_name"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_plugin_is_a_usage_error(project: Project, text: str, message: str) -> None:
    """A plugin with an unknown hook, a wrong argument, or that cannot be imported, ends in exit 4 and one message."""
    project.write({"deploy_a.py": ONE})
    result = plugged(project, text)
    assert result.exit_code == 4
    assert message in result.err
    assert "plugin mine: " in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_conftest_is_a_collection_error(project: Project, text: str, message: str) -> None:
    """The same in a conftest is a collection error, reported once: exit 2, nothing runs."""
    project.write({"deploy_a.py": ONE, "conftest.py": text})
    result = project.run()
    assert result.exit_code == 2
    assert message in result.err
    assert result.err.count("ERROR collecting conftest.py") == 1
    assert "Traceback" not in result.err
    assert "AssertionError" not in result.err
    assert result.reports == ()


def test_a_plugin_that_does_not_exist(project: Project) -> None:
    """``-p`` with an unknown module names it."""
    result = project.run("-p", "no_such_module")
    assert result.exit_code == 4
    assert "plugin no_such_module: cannot be imported" in result.err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('options.add("--maxfail")', "conflicting option"),
        ('options.add("site")', "an option begins with -"),
        ('options.add("--x", action="nonsense")', "nonsense"),
    ],
)
def test_a_wrong_option_is_a_usage_error(project: Project, body: str, message: str) -> None:
    """An option that exists already, or is invalid, is reported with the plugin's name."""
    result = plugged(project, f"def rpd_addoption(options):\n    {body}\n")
    assert result.exit_code == 4
    assert message in result.err
    assert "plugin mine" in result.err


# --- options, marks, fixtures ---------------------------------------------------------------------------------------

OPTION = """
import rpd

def rpd_addoption(options):
    options.add("--site", default="lab", help="where it is booked")
    options.add("--loud", action="store_true")

@rpd.fixture
def site(request):
    return request.config.plugin_options["site"], request.config.plugin_options["loud"]
"""

SITED = """
import rpd

@rpd.job
def only(site, record_metric):
    record_metric("site", str(site))
"""


@pytest.mark.parametrize(
    ("addopts", "args", "site"),
    [
        ("[]", (), "('lab', False)"),
        ("[]", ("--site=home", "--loud"), "('home', True)"),
        ('["--site=cloud", "--loud"]', (), "('cloud', True)"),
        ('["--site=cloud"]', ("--site", "home"), "('home', False)"),
    ],
)
def test_options_of_plugins(project: Project, addopts: str, args: tuple[str, ...], site: str) -> None:
    """An option of a plugin has its default, the value in ``addopts``, or that of the command line; the last wins."""
    project.write({"deploy_a.py": SITED, "rpd.toml": f"addopts = {addopts}"})
    result = plugged(project, OPTION, *args)
    assert result.report("only").metrics["site"] == site, result.err


def test_a_switched_off_plugin_adds_nothing(project: Project) -> None:
    """``-p no:NAME`` wins over whatever else loads the plugin."""
    project.write({"deploy_a.py": ONE})
    result = plugged(project, OPTION, "-p", "no:mine", "--site", "home")
    assert result.exit_code == 4
    assert "--site" in result.err


@pytest.mark.parametrize("place", ["plugin", "conftest"])
def test_marks_of_plugins_and_conftests(project: Project, place: str) -> None:
    """``rpd_markers`` registers marks: they may be used, and ``rpd markers`` lists them."""
    text = 'def rpd_markers():\n    return ["own(name): who is asked"]\n'
    project.write({"deploy_a.py": 'import rpd\n\n@rpd.job\n@rpd.mark.own("me")\ndef only(): ...\n'})
    assert project.run().exit_code == 2
    if place == "conftest":
        project.write({"conftest.py": text})
        text = ""
    assert plugged(project, text, "-m", "own").exit_code == 0
    assert "@rpd.mark.own(name): who is asked\n" in plugged(project, text, command="markers").out


@pytest.mark.parametrize("value", ['"slow: a string"', "[1]"])
def test_marks_have_to_be_lists_of_texts(project: Project, value: str) -> None:
    """A single string, or a list of something else, is a usage error that states the expected type."""
    project.write({"deploy_a.py": ONE})
    result = plugged(project, f"def rpd_markers():\n    return {value}\n")
    assert result.exit_code == 4
    assert "rpd_markers: expected a list" in result.err


# --- changes by hooks -----------------------------------------------------------------------------------------------


def test_modify_nodes_comes_before_the_selection(project: Project) -> None:
    """Nodes that ``rpd_modify_nodes`` drops are gone, and ``-k`` sees the names it gives."""
    project.write({"deploy_a.py": MANY})
    text = """
    import dataclasses

    def rpd_modify_nodes(nodes):
        nodes.reverse()
        del nodes[-1]
        nodes[0] = dataclasses.replace(nodes[0], id=nodes[0].id.replace("n3", "third"), case="third")
    """
    assert ids(plugged(project, text, "-k", "third or n1 or n2")) == ["job[third]", "job[n2]"]


def test_select_nodes_comes_after_the_selection(project: Project) -> None:
    """``rpd_select_nodes`` sees only selected nodes; those it drops count as deselected."""
    project.write({"deploy_a.py": MANY})
    text = """
    def rpd_select_nodes(nodes):
        assert [node.case for node in nodes] == ["n2", "n3"]
        del nodes[0]
    """
    result = plugged(project, text, "-k", "n2 or n3")
    assert ids(result) == ["job[n3]"]
    assert "2 deselected" in result.out


def test_generate_nodes_parametrizes(project: Project) -> None:
    """``rpd_generate_nodes`` of a plugin parametrizes jobs that ask for the argument."""
    project.write({"deploy_a.py": "import rpd\n\n@rpd.job\ndef job(seed): ...\n"})
    text = """
    def rpd_generate_nodes(metafunc):
        if "seed" in metafunc.fixturenames:
            metafunc.parametrize("seed", [7, 8])
    """
    assert ids(plugged(project, text)) == ["job[seed7]", "job[seed8]"]


def test_the_plan_can_be_changed(project: Project) -> None:
    """``rpd_modify_plan`` returns another plan; lanes it drops do not run."""
    project.write({"deploy_a.py": MANY})
    text = """
    import dataclasses

    def rpd_modify_plan(plan):
        return dataclasses.replace(plan, lanes=plan.lanes[::-1][:2])
    """
    assert ids(plugged(project, text)) == ["job[n3]", "job[n2]"]


def test_a_run_can_be_wrapped(project: Project) -> None:
    """A wrapper of ``rpd_run_node`` runs around the job, between its fixtures, and may turn a failure into a skip."""
    project.write(
        {
            "deploy_a.py": """
            import rpd

            @rpd.fixture
            def held(record_metric):
                print("up", flush=True)
                yield
                print("down", flush=True)

            @rpd.job
            def fails(held):
                print("job", flush=True)
                raise KeyError("tolerated")
            """
        }
    )
    text = """
    import rpd

    @rpd.hookimpl(wrapper=True)
    def rpd_run_node(node):
        print("before", node.name, flush=True)
        try:
            return (yield)
        except KeyError as error:
            rpd.skip(f"a known trouble: {error}")
        finally:
            print("after", flush=True)
    """
    result = plugged(project, text, "-q")
    assert result.out.split()[:6] == ["up", "before", "fails", "job", "after", "down"]
    assert result.report("fails").result.outcome == "skipped"
    assert result.report("fails").result.reason == "a known trouble: 'tolerated'"


def test_another_provider(project: Project, emulator: Launched) -> None:
    """``rpd_provider`` of a plugin replaces rpd's own: the run says that it is on it, and rents through it."""
    project.write({"deploy_a.py": "import rpd\n\n@rpd.job\ndef only(pod):\n    pod.run('true')\n"})
    text = """
    from rpd.runpod.key import find_key
    from rpd.runpod.graphql.provider import RunPodProvider

    class Ours(RunPodProvider):
        name = "our own cloud"

        def create(self, *args, **kwargs):
            open("created.txt", "a").write("x")
            return super().create(*args, **kwargs)

    def rpd_provider(config):
        return Ours(find_key())
    """
    result = plugged(project, text, "--yes")
    assert result.exit_code == 0, result.out + result.err
    assert "backend: our own cloud" in result.out
    assert (project.folder / "created.txt").read_text(encoding="utf-8") == "x"


HEARING = """
def hear(name):
    def heard(**arguments):
        with open("heard.txt", "a") as file:
            file.write(name + "\\n")
    return heard

def rpd_configure(): hear("configure")()
def rpd_collected(): hear("collected")()
def rpd_run_started(): hear("run_started")()
def rpd_node_started(): hear("node_started")()
def rpd_fixture_setup(fixture): hear(f"setup {fixture.name}")()
def rpd_pod_event(event): hear(f"pod {event}")()
def rpd_pod_ready(): hear("pod_ready")()
def rpd_pod_joined(share): hear(f"pod_joined {share}")()
def rpd_step_started(step): hear(f"step_started {step.kind}")()
def rpd_step_output(data): hear(f"output {data.decode().strip()}")()
def rpd_step_finished(step): hear(f"step_finished {step.exit_code}")()
def rpd_fixture_teardown(fixture): hear(f"teardown {fixture.name}")()
def rpd_pod_released(final_state): hear(f"pod_released {final_state}")()
def rpd_node_report(report): hear(f"report {report.result.outcome}")()
def rpd_run_finished(): hear("run_finished")()
"""


def test_a_conftest_hears_the_whole_run(project: Project, emulator: Launched) -> None:
    """Every event of a run on a pod reaches a conftest, in order."""
    project.write(
        {
            "deploy_a.py": "import rpd\n\n@rpd.job\ndef only(pod):\n    pod.run('echo hi')\n",
            "conftest.py": HEARING,
        }
    )
    assert project.run("--yes").exit_code == 0
    heard = (project.folder / "heard.txt").read_text(encoding="utf-8").splitlines()
    expected = [
        "configure",
        "collected",
        "run_started",
        "node_started",
        "setup provision",
        "setup gpu",
        "pod intent",
        "pod created",
        "pod_ready",
        "setup pod",
        "pod_joined 1.0",
        "step_started run",
        "output hi",
        "step_finished 0",
        "pod_released deleted",
        "teardown pod",
        "teardown gpu",
        "teardown provision",
        "report passed",
        "run_finished",
    ]
    assert [line for line in heard if line in expected] == expected


def test_a_conftest_of_a_folder_hears_only_its_own_nodes(project: Project) -> None:
    """``rpd_generate_nodes`` of a conftest does not reach neighbouring folders."""
    text = 'def rpd_generate_nodes(metafunc):\n    metafunc.parametrize("n", [1, 2])\n'
    project.write(
        {
            "a/deploy_a.py": "import rpd\n\n@rpd.job\ndef first(n): ...\n",
            "a/conftest.py": text,
            "b/deploy_b.py": "import rpd\n\n@rpd.job\ndef second(): ...\n",
        }
    )
    assert ids(project.run()) == ["first[n1]", "first[n2]", "second"]


# --- where plugins come from ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["environment", "file"])
def test_plugins_by_environment_and_file(project: Project, where: str) -> None:
    """``RPD_PLUGINS`` and the key ``plugins`` load plugins as ``-p`` does."""
    project.write(
        {
            "deploy_a.py": SITED,
            "plugins/mine.py": OPTION,
            "rpd.toml": 'plugins = ["mine"]' if where == "file" else "",
        }
    )
    env = {"PYTHONPATH": f"{project.folder / 'plugins'}{os.pathsep}{Path(__file__).parents[2]}"}
    if where == "environment":
        env["RPD_PLUGINS"] = "mine"
    result = project.run("--site", "home", env=env)
    assert result.report("only").metrics["site"] == "('home', False)", result.err


def test_autoload_can_be_switched_off(project: Project) -> None:
    """``RPD_DISABLE_PLUGIN_AUTOLOAD`` leaves installed plugins out."""
    info = "plugins/mine-1.0.dist-info"
    project.write(
        {
            "deploy_a.py": SITED,
            "plugins/mine.py": OPTION,
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n",
            f"{info}/entry_points.txt": "[rpd]\nmine = mine\n",
        }
    )
    env = {"PYTHONPATH": f"{project.folder / 'plugins'}{os.pathsep}{Path(__file__).parents[2]}"}
    assert project.run(env=env).exit_code == 0
    result = project.run(env={**env, "RPD_DISABLE_PLUGIN_AUTOLOAD": "1"})
    assert result.exit_code == 2
    assert "fixture 'site' not found" in result.err


@pytest.mark.parametrize("hook", ["rpd_configure", "rpd_modify_nodes", "rpd_select_nodes", "rpd_modify_plan"])
@pytest.mark.parametrize("place", ["plugin", "conftest"])
def test_a_hook_that_raises_is_not_called_a_defect_of_rpd(project: Project, hook: str, place: str) -> None:
    """An error in a user's hook that decides ends the run with exit 3, its place and words, without frames of rpd."""
    text = f"def {hook}():\n    raise KeyError('mine to mend')\n"
    project.write({"deploy_a.py": ONE})
    if place == "conftest":
        project.write({"conftest.py": text})
        text = ""
    result = plugged(project, text)
    assert result.exit_code == 3
    assert "a hook of a conftest or plugin raised an error\nKeyError: 'mine to mend'" in result.err
    assert ":2\n    raise KeyError('mine to mend')" in result.err
    assert "defect of rpd" not in result.err
    assert "rpd/cli" not in result.err


@pytest.mark.parametrize(
    "deed", ["raise SystemExit(0)", "__import__('argparse').ArgumentParser().parse_args(['-x'])"]
)
def test_a_hook_does_not_end_the_program(project: Project, deed: str) -> None:
    """A run that a hook ends with code 0 has run nothing, and must not look green."""
    project.write({"deploy_a.py": ONE, "conftest.py": f"def rpd_configure():\n    {deed}\n"})
    result = project.run()
    assert result.exit_code == 3
    assert "a hook of a conftest or plugin raised an error\nSystemExit: " in result.err
    assert f"conftest.py:2\n    {deed}" in result.err


# --- options of conftests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "place"),
    [
        (("--site", "home"), "conftest.py"),
        (("sub", "--site", "home"), "sub/conftest.py"),
        (("--site=home", "sub/deploy_a.py::only"), "sub/conftest.py"),
        (("--site", "home", "@args.txt"), "sub/conftest.py"),
        (("--maxfail", "3", "sub", "--site", "home"), "sub/conftest.py"),
        (("--site", "home", "sub/deeper"), "sub/conftest.py"),
    ],
)
def test_a_conftest_adds_options(project: Project, args: tuple[str, ...], place: str) -> None:
    """The conftests of paths on the command line, of the folders above, or else of the current one, add options."""
    project.write(
        {
            place: OPTION,
            "sub/deploy_a.py": SITED,
            "sub/deeper/deploy_b.py": SITED,
            "args.txt": "sub/deploy_a.py",
        }
    )
    result = project.run(*args)
    assert result.exit_code == 0, result.err
    assert {report.metrics["site"] for report in result.reports} == {"('home', False)"}


@pytest.mark.parametrize(
    ("toml", "args"),
    [
        ('extra_gpu_ids = ["NVIDIA FOO"]\n[job]\nimage = "mine:1"\n', ()),
        ("", ("-o", 'extra_gpu_ids=["NVIDIA FOO"]', "-ojob={image = 'mine:1'}")),
        ("addopts = ['--override=job={image = \"mine:1\"}']\nextra_gpu_ids = ['NVIDIA FOO']\n", ()),
    ],
)
def test_jobs_of_conftests_know_the_projects_settings(
    project: Project, toml: str, args: tuple[str, ...]
) -> None:
    """A job that a conftest makes has the defaults and GPU ids of the project, and the conftest is executed once."""
    project.write(
        {
            "rpd.toml": toml,
            "conftest.py": "import rpd\nprint('executed')\ntrain = rpd.job(gpu=rpd.Gpu('NVIDIA FOO'))\n",
            "deploy_a.py": "from conftest import train\n\n@train\ndef fit(pod): ...\n",
        }
    )
    result = project.command("collect", "--json", *args)
    assert result.exit_code == 0, result.err
    (node,) = json.loads(result.out)["nodes"]
    assert (node["image"], node["gpu"]) == ("mine:1", "NVIDIA FOO")
    assert result.err.count("executed") == 1


def test_a_conftest_of_deploypaths_adds_options(project: Project) -> None:
    """Where nothing is named, the folders of ``deploypaths`` count as named, and ``addopts`` may give the option."""
    project.write(
        {
            "rpd.toml": 'deploypaths = ["sub"]\naddopts = ["--site=cloud"]\n',
            "sub/conftest.py": OPTION,
            "sub/deploy_a.py": SITED,
        }
    )
    assert project.run().report("only").metrics["site"] == "('cloud', False)"


def test_options_of_conftests_are_in_the_help(project: Project) -> None:
    """``--help`` lists them under the name of the conftest."""
    project.write({"conftest.py": OPTION})
    result = project.run("--help")
    assert result.exit_code == 0
    assert "plugin conftest.py:\n  --site SITE" in result.out


def test_the_value_of_an_option_is_no_path(project: Project) -> None:
    """A conftest in a folder that is only the value of one of rpd's own flags is not asked."""
    project.write({"deploy_a.py": ONE, "sub/conftest.py": OPTION})
    result = project.run("--ignore", "sub", "--site", "home")
    assert result.exit_code == 4
    assert "unknown argument --site" in result.err


def test_an_unknown_option_beside_a_broken_conftest(project: Project) -> None:
    """If a conftest that may have had the option cannot be loaded, its error is shown too."""
    project.write({"deploy_a.py": ONE, "conftest.py": "1 / 0\n"})
    result = project.run("--site", "home")
    assert result.exit_code == 4
    assert "unknown argument --site" in result.err
    assert "conftest.py: cannot be loaded\nconftest.py:1: in <module>" in result.err
    assert "ZeroDivisionError" in result.err


def test_a_conftest_that_is_found_late_cannot_add_options(project: Project) -> None:
    """``rpd_addoption`` in a conftest below the given path comes too late: a collection error explains the remedy."""
    project.write(
        {"deploy_a.py": ONE, "sub/deploy_b.py": ONE, "sub/conftest.py": "def rpd_addoption(options): ...\n"}
    )
    result = project.run()
    assert result.exit_code == 2
    assert "sub/conftest.py" in result.err
    assert "loaded too late to add options" in result.err
    assert "move rpd_addoption into the conftest of the root folder" in result.err
    assert result.reports == ()

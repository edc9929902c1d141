"""conftest files: the names they see, and the files that see them."""

from __future__ import annotations

from rpd.collect import load_conftests

JOB = "@rpd.job\ndef train(value): ...\n"
FIXTURE = "@rpd.fixture\ndef value(): ...\n"


def sources(project):
    """Return where the fixture ``value`` of each node was declared."""
    return {
        node.file: node.definition.closure.nearest("value").location.file for node in project.collect().nodes
    }


def test_fixtures_are_visible_downward_and_the_nearest_wins(project):
    """A fixture of a conftest is seen in its folder and below; a nearer one overrides it, a file's own one that."""
    project.write(
        {
            "conftest.py": FIXTURE,
            "a/conftest.py": FIXTURE,
            "a/deploy_x.py": JOB,
            "a/b/deploy_x.py": JOB,
            "c/deploy_x.py": FIXTURE + JOB,
            "ab/deploy_x.py": JOB,
        }
    )
    assert sources(project) == {
        "a/deploy_x.py": "a/conftest.py",
        "a/b/deploy_x.py": "a/conftest.py",
        "ab/deploy_x.py": "conftest.py",
        "c/deploy_x.py": "c/deploy_x.py",
    }


def test_a_fixture_of_a_sister_folder_is_not_seen(project):
    """The fixtures of a conftest stay below its folder."""
    project.write({"a/conftest.py": FIXTURE, "b/deploy_x.py": JOB})
    assert "fixture 'value' not found" in project.error().message


def test_hooks_apply_below_their_folder_only(project):
    """A conftest's hooks speak about the nodes in its folder, whichever folder was read first."""
    hook = """
    def rpd_generate_nodes(metafunc):
        if "x" in metafunc.fixturenames:
            metafunc.parametrize("x", [{0!r}])

    def rpd_make_parametrize_id(config, value, argname):
        return f"{{argname}}={{value}}"
    """
    job = "@rpd.job\n@rpd.mark.parametrize('y', [1])\ndef train(x, y): ...\n"
    project.write(
        {
            "a/conftest.py": hook.format("a"),
            "b/conftest.py": hook.format("b"),
            "a/deploy_x.py": job,
            "b/deploy_x.py": job,
            "c/deploy_x.py": "@rpd.job\n@rpd.mark.parametrize('x', [1])\ndef train(x): ...\n",
        }
    )
    assert project.ids() == [
        "a/deploy_x.py::train[x=a-y=1]",
        "b/deploy_x.py::train[x=b-y=1]",
        "c/deploy_x.py::train[x1]",
    ]
    assert project.ids("a") == ["a/deploy_x.py::train[x=a-y=1]"]


def test_a_plugin_may_parametrize(project):
    """Hooks of a plugin apply everywhere."""

    class Plugin:
        def rpd_generate_nodes(self, metafunc):
            metafunc.parametrize("x", ["p"])

    project.manager.register(Plugin())
    project.write({"a/deploy_x.py": "@rpd.job\ndef train(x): ...\n"})
    assert project.ids() == ["a/deploy_x.py::train[p]"]


def test_a_conftest_that_raises_is_one_error(project):
    """Everything below a broken conftest is left alone, so that its error is shown once."""
    project.write(
        {
            "exp/conftest.py": "1 / 0\n",
            "exp/deploy_a.py": JOB,
            "exp/sub/deploy_b.py": JOB,
            "deploy_c.py": "@rpd.job\ndef ok(): ...\n",
        }
    )
    collection = project.collect()
    assert [node.id for node in collection.nodes] == ["deploy_c.py::ok"]
    (error,) = collection.errors
    assert error.place == "exp/conftest.py:2"
    assert "ZeroDivisionError" in error.message


def test_an_unknown_hook_in_a_conftest_is_an_error(project):
    """A misspelt hook is reported with the likely one."""
    project.write(
        {"conftest.py": "def rpd_generate_node(metafunc): ...\n", "deploy_x.py": "@rpd.job\ndef ok(): ...\n"}
    )
    error = project.error()
    assert error.file == "conftest.py"
    assert "did you mean rpd_generate_nodes" in error.message


def test_conftests_can_be_loaded_early(project):
    """Conftests loaded before the configuration is complete are the same modules later."""
    count = "import pathlib, rpd\np = pathlib.Path(__file__).with_suffix('.log')\np.write_text(p.read_text() + 'x' if p.exists() else 'x')\n"
    project.write({"conftest.py": count + FIXTURE, "a/conftest.py": count, "a/deploy_x.py": JOB})
    assert load_conftests(project.manager, project.root, [project.root / "a"]) == ()
    assert [name for name, _ in project.manager.list_name_plugin() if name.endswith("conftest.py")] == [
        str(project.root / "conftest.py"),
        str(project.root / "a" / "conftest.py"),
    ]
    assert project.ids() == ["a/deploy_x.py::train"]
    assert {path.read_text() for path in project.root.glob("**/*.log")} == {"x"}


def test_errors_of_early_loading_are_told_again(project):
    """Early loading returns errors and the collection tells them."""
    project.write({"conftest.py": "1 / 0\n", "deploy_x.py": JOB})
    (early,) = load_conftests(project.manager, project.root, [project.root])
    assert project.error().message == early.message

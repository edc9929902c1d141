"""How deploy files are imported."""

from __future__ import annotations

import builtins
import os
import pickle
import sys
import threading
from contextlib import ExitStack

import pytest

from rpd.collect.imports import divert_output, importer_of
from tests.collect.conftest import Project

JOB = "@rpd.job\ndef train(): ...\n"


def modules(project, *args):
    return {node.file: node.definition.module for node in project.collect(*args).nodes}


def test_equal_file_names_do_not_collide(project):
    """Two files of one name in two folders are two modules, of two names."""
    project.write({"a/deploy_x.py": "WHO = 'a'\n" + JOB, "b/deploy_x.py": "WHO = 'b'\n" + JOB})
    result = modules(project)
    assert [module.WHO for module in result.values()] == ["a", "b"]
    assert len({module.__name__ for module in result.values()}) == 2


def test_equal_helper_names_do_not_collide(project):
    """Each file gets the helper from its own folder."""
    project.write(
        {
            f"{folder}/{name}": text
            for folder in ("a", "b")
            for name, text in {
                "helper.py": f"WHO = {folder!r}\n",
                "deploy_x.py": "from helper import WHO\n" + JOB,
                "deploy_y.py": "from helper import WHO\n" + JOB,
            }.items()
        }
    )
    assert {file: module.WHO for file, module in modules(project).items()} == {
        f"{folder}/deploy_{name}.py": folder for folder in ("a", "b") for name in ("x", "y")
    }


def test_a_neighbour_is_the_module_that_is_collected(project):
    """A deploy file that another one imports is executed once, in either order."""
    count = "import pathlib, rpd\nlog = pathlib.Path(__file__).with_suffix('.log')\nlog.write_text(log.read_text() + 'x' if log.exists() else 'x')\n"
    project.write(
        {
            "deploy_a.py": count + "import deploy_b\n" + JOB,
            "deploy_b.py": count + JOB,
            "deploy_c.py": count + "import deploy_a, deploy_b\n" + JOB,
        }
    )
    result = modules(project)
    assert result["deploy_c.py"].deploy_a is result["deploy_a.py"]
    assert result["deploy_a.py"].deploy_b is result["deploy_b.py"]
    assert {path.read_text() for path in project.root.glob("*.log")} == {"x"}


def test_packages_may_import_relatively(project):
    """A deploy file in a package is a module of that package."""
    project.write(
        {
            "pkg/__init__.py": "",
            "pkg/common.py": "VALUE = 3\n",
            "pkg/deploy_x.py": "from .common import VALUE\n" + JOB,
        }
    )
    (module,) = modules(project).values()
    assert module.VALUE == 3
    assert module.__name__ == "pkg.deploy_x"


def test_values_of_a_deploy_file_can_be_pickled(project):
    """Classes of a deploy file are found again by pickle."""
    project.write({"exp/v1.2/deploy_x.py": "class Point:\n    pass\n" + JOB})
    (module,) = modules(project).values()
    assert isinstance(pickle.loads(pickle.dumps(module.Point())), module.Point)


def test_a_file_named_like_a_library_does_not_replace_it(project):
    """A deploy file called ``random.py`` leaves the standard library alone."""
    import random

    project.write({"random.py": JOB})
    assert project.ids("random.py") == ["random.py::train"]
    assert sys.modules["random"] is random


def test_a_later_import_in_a_job_finds_the_folder(project):
    """A job may import a helper of its folder when it runs."""
    project.write(
        {
            "exp/late_helper.py": "VALUE = 5\n",
            "exp/deploy_x.py": "@rpd.job\ndef train():\n    import late_helper\n    return late_helper.VALUE\n",
        }
    )
    (node,) = project.collect().nodes
    assert node.definition.function() == 5


def test_what_files_print_goes_to_stderr(project, capfd):
    """For the command line, output of deploy files and of the programs they start stays out of stdout."""
    divert_output(project.manager, project.root)
    project.write(
        {
            "conftest.py": "print('one')\n",
            "deploy_x.py": "import os, rpd\nprint('two')\nos.system('echo three')\n" + JOB,
        }
    )
    project.collect()
    out, err = capfd.readouterr()
    assert out == ""
    assert [word in err for word in ("one", "two", "three")] == [True] * 3


def test_a_conftest_can_be_imported_by_name(project):
    """``import conftest`` means the nearest one."""
    project.write(
        {
            "conftest.py": "WHO = 'root'\n",
            "a/deploy_x.py": "from conftest import WHO\n" + JOB,
            "b/conftest.py": "WHO = 'b'\n",
            "b/deploy_x.py": "from conftest import WHO\n" + JOB,
            "c/deploy_x.py": "from conftest import WHO\n" + JOB,
        }
    )
    assert [module.WHO for module in modules(project).values()] == ["root", "b", "root"]


def test_a_second_collection_reads_the_files_again(project):
    """A new invocation in the same process sees changes, in helpers too."""
    project.write({"helper.py": "VALUE = 1\n", "deploy_x.py": "from helper import VALUE\n" + JOB})
    assert modules(project)["deploy_x.py"].VALUE == 1
    project.write({"helper.py": "VALUE = 22\n"})
    project.manager = project.new_manager()
    assert modules(project)["deploy_x.py"].VALUE == 22


def test_ctrl_c_while_importing_is_not_swallowed(project):
    """KeyboardInterrupt ends the collection."""
    project.write({"deploy_x.py": "raise KeyboardInterrupt\n"})
    with pytest.raises(KeyboardInterrupt):
        project.collect()


def test_what_files_print_is_left_to_other_callers(project, capfd):
    """Callers that do not ask for it keep stdout, and so do the other threads of their program."""
    project.write({"deploy_x.py": "import sys\nprint('one')\nOUT = sys.stdout\n" + JOB})
    (module,) = modules(project).values()
    assert capfd.readouterr() == ("one\n", "")
    assert module.OUT is sys.stdout


def test_stdout_is_itself_again_after_an_error(project, capfd):
    """A file that raises leaves stdout where it was."""
    divert_output(project.manager, project.root)
    project.write({"deploy_x.py": "1 / 0\n"})
    project.collect()
    os.write(1, b"here")
    assert capfd.readouterr().out == "here"


def test_a_package_of_another_folder_steps_aside_whole(project):
    """Two packages of one name, with modules below them, do not mix."""
    project.write(
        {
            f"{folder}/{name}": text
            for folder in ("a", "b")
            for name, text in {
                "lib/__init__.py": "",
                "lib/data.py": f"WHO = {folder!r}\n",
                f"deploy_{folder}.py": "import lib.data\nfrom lib.data import WHO\nASKED = lib.data.WHO\n"
                + JOB,
                f"deploy_{folder}2.py": "from lib import data\nWHO = ASKED = data.WHO\n" + JOB,
            }.items()
        }
    )
    each = [(module.WHO, module.ASKED) for module in modules(project).values()]
    assert each == [("a", "a"), ("a", "a"), ("b", "b"), ("b", "b")]


def test_a_file_with_a_dot_in_its_name(project):
    """It is no module of a package: it is collected like any other."""
    project.write(
        {
            "deploy_v1.5.py": "@rpd.job\ndef train(): ...\n",
            "pkg/__init__.py": "",
            "pkg/deploy_a.b.py": "@rpd.job\ndef train(): ...\n",
        }
    )
    assert project.ids() == ["deploy_v1.5.py::train", "pkg/deploy_a.b.py::train"]


# --- several importers at work in one process -------------------------------------------------------------------------

LATE = """\
import helper
WHO = helper.WHO
@rpd.job
def train():
    import helper as again
    import late
    return again is helper, late.WHO
"""


@pytest.fixture
def two(tmp_path):
    """Two projects with the same names, the importer of the first in use."""
    first, second = (Project(tmp_path / name) for name in ("one", "two"))
    for project in (first, second):
        who = f"WHO = {project.root.name!r}\n"
        project.write({"deploy_x.py": LATE, "helper.py": who, "late.py": who})
    with importer_of(first.manager, first.root).in_use():
        yield first, second
    importer_of(Project.new_manager(), tmp_path)


def test_projects_at_work_at_once_keep_their_modules(two):
    """Each has its own helpers, those that a job imports later as well, and its own module of a file of one name."""
    jobs = []
    for project in two:
        (node,) = project.collect().nodes
        assert project.root.name == node.definition.module.WHO
        jobs.append(node.definition)
    assert [job.function() for job in jobs] == [(True, "one"), (True, "two")]
    assert len({job.module.__name__ for job in jobs}) == 2
    for job in jobs:
        assert sys.modules[job.module.__name__] is job.module


def test_a_project_that_is_collected_again_while_it_is_at_work_is_read_anew(two):
    """The second collection sees the changes; the first keeps its modules."""
    first, _ = two
    (old,) = first.collect().nodes
    first.write({"helper.py": "WHO = 'changed'\n"})
    first.manager = first.new_manager()
    (new,) = first.collect().nodes
    assert (old.definition.module.WHO, new.definition.module.WHO) == ("one", "changed")
    assert new.definition.function() == (True, "one")


def test_what_nobody_uses_any_more_is_forgotten(two):
    """The import path is as before once another importer has come."""
    first, second = two
    before = list(sys.path)
    second.collect()
    assert str(second.root) in sys.path
    importer_of(Project.new_manager(), second.root)
    assert str(second.root) not in sys.path
    assert [entry for entry in sys.path if entry != str(first.root)] == before


def test_a_program_may_have_it_forgotten_at_once(project, monkeypatch):
    """Then nothing is left of it for the imports of that program."""
    project.write({"deploy_x.py": LATE, "helper.py": "WHO = 1\n", "random.py": "", "late.py": ""})
    monkeypatch.syspath_prepend(project.root)  # as it is for a script that lies there
    monkeypatch.syspath_prepend("/nowhere")
    before = list(sys.path), builtins.__import__, set(sys.modules)
    with importer_of(project.manager, project.root).in_use(then_forget=True):
        (node,) = project.collect("deploy_x.py").nodes
        assert node.definition.function()[0]
    assert (list(sys.path), builtins.__import__) == before[:2]
    assert {
        name for name in set(sys.modules) - before[2] if name in ("helper", "late") or ":" in name
    } == set()


def test_a_project_whose_use_begins_after_another_was_made(tmp_path):
    """Threads may make their importers first and use them only later: none is forgotten."""
    projects = [Project(tmp_path / f"p{number}") for number in range(3)]
    for project in projects:
        who = f"WHO = {project.root.name!r}\n"
        project.write({"deploy_x.py": LATE, "helper.py": who, "late.py": who})
    importers = [importer_of(project.manager, project.root) for project in projects]
    with ExitStack() as stack:
        for importer in importers:
            stack.enter_context(importer.in_use())
        jobs = [project.collect().nodes[0].definition for project in projects]
        assert [job.module.WHO for job in jobs] == ["p0", "p1", "p2"]
        assert [job.function() for job in jobs] == [(True, f"p{number}") for number in range(3)]
    importer_of(Project.new_manager(), tmp_path)


def test_projects_are_collected_from_several_threads(tmp_path):
    """One file is imported at a time, for all callers, so that none sees the import path of another."""
    projects = [Project(tmp_path / f"p{number}") for number in range(4)]
    for project in projects:
        project.write({"deploy_x.py": LATE, "helper.py": f"WHO = {project.root.name!r}\n", "late.py": ""})
    by_name = {}

    def work(project):
        with importer_of(project.manager, project.root).in_use():
            by_name[project.root.name] = [node.definition.module.WHO for node in project.collect().nodes]

    threads = [threading.Thread(target=work, args=(project,)) for project in projects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert by_name == {f"p{number}": [f"p{number}"] for number in range(4)}
    importer_of(Project.new_manager(), tmp_path)


def test_an_edit_within_the_second_that_keeps_the_size_is_seen(project):
    """Python identifies bytecode by the second and size of its source, so a fresh edit gets none."""
    seen = []
    for value in (1, 2):
        project.write({"deploy_x.py": f"VALUE = {value}\n" + JOB})
        [module] = modules(project).values()
        seen.append(module.VALUE)
        project.manager = project.new_manager()  # as in another process
    assert seen == [1, 2]

"""Which files are collected from folders."""

from __future__ import annotations

import pytest

JOB = "@rpd.job\ndef train(): ...\n"


def files(project, *args, **settings):
    return [each.partition("::")[0] for each in project.ids(*args, **settings)]


def test_files_and_folders_are_sorted_together(project):
    """The order is alphabetical, files and folders mixed."""
    project.write(dict.fromkeys(["deploy_b.py", "a/deploy_z.py", "deploy_a.py", "e/deploy_c.py"], JOB))
    assert files(project) == ["a/deploy_z.py", "deploy_a.py", "deploy_b.py", "e/deploy_c.py"]


@pytest.mark.parametrize(
    "folder", [".hidden", "build", "dist", "venv", "node_modules", "x.egg", "rpd-runs", "env"]
)
def test_some_folders_are_never_entered_unless_named(project, folder):
    """Hidden, build and environment folders and the run folders are skipped, but can be named."""
    project.write({"deploy_a.py": JOB, f"{folder}/deploy_b.py": JOB, "env/pyvenv.cfg": ""})
    assert files(project) == ["deploy_a.py"]
    assert files(project, folder) == [f"{folder}/deploy_b.py"]


def test_only_matching_names_are_collected_unless_named(project):
    """``deploy_files`` are patterns of file names; a file named on the command line is collected whatever its name."""
    project.write({"deploy_a.py": JOB, "sweep.py": JOB, "x_job.py": JOB})
    assert files(project) == ["deploy_a.py"]
    assert files(project, deploy_files=("sweep.py", "*_job.py")) == ["sweep.py", "x_job.py"]
    assert files(project, "sweep.py") == ["sweep.py"]


@pytest.mark.parametrize(
    "settings",
    [
        {"ignore": ("exp",)},
        {"ignore": ("exp/deploy_b.py",)},
        {"ignore_glob": ("ex*",)},
        {"ignore_glob": ("*/deploy_b*",)},
    ],
)
def test_ignored_paths_are_left_out(project, settings):
    """``--ignore`` and ``--ignore-glob`` leave files and folders out."""
    project.write({"deploy_a.py": JOB, "exp/deploy_b.py": JOB})
    assert files(project, **settings) == ["deploy_a.py"]


@pytest.mark.parametrize("line", ['collect_ignore = ["deploy_b.py"]', 'collect_ignore_glob = ["*_b.py"]'])
def test_a_conftest_can_leave_files_out(project, line):
    """``collect_ignore`` and ``collect_ignore_glob`` are relative to the conftest's folder."""
    project.write(
        {"exp/conftest.py": line, "exp/deploy_a.py": JOB, "exp/deploy_b.py": JOB, "deploy_b.py": JOB}
    )
    assert files(project) == ["deploy_b.py", "exp/deploy_a.py"]


def test_links_into_a_folder_above_end(project):
    """A link to an ancestor is not followed; other links are."""
    project.write({"exp/deploy_a.py": JOB})
    (project.root / "exp" / "loop").symlink_to(project.root)
    (project.root / "other").symlink_to(project.root / "exp")
    assert files(project) == ["exp/deploy_a.py", "other/deploy_a.py"]


def test_a_file_outside_of_the_root_folder_has_a_relative_id(project, tmp_path):
    """Ids of files outside of the root folder begin with ``..``."""
    project.write({"deploy_a.py": JOB, "root/deploy_b.py": JOB})
    project.root = project.root / "root"
    assert project.ids("../deploy_a.py") == ["../deploy_a.py::train"]

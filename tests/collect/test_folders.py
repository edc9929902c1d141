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


RUN = "20260102T030405Z-0a1b2c"


@pytest.mark.parametrize(
    "marks",
    [
        [f"old-runs/{RUN}/run.toml", f"old-runs/{RUN}/events.jsonl"],
        [f"sub/rpd-runs/{RUN}/run.toml"],
        [f"{RUN}/events.jsonl"],
        ["best/run.toml", "best/events.jsonl"],
        ["best/deploy_x.fit/manifest.toml", "best/deploy_x.fit/events.jsonl"],
    ],
    ids=["another runs_dir", "of a project below", "just begun", "renamed", "one node"],
)
def test_what_a_pod_sent_back_is_never_imported(project, marks):
    """Run folders are not entered, wherever they lie: neither deploy files nor conftests in them are run."""
    folder = marks[0].rpartition("/")[0]
    trap = "raise SystemExit('a pod runs code here')\n"
    project.write(
        {
            "deploy_a.py": JOB,
            **dict.fromkeys(marks, ""),
            **{
                f"{folder}/{below}": trap for below in ("artifacts/deploy_b.py", "conftest.py", "deploy_c.py")
            },
        }
    )
    assert files(project) == ["deploy_a.py"]
    project.manager = project.new_manager()
    assert files(project, runs_dir="elsewhere") == ["deploy_a.py"]


def test_nothing_is_collected_by_somebody_who_stands_in_a_run_folder(project):
    """Even there, files that a pod sent back are not run unless they are named."""
    project.write({f"rpd-runs/{RUN}/run.toml": "", f"rpd-runs/{RUN}/n/artifacts/deploy_b.py": JOB})
    here = project.root / f"rpd-runs/{RUN}/n/artifacts"
    assert files(project, invocation_dir=here) == []
    assert files(project, "deploy_b.py", invocation_dir=here) == [f"rpd-runs/{RUN}/n/artifacts/deploy_b.py"]


def test_a_file_of_the_users_that_is_called_as_ours_hides_nothing(project):
    """A folder with a ``run.toml`` or an ``events.jsonl`` of the user's own is collected."""
    project.write({"a/deploy_a.py": JOB, "a/run.toml": "", "b/deploy_b.py": JOB, "b/events.jsonl": ""})
    assert files(project) == ["a/deploy_a.py", "b/deploy_b.py"]


def test_links_that_lead_nowhere_or_to_themselves(project):
    """A ring of links is no folder, and a link to nothing no file."""
    project.write({"deploy_a.py": JOB, "sub/deploy_b.py": JOB})
    (project.root / "loop").symlink_to("loop")
    (project.root / "deploy_loop.py").symlink_to("deploy_loop.py")
    (project.root / "deploy_gone.py").symlink_to("nothing.py")
    (project.root / "sub" / "up").symlink_to("..")
    (project.root / "one").symlink_to("two")
    (project.root / "two").symlink_to("one")
    assert files(project) == ["deploy_a.py", "sub/deploy_b.py"]


def test_folders_and_files_that_vanish_while_they_are_walked(project, monkeypatch):
    """Entries that are gone when their turn comes are left out."""
    project.write({"a/conftest.py": "", "a/deploy_a.py": JOB, "b/deploy_b.py": JOB, "c/deploy_c.py": JOB})
    project.write(
        {
            "a/conftest.py": "import shutil, pathlib\nroot = pathlib.Path(__file__).parents[1]\nshutil.rmtree(root / 'b')\n"
            "(root / 'c' / 'deploy_c.py').unlink()\n"
        }
    )
    assert files(project) == ["a/deploy_a.py"]

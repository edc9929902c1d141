"""A project whose files are called like every module rpd could ever need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from rpd.testing import RpdRun

Project = Callable[[dict[str, str]], Path]

DEPLOY = """
import rpd
import helper

@rpd.job(gpu=None)
def fit(pod):
    pod.run(f"echo {helper.VALUE}")
"""


def names() -> Iterator[str]:
    """Yield the top-level name of every module of Python's and of every installed package, but those no file can have."""
    for name in {*sys.stdlib_module_names, *packages_distributions()}:
        if name.isidentifier() and name not in (*sys.builtin_module_names, "rpd", "__main__"):
            yield name


@pytest.mark.parametrize("form", ["{}.py", "{}/__init__.py"], ids=["files", "packages"])
def test_nothing_of_rpd_or_of_its_emulator_imports_the_users_files(
    project: Project, rpd: RpdRun, form: str
) -> None:
    """Each of some five hundred files would end the command that imports it; the real SDK and fabric are at work."""
    folder = project(
        {
            **{form.format(name): f"raise SystemExit('{name} of the user')\n" for name in names()},
            "helper.py": "VALUE = 42\n",
            "deploy_x.py": DEPLOY,
        }
    )
    assert rpd(folder, command="collect").exit_code == 0
    result = rpd(folder, "--local", "--junitxml=report.xml", "--html=report.html")
    assert result.exit_code == 0, result.out + result.err
    assert (result.run_dir / "deploy_x.fit" / "output.log").read_text() == "42\n"  # type: ignore[operator]
    assert rpd(folder, command="show").exit_code == 0

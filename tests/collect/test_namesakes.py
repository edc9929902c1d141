"""Files of the user that are called like installed modules."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import threading

import pytest

from rpd.collect.imports import importer_of

JOB = "@rpd.job\ndef train(): ...\n"


@pytest.fixture(autouse=True)
def _as_before(project):
    """A new invocation makes importing Python's own again."""
    importer_of(project.new_manager(), project.root)
    plain = builtins.__import__
    yield
    importer_of(project.new_manager(), project.root)
    assert builtins.__import__ is plain


def the_job(project, *args):
    collection = project.collect(*args)
    assert collection.errors == ()
    return collection.nodes[0].definition


def test_each_importer_gets_the_module_it_means(project):
    """The deploy file gets its neighbour, an installed package the installed module, also afterwards and in threads."""
    project.write(
        {
            "requests.py": "WHO = 'the user'\n",
            "secrets.py": "WHO = 'the user'\n",
            "deploy_x.py": "import requests, secrets\nfrom requests import WHO\n"
            "@rpd.job\ndef train():\n    import requests, secrets\n    return requests.WHO, secrets.WHO\n",
        }
    )
    job = the_job(project)
    assert job.module.WHO == "the user"
    collected = []
    thread = threading.Thread(target=lambda: collected.append(job.function()))
    thread.start()
    thread.join()
    assert collected == [("the user", "the user")]
    assert importlib.import_module("requests").__version__
    assert importlib.import_module("secrets").token_hex(2)


def test_a_library_that_is_loaded_later_gets_the_installed_modules(project, monkeypatch):
    """Modules that a library needs are not taken from the user's folder, though that comes first on the path."""
    project.write(
        {"uuid.py": "WHO = 'the user'\n", "tempfile.py": "1 / 0\n", "deploy_x.py": "import uuid\n" + JOB}
    )
    the_job(project)
    for name in ("uuid", "tempfile"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert importlib.import_module("uuid").uuid4()
    assert importlib.import_module("tempfile").gettempdir()


def test_packages_of_the_user(project):
    """A folder ``runpod/`` with the user's modules, imported in every way, once."""
    project.write(
        {
            "runpod/__init__.py": "",
            "runpod/inner.py": "from . import other\nimport runpod.other as same\nassert other is same\nVALUE = 7\n",
            "runpod/other.py": "",
            "deploy_x.py": "import runpod.inner\nimport runpod.inner as inner\nfrom runpod.inner import VALUE\n"
            "from runpod import inner as again\nassert inner is again is runpod.inner\n" + JOB,
        }
    )
    assert the_job(project).module.VALUE == 7
    assert "runpod" not in sys.modules or hasattr(sys.modules["runpod"], "__version__")


def test_a_folder_without_init_takes_no_name_away(project):
    """Python prefers a real package to a mere folder, wherever it lies."""
    project.write({"rich/data.txt": "", "deploy_x.py": "import rich\n" + JOB})
    assert the_job(project).module.rich.__file__.endswith("__init__.py")


def test_a_deploy_file_in_a_package_with_the_name_of_a_library(project):
    """``http/deploy_x.py`` is a module of the user's package ``http``."""
    project.write(
        {
            "http/__init__.py": "",
            "http/common.py": "VALUE = 3\n",
            "http/deploy_x.py": "from .common import VALUE\nfrom http.common import VALUE as same\n" + JOB,
        }
    )
    assert the_job(project).module.VALUE == 3
    assert importlib.import_module("http").HTTPStatus


def test_a_collected_file_with_the_name_of_a_library(project):
    """``rpd collect requests.py`` leaves ``requests`` to the SDK, and its neighbours import that very file."""
    project.write({"requests.py": JOB, "deploy_x.py": "import requests\n" + JOB})
    collection = project.collect("requests.py", "deploy_x.py")
    assert collection.errors == ()
    first, second = (node.definition.module for node in collection.nodes)
    assert second.requests is first
    assert importlib.import_module("requests").__version__


def test_each_folder_has_its_own(project):
    """Two folders with a ``secrets.py`` each; a third without one gets Python's."""
    own = "import secrets\nWHO = secrets.WHO\n" + JOB
    project.write(
        {
            "a/secrets.py": "WHO = 'a'\n",
            "a/deploy_x.py": own,
            "b/secrets.py": "WHO = 'b'\n",
            "b/deploy_x.py": own,
            "c/deploy_x.py": "import secrets\nWHO = secrets.token_hex(1) and 'python'\n" + JOB,
        }
    )
    assert [node.definition.module.WHO for node in project.collect().nodes] == ["a", "b", "python"]


def test_folders_that_a_file_puts_on_the_path(project):
    """``sys.path.insert(0, …)`` and ``PYTHONPATH`` are for the user's files, not for libraries."""
    project.write(
        {
            "src/colorsys.py": "WHO = 'the user'\n",
            "deploy_x.py": "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent / 'src'))\n"
            "import colorsys\n@rpd.job\ndef train():\n    import colorsys\n    return colorsys.WHO\n",
        }
    )
    sys.modules.pop("colorsys", None)
    before = list(sys.path)
    try:
        assert the_job(project).function() == "the user"
        assert importlib.import_module("colorsys").rgb_to_hsv
    finally:
        sys.path[:] = before


def test_the_path_of_the_environment(project, monkeypatch):
    """The user's files import from ``PYTHONPATH``, libraries do not."""
    project.write(
        {
            "lib/colorsys.py": "WHO = 'the user'\n",
            "exp/deploy_x.py": "import colorsys\nWHO = colorsys.WHO\n" + JOB,
        }
    )
    folder = str(project.root / "lib")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", folder]))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    project.manager = project.new_manager()
    assert the_job(project).module.WHO == "the user"
    assert importlib.import_module("colorsys").rgb_to_hsv


def test_a_missing_module_of_a_package_is_named_as_the_user_wrote_it(project):
    """The name under which rpd keeps the user's package stays out of messages."""
    project.write({"rich/__init__.py": "", "deploy_x.py": "import rich.nothing\n" + JOB})
    (error,) = project.collect().errors
    assert "No module named 'rich.nothing'" in error.message
    assert "rpd:" not in error.message


def test_built_in_modules_and_rpd_stay_what_they_are(project):
    """As in Python, a file cannot stand in for ``sys`` or ``os``; nor for rpd."""
    project.write(
        {
            "os.py": "1 / 0\n",
            "sys.py": "1 / 0\n",
            "rpd.py": "1 / 0\n",
            "deploy_x.py": "import os, sys, rpd\nos.getcwd()\n" + JOB,
        }
    )
    assert the_job(project).name == "train"


def test_a_library_that_tries_for_a_module_does_not_get_the_users(project, monkeypatch):
    """``requests`` looks for ``simplejson``, which need not be installed.

    Importing the name explicitly still finds it.
    """
    project.write({"simplejson.py": "WHO = 'the user'\n", "deploy_x.py": "import simplejson\n" + JOB})
    the_job(project)
    monkeypatch.delitem(sys.modules, "simplejson")
    monkeypatch.delitem(sys.modules, "requests.compat", raising=False)
    assert importlib.import_module("requests.compat").json is importlib.import_module("json")
    assert importlib.import_module("simplejson").WHO == "the user"

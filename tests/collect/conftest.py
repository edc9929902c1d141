"""A project of deploy files in a temporary folder, collected in this process."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rpd
from rpd.collect import Collection, collect
from rpd.config import Config, config_of
from rpd.errors import CollectionError
from rpd.hooks import PluginManager, make_plugin_manager, register


@rpd.fixture
def gpu(): ...


@rpd.fixture
def pod(gpu): ...


@rpd.fixture
def staged_dir(pod): ...


@rpd.fixture(scope="session")
def variables(): ...


class Project:
    """Writes deploy files below ``root`` and collects them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manager = self.new_manager()

    @staticmethod
    def new_manager() -> PluginManager:
        manager = make_plugin_manager()
        builtin = SimpleNamespace(gpu=gpu, pod=pod, staged_dir=staged_dir, variables=variables)
        register(manager, builtin, "builtin")
        return manager

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            head = "" if "import rpd" in text or not name.endswith(".py") else "import rpd\n"
            path.write_text(head + textwrap.dedent(text).lstrip("\n"), encoding="utf-8")

    def config(self, *args: str, **settings: Any) -> Config:
        settings.setdefault("invocation_dir", self.root)
        return config_of(command="collect", rootdir=self.root, args=args, **settings)

    def collect(self, *args: str, **settings: Any) -> Collection:
        return collect(self.config(*args, **settings), self.manager)

    def ids(self, *args: str, **settings: Any) -> list[str]:
        collection = self.collect(*args, **settings)
        assert [error.message for error in collection.errors] == []
        return [node.id for node in collection.nodes]

    def error(self, *args: str, **settings: Any) -> CollectionError:
        (error,) = self.collect(*args, **settings).errors
        return error


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path.resolve())


@pytest.fixture
def job_ids(project: Project):
    """Return the case ids of the one job ``train`` in a file with that body."""

    def ids(body: str, **settings: Any) -> list[str]:
        project.write({"deploy_x.py": body})
        return [node.name.removeprefix("train") for node in _clean(project.collect(**settings)).nodes]

    return ids


def _clean(collection: Collection) -> Collection:
    assert [error.message for error in collection.errors] == []
    return collection

"""Pods that RunPod never rents: errors when the job is collected, as far as the pod is known then."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.errors import CollectionError
from rpd.execute import fixtures
from rpd.hooks import make_plugin_manager, register
from tests.collect.conftest import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with rpd's own fixtures."""
    made = Project(tmp_path.resolve())
    made.manager = make_plugin_manager()
    register(made.manager, fixtures, "fixtures")
    return made


def errors(project: Project) -> list[CollectionError]:
    return list(project.collect().errors)


HEAD = "import rpd\nfrom rpd import Gpu, Storage\n"
GPU = "gpu=Gpu('NVIDIA L4')"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            "storage=Storage(volume_gb=20)",
            ("Job.storage", "RunPod gives CPU pods no volume", "container_disk_gb"),
        ),
        (f"{GPU}, cloud='community', datacenters=('EU-RO-1',)", ("Job.datacenters", "EU-RO-1", "Community")),
        ("cloud='community', datacenters='EU-RO-1'", ("Job.datacenters", "EU-RO-1", "Community")),
    ],
)
@pytest.mark.parametrize("how", ["pod", "own"])
def test_what_can_never_be_served(project: Project, fields: str, says: tuple[str, ...], how: str) -> None:
    """The error has file, line, field, rule and value, even if the job asks through its own fixture."""
    own = "@rpd.fixture\ndef own(pod): ...\n"
    project.write({"deploy_a.py": f"{HEAD}{own}@rpd.job({fields})\ndef fit({how}): ...\n"})
    (error,) = errors(project)
    assert (error.file, error.line) == ("deploy_a.py", 5)
    assert all(words in str(error) for words in says), str(error)


def test_a_mark_can_make_it_so(project: Project) -> None:
    """One case of a sweep that is moved to a CPU pod loses its volume as well."""
    case = "rpd.param(2, marks=rpd.mark.gpu(None))"
    project.write(
        {
            "deploy_a.py": f"{HEAD}@rpd.job({GPU}, storage=Storage(volume_gb=20))\n"
            f"@rpd.mark.parametrize('n', [1, {case}])\ndef fit(pod, n): ...\n"
        }
    )
    (error,) = errors(project)
    assert "RunPod gives CPU pods no volume" in str(error)


@pytest.mark.parametrize(
    "source",
    [
        "@rpd.job(storage=Storage(volume_gb=20))\ndef fit(): ...",
        f"base = rpd.job(storage=Storage(volume_gb=20))\n@base({GPU})\ndef fit(pod): ...",
        "@rpd.job(storage=Storage(volume_gb=0))\ndef fit(pod): ...",
        "@rpd.job(storage=Storage(network_volume='v'))\ndef fit(pod): ...",
        f"@rpd.job({GPU}, cloud='any', datacenters='EU-RO-1')\ndef fit(pod): ...",
        "@rpd.fixture\ndef gpu(): ...\n@rpd.job(storage=Storage(volume_gb=20))\ndef fit(pod): ...",
        "@rpd.job(storage=Storage(volume_gb=20))\n@rpd.mark.parametrize('gpu', ['NVIDIA L4'])\ndef fit(pod): ...",
    ],
    ids=[
        "no pod",
        "derived",
        "no volume",
        "network volume",
        "any cloud",
        "own gpu fixture",
        "parametrized gpu",
    ],
)
def test_what_may_be_served(project: Project, source: str) -> None:
    """A job without a pod, a base for others, and a GPU that only a fixture knows are no errors."""
    project.write({"deploy_a.py": f"{HEAD}{source}\n"})
    assert errors(project) == []

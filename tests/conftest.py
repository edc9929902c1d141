"""Shared fixtures: rpd's own pytest plugin, one emulator, RunPod's OpenAPI document if there is a copy."""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

from rpd.emulator.launch import Launched, launch
from tests.http_server import Quiet, serving
from tests.openapi import OpenApi

pytest_plugins = ["rpd.testing"]

# A background job of a script ignores SIGINT, and one under nohup SIGHUP: processes started by tests would
# too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No example is too slow: tests never assert a speed. The examples of a test are the same each time, so that it fails
# where it was changed or what it tests; others are looked for with --hypothesis-profile=explore.
_EVER = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("rpd", derandomize=True, **_EVER)
hypothesis.settings.register_profile("explore", derandomize=False, max_examples=1000, **_EVER)
hypothesis.settings.load_profile("rpd")


def pytest_collection_finish() -> None:
    """Leave what was collected out of the search for garbage, which is a tenth of the work of tests in this process."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def _warm_processes() -> Iterator[None]:
    """Fork ``rpd`` from a process that has imported its libraries: half of the suite's time went into imports."""
    # Not before pytest has loaded it as a plugin, or its assertions are not rewritten.
    from rpd.testing import RpdRun
    from tests.warm.processes import warm_processes

    with pytest.MonkeyPatch.context() as patch, warm_processes() as start:
        patch.setattr(RpdRun, "start_process", staticmethod(start))
        yield


@pytest.fixture(scope="session")
def openapi() -> OpenApi:
    """RunPod's OpenAPI document of REST v2; the test is skipped where there is no copy of it."""
    pytest.importorskip("jsonschema")
    reference = Path(__file__).parents[2] / "shared" / "reference" / "openapi-v2.json"
    path = Path(os.environ.get("RPD_OPENAPI", reference))
    if not path.is_file():
        pytest.skip("no copy of RunPod's OpenAPI document: set RPD_OPENAPI to one")
    return OpenApi(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def the_sdk() -> ModuleType:
    """The runpod SDK, imported as rpd does: without asking at length which processor the machine has."""
    from rpd.runpod.graphql import sdk

    sdk.preload().join()
    return importlib.import_module("runpod")


@pytest.fixture(scope="session")
def _shared_emulator() -> Iterator[Launched]:
    with launch(boot_seconds=0.05) as launched:
        yield launched


@pytest.fixture
def clean_emulator(_shared_emulator: Launched, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launched]:
    """The emulator that tests share, and which each must leave without a pod; the environment leads to it."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", _shared_emulator.base_url)
    monkeypatch.setenv("RUNPOD_API_KEY", _shared_emulator.api_key)
    yield _shared_emulator
    _shared_emulator.clear_faults()
    _shared_emulator.set_balance(100.0)
    left = _shared_emulator.pods()
    for pod in left:
        _delete(_shared_emulator, pod["id"])
    assert left == []


@pytest.fixture
def registry() -> Iterator[str]:
    """A registry with ``team/image:there`` and nothing else."""

    class Handler(Quiet):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path == "/v2/team/image/manifests/there" else 404)
            self.end_headers()

    with serving(Handler) as address:
        yield address


def _delete(emulator: Launched, pod_id: str) -> None:
    """Delete a pod that a failed test left, so that it fails no other."""
    request = urllib.request.Request(
        f"{emulator.base_url}/v2/pods/{pod_id}",
        method="DELETE",
        headers={"Authorization": f"Bearer {emulator.api_key}"},
    )
    urllib.request.urlopen(request, timeout=30).close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 8 MB that a test may fill; the test is skipped if this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix":
        pytest.skip("there is no mount here")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted (that takes root): {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)

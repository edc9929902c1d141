"""rpd's needs of the runpod SDK: a pod's whole life through it, with the installed release and the newest.

The newest of the index is fetched with ``-m exhaustive`` only. A release that rpd cannot use must not stop
it: REST v2 takes over.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import ApiRetired
from rpd.runpod.graphql import sdk
from rpd.runpod.rate_limit import TokenBucket
from rpd.runpod.switch import SwitchingProvider

ROOT = Path(__file__).parents[3]
LIFE = """
import inspect, os, sys
import runpod
from rpd.runpod.graphql import create_arguments, sdk
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.values.job import Gpu
from rpd.values.pod import PodRequest, PodSpec

print(runpod.__version__ if hasattr(runpod, "__version__") else "?", runpod.__file__)
provider = RunPodProvider(os.environ["KEY"], retry=Retry(first_wait=0.01), bucket=TokenBucket(rate=1000, burst=1000))
gpu = Gpu("NVIDIA L4")
for request in (PodRequest(image="a", gpu=gpu, env={"Q": 'a "quoted" \\\\ word'}), PodRequest(image="a", gpu=None)):
    offer = provider.offers(request)[0]
    spec = PodSpec(name="rpd-life", request=request, offer=offer, env={**request.env, "PUBLIC_KEY": "k"})
    assert set(create_arguments.create_arguments(spec)) <= set(inspect.signature(runpod.create_pod).parameters)
    pod = provider.create(spec)
    assert [each.id for each in provider.list()] == [pod.id]
    assert provider.get(pod.id).name == "rpd-life"
    api = provider._api
    assert api.pod(pod.id)["id"] == pod.id and [row["id"] for row in api.pods()] == [pod.id]
    assert api.user()["id"]
    provider.stop(pod.id)
    provider.resume(pod.id, 1)
    provider.delete(pod.id)
    assert provider.get(pod.id) is None
print("lived")
"""


def live(account: Launched, *first: Path) -> str:
    """Lead a pod through its life in a process that imports from ``first`` before anything else."""
    path = os.pathsep.join(map(str, (*first, ROOT)))
    env = {**os.environ, "PYTHONPATH": path, "RUNPOD_API_BASE_URL": account.base_url, "KEY": account.api_key}
    done = subprocess.run([sys.executable, "-c", LIFE], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("lived\n")
    return done.stdout


def test_the_installed_release(account: Launched) -> None:
    live(account)


@pytest.mark.exhaustive
def test_the_newest_release_of_the_index(account: Launched, tmp_path: Path) -> None:
    """It does all that rpd needs, or rpd says that it does not and continues over REST v2."""
    fetch = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), "runpod"]
    fetched = subprocess.run(fetch, capture_output=True, text=True, check=False)
    if fetched.returncode:
        pytest.skip(f"the index of packages cannot be asked: {fetched.stderr.strip()[-200:]}")
    probe = "from rpd.runpod.graphql import sdk; sdk._load(); print('usable')"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    usable = subprocess.run(
        [sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=False
    )
    if usable.stdout.strip() != "usable":
        assert "ApiRetired" in usable.stderr, usable.stderr
        pytest.skip(f"rpd goes on over REST v2: {usable.stderr.strip().splitlines()[-1]}")
    assert str(tmp_path) in live(account, tmp_path)


def missing() -> Any:
    raise ModuleNotFoundError("No module named 'runpod.api.graphql'", name="runpod.api.graphql")


@pytest.mark.parametrize(
    ("release", "told"),
    [
        (lambda: SimpleNamespace(__version__="2.0", api=SimpleNamespace(graphql=object())), "runpod SDK 2.0"),
        (missing, "No module named 'runpod.api.graphql'"),
    ],
    ids=["another SDK", "moved"],
)
def test_a_release_that_works_otherwise(
    release: Callable[[], Any], told: str, account: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs no run its pods: the switch goes to REST v2, and says so once."""
    monkeypatch.setattr(sdk, "_import_sdk", release)
    with pytest.raises(ApiRetired, match=told):
        sdk.Sdk("rpa_x")
    said: list[str] = []
    provider = SwitchingProvider(
        account.api_key, notify=said.append, bucket=TokenBucket(rate=1000, burst=1000), url=account.base_url
    )
    assert provider.list() == provider.list() == ()
    assert provider.account().balance_usd is not None  # GraphQL itself is there
    assert len(said) == 1
    assert told in said[0]
    assert "continues with REST v2" in said[0]
    provider.close()

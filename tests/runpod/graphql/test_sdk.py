"""The door to the SDK: importing it, and telling a lost call from one never sent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from rpd.errors import RateLimited, TransientError
from rpd.runpod.graphql.http_tap import Route
from rpd.runpod.graphql.sdk import Sdk, preload
from rpd.runpod.rate_limit import TokenBucket
from tests.runpod.conftest import KEY, Answer, Script, data, raw

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "config",
    [None, '[default]\nother = "x"\n', 'default = "x"\n', "not toml", '[default]\napi_key = "other"\n'],
)
def test_the_sdk_is_imported_whatever_its_configuration_file_holds(
    tmp_path: Path, config: str | None
) -> None:
    """A file on which the SDK fails while it is imported does not stop rpd; a key that the SDK has stays its own."""
    if config is not None:
        (tmp_path / ".runpod").mkdir()
        (tmp_path / ".runpod" / "config.toml").write_text(config)
    code = (
        "from rpd.runpod.graphql.sdk import Sdk, preload\npreload()\nSdk('rpa_given')\n"
        "import logging, runpod, runpod.api.graphql\n"
        "print(runpod.api_key, callable(runpod.create_pod), runpod.api.__name__, logging.root.handlers)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    own = "other" if config and "api_key" in config else "rpa_given"
    assert done.stdout.split() == [own, "True", "runpod.api", "[]"]
    assert done.stderr == ""


def test_importing_the_door_does_not_import_the_sdk() -> None:
    """The SDK's seconds are paid by the first call, or in the background."""
    code = "import sys, rpd.runpod.graphql.sdk, rpd.runpod.graphql.provider; print([m for m in ('runpod', 'requests') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_sdk_starts_no_process() -> None:
    """The SDK would look at the processor, by way of other processes; who wants that later has the real library.

    Nor does it import IPython, to choose progress bars for what rpd does not use; who wants bars later has the choice.
    """
    code = """
import os, subprocess, sys
def refuse(*args, **kwargs): raise AssertionError(args)
real, subprocess.Popen = subprocess.Popen, refuse
from rpd.runpod.graphql import sdk
sdk._load()
assert not {"cpuinfo", "IPython", "tqdm_loggable.auto"} & set(sys.modules)
assert "TQDM_LOGGABLE_FORCE" not in os.environ
subprocess.Popen = real
import cpuinfo
print(cpuinfo.get_cpu_info is not dict, sys.modules["runpod.serverless.utils.rp_debugger"].PROCESSOR)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True Unable to get processor info.", done.stderr


def test_preloading_is_over_before_the_first_call() -> None:
    """A call that comes while the SDK is still being imported waits for it."""
    thread = preload()
    Sdk(KEY)
    thread.join(30)
    assert not thread.is_alive()


def test_the_users_own_calls_pass_unwatched(script: Script) -> None:
    """A deploy file that uses the SDK itself gets the SDK's own answers and errors."""
    import runpod

    Sdk(KEY)
    script.on("gpuTypes", raw({"error": "slow"}, 429), data(gpuTypes=[{"id": "A"}]))
    with pytest.raises(KeyError):
        runpod.get_gpus()
    assert runpod.get_gpus() == [{"id": "A"}]


def test_a_proxy_is_not_asked_for_this_machine(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the environment names a proxy, an emulator on this machine is reached directly."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    script.on("", data(x=1))
    assert Sdk(KEY).query("query { x }", dict) == {"x": 1}


@pytest.mark.parametrize(
    ("variables", "trusted"),
    [
        ({}, True),
        ({"CURL_CA_BUNDLE": "/curl.pem"}, "/curl.pem"),
        ({"CURL_CA_BUNDLE": "/curl.pem", "REQUESTS_CA_BUNDLE": "/own.pem"}, "/own.pem"),
    ],
)
def test_the_environment_says_how_runpod_is_reached(
    variables: dict[str, str], trusted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies and trusted certificates are those that requests itself would take from the environment."""
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "https_proxy": "http://proxy.example"}.items():
        monkeypatch.setenv(name, value)
    keywords = Route.of(KEY, requests, "https://api.example").keywords({})
    assert keywords["verify"] == trusted
    assert keywords["proxies"]["https"] == "http://proxy.example"


def test_an_address_may_end_in_a_slash(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trailing slash in RUNPOD_API_BASE_URL does not double."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", os.environ["RUNPOD_API_BASE_URL"] + "/")
    script.on("", data(x=1))
    Sdk(KEY).query("query { x }", dict)
    assert script.paths == ["/graphql"]


def test_every_http_call_takes_a_token(script: Script) -> None:
    """A create makes two calls, and both count."""
    waits: list[float] = []
    sdk = Sdk(KEY, TokenBucket(10.0, 1, clock=lambda: 0.0, sleep=waits.append))
    script.on("gpuTypes", data(gpuTypes=[{"id": "A"}])).on(
        "mutation", data(podFindAndDeployOnDemand={"id": "p"})
    )
    answer = sdk.create({"name": "n", "image_name": "i", "gpu_type_id": "A"}, secrets=())
    assert answer["id"] == "p"
    assert waits == [pytest.approx(0.1)]


def test_threads_do_not_see_each_others_answers(script: Script) -> None:
    """The status of one thread's answer is not taken for another's."""
    sdk = Sdk(KEY)
    both = threading.Barrier(2, timeout=10)

    def slow(_: str) -> Answer:
        both.wait()
        return raw({"error": "slow"}, 429)

    def fast(_: str) -> Answer:
        both.wait()
        return data(x=1)

    script.on("limited", slow).on("fine", fast)
    failures: list[Exception] = []

    def limited() -> None:
        try:
            sdk.query("query { limited }", dict)
        except RateLimited as error:
            failures.append(error)

    other = threading.Thread(target=limited)
    other.start()
    assert sdk.query("query { fine }", dict) == {"x": 1}
    other.join(10)
    assert len(failures) == 1


def test_an_answer_of_another_shape_is_a_hiccup(script: Script) -> None:
    """An answer that cannot be read is reported as such and not as a KeyError."""
    script.on("", data(myself={}))
    with pytest.raises(TransientError, match="unexpected response") as caught:
        Sdk(KEY).query("query { myself { id } }", lambda answer: answer["myself"]["id"])
    assert caught.value.__context__ is None

"""The price shown before a run is a ceiling: pods are priced as they will be requested, and none dearer is rented."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.testing import RpdRun
from rpd.values.report import Outcome
from tests.runs.conftest import events, outcomes

Project = Callable[[dict[str, str]], Path]

A4000, L4, H100 = "NVIDIA RTX A4000", "NVIDIA L4", "NVIDIA H100 80GB HBM3"
DEPLOY = f"""
import rpd
from rpd import Budget, Gpu

job = rpd.job(gpu=Gpu("{A4000}"), budget=Budget(cost_cap_usd=50, max_runtime="45m"))

@job
@rpd.mark.parametrize("seed", range(3))
def go(pod, seed):
    pod.run("nvidia-smi -L")
"""
AN_HOUR = pytest.approx(3.29, rel=0.02)
"""Of an H100: 45 minutes, and 15 to become ready."""
H100_FIXTURE = f'import rpd\n\n@rpd.fixture\ndef gpu():\n    return rpd.Gpu("{H100}")\n'


def worst_cases(rpd: RpdRun, folder: Path, *args: str, command: str = "collect") -> dict[str, float]:
    """Return the name of each node with the worst case that a command tells."""
    result = rpd(folder, "--json", *args, command=command)
    assert result.exit_code == 0, result.err
    return {
        node["id"].rpartition("::")[2]: node["worst_case_usd"] for node in json.loads(result.out)["nodes"]
    }


def test_a_gpu_fixture_is_priced_everywhere(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Lists, estimates, dry runs and the question all show the fixture's request, not the job's."""
    folder = project({"deploy_x.py": DEPLOY, "conftest.py": H100_FIXTURE})
    for command in ("collect", "estimate"):
        assert list(worst_cases(rpd, folder, command=command).values()) == [AN_HOUR] * 3
    assert f"{H100}  <= $3." in rpd(folder, "-v", command="collect").out
    for flag in ("--dry-run", "--dry-run=live"):
        dry = rpd(folder, flag)
        assert f"gpu: {H100}" in dry.out
        assert "worst case $9.8" in dry.out
    refused = rpd(folder, "-o", "confirm_above_usd=9")
    assert refused.exit_code == 4
    assert "may cost up to $9.8" in refused.err
    assert not (folder / "rpd-runs").exists()
    drained = rpd(folder, "--budget", "3")
    assert (drained.exit_code, drained.reports) == (1, ())
    passed = rpd(folder, "-k", "seed1")
    assert passed.exit_code == 0, passed.out
    assert passed.reports[0].pod is not None
    assert passed.reports[0].pod.gpu == H100


FIXTURES = {
    "a parameter": (
        (
            f'@rpd.fixture(params=["{A4000}", "{H100}"], ids=["small", "large"])\n'
            "def gpu(request):\n    return request.param\n"
        ),
        {"go[small]": 0.25, "go[large]": 3.29},
        (),
    ),
    "a variable": (
        (
            'size = rpd.variable(default="small")\n\n'
            f'@rpd.fixture\ndef gpu(size):\n    return rpd.Gpu("{H100}" if size == "large" else "{A4000}")\n'
        ),
        {"go": 3.29},
        ("--var", "size=large"),
    ),
    "a pod of wider scope": (
        (
            f'@rpd.fixture(scope="session")\ndef gpu():\n    return rpd.Gpu("{H100}")\n\n'
            '@rpd.fixture(scope="session")\ndef pod(provision, gpu):\n    with provision(gpu=gpu) as made:\n        yield made\n'
        ),
        {"go": 3.29},
        (),
    ),
    "written in the pod fixture": (
        (
            '@rpd.fixture(scope="worker")\ndef pod(provision):\n'
            f'    with provision(gpu=rpd.Gpu("{H100}")) as made:\n        yield made\n'
        ),
        {"go": 3.29},
        (),
    ),
    "a fixture around the pod": (
        (
            f'@rpd.fixture\ndef gpu():\n    return rpd.Gpu("{H100}")\n\n'
            "@rpd.fixture\ndef pod(pod):\n    return pod\n"
        ),
        {"go": 3.29},
        (),
    ),
    "one that yields": (f'@rpd.fixture\ndef gpu():\n    yield rpd.Gpu("{H100}")\n', {"go": 50.0}, ()),
    "one that asks the network": (
        "import urllib.request\n\n@rpd.fixture\ndef gpu():\n    urllib.request.urlopen('http://127.0.0.1:9')\n",
        {"go": 50.0},
        (),
    ),
    "pods in a loop": (
        (
            "import contextlib\n\n@rpd.fixture\ndef pod(provision):\n    with contextlib.ExitStack() as stack:\n"
            "        yield [stack.enter_context(provision()) for _ in range(2)][0]\n"
        ),
        {"go": 50.0},
        (),
    ),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_what_decides_about_the_pod_is_found_out(rpd: RpdRun, project: Project, name: str) -> None:
    """Callable fixtures are called; if the pod cannot be known, the cap is the price and the reason is shown."""
    conftest, expected, flags = FIXTURES[name]
    deploy = DEPLOY.replace('@rpd.mark.parametrize("seed", range(3))\n', "").replace("pod, seed", "pod")
    folder = project({"deploy_x.py": deploy, "conftest.py": f"import rpd\n\n{conftest}"})
    result = rpd(folder, "--json", *flags, command="collect")
    worst = {
        node["id"].rpartition("::")[2]: node["worst_case_usd"] for node in json.loads(result.out)["nodes"]
    }
    assert worst == {node: pytest.approx(usd, rel=0.02) for node, usd in expected.items()}
    assert ("priced by the cost cap, because" in result.err) == (50.0 in expected.values())


PODS = f"""
import rpd
from rpd import Budget, Gpu

job = rpd.job(gpu=Gpu("{A4000}"), budget=Budget(cost_cap_usd=50, max_runtime="30m"))
SERVER = job(gpu=Gpu("{H100}"))

@job
def one(pod): ...

@job
def two(pod, provision):
    with provision(gpu="{L4}") as other:
        other.run("true")

@job
def named(pod, provision):
    with provision(SERVER) as other:
        other.run("true")

@job
def either(provision):
    with provision(SERVER) if rpd else provision() as other:
        other.run("true")

@job
def computed(provision):
    with provision(job(gpu=None)) as other:
        other.run("true")

@job
def passed_on(provision):
    helper(provision)

def helper(rent):
    with rent() as other:
        other.run("true")

@job
def late(request):
    request.getfixturevalue("pod").run("true")

@job
def none(): ...
"""


def test_every_pod_of_a_job_is_priced(rpd: RpdRun, project: Project) -> None:
    """A second pod is counted, including its boot time; an unreadable request is priced by the cap."""
    folder = project({"deploy_x.py": PODS})
    per_hour = {"one": 0.25 * 0.75, "two": (0.25 + 0.49), "named": (0.25 + 3.29), "either": 3.29 + 0.25}
    expected = {**per_hour, "computed": 50.0, "passed_on": 50.0, "late": 0.25 * 0.75, "none": 0.0}
    assert worst_cases(rpd, folder) == {name: pytest.approx(usd, rel=0.03) for name, usd in expected.items()}


def test_every_renter_of_a_shared_pod_is_priced(rpd: RpdRun, project: Project) -> None:
    """The job of any of its nodes may be the one the pod is rented with: each is priced by the most expensive."""
    shared = '@rpd.fixture(scope="worker")\ndef pod(provision):\n    with provision() as made:\n        yield made\n'
    deploy = PODS.partition("@job\ndef two")[0] + "\n@SERVER\ndef large(pod): ...\n"
    folder = project({"deploy_x.py": deploy, "conftest.py": f"import rpd\n\n{shared}"})
    assert worst_cases(rpd, folder) == {
        name: pytest.approx(3.29 * 0.75, rel=0.03) for name in ("one", "large")
    }


FICKLE = f"""
import rpd

calls = []

@rpd.fixture
def gpu(request):
    calls.append(request.node.id)
    return rpd.Gpu("{A4000}" if calls.count(request.node.id) == 1 else "{H100}")
"""


def test_nothing_dearer_than_was_told_is_rented(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """A fixture that changes its mind rents nothing; the error has the old request, the new one, and the way out."""
    folder = project({"deploy_x.py": DEPLOY, "conftest.py": FICKLE})
    result = rpd(folder, "-k", "seed1")
    [report] = result.reports
    assert (report.result.outcome, report.result.cause) == (Outcome.ERROR, Cause.BUDGET)
    for part in (H100, "up to $3.", "was $0.25 for it and $0.25 for all nodes", "--budget 3."):
        assert part in report.result.reason
    assert result.run_dir is not None
    assert events(result.run_dir, "intent", "created") == []
    covered = rpd(folder, "-k", "seed1", "--budget", "4")
    assert covered.exit_code == 0, covered.out
    short = rpd(folder, "--budget", "4", "-n", "3")
    assert sorted(outcomes(short).values()) == ["error", "error", "passed"]
    assert "has no room left" in short.out


def test_prices_that_rose_are_not_paid(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Offers that became dearer than the announced worst case are passed over."""
    conftest = """
    import dataclasses
    import rpd
    from rpd.runpod.base_provider import Renter

    plain, asked = Renter.offers, []

    def offers(self, request):
        asked.append(request)
        found = plain(self, request)
        return found if len(asked) == 1 else [dataclasses.replace(o, usd_per_hr=o.usd_per_hr * 2) for o in found]

    Renter.offers = offers
    """
    folder = project({"deploy_x.py": DEPLOY, "conftest.py": conftest})
    [report] = rpd(folder, "-k", "seed1").reports
    assert report.result.cause is Cause.BUDGET
    assert "prices rose" in report.result.reason


def test_attempts_share_what_was_told(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Another attempt has only the money that the earlier ones left."""
    deploy = f"""
    import rpd
    from rpd import Budget, Gpu

    @rpd.mark.retry(code=1)
    @rpd.job(gpu=Gpu("{H100}"), budget=Budget(cost_cap_usd=0.01))
    def fails(pod):
        pod.run("sleep 1; exit 1")
    """
    result = rpd(project({"deploy_x.py": deploy}))
    assert result.run_dir is not None
    first, second = events(result.run_dir, "armed")
    assert second["seconds"] < first["seconds"]


@pytest.mark.parametrize("slow", ["a cap of money", "a cap of time"])
def test_which_cap_was_reached_is_said(rpd: RpdRun, project: Project, emulator: Launched, slow: str) -> None:
    """The failure names the cap and how much it is."""
    budget: Any = {"a cap of money": "cost_cap_usd=0.004", "a cap of time": 'max_runtime="4s"'}[slow]
    deploy = f"""
    import rpd
    from rpd import Budget, Gpu

    @rpd.job(gpu=Gpu("{H100}"), budget=Budget({budget}))
    def sleeps(pod):
        pod.run("sleep 60")
    """
    [report] = rpd(project({"deploy_x.py": deploy})).reports
    text = {
        "a cap of money": "its cap of $0.0040 (cost_cap_usd, at $3.29/h)",
        "a cap of time": "its cap of 4.00s (max_runtime)",
    }
    assert f"the node reached {text[slow]} after" in report.result.reason

"""``rpd audit`` against the bill of an emulator with gaps that were written into it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rpd.cli import main
from rpd.emulator.launch import Launched
from tests.cli.conftest import own_emulator

Project = Any
DEPLOY = """
    import rpd
    from rpd import Budget, Gpu, Lifecycle, Storage

    job = rpd.job(gpu=Gpu("NVIDIA L4"), budget=Budget(cost_cap_usd=5))

    @job
    def fit(pod):
        pod.run("true")

    @job(lifecycle=Lifecycle(on_success="stop"), storage=Storage(volume_gb=20))
    def keep(pod):
        pod.run("true")
"""


@pytest.fixture(scope="module")
def of_this_module() -> Iterator[Launched]:
    """An emulator of this module: the bill of the shared one has the pods of other tests."""
    with own_emulator() as launched:
        yield launched


@pytest.fixture
def emulator(of_this_module: Launched) -> Iterator[Launched]:
    """The same emulator, with its faults cleared after the test."""
    yield of_this_module
    of_this_module.clear_faults()


@pytest.fixture
def told(
    project: Project, emulator: Launched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Call ``rpd audit`` in this process; return its exit code, stdout and stderr."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.base_url)
    monkeypatch.setenv("RUNPOD_API_KEY", emulator.api_key)
    monkeypatch.chdir(project.folder)

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["audit", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_every_gap_in_the_bill_is_found(project: Project, emulator: Launched, told: Any) -> None:
    """More than estimated, a stopped disk, an unknown pod, a volume, serverless: each in its place, to the cent."""
    project.write({"deploy_a.py": DEPLOY})
    run = project.run("--yes", "-n", "2", env={"RPD_OWNER": "anna@ci"})
    assert run.exit_code == 0, run.out + run.err
    fit, keep = (run.report(name).pod.id for name in ("fit", "keep"))
    emulator.make_volume("data")
    [volume] = emulator.state()["volumes"]
    code, text, _ = told("--exit-code")
    assert (code, "total" in text) == (0, True)
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    emulator.bill(1.23, pod=fit)
    emulator.bill(0.17, pod=keep, part="disk")
    emulator.bill(2.5, pod="nobodys", at=an_hour_ago)
    emulator.bill(0.04, pod="nobodys", part="disk", at=an_hour_ago)
    emulator.bill(0.31, volume=volume["id"])
    emulator.bill(0.2, cluster="nobodys", part="cluster_networking", at=an_hour_ago)
    emulator.bill(0.42, part="serverless_gpu")
    code, text, _ = told("--exit-code", "--json", "--by", "job,owner")
    found = json.loads(text)
    assert code == 1
    cents = {part: round(usd, 2) for part, usd in found["parts"].items() if round(usd, 2)}
    assert cents == {"more": 1.23, "stopped": 0.17, "unknown": 2.74, "volumes": 0.31, "others": 0.42}
    assert round(found["billed_usd"], 2) == 4.87
    assert {each["pod"]: round(each["billed_usd"], 2) for each in found["pods"]} == {fit: 1.23, keep: 0.17}
    [stranger] = found["unknown_pods"]
    assert (stranger["pod"], stranger["usd"], stranger["there"]) == ("nobodys", 2.74, False)
    assert [(each["name"], each["nodes"]) for each in found["volumes"]] == [("data", 0)]
    assert {each["name"]: round(each["billed_usd"], 2) for each in found["by"]["owner"]}["anna@ci"] == 1.4
    # A team's folder counts as well; here it is the only one, so the pods of the run are nobody's without it.
    (project.folder / "empty").mkdir()
    assert len(json.loads(told("--json", "empty")[1])["unknown_pods"]) == 3
    _, text, _ = told()
    for line in (
        "$1.23  more than estimated (1 pod)",
        "$2.74  pods that no run here knows (1 pod)",
        "$4.87  total",
    ):
        assert line in text
    emulator.set_billing_lag(7200)
    assert json.loads(told("--json")[1])["billed_usd"] == 0
    emulator.set_billing_lag(0)
    assert main(["stop", "--yes", keep]) == 0


def test_a_key_that_may_not_read_the_bill_is_told(emulator: Launched, told: Any) -> None:
    """The sentence says who may, and nothing is printed as if nothing had been billed."""
    emulator.inject(
        {"kind": "error", "code": "FORBIDDEN", "message": "access denied", "match": {"operation": "billing"}}
    )
    code, text, error = told()
    assert (code, text) != (0, "")
    assert "may not read the bill (access denied (HTTP 403))" in error
    assert "Admin" in error


def test_what_cannot_be_is_an_error(told: Any) -> None:
    for words, sentence in (
        (["--by", "jub"], "--by jub: expected any of job"),
        (["nowhere"], "a folder of run folders"),
    ):
        code, _, error = told(*words)
        assert (code, sentence in error) == (4, True), error


def test_a_pod_that_is_there_says_whose_it_is(project: Project, emulator: Launched, told: Any) -> None:
    """The stamp of a pod names its owner, also where no run here knows it."""
    project.write({"deploy_a.py": DEPLOY})
    run = project.run("--yes", "-k", "keep", env={"RPD_OWNER": "ben@desk"})
    emulator.bill(0.5, pod=run.report("keep").pod.id, part="disk")
    (project.folder / "empty").mkdir(exist_ok=True)
    _, text, _ = told("empty", "--by", "owner")
    assert "rpd-" in text
    assert "ben@desk" in text
    assert main(["stop", "--yes", run.report("keep").pod.id]) == 0

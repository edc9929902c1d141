"""Whole runs over REST v2: by choice, and because GraphQL is retired before a run or in the middle of one."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun, RunResult
from tests.waiting import wait_until

DEPLOY = """
    import os, time
    from pathlib import Path
    import rpd
    from rpd import Budget, Gpu, Storage

    HERE = Path(__file__).parent

    @rpd.job(gpu=Gpu("NVIDIA L4"), storage=Storage(volume_gb=10), secrets=["TOKEN"], budget=Budget(cost_cap_usd=1))
    def fit(pod, staged_dir):
        pod.run("test -n \\"$TOKEN\\" && mkdir out && echo done > out/result.txt", cwd=staged_dir)
        (HERE / "reached").touch()
        while os.environ.get("WAIT") and not (HERE / "go").exists():
            time.sleep(0.02)
        pod.pull("out/", cwd=staged_dir)
"""


@pytest.fixture
def account(clean_emulator: Launched, monkeypatch: pytest.MonkeyPatch) -> Launched:
    """An emulator that must be left without a pod."""
    monkeypatch.setenv("TOKEN", "hf_not_for_everybody")
    return clean_emulator


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "rpd.toml").write_text("")
    (tmp_path / "deploy_fit.py").write_text(textwrap.dedent(DEPLOY))
    return tmp_path


def check_passed(result: RunResult) -> None:
    assert result.exit_code == 0, result.out + result.err
    [report] = result.reports
    assert result.run_dir is not None
    [artifact] = result.run_dir.rglob("result.txt")
    assert artifact.read_text() == "done\n"
    assert report.pod is not None
    assert (report.pod.gpu, report.pod.final_state, report.pod.rate) == ("NVIDIA L4", "deleted", 0.49)


def test_a_run_over_rest_by_choice(account: Launched, project: Path, rpd_run: RpdRun) -> None:
    """``lifecycle = "rest"`` rents, reaches, and deletes a pod although GraphQL refuses every word about pods."""
    (project / "rpd.toml").write_text('lifecycle = "rest"\n')
    account.inject(
        {"kind": "hiccup", "match": {"face": "graphql", "operation": ["create", "get", "list", "terminate"]}}
    )
    result = rpd_run(project)
    check_passed(result)
    assert "REST" not in result.out + result.err


def test_a_run_after_the_end_of_graphql(account: Launched, project: Path, rpd_run: RpdRun) -> None:
    """With the default setting a retired GraphQL is reported once, and the run passes."""
    account.inject({"kind": "gone", "match": {"face": "graphql"}})
    result = rpd_run(project)
    check_passed(result)
    assert (result.out + result.err).count("continues with REST v2") == 1


def test_graphql_ends_in_the_middle_of_a_run(account: Launched, project: Path, rpd_run: RpdRun) -> None:
    """A pod that was rented through the SDK is followed and deleted over REST."""
    running = rpd_run.start(project, env={"WAIT": "1"})
    wait_until((project / "reached").exists, "the job")
    account.inject({"kind": "gone", "match": {"face": "graphql"}})
    (project / "go").touch()
    result = running.finish()
    check_passed(result)
    assert (result.out + result.err).count("continues with REST v2") == 1


def test_a_pod_that_never_starts_is_explained(account: Launched, project: Path, rpd_run: RpdRun) -> None:
    """The last words of the pod's machine stand in the reason."""
    text = (project / "deploy_fit.py").read_text()
    (project / "deploy_fit.py").write_text(
        text.replace("@rpd.job(", '@rpd.job(image="nobody/nothing:missing", ')
    )
    result = rpd_run(project, "--ssh-ready-timeout-sec", "2")
    assert result.exit_code == 1
    [report] = result.reports
    assert "manifest unknown" in report.result.reason


def test_an_unknown_lifecycle_is_told(project: Path, rpd_run: RpdRun) -> None:
    """A wrong word in the configuration is an error of usage that names the file."""
    (project / "rpd.toml").write_text('lifecycle = "grpc"\n')
    result = rpd_run(project, "--dry-run")
    assert result.exit_code == 4
    assert "rpd.toml: lifecycle: expected sdk, rest or auto" in result.err

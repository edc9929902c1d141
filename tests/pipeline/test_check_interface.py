"""Requests that REST v2 cannot serve are errors at collection, if the configuration names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.cli import main

DEPLOY = """
import rpd
from rpd import Gpu

own = rpd.job(gpu=Gpu("NVIDIA GeForce RTX 4090"))

@own(spot=True)
@rpd.mark.parametrize("n", [1, 2])
def spot(pod, n): ...

@own(cloud="community", countries="ES")
def placed(pod): ...

@own(cloud="any", countries=["ES", "CZ"], min_vcpu=4)
def anywhere(pod): ...

@rpd.job(min_vcpu=4)
def cpu(pod): ...
"""


@pytest.mark.parametrize("lifecycle", ["rest", "sdk"])
def test_what_is_lacking(
    lifecycle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once for each thing, with the place of the first job; and no word of it where the SDK rents."""
    (tmp_path / "rpd.toml").write_text(f'lifecycle = "{lifecycle}"\n')
    (tmp_path / "deploy_a.py").write_text(DEPLOY)
    monkeypatch.chdir(tmp_path)
    assert main(["collect", "-q"]) == 0
    notices = [line for line in capsys.readouterr().err.splitlines() if "REST v2" in line]
    if lifecycle == "sdk":
        assert notices == []
        return
    assert len(notices) == 4, notices
    spot, placed, vcpu, anywhere = notices
    assert "deploy_a.py:7" in spot
    assert (
        "has no spot pods: set spot=False; such pods are rented over GraphQL as long as RunPod offers it"
        in spot
    )
    assert "does not choose the country of a Community pod: leave countries out" in placed
    assert "no min_vcpu and min_memory_gb for GPU pods" in vcpu
    assert "rpd looks in the data centres of Secure Cloud only" in anywhere

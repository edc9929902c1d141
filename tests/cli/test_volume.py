"""``rpd volume``: network volumes made, listed and deleted, over REST v2 whatever rents the pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rpd.cli import main
from rpd.emulator.launch import Launched, launch
from rpd.record import run_info
from rpd.record.run_info import RunInfo

Rpd = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def account() -> Iterator[Launched]:
    with launch(isolation="plain") as launched:
        yield launched


@pytest.fixture
def rpd(
    account: Launched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Rpd]:
    """Run ``rpd volume`` in this process, without a terminal."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", account.base_url)
    monkeypatch.setenv("RUNPOD_API_KEY", account.api_key)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["volume", *words])
        out, err = capsys.readouterr()
        return code, out, err

    yield run
    monkeypatch.undo()
    monkeypatch.setenv("RUNPOD_API_BASE_URL", account.base_url)
    monkeypatch.setenv("RUNPOD_API_KEY", account.api_key)
    account.clear_faults()
    account.set_role("admin")
    for volume in account.state()["volumes"]:
        run("rm", volume["id"], "--yes")


def create(rpd: Rpd, name: str, *words: str) -> tuple[int, str, str]:
    return rpd("create", name, "--size", "1500", "--datacenter-id", "us-ca-2", *words)


def test_a_volume_from_making_to_deleting(rpd: Rpd, account: Launched) -> None:
    """The price stands before the volume, and nothing is made or deleted without a yes."""
    code, out, err = create(rpd, "data")
    assert (code, out) == (4, "")
    assert "pass --yes if you mean it. A network volume of 1500 GB in US-CA-2 costs $95.00 a month" in err
    assert account.state()["volumes"] == []
    code, out, _ = create(rpd, "data", "--yes")
    assert code == 0
    assert "1500 GB in US-CA-2, $95.00 a month" in out
    code, out, _ = create(rpd, "fast", "--yes", "--tier", "high-performance")
    assert "more than $95.00 a month" in out
    code, out, _ = rpd("ls", "--json")
    rows = {row["name"]: row for row in json.loads(out)["volumes"]}
    assert (rows["data"]["tier"], rows["data"]["usd_per_month"]) == ("standard", 95.0)
    assert (rows["fast"]["tier"], rows["fast"]["usd_per_month"]) == ("high_performance", None)
    assert "2 volumes, $95.00 a month without 1 whose price is unknown, used or not" in rpd()[1]
    assert "rpd volume rm deletes files for good" in rpd("rm", "data")[2]
    assert rpd("rm", "data", rows["fast"]["id"], "--yes")[0] == 0
    assert "no network volumes" in rpd()[1]


def test_a_lost_answer_is_no_second_volume(rpd: Rpd, account: Launched) -> None:
    """The volume that was not there before is the one that was made."""
    account.inject(
        {"kind": "reset", "times": 1, "match": {"operation": "createNetworkVolume"}, "when": "after"}
    )
    code, out, err = create(rpd, "data", "--yes")
    assert code == 0, err
    [volume] = account.state()["volumes"]
    assert volume["id"] in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lss"], "expected ls, create or rm: did you mean ls?"),
        (["ls", "data"], "it takes no 'data'"),
        (["create"], "takes one name"),
        (
            ["create", "a", "--size", "9", "--datacenter-id", "US-CA-2"],
            "expected --size from 10 to 4,096 GB, got 9",
        ),
        (
            ["create", "a", "--size", "10"],
            "needs --datacenter-id, and pods that use the volume run there: AP-JP-1",
        ),
        (["create", "a", "--size", "10", "--datacenter-id", "US-CA-9"], "did you mean US-CA-2"),
        (["create", "a", "--size", "10", "--datacenter-id", "US-DE-1"], "US-DE-1 has no network volumes"),
        (
            ["create", "a", "--size", "10", "--datacenter-id", "EU-CZ-1", "--tier", "high-performance"],
            "EU-CZ-1 has no high_performance network volumes; these data centres do: EU-RO-1",
        ),
        (["rm"], "needs the names or ids"),
        (["ls", "--size", "10"], "go with rpd volume create"),
    ],
)
def test_mistakes(words: list[str], told: str, rpd: Rpd) -> None:
    """One sentence that states the expected value, exit code 4."""
    code, out, err = rpd(*words, "--yes")
    assert (code, out) == (4, "")
    assert told in err


def test_what_runpod_refuses(rpd: Rpd, account: Launched) -> None:
    """A name in use, an unknown name, and a role that may only read."""
    create(rpd, "data", "--yes")
    code, _, err = create(rpd, "data", "--yes")
    assert code == 4
    assert "the account already has a network volume 'data'" in err
    assert "the account has no network volume 'dat': did you mean 'data'?" in rpd("rm", "dat", "--yes")[2]
    account.set_role("basic")
    assert "the role of this API key" in rpd("rm", "data", "--yes")[2]
    assert "this API key may not create network volumes (access denied)" in create(rpd, "more", "--yes")[2]


def test_without_a_key_nothing_is_made_nor_deleted(
    rpd: Rpd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a local run that is over there is nothing to list, which is no error; to change something is one."""
    for name in ("RUNPOD_API_KEY", "RUNPOD_API_BASE_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rpd-runs" / "r1").mkdir(parents=True)
    info = RunInfo(
        id="r1", argv=("run", "--local"), backend="emulator at http://127.0.0.1:9", finished="2026"
    )
    run_info.write(tmp_path / "rpd-runs" / "r1" / run_info.FILE_NAME, info)
    assert rpd()[0] == 0
    for code, _out, err in (rpd("rm", "data", "--yes"), create(rpd, "data", "--yes")):
        assert (code, "no RunPod API key" in err) == (4, True), err

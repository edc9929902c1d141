"""The pre-flight: its program on addresses of this machine, and the evaluation of members' reports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rpd.cluster import preflight
from rpd.errors import RemoteError

PROBE = Path(preflight.__file__).with_name("preflight_probe.py")


def said(**told: object) -> str:
    return f"motd\nrpd-preflight {json.dumps(told)}\n"


def test_members_find_each_other() -> None:
    """Two members that are up reach each other, and report speed and interface."""
    addresses = ["127.91.7.2", "127.91.7.3"]
    probes = [
        subprocess.Popen(
            [sys.executable, str(PROBE), str(rank), "29701", "15", *addresses],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    report = preflight.read([probe.communicate(timeout=60)[0] for probe in probes], 2)
    assert report.failure == ""
    assert report.interfaces == ("lo", "lo")
    assert report.gbps is not None
    assert "every rank reaches every other over lo" in report.text


def test_one_that_is_alone_says_so() -> None:
    done = subprocess.run(
        [sys.executable, str(PROBE), "0", "29702", "0", "127.91.7.4", "127.91.7.5"], stdout=subprocess.PIPE,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    report = preflight.read([done.stdout, said(rank=1, reached=[0], interface="lo")], 2)
    assert "rank 0 does not reach rank 1" in report.failure


@pytest.mark.parametrize(
    ("texts", "text", "failure"),
    [
        (["", ""], "", ""),
        (
            ["rpd-preflight absent", said(reached=[0])],
            "not checked: rank 0 has no python3, which the check needs",
            "",
        ),
        ([said(reached=["1"], gbps=1e99), said(reached=[0])], "", "rank 0 does not reach rank 1"),
        ([said(reached=[1], interface="a b;"), said(reached=[0])], "every rank reaches every other", ""),
        ([said(reached={}), said(reached=None)], "", "rank 1 does not reach rank 0"),
        (
            [said(reached=[], error="Address in use"), said(reached=[])],
            "",
            "rank 0 cannot listen there (Address in use)",
        ),
    ],
)
def test_whatever_members_say(texts: list[str], text: str, failure: str) -> None:
    report = preflight.read(texts, 2)
    assert text in report.text
    assert failure in report.failure
    assert bool(failure) is bool(report.failure)
    assert len(report.interfaces) == 2


def test_nonsense_is_an_error() -> None:
    with pytest.raises(RemoteError):
        preflight.read(["rpd-preflight {nonsense}", ""], 2)

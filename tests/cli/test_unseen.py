"""Commands that look at the account, where a part of it cannot be looked at: they say so, and do not exit with 0."""

from __future__ import annotations

import json
import socket

import pytest

import rpd
from rpd.cli import main
from rpd.emulator.launch import Launched
from rpd.errors import ProviderError
from tests.cli.conftest import Project

REFUSED = {"kind": "error", "code": "BAD_USER_INPUT", "message": "not today"}
UNSEEN = "rpd: error: clusters cannot be listed: "


@pytest.fixture
def blind(project: Project, clean_emulator: Launched, monkeypatch: pytest.MonkeyPatch) -> Launched:
    """An account whose clusters cannot be listed."""
    monkeypatch.chdir(project.folder)
    clean_emulator.inject({**REFUSED, "match": {"operation": "listClusters"}})
    return clean_emulator


def test_clusters_that_cannot_be_listed(blind: Launched, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["ps"], ["ps", "--json"], ["gc"], ["gc", "--yes"], ["stop", "--stopped"], ["audit"]):
        code = main(words)
        printed = capsys.readouterr()
        assert (code, printed.err.count(UNSEEN)) == (1, 1), (words, printed)
        assert "not today" in printed.err
    assert main(["stop", "cluster-1"]) == 1
    assert "cluster-1: cannot look for such a pod" in capsys.readouterr().err
    with pytest.raises(ProviderError, match="clusters cannot be listed"):
        rpd.pods()
    blind.clear_faults()
    blind.inject({"kind": "error", "code": "FORBIDDEN", "match": {"operation": "listClusters"}})
    assert main(["ps"]) == 0
    assert "rpd: clusters cannot be listed" in capsys.readouterr().err
    blind.clear_faults()
    assert (main(["gc"]), main(["stop", "cluster-1"]), rpd.pods()) == (0, 4, ())


def test_credentials_that_cannot_be_listed(
    project: Project,
    clean_emulator: Launched,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run that is dead stored some: whether they are still there is not known."""
    monkeypatch.chdir(project.folder)
    events = [
        {"event": "run_started", "pid": 0, "host": socket.gethostname()},
        {"event": "registry_intent", "registry_name": "rpd-x"},
    ]
    journal = project.folder / "rpd-runs" / "20260101T000000Z-aaaaaa" / "events.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("".join(json.dumps({"at": "2026-01-01T00:00:00Z", **each}) + "\n" for each in events))
    monkeypatch.setenv("RPD_LIFECYCLE", "rest")
    clean_emulator.inject({**REFUSED, "match": {"operation": "listRegistries"}})
    assert main(["gc"]) == 1
    assert "registry credentials cannot be listed" in capsys.readouterr().err
    clean_emulator.clear_faults()
    assert main(["gc"]) == 0

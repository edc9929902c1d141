"""The head of a run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from rpd.terminal.head import head
from rpd.terminal.screen import Screen
from tests.terminal.screens import PLAIN

LOCAL = "emulator at http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("backend", "is_own", "shown"),
    [
        ("RunPod", False, "RunPod"),
        ("no pods needed", True, "no pods needed"),
        (LOCAL, True, LOCAL),
        (LOCAL, False, "server on this machine, http://127.0.0.1:9 (RUNPOD_API_BASE_URL)"),
    ],
)
def test_a_server_of_this_machine_is_an_emulator_where_the_run_started_it(
    backend: str, is_own: bool, shown: str
) -> None:
    """Any other is only known by its address, and by where that comes from."""
    lines = head(
        Screen(io.StringIO(), environ=PLAIN),
        title="rpd run",
        backend=backend,
        rootdir=Path("/project"),
        config_file=None,
        folder=None,
        nodes=1,
        deselected=0,
        done=(),
        facts=(),
        has_own_emulator=is_own,
    )
    assert lines[1].endswith(f", backend: {shown}")

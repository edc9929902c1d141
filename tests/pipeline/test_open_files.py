"""Before a wide sweep the limit of open files is raised, or a notice says that it cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from rpd.pipeline.open_files import FILES_A_NODE, SPARE, allow_files

resource = pytest.importorskip("resource")


class Limits:
    """The system's limits for a process: a soft limit that it may raise up to the hard one."""

    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard

    def getrlimit(self, _what: int) -> tuple[int, int]:
        return self.soft, self.hard

    def setrlimit(self, _what: int, limits: tuple[int, int]) -> None:
        if self.hard >= 0 and limits[0] > self.hard:
            raise ValueError("not allowed to raise maximum limit")
        self.soft = limits[0]


@pytest.mark.parametrize(
    ("soft", "hard", "width", "left", "message"),
    [
        (1024, 1 << 20, 8, 1024, None),
        (1024, 1 << 20, 500, SPARE + FILES_A_NODE * 500, None),
        (1024, -1, 500, SPARE + FILES_A_NODE * 500, None),
        (-1, -1, 5000, -1, None),
        (1024, 2048, 500, 2048, f"-n {(2048 - SPARE) // FILES_A_NODE}"),
        (64, 100, 2, 100, "-n 1"),
    ],
)
def test_the_limit_is_raised_as_far_as_needed(
    soft: int, hard: int, width: int, left: int, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never further than a run needs, since jobs' processes inherit it; if that is too little, a notice says so."""
    limits: Any = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", limits.setrlimit)
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    warning = allow_files(width)
    assert limits.soft == left
    assert (warning is None) == (message is None)
    if message is not None:
        assert warning is not None
        assert message in warning

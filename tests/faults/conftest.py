"""Fault runs: the cases of the tests that run here are played side by side."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.faultlab.case import Case, Ending
from tests.faultlab.stage import Stage, Theatre


@pytest.fixture(scope="session")
def theatre(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    """The cases of every test that is going to run, being played."""
    files = defaultdict[str, list[Case]](list)
    for item in request.session.items:
        case = item.callspec.params.get("case") if hasattr(item, "callspec") else None
        if isinstance(case, Case):
            files[str(item.path)].append(case)
    folder = tmp_path_factory.mktemp("faults")
    theatre = Theatre(folder, files)
    yield theatre
    theatre.close()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how much was tried."""
    if _tried:
        faults = {json.dumps(fault, sort_keys=True) for case in _tried for fault in case.faults}
        faults |= {case.id for case in _tried if case.meanwhile}
        cuts = {(case.cut_at, case.cut_with, case.then) for case in _tried if case.cut_at}
        terminalreporter.write_line(
            f"fault runs: {len(_tried)} with {len(faults)} faults, cut in {len(cuts)} ways "
            f"at {len({at for at, _, _ in cuts})} events"
        )


_tried: list[Case] = []


@pytest.fixture
def ending(request: pytest.FixtureRequest, theatre: Theatre, case: Case) -> Ending:
    """How the case of this test ended."""
    _tried.append(case)
    return theatre.played(str(request.path), case)


@pytest.fixture(scope="session")
def _stage(theatre: Theatre, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # With the theatre, so that its cases are played meanwhile.
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.close()


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    """A stage for tests with their own plot; it is swept after each."""
    yield _stage
    _stage.emulator.clear_faults()
    _stage.sweep()

"""The run file: every field is read back, and files of the first versions can still be read."""

from __future__ import annotations

import pytest

from rpd.errors import RpdError
from rpd.record import run_info
from rpd.record.run_info import RunInfo


def test_a_run_file_is_read_back() -> None:
    info = RunInfo(id="20260102T030405-ab12", backend="RunPod", outcomes={"passed": 2}, exit_code=0)
    assert run_info.loads(run_info.dumps(info)) == info


def test_the_backend_is_found_under_its_first_name() -> None:
    """``far_end`` is the former name of the key ``backend``."""
    old = run_info.dumps(RunInfo(id="a", backend="an emulator")).replace("backend", "far_end")
    assert run_info.loads(old).backend == "an emulator"


def test_an_error_names_the_file_and_the_key() -> None:
    with pytest.raises(RpdError, match=r"some/run\.toml: \[run\].* id is missing"):
        run_info.loads("schema_version = 1\n[run]\n", where="some/run.toml")

"""Causes: failures of this machine, the job or the user are reported as theirs, and rent no further pod."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import rpd
from rpd.emulator.launch import Launched
from rpd.errors import Cause, RpdError
from rpd.testing import RpdRun
from tests.runs.conftest import events

Project = Callable[[dict[str, str]], Path]

HEAD = """
import os, pathlib
import rpd

job = rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))

"""

JOBS = {
    "local": {
        "no_folder_can_be_made_here": """
@job
def fit(pod, run_dir):
    pod.run("mkdir -p out; echo r > out/r")
    (run_dir / "artifacts").write_text("in the way")
    pod.pull("out/", "sub")
""",
        "no_thread_is_left": """
import threading
@job
def fit(pod):
    pod.run("echo r > r")
    threading.stack_size(1 << 46)
    pod.pull("r")
""",
        "port_is_taken": """
@job
def fit(pod):
    pod.forward(80, int(os.environ["TAKEN"]))
""",
        "file_vanishes_before_it_is_sent": """
from rpd.project import ignore
listed = ignore.staging

@job
def fit(pod, run_dir):
    gone = run_dir / "gone"
    gone.mkdir()
    (gone / "file").write_text("x")
    import rpd.remote.transfer.put as put
    def vanishing(*args, **keywords):
        found = listed(*args, **keywords)
        (gone / "file").unlink()
        return found
    put.staging = vanishing
    pod.put(gone, "/workspace/gone")
""",
    },
    "code": {
        "own_folder_of_rpd_is_deleted": """
@job
def fit(pod):
    pod.run("rm -rf /root/.rpd/steps; echo done")
""",
        "wrong_destination": """
@job
def fit(pod):
    pod.write("/", "text")
""",
        "its_own_clean_up_took_the_files": """
@job
def fit(pod):
    pod.run("mkdir out; echo r > out/r")
    pod.run("rm -rf out")
    pod.pull("out/")
""",
    },
}
CASES = [(cause, name) for cause, named in JOBS.items() for name in named]


@pytest.fixture
def taken() -> Iterator[str]:
    """A local port that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


@pytest.mark.parametrize(("cause", "name"), CASES, ids=[name for _, name in CASES])
def test_what_the_platform_did_not_do_rents_one_pod(
    rpd: RpdRun, project: Project, emulator: Launched, taken: str, cause: str, name: str
) -> None:
    """The node says whose doing it was, after one attempt on one pod."""
    folder = project({"deploy_a.py": HEAD + JOBS[cause][name]})

    result = rpd(folder, "--yes", "-o", "keep_unverified=0", env={"TAKEN": taken})

    (report,) = result.reports
    assert (report.result.cause, report.result.attempts) == (Cause(cause), 1), report.result.reason
    assert report.result.reason
    assert result.run_dir is not None
    assert len(events(result.run_dir, "intent")) == 1
    assert result.exit_code == 1


BY_THE_PLATFORM = {
    "AmbiguousCreate",
    "ApiRetired",
    "AuthError",
    "BalanceError",
    "BillingDenied",
    "Conflict",
    "ConnectionLost",
    "ContainerRestarts",
    "DeadlinePassed",
    "Disconnected",
    "HostKeyChanged",
    "KeyRefused",
    "NoSshServer",
    "NotPermitted",
    "NotThere",
    "PodLocked",
    "PodLost",
    "PodNotFound",
    "PodNotReady",
    "ProviderError",
    "ProvisioningError",
    "QuotaError",
    "RateLimited",
    "ReleaseError",
    "RequestRejected",
    "SchemaMismatch",
    "TransferBroken",
    "TransientError",
    "UnsureCreate",
}
"""What is tried again by itself. Think of who pays before you add to it."""


def test_a_new_error_rents_nothing_again_unless_it_says_so() -> None:
    """Only the classes listed here are the platform's doing; the default is the job's."""
    for module in walk_packages(rpd.__path__, "rpd."):
        if ".guest.tools." not in module.name and not module.name.endswith("__main__"):
            import_module(module.name)  # any may have its own errors

    def classes(base: type[RpdError]) -> Iterator[type[RpdError]]:
        yield base
        for each in base.__subclasses__():
            yield from classes(each)

    named = {each.__name__ for each in classes(RpdError) if each.cause in (Cause.INFRA, Cause.LOST)}
    assert named == BY_THE_PLATFORM

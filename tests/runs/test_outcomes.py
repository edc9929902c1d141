"""How nodes end: every way to fail, to be skipped and to be expected, in one run on the emulator."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rpd.emulator.launch import launch
from rpd.errors import Cause
from rpd.testing import RpdRun, RunResult
from rpd.values.report import Outcome
from tests.runs.conftest import events, outcomes, write_project

DEPLOY = """
import errno, os, socket, subprocess
from pathlib import Path
import rpd
from rpd import Budget, Gpu

job = rpd.job(gpu=Gpu("NVIDIA RTX A4000"), image="runpod/base:1")
HERE = Path(__file__).parent

@job
def exits(pod):
    pod.run("echo first; echo last words; exit 3", name="three")

@job
def may_exit(pod, record_metric):
    record_metric("code", pod.run("exit 7", check=False).exit_code)

@job
def outlives(pod):
    pod.run("sleep 300", timeout="0.5s")

@job(budget=Budget(max_runtime="4s"))
def overspends(pod):
    pod.run("echo begun; sleep 300")

@job
def out_of_memory(pod):
    pod.run("echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate'; exit 1")

@job
def only_begins():
    async def work(): ...
    return work()

@job
def has_no_file_left():
    raise OSError(errno.EMFILE, "Too many open files")

@job
def raises(pod):
    raise ValueError("the job's own mistake")

@job
def says_fail(pod):
    rpd.fail("it is no good")

@job
def pulls_nothing(pod):
    pod.pull("no-results/")

@job
def puts_nothing(pod):
    pod.put("no-such-folder", "x")

@job(image="runpod/base:missing")
def never_ready(pod):
    Path(HERE / "never_ready").touch()

@job(gpu=Gpu("NVIDIA L4"))
def sold_out(pod):
    Path(HERE / "sold_out").touch()

@rpd.mark.skip(reason="not today")
@job
def skipped(pod): ...

@rpd.mark.skipif("1 + 1 == 2")
@job
def skipped_if(pod): ...

@rpd.mark.xfail(run=False, reason="hopeless")
@job
def not_run(pod): ...

@rpd.mark.xfail(reason="known")
@job
def expected(pod):
    pod.run("exit 1")

@rpd.mark.xfail(reason="known")
@job
def unexpected():
    pass

@rpd.mark.xfail(strict=True, reason="known")
@job
def strictly_unexpected():
    pass

@job
def skips_itself():
    rpd.skip("nothing to do")

@job
def podless(run_dir, record_metric):
    (run_dir / "written").write_text("here")
    record_metric("answer", 42)

@rpd.fixture
def broken():
    yield 1
    raise RuntimeError("teardown broke")

@job
def tears_down_badly(broken):
    pass

@rpd.fixture
def unset():
    raise RuntimeError("setup broke")

@job
def sets_up_badly(unset):
    pass

@job
def salvaged(pod):
    pod.run("mkdir -p early late; echo 1 > early/a; echo 2 > late/b; echo ran >> runs")
    pod.pull("early/")
    assert pod.run("exit 5", check=False).exit_code == 5
    (HERE / "calls").open("a").write("x")
    if pod.run("echo again >> runs; exit 9", check=False).exit_code == 9:
        raise ValueError("on the way")
    pod.pull("late/")

@job
def salvaged_after_a_command(pod):
    pod.run("mkdir -p late; echo 2 > late/b; exit 4")
    pod.run("echo this line never ran; touch late/never")
    pod.pull("late/")
    pod.pull("missing/")
    pod.pull("late/b", "copy/")
    socket.create_connection(("127.0.0.1", int(os.environ["TRAP_PORT"])))

@job
def salvaged_until_it_leaves(pod):
    pod.run("touch late; exit 4")
    subprocess.run(["touch", str(HERE / "escaped")])
    pod.pull("late")
"""

EXPECTED = {
    "exits": (Outcome.FAILED, Cause.CODE, "command exited 3: three"),
    "may_exit": (Outcome.PASSED, None, ""),
    "outlives": (Outcome.FAILED, Cause.TIMEOUT, "timeout of 0.5 s: sleep 300"),
    "overspends": (Outcome.FAILED, Cause.BUDGET, "reached its cap"),
    "out_of_memory": (Outcome.FAILED, Cause.OOM, "command exited 1"),
    "only_begins": (Outcome.FAILED, Cause.CODE, "call asyncio.run(…) in it"),
    "has_no_file_left": (Outcome.ERROR, Cause.LOCAL, "Too many open files"),
    "raises": (Outcome.FAILED, Cause.CODE, "ValueError: the job's own mistake"),
    "says_fail": (Outcome.FAILED, Cause.CODE, "it is no good"),
    "pulls_nothing": (Outcome.FAILED, Cause.CODE, "/workspace/no-results"),
    "puts_nothing": (Outcome.FAILED, Cause.CODE, "no-such-folder"),
    "never_ready": (Outcome.ERROR, Cause.CODE, "the image runpod/base:missing cannot be pulled"),
    "sold_out": (Outcome.ERROR, Cause.STOCK, "no capacity"),
    "skipped": (Outcome.SKIPPED, None, "not today"),
    "skipped_if": (Outcome.SKIPPED, None, "1 + 1 == 2"),
    "not_run": (Outcome.XFAILED, None, "[NOTRUN] hopeless"),
    "expected": (Outcome.XFAILED, None, "known"),
    "unexpected": (Outcome.XPASSED, None, "known"),
    "strictly_unexpected": (Outcome.FAILED, Cause.CODE, "[XPASS(strict)] known"),
    "skips_itself": (Outcome.SKIPPED, None, "nothing to do"),
    "podless": (Outcome.PASSED, None, ""),
    "tears_down_badly": (Outcome.ERROR, Cause.CODE, "teardown of broken: RuntimeError: teardown broke"),
    "sets_up_badly": (Outcome.ERROR, Cause.CODE, "RuntimeError: setup broke"),
    "salvaged": (Outcome.FAILED, Cause.CODE, "ValueError: on the way"),
    "salvaged_after_a_command": (Outcome.FAILED, Cause.CODE, "command exited 4"),
    "salvaged_until_it_leaves": (Outcome.FAILED, Cause.CODE, "command exited 4"),
}
WITHOUT_POD = {
    "only_begins", "has_no_file_left", "skipped", "skipped_if", "not_run", "unexpected", "strictly_unexpected", "skips_itself", "podless",
    "tears_down_badly", "sets_up_badly", "sold_out",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    result: RunResult
    folder: Path
    pods_left: list[object]
    trapped: int


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run all of them four at once, on an emulator that is out of one GPU type, with an ear on a local port."""
    folder = write_project(tmp_path_factory.mktemp("outcomes") / "project", {"deploy_x.py": DEPLOY})
    with launch(boot_seconds=0.1) as emulator, socket.create_server(("127.0.0.1", 0)) as trap:
        emulator.inject({"kind": "stock-out", "match": {"gpu": "NVIDIA L4"}})
        env = {
            "RUNPOD_API_BASE_URL": emulator.base_url,
            "RUNPOD_API_KEY": emulator.api_key,
            "TRAP_PORT": str(trap.getsockname()[1]),
        }
        result = RpdRun()(folder, "-n", "4", "--yes", env=env)
        yield Run(result, folder, list(emulator.pods()), _waiting(trap))


def _waiting(trap: socket.socket) -> int:
    """Return how many connections wait at ``trap``."""
    trap.setblocking(False)
    count = 0
    while True:
        try:
            connection, _ = trap.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


def test_the_run_fails_and_leaves_no_pod(ended: Run) -> None:
    """One failure makes exit code 1; every node has a manifest; no pod is left."""
    assert ended.result.exit_code == 1, ended.result.out + ended.result.err
    assert {report.node.job for report in ended.result.reports} == set(EXPECTED)
    assert ended.pods_left == []
    assert "Traceback" not in ended.result.out + ended.result.err


@pytest.mark.parametrize("name", EXPECTED)
def test_outcome(ended: Run, name: str) -> None:
    """A node has the outcome, the cause and the reason of its fate."""
    outcome, cause, reason = EXPECTED[name]
    result = ended.result.report(name).result
    assert (result.outcome, result.cause) == (outcome, cause), result.reason
    assert reason in result.reason


def test_a_node_that_ran_out_of_memory_has_a_diagnosis(ended: Run) -> None:
    """The messages of the kernel and the GPU are in the folder of the node.

    Its manifest names its run and its files.
    """
    report = ended.result.report("out_of_memory")
    said = (Path(report.folder) / "diagnosis.log").read_text(encoding="utf-8")
    assert "the command ended with exit code 1" in said
    assert "--- dmesg" in said
    assert ended.result.run_dir is not None
    assert report.node.run == ended.result.run_dir.name
    assert {"diagnosis.log", "events.jsonl", "output.log"} <= set(report.result.files)
    assert not (Path(ended.result.report("exits").folder) / "diagnosis.log").exists()


@pytest.mark.parametrize("name", EXPECTED)
def test_pods_are_had_only_where_needed(ended: Run, name: str) -> None:
    """Nodes that are skipped, expected to fail unrun, or ask for no pod have none; all pods were deleted."""
    pod = ended.result.report(name).pod
    assert (pod is None) == (name in WITHOUT_POD)
    assert pod is None or pod.final_state == "deleted"


def test_what_never_came_up_never_ran(ended: Run) -> None:
    """The job function is not called where its pod could not be had."""
    assert not (ended.folder / "never_ready").exists()
    assert not (ended.folder / "sold_out").exists()


def test_refused_offers_are_recorded(ended: Run) -> None:
    """Each refused offer is in the journal, with RunPod's reason."""
    assert ended.result.run_dir is not None
    refused = [event for event in events(ended.result.run_dir, "refused") if "sold_out" in event["node"]]
    assert all("NVIDIA L4" in event["offer"] and event["reason"] for event in refused)
    assert refused or "rents nothing" in ended.result.report("sold_out").result.reason


def test_a_failure_shows_the_users_line_and_the_last_output(ended: Run) -> None:
    """The screen shows where in the deploy file it failed and the tail of the log, none of rpd's frames."""
    number = DEPLOY.splitlines().index('    pod.run("echo first; echo last words; exit 3", name="three")') + 1
    assert f"deploy_x.py:{number}" in ended.result.out
    assert "last words" in ended.result.out
    assert "rpd/execute" not in ended.result.out


def test_exit_codes_of_steps_are_kept(ended: Run) -> None:
    """The manifest tells each command's exit code; with ``check=False`` the job gets it instead of an error."""
    assert [step.exit_code for step in ended.result.report("exits").steps] == [3]
    assert ended.result.report("may_exit").metrics == {"code": 7}


def test_podless_jobs_have_folder_and_metrics(ended: Run) -> None:
    """A job without a pod runs here, with its run folder and metrics."""
    report = ended.result.report("podless")
    assert (Path(report.folder) / "written").read_text(encoding="utf-8") == "here"
    assert report.metrics == {"answer": 42}
    assert report.cost.estimated_usd == 0


def test_artifacts_after_the_failing_line_are_pulled(ended: Run) -> None:
    """Paths that the job would have pulled after the failing line are pulled."""
    for name, files in {"salvaged_after_a_command": ("late/b", "copy/b"), "salvaged": ("early/a",)}.items():
        folder = Path(ended.result.report(name).folder) / "artifacts"
        for file in files:
            assert (folder / file).is_file(), file


def test_a_second_call_repeats_nothing(ended: Run) -> None:
    """Commands are not run again, nor those after the failing line at all, when artifacts are fetched after a failure."""
    folder = Path(ended.result.report("salvaged_after_a_command").folder) / "artifacts"
    assert not (folder / "late" / "never").exists()
    commands = [
        step.command for step in ended.result.report("salvaged_after_a_command").steps if step.kind == "run"
    ]
    assert len(commands) == 1


def test_a_second_call_reaches_nothing(ended: Run) -> None:
    """While artifacts are fetched after a failure, the job can open no connection and start no process."""
    assert ended.trapped == 0
    assert not (ended.folder / "escaped").exists()


def test_capped_commands_are_ended_in_time(ended: Run) -> None:
    """A command that outlives its timeout or the node's cap is ended then, not after its 300 seconds."""
    for name in ("outlives", "overspends"):
        [step] = ended.result.report(name).steps
        assert step.seconds < 30


USERS_FIXTURES = """
import rpd
from rpd.errors import ImpossibleRequest, OutOfStock

@rpd.fixture
def broken(): raise ValueError("my fixture")

@rpd.fixture
def ends_badly():
    yield
    raise RuntimeError("my teardown")

@rpd.fixture
def sold_out(): raise OutOfStock("nothing left")

@rpd.fixture
def impossible(): raise ImpossibleRequest("no such pod")

@rpd.fixture(scope="session")
def data(request):
    print("data", request.param)
    yield request.param
    print("data over", request.param)

@rpd.fixture(scope="session")
def model(data):
    yield data
    print("model over", data)

@rpd.job
@rpd.mark.xfail
def setup(broken): ...

@rpd.job
@rpd.mark.xfail(raises=KeyError)
def another(broken): ...

@rpd.job
@rpd.mark.xfail
def teardown(ends_badly): ...

@rpd.job
@rpd.mark.xfail
def stock(sold_out): ...

@rpd.job
@rpd.mark.xfail
def request_(impossible): ...

@rpd.job
def both(ends_badly): assert False, "my job"

@rpd.job
@rpd.mark.skipif("NOPE")
def odd(): ...

@rpd.job
@rpd.mark.parametrize("data", [1, 2], indirect=True, scope="job")
def narrow(model): print("model", model)
"""


def test_what_users_fixtures_raise(project: Callable[[dict[str, str]], Path], rpd: RpdRun) -> None:
    """xfail covers them, never the platform; a failure and the teardown after it are two cases of JUnit."""
    folder = project({"deploy_x.py": USERS_FIXTURES})
    result = rpd(folder, "--local", "-s", "--junitxml", "report.xml")
    actual = outcomes(result)
    assert actual == {
        "setup": "xfailed", "another": "error", "teardown": "xfailed", "stock": "error", "request_": "error",
        "both": "failed", "odd": "error", "narrow[data1]": "passed", "narrow[data2]": "passed",
    }  # fmt: skip
    matches = re.findall(r"^(?:data|model)(?: over)? \d$", result.out + result.err, re.MULTILINE)
    assert matches == [
        line for n in (1, 2) for line in (f"data {n}", f"model {n}", f"model over {n}", f"data over {n}")
    ]
    cases = ElementTree.parse(folder / "report.xml").getroot().iter("testcase")
    both = [
        [child.tag for child in case if child.tag in ("failure", "error")]
        for case in cases
        if case.get("name") == "both"
    ]
    assert both == [["failure"], ["error"]]
    assert re.search(r"deploy_x\.py:\d+\n> +rpd\.mark\.skipif\('NOPE'\)", result.out)

"""Fixtures in whole runs: how many pods each scope rents, who shares them, and the order of teardown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched, launch
from rpd.testing import RpdRun, RunResult
from rpd.values.report import NodeReport
from tests.runs.conftest import events, outcomes, write_project

Project = Callable[[dict[str, str]], Path]

CONFTEST = """
import rpd

@rpd.fixture(scope={scope!r})
def pod(provision):
    with provision() as made:
        yield made
"""
DEPLOY = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"))
@rpd.mark.parametrize("n", [1, 2, 3])
def fit(pod, n):
    pod.run(f"test ! -e busy && touch busy && sleep 0.2 && rm busy && echo {n} >> seen")
    pod.pull("seen")
"""


def created(result: RunResult) -> int:
    """Return how many pods a run rented."""
    assert result.run_dir is not None
    return len(events(result.run_dir, "created"))


@dataclass(frozen=True)
class Scoped:
    """The results of the nodes of one folder, whose pod has another scope."""

    reports: list[NodeReport]
    pods: Counter[str]


@pytest.fixture(scope="module")
def by_scope(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scoped]:
    """Run six nodes in two files for each scope, all in one run on two slots."""
    files = {}
    for scope in ("job", "module", "worker", "session"):
        files[f"{scope}/conftest.py"] = CONFTEST.format(scope=scope)
        files |= {f"{scope}/deploy_{name}.py": DEPLOY for name in "ab"}
    folder = write_project(tmp_path_factory.mktemp("scopes") / "project", files)
    with launch(boot_seconds=0.1) as emulator:
        env = {"RUNPOD_API_BASE_URL": emulator.base_url, "RUNPOD_API_KEY": emulator.api_key}
        result = RpdRun()(folder, "-n", "2", "--yes", env=env)
        assert emulator.pods() == []
    assert result.exit_code == 0, result.out + result.err
    by_name = {}
    for scope in ("job", "module", "worker", "session"):
        reports = [report for report in result.reports if report.node.file.startswith(f"{scope}/")]
        by_name[scope] = Scoped(reports, Counter(report.pod.id for report in reports if report.pod))
    assert sum(len(each.pods) for each in by_name.values()) == created(result)
    return by_name


def seen_on_pod(report: NodeReport) -> list[str]:
    """Return which nodes had been on the pod of a node when it ended, itself last."""
    return (Path(report.folder) / "artifacts" / "seen").read_text(encoding="utf-8").split()


@pytest.mark.parametrize(
    ("scope", "fewest", "most"), [("job", 6, 6), ("module", 2, 2), ("worker", 1, 2), ("session", 1, 1)]
)
def test_scopes_decide_how_many_pods(scope: str, fewest: int, most: int, by_scope: dict[str, Scoped]) -> None:
    """Six nodes in two files on two slots rent 6, 2, at most 2 and 1 pods; nodes that share one never overlap on it."""
    scoped = by_scope[scope]
    assert len(scoped.reports) == 6
    assert fewest <= len(scoped.pods) <= most
    for report in scoped.reports:
        assert report.pod is not None
        assert report.pod.final_state == "deleted"
        assert report.pod.reused == (scoped.pods[report.pod.id] > 1)
        assert seen_on_pod(report)[-1] == str(report.node.parameters["n"])
    longest = Counter(dict.fromkeys(scoped.pods, 0))
    for report in scoped.reports:
        assert report.pod is not None
        longest[report.pod.id] = max(longest[report.pod.id], len(seen_on_pod(report)))
    assert longest == scoped.pods


def test_a_shared_pod_is_paid_once(by_scope: dict[str, Scoped]) -> None:
    """The nodes of one pod share its seconds; each pays its part, and the last one the teardown."""
    reports = by_scope["session"].reports
    paid = sum(report.cost.billed_seconds for report in reports)
    for report in reports:
        assert 0 < report.cost.billed_seconds < paid
        rate = report.cost.rate_usd_per_hr
        assert report.cost.estimated_usd >= report.cost.billed_seconds * rate / 3600 * 0.99
    assert sum("release" in report.result.phases for report in reports) == 1
    apart = by_scope["job"].reports
    assert all("release" in report.result.phases for report in apart)


ORDER = """
from pathlib import Path
import rpd

LOG = Path(__file__).parent / "log"

def say(word):
    with LOG.open("a") as log:
        log.write(word + "\\n")

def make(name, scope, *needs):
    def body(**needed):
        say(f"+{name}")
        yield name
        say(f"-{name}")
    body.__name__ = name
    exec_body = {}
    exec(f"def {name}({', '.join(needs)}):\\n    yield from body(**locals())", {"body": body}, exec_body)
    return rpd.fixture(scope=scope)(exec_body[name])

everywhere = make("everywhere", "session")
per_file = make("per_file", "module", "everywhere")
first = make("first", "job", "per_file")
second = make("second", "job", "first")

@rpd.fixture(autouse=True)
def around(request):
    request.addfinalizer(lambda: say("-finalizer"))
    say("+around")
    yield
    say("-around")

@rpd.job
def one(second):
    say("one")

@rpd.job
def two(first):
    say("two")
    raise ValueError("all the same")

@rpd.job
def three(request):
    say("three " + request.getfixturevalue("first"))
"""


def test_teardown_is_last_in_first_out(rpd: RpdRun, project: Project) -> None:
    """Values are torn down in reverse, job by job; wider ones when the last job that uses them is over."""
    folder = project({"deploy_a.py": ORDER})
    result = rpd(folder)
    assert result.exit_code == 1
    assert outcomes(result) == {"one": "passed", "two": "failed", "three": "passed"}, result.out
    log = (folder / "log").read_text(encoding="utf-8").split("\n")[:-1]
    assert log == [
        "+everywhere", "+per_file", "+around", "+first", "+second", "one", "-second", "-first", "-around", "-finalizer",
        "+around", "+first", "two", "-first", "-around", "-finalizer",
        "+around", "+first", "three first", "-first", "-around", "-finalizer", "-per_file", "-everywhere",
    ]  # fmt: skip


def test_every_teardown_runs_though_others_raise(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """A teardown that raises makes its node an error and keeps no other teardown from running, nor a pod's release."""
    folder = project(
        {
            "deploy_a.py": """
            from pathlib import Path
            import rpd

            @rpd.fixture
            def outer(pod):
                yield
                (Path(__file__).parent / "outer").touch()

            @rpd.fixture
            def inner(outer):
                yield
                raise RuntimeError("inner broke")

            @rpd.fixture(scope="session")
            def wide():
                yield
                raise RuntimeError("wide broke")

            @rpd.job
            def first(inner): ...

            @rpd.job
            def second(wide): ...
            """
        }
    )
    result = rpd(folder)
    assert result.exit_code == 1
    assert outcomes(result) == {"first": "error", "second": "error"}
    assert "teardown of inner: RuntimeError: inner broke" in result.report("first").result.reason
    assert "teardown of wide: RuntimeError: wide broke" in result.report("second").result.reason
    assert (folder / "outer").exists()
    assert result.report("first").pod is not None


def test_gpu_is_overridden_and_parametrized(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The fixture ``gpu`` decides the rented type: from a conftest, a direct parameter, an id as text, or None."""
    folder = project(
        {
            "deploy_a.py": """
            import rpd
            from rpd import Gpu
            job = rpd.job(gpu=Gpu("NVIDIA RTX A4000"))

            @job
            @rpd.mark.parametrize("gpu", ["NVIDIA L4", Gpu("NVIDIA A40"), None], ids=["text", "gpu", "cpu"])
            def direct(pod): ...
            """,
            "sub/conftest.py": """
            import rpd
            @rpd.fixture
            def gpu():
                return rpd.Gpu("NVIDIA RTX A5000", count=2)
            """,
            "sub/deploy_b.py": """
            import rpd
            @rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"))
            def overridden(pod):
                pod.run("nvidia-smi -L")
            """,
        }
    )
    result = rpd(folder, "-n", "2", "--yes")
    assert result.exit_code == 0, result.out + result.err
    rented = {r.node.id.rpartition("::")[2]: (r.pod.gpu, r.pod.count) for r in result.reports if r.pod}
    assert rented == {
        "direct[text]": ("NVIDIA L4", 1),
        "direct[gpu]": ("NVIDIA A40", 1),
        "direct[cpu]": ("", 0),
        "overridden": ("NVIDIA RTX A5000", 2),
    }


def test_a_fixture_may_rent_another_pod(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """``provision`` rents further pods of other kinds; each is released at its own end, a failed set-up included."""
    folder = project(
        {
            "deploy_a.py": """
            import rpd
            from rpd import Gpu
            job = rpd.job(gpu=Gpu("NVIDIA RTX A4000"))

            @rpd.fixture
            def server(provision):
                with provision(gpu=None) as pod:
                    yield pod

            @rpd.fixture
            def broken(provision):
                with provision(gpu="NVIDIA L4") as pod:
                    pod.run("exit 6")
                    yield pod

            @job
            def two_pods(pod, server):
                assert pod.id != server.id
                assert pod.run("hostname").tail != server.run("hostname").tail

            @job
            def no_pod(broken): ...
            """
        }
    )
    result = rpd(folder, "--yes")
    assert outcomes(result) == {"two_pods": "passed", "no_pod": "error"}, result.out
    assert created(result) == 3
    assert result.run_dir is not None
    assert len(events(result.run_dir, "released")) == 3


def test_pods_kept_on_purpose_are_told(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """``on_failure="stop"`` stops the pod of a failed node, ``"preserve"`` leaves it running; the run tells of both."""
    folder = project(
        {
            "deploy_a.py": """
            import rpd
            from rpd import Gpu, Lifecycle
            job = rpd.job(gpu=Gpu("NVIDIA RTX A4000"))

            @job(lifecycle=Lifecycle(on_failure="stop"), storage=rpd.Storage(volume_gb=5))
            def stopped(pod):
                pod.run("exit 1")

            @job(lifecycle=Lifecycle(on_success="preserve"))
            def kept(pod): ...

            @job(lifecycle=Lifecycle(on_failure="stop"))
            def deleted(pod): ...
            """
        }
    )
    result = rpd(folder, "-n", "3", "--yes")
    states = {r.node.job: r.pod.final_state for r in result.reports if r.pod}
    assert states == {"stopped": "stopped", "kept": "running", "deleted": "deleted"}
    left = {pod["id"]: pod["desired_status"] for pod in emulator.pods()}
    assert sorted(left.values()) == ["EXITED", "RUNNING"]
    for pod_id in left:
        assert pod_id in result.out
    assert result.run_dir is not None
    assert (result.run_dir / ".ssh").exists()
    # Neither was left behind by a killed run: gc leaves both alone, stop takes them.
    reaped = rpd(folder, "--yes", command="gc")
    assert "nothing to delete" in reaped.out
    assert rpd(folder, *left, command="stop").exit_code == 0
    assert emulator.pods() == []

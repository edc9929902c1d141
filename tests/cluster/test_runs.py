"""Whole runs on clusters: a job's acts on all members, the remains, and the members from outside."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.emulator.guest import network
from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.runs.conftest import events, outcomes, run_dir_of
from tests.waiting import wait_until

Project = Callable[[dict[str, str]], Path]
HEAD = """
import rpd
from rpd import Budget, Cluster, Gpu

two = rpd.job(gpu=Gpu("NVIDIA L4"), cluster=Cluster(nodes=2), budget=Budget(cost_cap_usd=2, max_runtime="5m"))
"""
JOBS = f"""{HEAD}
@rpd.fixture(scope="module")
def shared(provision):
    with provision() as made:
        yield made

@two
def works(shared, record_metric):
    assert shared.nodes == len(shared) == 2
    shared.put("deploy_a.py", "sent/")
    shared.write("only", "1", rank=1)
    done = shared.run('ls; echo "$NODE_RANK of $NUM_NODES"; mkdir -p out; echo $NODE_RANK > out/rank', name="look")
    assert [each.stdout.split("\\n")[0] for each in done] == ["sent", "only"], done
    shared.pull("out/")
    shared.pull("out/rank", "from-one", rank=1)
    shared.setenv(PORT=7, RPD_TEST="yes")
    shared.run('[ "$RPD_TEST" = yes ] && [ "$MASTER_ADDR" = "$PRIMARY_ADDR" ] && [ -n "$NCCL_SOCKET_IFNAME" ]')
    codes = [each.exit_code for each in shared.run("exit $NODE_RANK", check=False)]
    record_metric("codes", str(codes))

@two
def fails(shared):
    shared.run("if [ $NODE_RANK = 1 ]; then echo broken; exit 3; fi; echo waiting; sleep 60", name="train")
"""


def test_a_cluster_from_boot_to_release(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """Two nodes share a cluster: files and logs by rank, the first failure by its rank, one lease, nothing left."""
    result = rpd(project({"deploy_a.py": JOBS}), "-v")
    assert outcomes(result) == {"works": "passed", "fails": "failed"}, result.out
    works, fails = sorted(result.reports, key=lambda report: report.node.job == "fails")
    folder = Path(works.folder)
    assert (folder / "rank-1.log").read_text(encoding="utf-8").startswith("only\nsent\n1 of 2\n")
    log = (folder / "output.log").read_text(encoding="utf-8").splitlines()
    assert {"[rank 0] sent", "[rank 0] 0 of 2", "[rank 1] only", "[rank 1] 1 of 2"} <= set(log)
    assert [(folder / f"artifacts/rank-{rank}/out/rank").read_text() for rank in (0, 1)] == ["0\n", "1\n"]
    assert (folder / "artifacts/from-one").read_text() == "1\n"
    assert works.metrics["codes"] == "[0, 1]"
    assert works.pod is not None
    assert (works.pod.nodes, len(works.pod.members), works.pod.count) == (2, 2, 1)
    assert fails.result.reason.startswith("command exited 3: rank 1 of 2: train")
    assert "[rank 1] broken" in (Path(fails.folder) / "output.log").read_text(encoding="utf-8")
    assert result.run_dir is not None
    assert len(events(result.run_dir, "intent")) == 1
    released = events(result.run_dir, "released")
    assert [event["pod_id"] for event in released] == [works.pod.id]
    rate = works.cost.rate_usd_per_hr
    assert works.cost.billed_seconds * rate / 3600 == pytest.approx(works.cost.estimated_usd, rel=0.05)
    interface = "ens1" if network.are_possible() else "lo"
    assert f"every rank reaches every other over {interface}" in result.out
    assert "2 nodes of L4" in result.out
    assert emulator.pods() == []
    assert emulator.state()["clusters"] == []


WAITS = f"""{HEAD}
@two
def waits(cluster):
    cluster.run("[ $NODE_RANK = 0 ] || while [ ! -e /workspace/go ]; do sleep 0.05; done")
"""


@pytest.mark.usefixtures("emulator")
def test_a_cluster_from_outside(rpd: RpdRun, project: Project) -> None:
    """``ps`` shows the members with their ranks, and ``ssh --rank`` reaches one."""
    folder = project({"deploy_a.py": WAITS})
    running = rpd.start(folder)
    run_dir = wait_until(lambda: run_dir_of(folder), "the run folder")
    wait_until(lambda: events(run_dir, "ready")[2:], "the cluster")
    members = [
        event["pod_id"]
        for rank in "01"
        for event in events(run_dir, "ready")
        if f"#{rank}" in event["pod_name"]
    ]
    table = rpd(folder, command="ps").out
    assert "waits" in table
    for rank, member in enumerate(members):
        assert f"  {member}  rank {rank}" in table
    assert "2 nodes of 1x NVIDIA L4" in table
    assert "2 pods, " in table
    shell = rpd(folder, "waits", "--rank", "1", "--", "hostname; touch /workspace/go", command="ssh")
    assert shell.out.strip() == members[1]
    assert running.finish().exit_code == 0


DIES = WAITS.replace('max_runtime="5m"', 'max_runtime="8s"')


@pytest.mark.exhaustive
@pytest.mark.parametrize("may_end", ["cluster", "itself"])
def test_members_end_what_they_may(rpd: RpdRun, project: Project, emulator: Launched, may_end: str) -> None:
    """Without a driver, watchdogs end the whole cluster if a member may do that, else each its own pod."""
    emulator.set_limits(member_ends=may_end)
    folder = project({"deploy_a.py": DIES, "rpd.toml": 'watchdog_linger = "3s"\nwatchdog_grace = "1s"\n'})
    running = rpd.start(folder)
    run_dir = wait_until(lambda: run_dir_of(folder), "the run folder")
    journals = run_dir.glob
    wait_until(
        lambda: any("step_started" in path.read_text() for path in journals("*/events.jsonl")), "the command"
    )
    running.send_signal(signal.SIGKILL)
    running.finish()
    wait_until(lambda: not emulator.pods() and not emulator.state()["clusters"], "the end of the cluster")
    assert "nothing to delete" in rpd(folder, command="gc").out


GOES_ON = f"""{HEAD}
@two
def goes_on(cluster):
    cluster.checkpoint("ckpt", every=0.2)
    cluster.run("cat $RPD_CHECKPOINT/at || echo anew; echo seen > $RPD_CHECKPOINT/at; [ $RPD_ATTEMPT = 2 ] || sleep 60")
"""


@pytest.mark.exhaustive
def test_a_lost_cluster_goes_on_from_its_checkpoint(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The next cluster gets the files that rank 0 of the lost one had saved, on every member."""
    folder = project({"deploy_a.py": GOES_ON})
    running = rpd.start(folder)
    run_dir = wait_until(lambda: run_dir_of(folder), "the run folder")
    wait_until(
        lambda: list(run_dir.glob("*/checkpoints/*/*/at")) or list(run_dir.glob("*/checkpoints/**/at")),
        "a copy",
    )
    emulator.inject({"kind": "lose-host", "match": {"rank": "1"}, "status": "EXITED"})
    result = running.finish()
    assert result.exit_code == 0, result.out
    (report,) = result.reports
    assert report.result.attempts == 2
    assert report.attempts[0].cause == "lost"
    for rank in range(2):
        said = (Path(report.folder) / f"rank-{rank}.log").read_text(encoding="utf-8")
        assert "anew" in said.splitlines()
        assert said.splitlines()[-1] == "seen"

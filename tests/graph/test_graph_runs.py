"""Graphs as users run them: reruns after failures and changes, and a diamond on pods that is killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rpd
from rpd.emulator.launch import Launched
from rpd.errors import Cause, ExitCode
from rpd.record import history
from rpd.testing import RpdRun
from rpd.values.report import NodeReport, Outcome
from tests.runs.test_resume import free_the_commands
from tests.waiting import wait_until

FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def shapes(draw: st.DrawFn) -> list[set[int]]:
    """Draw the needs of each of a few nodes, among the earlier ones."""
    return [
        draw(st.sets(st.integers(0, number - 1))) if number else set()
        for number in range(draw(st.integers(2, 6)))
    ]


def write(folder: Path, shape: list[set[int]], bodies: list[str]) -> Path:
    lines = ["import rpd", "bad = rpd.variable(default='')"]
    for number, needs in enumerate(shape):
        names = ", ".join(f"j{each}" for each in sorted(needs))
        lines += ["@rpd.job", *([f"@rpd.mark.needs({names})"] if names else [])]
        fixtures = "record_metric, bad, needs" if names else "record_metric, bad"
        lines += [f"def j{number}({fixtures}):", f"    {bodies[number]}"]
    folder.mkdir(exist_ok=True)
    (folder / "deploy_g.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def by_name(reports: rpd.RunOutcome) -> dict[int, NodeReport]:
    return {int(report.node.job[1:]): report for report in reports.reports}


@FEW
@given(shapes(), st.data())
def test_lf_runs_what_failed_and_what_waits_for_it(
    tmp_path_factory: pytest.TempPathFactory, shape: list[set[int]], data: st.DataObject
) -> None:
    """After some failures are mended: just those and the nodes passed over for them, on the results of the others."""
    bad = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    bodies = [f"'j{number}' in bad.split() and rpd.fail('bad')" for number in range(len(shape))]
    folder = write(tmp_path_factory.mktemp("lf"), shape, bodies)
    first = by_name(rpd.run(root=folder, var={"bad": " ".join(f"j{each}" for each in bad)}))
    lost: set[int] = set()
    for number, needs in enumerate(shape):
        held_up = bool(needs & lost)
        if held_up or number in bad:
            lost.add(number)
        expected = (Outcome.SKIPPED, Cause.NEEDS) if held_up else (Outcome.FAILED, Cause.CODE)
        result = first[number].result
        assert (result.outcome, result.cause) == (expected if number in lost else (Outcome.PASSED, None))
    second = by_name(rpd.run(root=folder, last_failed="all"))
    used = {need for number in lost for need in shape[number]} - lost
    assert {number: report.result.word for number, report in second.items()} == {
        **dict.fromkeys(lost, "passed"),
        **dict.fromkeys(used, "cached"),
    }


@FEW
@given(shapes(), st.data())
def test_changed_runs_what_is_another_and_what_used_something_that_came_out_differently(
    tmp_path_factory: pytest.TempPathFactory, shape: list[set[int]], data: st.DataObject
) -> None:
    """A node whose text changed, but not its result, stops the change: the nodes using it are not paid for again."""
    terms = [data.draw(st.sampled_from(["1", "2", "1 + 1"])) for _ in shape]
    later = [data.draw(st.sampled_from([term, "1", "2", "1 + 1"])) for term in terms]

    def bodies(texts: list[str]) -> list[str]:
        # A need counts only if the node asks for it: those with odd numbers ask for the first need only.
        return [
            f"record_metric('sum', {text}"
            + "".join(f" + needs[j{each}].metrics['sum']" for each in asked(number))
            + ")"
            for number, text in enumerate(texts)
        ]

    def asked(number: int) -> list[int]:
        needs = sorted(shape[number])
        return needs[:1] if number % 2 else needs

    def sums(texts: list[str]) -> list[int]:
        found: list[int] = []
        for number, text in enumerate(texts):
            found.append(eval(text) + sum(found[each] for each in asked(number)))
        return found

    folder = write(tmp_path_factory.mktemp("changed"), shape, bodies(terms))
    assert rpd.run(root=folder).ok
    write(folder, shape, bodies(later))
    second = by_name(rpd.run(root=folder, changed=True))
    before, after = sums(terms), sums(later)
    runs = {
        number
        for number in range(len(shape))
        if terms[number] != later[number] or any(before[each] != after[each] for each in asked(number))
    }
    assert {number for number, report in second.items() if report.result.word == "passed"} == runs
    assert {number for number, report in second.items() if report.result.word == "cached"} == set(
        second
    ) - runs
    assert [second[number].metrics["sum"] for number in range(len(shape))] == after


@FEW
@given(shapes(), st.data())
def test_a_selection_costs_what_its_needs_cost_too(
    tmp_path_factory: pytest.TempPathFactory, shape: list[set[int]], data: st.DataObject
) -> None:
    caps = [data.draw(st.integers(1, 9)) for _ in shape]
    chosen = data.draw(st.integers(0, len(shape) - 1))
    lines = ["import rpd"]
    for number, needs in enumerate(shape):
        marks = f"@rpd.mark.needs({', '.join(f'j{each}' for each in sorted(needs))})" if needs else ""
        job = f"@rpd.job(gpu=rpd.Gpu('NVIDIA L4'), budget=rpd.Budget(cost_cap_usd={caps[number]}))"
        lines += [job, marks, f"def j{number}(pod): ..."]
    folder = tmp_path_factory.mktemp("cost")
    (folder / "deploy_c.py").write_text("\n".join(lines), encoding="utf-8")
    needed, waiting = {chosen}, [chosen]
    while waiting:
        more = shape[waiting.pop()] - needed
        needed |= more
        waiting += more
    foreseen = rpd.forecast(f"deploy_c.py::j{chosen}", root=folder)
    assert foreseen.worst_case_usd == sum(caps[each] for each in needed)
    assert {node.job for node in foreseen.nodes} == {f"j{each}" for each in needed}


DIAMOND = """
import rpd

job = rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))


@rpd.fixture(scope="session")
def server(provision):
    with provision(job) as pod:
        yield pod


@job
def prepare(server):
    server.run("mkdir -p out && echo data > out/d.txt")
    server.pull("out")


@job
@rpd.mark.needs(prepare)
def beside(server, needs):
    server.run(f"cat {needs[prepare].on(server)}/d.txt")


@job
@rpd.mark.needs(prepare)
def left(server):
    rpd.fail("as ever")


@job
@rpd.mark.needs(prepare)
def right(pod, needs, run_dir):
    text = pod.run(f"cat {needs[prepare].on(pod, 'out')}/d.txt").stdout
    pod.run("while [ ! -e NAME/go ]; do sleep 0.1; done; echo right > r.txt", name="held")
    pod.pull("r.txt")
    assert text == "data\\n" == (needs[prepare].path("out") / "d.txt").read_text()


@job
@rpd.mark.needs(left, right)
def join(pod): ...


@rpd.job
@rpd.mark.needs(right)
def summary(needs, record_metric):
    record_metric("files", len(list(needs[right].folder.iterdir())))
"""


def test_a_diamond_with_a_failure_survives_the_death_of_its_driver(
    clean_emulator: Launched, tmp_path: Path, rpd_run: RpdRun
) -> None:
    """Killed while one side runs: the other's failure stays, nothing that was over runs again, no pod is left."""
    (tmp_path / "deploy_d.py").write_text(DIAMOND.replace("NAME", tmp_path.name), encoding="utf-8")
    running = rpd_run.start(tmp_path, "-n", "2")
    try:
        wait_until(lambda: "FAILED  deploy_d.py::left" in running.out and len(clean_emulator.pods()) == 1)
        wait_until(lambda: any(tmp_path.glob("rpd-runs/*/deploy_d.right/output.log")))
    finally:
        running.send_signal(signal.SIGKILL)
        running.finish()
    free_the_commands(clean_emulator, tmp_path)
    done = rpd_run(tmp_path, command="resume")
    (run_dir,) = tmp_path.glob("rpd-runs/2*")
    reports = {report.node.job: report for report in history.reports(run_dir)}
    assert done.exit_code == ExitCode.FAILED, done.out
    assert {job: report.result.outcome for job, report in reports.items()} == {
        "prepare": Outcome.PASSED, "beside": Outcome.PASSED, "left": Outcome.FAILED, "right": Outcome.PASSED,
        "join": Outcome.SKIPPED, "summary": Outcome.PASSED,
    }  # fmt: skip
    assert "PASSED  deploy_d.py::prepare" not in done.out
    assert "PASSED  deploy_d.py::right" in done.out
    assert reports["join"].result.cause is Cause.NEEDS
    assert reports["join"].result.reason == "needs deploy_d.py::left, which failed (code)"
    assert reports["join"].node.needs == ("deploy_d.py::left", "deploy_d.py::right")
    assert reports["summary"].metrics == {"files": 1}
    assert [step.kind for step in reports["beside"].steps] == ["write", "run", "run"], (
        "it stayed where it was"
    )
    assert [step.kind for step in reports["right"].steps] == ["put", "run", "run", "pull"], (
        "it came from here"
    )
    assert not [part for part in reports["right"].source.fingerprint if part.startswith("sent ")]
    assert not clean_emulator.pods()

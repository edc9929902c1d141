"""Uploads of jobs: files into folders, and projects that change meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.testing import RpdRun
from tests.runs.conftest import events

Project = Callable[[dict[str, str]], Path]


def test_a_file_goes_into_a_folder_and_never_replaces_one(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """With a slash it goes into the folder; without one the put is refused, and no other pod is rented for that."""
    folder = project(
        {
            "deploy_a.py": """
            import rpd

            @rpd.job(budget=rpd.Budget(cost_cap_usd=1))
            def into(pod):
                pod.run("mkdir data; echo precious > data/kept")
                pod.put("local.txt", "data/", name="send the input")
                pod.run("test $(cat data/kept) = precious && test $(cat data/local.txt) = local")

            @rpd.job(budget=rpd.Budget(cost_cap_usd=1))
            def over(pod):
                pod.run("mkdir data; echo precious > data/kept")
                try:
                    pod.put("local.txt", "data")
                finally:
                    pod.pull("data/")

            @rpd.job(budget=rpd.Budget(cost_cap_usd=1))
            def write_into(pod):
                pod.write("data/", "text")
            """,
            "local.txt": "local",
        }
    )
    result = rpd(folder)
    into, over, write_into = result.reports
    assert into.result.outcome == "passed", result.out
    assert [step.name for step in into.steps][1] == "send the input"
    for failed in (over, write_into):
        assert (failed.result.outcome, failed.result.cause) == ("failed", Cause.CODE)
    assert "a folder is there" in over.result.reason
    assert "data/" in write_into.result.reason
    assert result.run_dir is not None
    assert (Path(over.folder) / "artifacts/data/kept").read_text() == "precious\n"
    assert len(events(result.run_dir, "created")) == 3
    assert emulator.pods() == []


def test_run_folders_and_reports_in_the_project_are_not_sent(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """Whatever the folder of runs is called, the files of one run do not grow the upload of the next."""
    folder = project(
        {
            "rpd.toml": 'runs_dir = "results"',
            "deploy_a.py": """
            import rpd

            @rpd.job(budget=rpd.Budget(cost_cap_usd=1))
            def fit(pod, staged_dir):
                pod.run("true")
            """,
        }
    )
    first = rpd(folder, "--html", "report.html")
    second = rpd(folder, "--html", "report.html")
    assert [report.source.files for report in (*first.reports, *second.reports)] == [2, 2]
    assert "not sent, because this run writes to it" in second.out
    assert emulator.pods() == []


def test_a_log_that_grows_in_the_project_rents_no_other_pod(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """As with ``tee``: each node has the file as it was when listed, on its first pod; the end reports it."""
    folder = project(
        {
            "deploy_a.py": """
            import rpd

            @rpd.job(budget=rpd.Budget(cost_cap_usd=1))
            @rpd.mark.parametrize("n", [1, 2, 3])
            def fit(pod, staged_dir, n):
                pod.run("grep -c line app.log && test -s large", cwd=staged_dir)
            """,
            "app.log": "line\n",
        }
    )
    (folder / "large").write_bytes(bytes(30_000_000))
    ended = threading.Event()

    def write() -> None:
        with (folder / "app.log").open("a") as log:
            while not ended.is_set():
                log.write("line\n")
                log.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        result = rpd(folder)
    finally:
        ended.set()
        writer.join()
    assert result.exit_code == 0, result.out
    assert result.run_dir is not None
    assert len(events(result.run_dir, "created")) == 3
    assert "changed while they were being sent" in result.out
    assert "app.log" in result.out
    assert emulator.pods() == []

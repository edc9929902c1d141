"""``rpd logs``: the past and the coming output of a node, with and without its driver."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from rpd.cli import log_file, logs
from rpd.cli.command_options import LogsOptions
from rpd.cli.log_file import LogFile
from rpd.cli.output import RawOutput
from rpd.cli.run_logs import NamedLines
from rpd.emulator.launch import Launched
from rpd.pipeline import connect_to_node
from rpd.pipeline.connect_to_node import NotBegun
from rpd.testing import Running
from tests.cli.conftest import Project
from tests.pipeline.test_connect_to_node import NODE, STARTED, write, write_run
from tests.waiting import wait_until

WAITING = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1), secrets=[SECRETS])
def fit(pod):
    pod.run("echo first")
    pod.run("echo second $TOKEN; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo third $TOKEN; exit 5")
"""
SECRET = "sesame-81f2"


def started(project: Project, secrets: str = "") -> Running:
    """Start the run and wait until the second command has written."""
    project.write({"deploy_a.py": WAITING.replace("SECRETS", secrets)})
    running = project.rpd.start(project.folder, "--yes", env={"TOKEN": SECRET})
    wait_until(lambda: "second" in log_text(project), f"the log\n{running.out}{running.err}")
    return running


def log_text(project: Project) -> str:
    logs: list[Path] = list(project.folder.glob("rpd-runs/2*/*/output.log"))
    return logs[0].read_text(encoding="utf-8") if logs else ""


def go(project: Project) -> None:
    """Let the command on the pod continue."""
    done = project.command("ssh", "fit", "--", "touch /tmp/go")
    assert done.exit_code == 0, done.err


def test_the_log_of_a_running_node_is_followed_to_its_end(project: Project, emulator: Launched) -> None:
    """``-f`` prints old and new lines, and ends with the node; another run id is a usage error."""
    running = started(project)
    following = project.rpd.start(project.folder, "fit", "-f", command="logs")
    wait_until(lambda: "second" in following.out, "the first lines")
    assert "third" not in following.out
    go(project)
    followed = following.finish()
    ended = running.finish()
    assert (followed.exit_code, ended.exit_code) == (0, 1)
    assert followed.out.split() == ["first", "second", "third"]
    assert project.command("logs", "deploy_a.py::fit").out == log_text(project)
    assert project.command("logs", "fit", "-n", "2").out.split() == ["second", "third"]
    assert project.command("logs", "fit", "--run", "nope").exit_code == 4
    whole = project.command("logs")
    assert (whole.exit_code, whole.out) == (0, "fit | first\nfit | second\nfit | third\n")


def test_following_waits_for_a_node_that_has_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found once its folder is there; if the run ends before, that is an error, and so is it without ``-f``."""
    write_run(tmp_path, "1", {**STARTED, "node": "deploy_b.py::other"})
    write(tmp_path / "1", {"event": "planned", "ids": [NODE, "deploy_b.py::other"]})
    monkeypatch.setattr(logs, "WAITING_SECONDS", 0.0)
    monkeypatch.setattr(logs, "IMPATIENCE_SECONDS", 0.0)
    answers: list[bool] = []

    def is_driven(_folder: Path) -> bool:
        if len(answers) == 3:
            write(tmp_path / "1/node2", STARTED)
        return answers.pop()

    monkeypatch.setattr(connect_to_node, "is_driven", is_driven)
    following = LogsOptions(follow=True)
    answers[:] = [False, True]
    with pytest.raises(NotBegun):
        logs.node_named(tmp_path, "fit", following)
    assert "fit has not begun yet in run 1; waiting for it" in capsys.readouterr().err
    answers[:] = [True] * 5
    info, entry = logs.node_named(tmp_path, "fit", following)
    assert (info.id, entry.id, len(answers)) == ("1", NODE, 2)
    (tmp_path / "1/node2/events.jsonl").unlink()
    with pytest.raises(NotBegun):
        logs.node_named(tmp_path, "fit", LogsOptions())


def test_ctrl_c_ends_following(project: Project, emulator: Launched) -> None:
    """Ctrl-C ends ``rpd logs -f`` with exit code 0 and leaves the run alone."""
    running = started(project)
    following = project.rpd.start(project.folder, "fit", "-f", command="logs")
    wait_until(lambda: "second" in following.out, "the first lines")
    following.send_signal(signal.SIGINT)
    stopped = following.finish()
    assert (stopped.exit_code, stopped.err) == (0, "")
    go(project)
    assert running.finish().exit_code == 1


def killed(project: Project, secrets: str) -> None:
    running = started(project, secrets)
    running.send_signal(signal.SIGKILL)
    running.finish()


def test_without_its_driver_a_command_is_followed_on_its_pod(project: Project, emulator: Launched) -> None:
    """After the driver was killed, the log continues from the byte at which its file ends."""
    killed(project, "")
    following = project.rpd.start(project.folder, "fit", "-f", command="logs")
    wait_until(lambda: "following its command on pod" in following.err, "following on the pod")
    go(project)
    followed = following.finish()
    assert followed.out.split() == ["first", "second", "third"]
    assert "exit code 5; rpd resume" in followed.err
    assert "third" not in log_text(project)
    assert project.command("stop", "fit").exit_code == 0


def test_secrets_stay_masked_without_the_driver(project: Project, emulator: Launched) -> None:
    """Output read from the pod itself is masked like the file, and joins it at the right byte."""
    killed(project, 'rpd.Secret("TOKEN")')
    go(project)
    followed = project.command("logs", "fit", "-f", env={"TOKEN": SECRET})
    assert followed.out == "first\nsecond ***\nthird ***\n"
    assert SECRET not in followed.err
    assert project.command("stop", "fit").exit_code == 0


@pytest.mark.parametrize("block", [1, 3, 1 << 20])
@pytest.mark.parametrize("text", [b"", b"a", b"a\n", b"a\nbb\nccc", b"a\nbb\nccc\n", b"\n\n\n", b"a\n\nb\n"])
def test_the_last_lines(text: bytes, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-n`` prints the same lines as ``tail -n``, whatever the size of the pieces that are read."""
    monkeypatch.setattr(log_file, "_BYTES", block)
    path = tmp_path / "output.log"
    path.write_bytes(text)
    for lines in range(5):
        out = Collected()
        log = LogFile(path, out.write)
        log.skip_to_last(lines)
        log.print_new()
        assert out.data == b"".join(text.splitlines(keepends=True)[-lines:] if lines else [])


class Collected(RawOutput):
    """Keeps all that is written to it."""

    data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def test_without_a_run_logs_says_what_to_do(project: Project) -> None:
    """One line, with a node and without one."""
    for words in (["fit"], []):
        result = project.command("logs", *words)
        assert result.exit_code == 4
        assert "no runs here yet" in result.err


def test_lines_of_a_whole_run_have_names() -> None:
    """Whole lines only, the last state of a progress bar, and at the end the line that has none."""
    out = Collected()
    lines = NamedLines("fit", out)
    for piece in (b"on", b"e\ntwo\r\n10%\r50%\r100%\n", b"", b"la", b"st"):
        lines.write(piece)
    assert out.data == b"fit | one\nfit | two\nfit | 100%\n"
    lines.end()
    assert out.data.endswith(b"fit | last\n")

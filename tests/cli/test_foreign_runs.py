"""Run folders that came from somewhere else: reading one neither leaves it, nor waits, nor ends in a traceback."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rpd.cli import main
from rpd.errors import ExitCode
from rpd.journal import journal
from rpd.record import manifest, run_info
from rpd.record.run_info import RunInfo
from rpd.values.report import ArtifactRecord, NodeReport, Outcome
from tests.record.conftest import make_report as make_report

RUN = "20260102T030405Z-abcdef"
NODE = "exp-deploy_x.train"
OUTSIDE = "a secret of this machine"
COMMANDS = (
    ("runs",),
    ("show", RUN),
    ("show", RUN, "train"),
    ("show", RUN, "train", "--json"),
    ("report", RUN),
    ("report", RUN, "--csv"),
    ("report", RUN, "--json"),
    ("report", RUN, "--html", "report.html"),
    ("verify", RUN),
    ("logs", "train", "--run", RUN),
    ("events", RUN),
    ("events", RUN, "train"),
    ("diff", RUN, RUN),
    ("diff", f"{RUN}:train", f"{RUN}:train"),
)
OF_THE_RUN = (("runs",), ("show", RUN), ("report", RUN), ("verify", RUN))


class Foreign:
    """A project with one run of one node, as if it had been downloaded; files in ``outside`` must not be read."""

    def __init__(self, folder: Path, report: NodeReport, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.folder = folder
        self.run = folder / "rpd-runs" / RUN
        self.node = self.run / NODE
        self.outside = folder.parent / "outside"
        self.report = report
        (self.node / "artifacts").mkdir(parents=True)
        self.outside.mkdir()
        for name in ("secret", "output.log", "events.jsonl", "manifest.toml", "run.toml"):
            (self.outside / name).write_text(OUTSIDE)
        (folder / "rpd.toml").write_text("")
        run_info.write(
            self.run / run_info.FILE_NAME,
            RunInfo(id=RUN, nodes=1, started="2026-01-02", finished="2026-01-02"),
        )
        manifest.write(self.node / manifest.FILE_NAME, report)
        self.journal: list[dict[str, Any]] = [
            {"at": "2026-01-02T03:04:05+00:00", "event": "node_started", "node": report.node.id, "attempt": 1},
            {"at": "2026-01-02T03:04:06+00:00", "event": "armed", "deadline": 1.8e9, "linger": 600, "pod_id": "p"},
            {"at": "2026-01-02T03:04:06+00:00", "event": "refused", "pod_name": "rpd-1",
             "offer": "A40", "reason": "sold out"},
            {"at": "2026-01-02T03:04:07+00:00", "event": "step_started", "index": 0, "kind": "run", "pod": "rpd-1",
             "key": "k", "cwd": "/w", "secrets": ["A"], "log_bytes": 0},
            {"at": "2026-01-02T03:04:08+00:00", "event": "node_finished"},
        ]  # fmt: skip
        self.write_journal(self.journal)
        assert list(journal.read(self.node / journal.FILE_NAME)) == self.journal
        started = {"at": "2026-01-02T03:04:05+00:00", "event": "run_started", "pid": 1, "host": "h"}
        (self.run / "events.jsonl").write_text(f"{json.dumps(started)}\n")
        (self.node / "output.log").write_text("hello\n")

    def write_journal(self, events: object) -> None:
        assert isinstance(events, list)
        (self.node / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))

    def replace(self, path: Path, made: str) -> None:
        """Put a link to its namesake outside, a FIFO or a folder in the place of a file or folder."""
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if made == "link":
            path.symlink_to(self.outside if path == self.node else self.outside / path.name)
        elif made == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()

    def __call__(self, *command: str) -> tuple[int, str]:
        """Run a command; return its exit code and all it printed and wrote. It never shows files from outside."""
        code = main(command)
        printed = self._capsys.readouterr()
        html = self.folder / "report.html"
        text = printed.out + printed.err + (html.read_text() if html.exists() else "")
        html.unlink(missing_ok=True)
        assert OUTSIDE not in text
        assert "Traceback" not in text, text
        assert code != ExitCode.INTERNAL_ERROR, (command, text)
        return code, text

    def survives(self) -> bool:
        """Run every command; return whether those about the whole run still tell of it, whatever is damaged in it."""
        answers = {command: self(*command) for command in COMMANDS}
        return all(
            answers[command][0] == ExitCode.OK and RUN in answers[command][1] for command in OF_THE_RUN
        )


@pytest.fixture
def foreign(
    tmp_path: Path,
    make_report: Callable[..., NodeReport],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Foreign:
    """The run, and the current folder in its project."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("COLUMNS", "200")
    return Foreign(tmp_path / "project", make_report(outcome=Outcome.FAILED), capsys)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_honest_run_can_be_read(foreign: Foreign, command: tuple[str, ...]) -> None:
    """All of them work on the folder as it should be."""
    assert foreign(*command)[0] == ExitCode.OK


@pytest.mark.parametrize("made", ["link", "fifo", "folder"])
@pytest.mark.parametrize(
    "name", ["manifest.toml", "events.jsonl", "output.log", "../run.toml", "../events.jsonl", "."]
)
def test_links_and_fifos_are_not_opened(foreign: Foreign, name: str, made: str) -> None:
    """In the place of any file, or of the node's folder: nothing outside is shown, and no command hangs."""
    foreign.replace((foreign.node / name).resolve(), made)
    assert foreign.survives()


def with_sums(foreign: Foreign, list_name: str, *sums: str) -> None:
    artifacts = (ArtifactRecord(remote="r", local="artifacts/r", files=1, bytes=1, sha256_file=list_name),)
    manifest.write(foreign.node / manifest.FILE_NAME, replace(foreign.report, artifacts=artifacts))
    (foreign.node / "artifacts.sha256").write_text("".join(f"{'0' * 64}  {name}\n" for name in sums))


@pytest.mark.parametrize(
    "name", ["../../../../outside/secret", "{outside}/secret", "way/secret", "secret", "a/../../x"]
)
def test_verify_reads_nothing_outside(foreign: Foreign, name: str) -> None:
    """Neither by ``..`` nor by an absolute name nor through a link, of a folder or of the file itself."""
    (foreign.node / "artifacts/way").symlink_to(foreign.outside)
    (foreign.node / "artifacts/secret").symlink_to(foreign.outside / "secret")
    with_sums(foreign, "artifacts.sha256", name.format(outside=foreign.outside))
    code, result = foreign("verify", RUN)
    assert code == ExitCode.FAILED
    assert "not read" in result


@pytest.mark.parametrize("name", ["../../../../outside/secret", "{outside}/secret", "artifacts/way/secret"])
def test_verify_takes_no_list_from_outside(foreign: Foreign, name: str) -> None:
    """The name of the list of sums is the manifest's word, and no better."""
    (foreign.node / "artifacts/way").symlink_to(foreign.outside)
    with_sums(foreign, name.format(outside=foreign.outside))
    code, result = foreign("verify", RUN)
    assert code == ExitCode.FAILED
    assert "not read" in result


def test_verify_does_not_wait_for_a_fifo(foreign: Foreign) -> None:
    """A FIFO is no file that was pulled."""
    os.mkfifo(foreign.node / "artifacts/fifo")
    with_sums(foreign, "artifacts.sha256", "fifo")
    assert "cannot be read" in foreign("verify", RUN)[1]


HOSTILE_TEXTS = (
    "x = " + "[" * 5000 + "]" * 5000,
    "x = " + "[" * 200 + "]" * 200,
    ".".join(["a"] * 1500) + " = 1",
    "x = " + "9" * 5000,
    "schema_version = 1\n[node]\nid = " + "[" * 70 + "]" * 70,
    "\0",
    "",
)


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
@pytest.mark.parametrize("name", ["manifest.toml", "../run.toml", "events.jsonl"])
def test_hostile_files_are_damage(foreign: Foreign, name: str, text: str) -> None:
    """Deep nesting, numbers without end and other nonsense are reported, and nothing more."""
    (foreign.node / name).write_text(text)
    assert foreign.survives()


def test_a_file_that_is_too_large_is_not_read(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory that a file may cost is bounded (here: to less than usual)."""
    monkeypatch.setattr(manifest, "MOST_BYTES", 1000)
    (foreign.node / "manifest.toml").write_text("#" * 1001)
    assert "left out" in foreign("show", RUN)[1]
    (foreign.run / "run.toml").write_text("#" * 1001)
    assert "larger than 1000 bytes" in foreign("show", RUN)[1]


WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1e308, float("inf"), float("nan"), "", "x", "\ud800", [], [[]], {}, {"a": {"b": 1}},
)  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_damaged_values_end_no_command(foreign: Foreign, seed: int) -> None:
    """Any value of a manifest, run file or journal may be of another kind than it should be, or missing."""
    chance = random.Random(seed)
    mangle_toml(foreign.node / "manifest.toml", chance)
    mangle_toml(foreign.run / "run.toml", chance)
    events = [dict(event) for event in foreign.journal]
    for event in events:
        for name in list(event):
            if chance.random() < 0.3:
                event[name] = chance.choice(WRONG)
            elif chance.random() < 0.1:
                del event[name]
    foreign.write_journal(events)
    assert foreign.survives()


def mangle_toml(path: Path, chance: random.Random) -> None:
    """Replace a few values of a TOML file."""
    values = (
        "true",
        "-1",
        "10" + "0" * 30,
        "1e308",
        "inf",
        "nan",
        '""',
        '"x"',
        "[]",
        "[[]]",
        "{}",
        "{a = {b = 1}}",
    )
    lines = path.read_text().splitlines()
    for at in chance.sample(range(len(lines)), k=3):
        name, equals, _ = lines[at].partition(" = ")
        if equals:
            lines[at] = f"{name} = {chance.choice(values)}"
    path.write_text("\n".join(lines))

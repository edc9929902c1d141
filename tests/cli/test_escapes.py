"""Texts of pods, logs and exceptions cannot act on the terminal, whichever command shows them."""

from __future__ import annotations

import re

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RunResult
from tests.cli.conftest import Project

HOSTILE = r"""
import rpd

EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b]0;owned\x1b\\\x1b[2J\x9b2J\x9d0;owned\x9c\u202egnp.exe\u2066"

@rpd.fixture
def shell(pod):
    return pod

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1), env={"EVIL": "x"})
@rpd.mark.parametrize("word", [rpd.param(EVIL + "word", id="case")])
def fit(pod, word, record_metric):
    record_metric("metric" + EVIL, "value" + EVIL)
    pod.run(r"printf '\033]52;c;ZXZpbA==\007\033]0;owned\007\033[2J\033[31mred\033[0m\n'", name="step" + EVIL)
    pod.run(r"printf 'a bar 10%%\r\033[Ka bar 99%%\n'; : '" + EVIL + "'", name="bar")
    raise RuntimeError("reason" + EVIL)

@rpd.job
@rpd.mark.parametrize("formula", ["=1+1", "+cmd|' /C calc'!A0", "-5", "@x", "\tx", -1.5])
def sheet(formula, record_metric):
    record_metric("=HYPERLINK()", formula)
"""
COLOR = re.compile(r"\x1b\[[0-9;]*m")
BOARD = re.compile(r"\x1b\[\?25[lh]|\x1b\[1?A|\x1b\[2K|\r")
"""What rpd's own board is drawn with."""
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
NAMES = (
    "show",
    "show fit",
    "events",
    "events fit",
    "runs",
    "report",
    "report --csv",
    "diff : :fit",
    "ps",
    "logs fit",
)


@pytest.fixture(scope="module")
def project(module_emulator: Launched, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("escapes") / "project")
    made.write({"rpd.toml": "", "deploy_a.py": HOSTILE})
    return made


@pytest.fixture(scope="module")
def ran(project: Project) -> RunResult:
    return project.run(
        "--yes", "-v", "--html", "r.html", "--junitxml", "r.xml", env={"GITHUB_STEP_SUMMARY": "s.md"}
    )


def test_the_run_itself_prints_nothing_that_acts(ran: RunResult) -> None:
    """Lines, failures and tables of a run, in a log file."""
    assert ran.exit_code == 1, ran.err
    assert "reason" in ran.out
    assert not ACTS.findall(ran.out + ran.err)


@pytest.mark.parametrize("name", ["r.html", "r.xml", "s.md"])
def test_reports_for_elsewhere_hold_nothing_that_acts(project: Project, ran: RunResult, name: str) -> None:
    """HTML, JUnit and the step summary, which people print on terminals as well."""
    text = (project.folder / name).read_text(encoding="utf-8")
    assert "reason" in text
    assert not ACTS.findall(text)


@pytest.mark.parametrize("words", NAMES)
def test_no_command_shows_what_acts(project: Project, ran: RunResult, words: str) -> None:
    """Past runs on a terminal: of all control characters only colours are left (of a log also its progress bar)."""
    shown = COLOR.sub("", project.on_terminal(*words.split())).replace("\r\n", "\n")
    if words.startswith("logs"):
        assert "red" in shown
        assert "a bar 10%\r\x1b[Ka bar 99%" in shown
        shown = shown.replace("\r\x1b[K", "")
    assert not ACTS.findall(shown), shown


def test_a_log_in_a_pipe_is_byte_for_byte(project: Project, ran: RunResult) -> None:
    """``rpd logs NODE > file`` is the log."""
    assert ran.run_dir is not None
    [log] = ran.run_dir.glob("*/output.log")
    assert project.command("logs", "fit").out == log.read_bytes().decode(errors="replace")


def test_streamed_output_keeps_its_colours_only(project: Project, module_emulator: Launched) -> None:
    """``-s`` on a terminal passes a command's colours but no other escapes; a file gets neither."""
    shown = project.on_terminal("run", "-s", "--yes", "deploy_a.py::fit")
    assert "\x1b[31mred\x1b[0m" in shown
    assert not ACTS.findall(BOARD.sub("", COLOR.sub("", shown)))
    piped = project.run("-s", "--yes", "deploy_a.py::fit")
    assert "| red" in piped.out
    assert not ACTS.findall(piped.out)


def test_spreadsheets_find_no_formula(ran: RunResult) -> None:
    """Text that begins as a formula does gets an apostrophe; numbers stay numbers, in text form too."""
    assert ran.run_dir is not None
    text = (ran.run_dir / "results.csv").read_text(encoding="utf-8")
    assert "'=HYPERLINK()" in text.splitlines()[0]
    assert ",'=1+1," in text
    assert ",'+cmd|' /C calc'!A0," in text
    assert ",'@x," in text
    assert ",'\tx," in text
    assert ",-5,,-5," in text
    assert ",-1.5,,-1.5," in text
    assert not ACTS.findall(text)


def test_an_error_message_cannot_act(project: Project) -> None:
    """An error may quote a typed text or an API's answer."""
    failed = project.command("show", "x\x1b]0;owned\x07y")
    assert failed.exit_code == 4
    assert not ACTS.findall(failed.err)

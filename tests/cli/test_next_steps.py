"""The commands to type next: after a run that did not go well, and after a mistyped command."""

from __future__ import annotations

import shlex
import signal

import pytest

from rpd.cli.commands import COMMANDS, command
from rpd.errors import UsageError
from tests.cli.conftest import Project
from tests.waiting import wait_until

AWKWARD = """
import rpd

@rpd.job
@rpd.mark.parametrize("words", ["it's", "two words"])
def fit(words):
    assert words == "two words"
"""

WAITING = """
import time, pathlib
import rpd

@rpd.job
@rpd.mark.parametrize("seed", [1, 2])
def wait(seed):
    print("begun", flush=True)
    while not (pathlib.Path(__file__).parent / "go").exists():
        time.sleep(0.02)
"""


def steps(out: str) -> list[list[str]]:
    """Return the commands that the end of a run offers, as a shell would split them."""
    lines = out.splitlines()
    begin = next((number for number, line in enumerate(lines) if line.startswith("next: ")), len(lines))
    offered = []
    for line in lines[begin:]:
        if not line.startswith(("next: ", "      rpd")):
            break
        offered.append(shlex.split(line[6:].partition("  ")[0]))
    return offered


def test_failures_name_what_comes_next(project: Project) -> None:
    """Each command can be pasted as it stands, and does what it promises; a run that passed offers none."""
    project.write({"deploy_a.py": AWKWARD})
    failed = project.run()
    assert steps(failed.out) == [["rpd", "run", "--lf"], ["rpd", "show", "fit[it's]"]]
    assert "AssertionError" in project.command(*steps(failed.out)[1][1:]).out
    assert steps(project.run("--lf", "deploy_a.py").out)[0] == ["rpd", "run", "deploy_a.py", "--lf"]
    assert steps(project.run("--local", "--runs-dir", "r 1").out)[0][2:] == [
        "--lf",
        "--local",
        "--runs-dir",
        "r 1",
    ]
    for quiet in (["-q"], ["--no-summary"], ["--dry-run"], ["-k", "two"]):
        assert steps(project.run(*quiet).out) == []
    [shown] = [line for line in project.command("show").out.splitlines() if line.startswith("rpd run")]
    assert shlex.split(shown)[:4] == ["rpd", "run", "-k", "two"]


def test_ctrl_c_names_what_comes_next(project: Project) -> None:
    """``--lf`` also takes up nodes that never began because of it."""
    project.write({"deploy_a.py": WAITING})
    running = project.rpd.start(project.folder)
    wait_until(lambda: "begun" in running.out, "the job")
    running.send_signal(signal.SIGINT)
    wait_until(lambda: "starting nothing new" in running.out, "the answer to Ctrl-C")
    (project.folder / "go").touch()
    ended = running.finish(60)
    assert ended.exit_code == 2
    assert steps(ended.out) == [["rpd", "run", "--lf"]]
    assert "runs the nodes that did not pass and those left out" in ended.out
    assert "rerun previous 2 failures" in project.run("--lf", "--dry-run").out


def test_nothing_to_do_says_why(project: Project) -> None:
    """No file, no job in it, nothing selected, nothing to resume: each suggests a command."""
    empty = project.run()
    assert (empty.exit_code, "no file deploy_*.py in" in empty.err, "rpd init" in empty.err) == (
        5,
        True,
        True,
    )
    assert "`rpd run` starts one" in project.command("resume").err
    project.write({"deploy_a.py": "import rpd\n"})
    assert "no job in the deploy file: mark a function with @rpd.job" in project.command("collect").err
    project.write({"deploy_a.py": AWKWARD})
    chosen = project.command("collect", "-k", "three or four", "deploy_a.py")
    assert "2 nodes collected, 2 deselected, none selected" in chosen.out
    assert "-k 'three or four' selects none of them: `rpd collect deploy_a.py` lists" in chosen.err
    assert "--lf selects none of them" in project.run("--lf").err


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("list", "`rpd runs`"),
        ("status", "`rpd ps`"),
        ("cancel", "`rpd stop"),
        ("ls-stale", "`rpd gc`"),
        ("ls_stale", "`rpd gc`"),
        ("validate", "`rpd doctor`"),
        ("test", "`rpd run`"),
        ("deploy", "`rpd run`"),
        ("fetch", "pod.pull"),
        ("colect", "Did you mean 'collect'?"),
        ("train.yaml", "`rpd import train.yaml` turns it into a deploy file"),
        ("--config", "a YAML configuration of runpod-deploy; settings live in rpd.toml"),
        ("--lf", "Start with a command"),
        ("deploy_x.py::fit[a b]", "`rpd run 'deploy_x.py::fit[a b]'`"),
        ("quux", "The commands are collect, run"),
    ],
)
def test_words_of_other_tools(word: str, hint: str) -> None:
    """A word that is no command is answered with the command that does it here."""
    with pytest.raises(UsageError) as raised:
        command(word)
    assert hint in str(raised.value)


def test_every_hint_names_commands_that_there_are() -> None:
    """A hint for a word that became a command, or names none, would mislead."""
    from rpd.cli import command_hints

    assert not set(command_hints._COMMANDS) & set(COMMANDS)
    for hint in {*command_hints._COMMANDS.values(), *command_hints._FLAGS.values()}:
        named = [part.split()[1] for part in hint.split("`")[1::2] if part.startswith("rpd ")]
        assert all(name in COMMANDS or name == "--version" for name in named), hint


def test_flags_and_arguments_of_other_tools(project: Project) -> None:
    """So is a flag, and the name of a node where its place is expected."""
    assert "a YAML configuration of runpod-deploy" in project.run("--config", "x.yaml").err
    assert "`rpd collect` lists what would run" in project.run("--collect-only").err
    assert "-k seed42 selects nodes by their names" in project.run("seed42").err


def test_the_run_folder_is_told_first_and_last(project: Project) -> None:
    """``--print-run-dir`` prints it before anything runs, so that a script may follow, and at the end."""
    project.write({"deploy_a.py": AWKWARD})
    lines = project.rpd(project.folder, "run", "--print-run-dir", command="").out.splitlines()
    assert lines[-1].startswith(str(project.folder / "rpd-runs"))
    first, last = (number for number, line in enumerate(lines) if line == lines[-1])
    failed = next(i for i, line in enumerate(lines) if line.startswith("FAILED  deploy_a.py::fit[it's]"))
    assert first < failed < last

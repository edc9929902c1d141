"""Shell completion: the offered words, and that real shells insert them quoted correctly."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rpd.cli.candidates import candidates
from rpd.cli.commands import COMMANDS
from rpd.cli.completion import SCRIPTS
from rpd.cli.typed import escaped, split
from rpd.testing import RunResult
from tests.cli.conftest import Project

BREAKS = " \t\n\"'@><=;|&(:"
JOBS = """
import rpd

raise_if_imported_for_completion = open(__file__ + ".imported", "a").close()

@rpd.fixture
def shared(): ...

@rpd.job
@rpd.mark.parametrize("word", ["plain", "it's", "two words"])
def fit(word): ...

def helper(): ...

@rpd.job
def score(): ...
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("completion") / "project")
    made.write(
        {"rpd.toml": 'runs_dir = "out"\nmarkers = ["nightly: the long ones"]\n', "sub/deploy_a.py": JOBS}
    )
    return made


@pytest.fixture(scope="module")
def ran(project: Project) -> RunResult:
    result = project.run()
    assert result.exit_code == 0, result.err
    (project.folder / "sub" / "deploy_a.py.imported").unlink()
    return result


def offered(project: Project, *words: str) -> list[str]:
    return list(candidates(words, project.folder))


def test_commands_and_flags(project: Project) -> None:
    """The first word is a command; a flag is one of the command's own, with its values where they are known."""
    assert offered(project, "re") == ["resume", "report"]
    assert set(offered(project, "")) == set(COMMANDS)
    assert offered(project, "run", "--fallb") == ["--fallback-cloud-type"]
    assert offered(project, "--dry-run", "--fallb") == ["--fallback-cloud-type"]
    assert offered(project, "runs", "--fallb") == []
    assert offered(project, "run", "--cloud", "") == ["secure", "community", "any"]
    assert offered(project, "run", "--cloud=s") == ["--cloud=secure"]
    assert offered(project, "run", "-m", "ni") == ["nightly"]
    assert "runs_dir=" in offered(project, "run", "-o", "ru")
    assert offered(project, "run", "--gpu-id", "NVIDIA H100 P") == ["NVIDIA H100 PCIe"]
    assert offered(project, "completion", "") == ["bash", "zsh", "fish"]
    assert offered(project, "nonsense", "") == offered(project, "ssh", "x", "--", "l") == []


def test_runs_and_nodes(project: Project, ran: RunResult) -> None:
    """Runs by their ids, nodes of the newest by their names, jobs and known cases of a file; no user code is run."""
    assert ran.run_dir is not None
    run = ran.run_dir.name
    nodes = ["fit[plain]", "fit[it's]", "fit[two words]", "score"]
    assert offered(project, "resume", "") == offered(project, "report", "") == [run]
    assert offered(project, "diff", run, "") == [run]
    assert offered(project, "show", "") == [run, *nodes]
    assert offered(project, "show", run, "sc") == ["score"]
    assert offered(project, "logs", "") == nodes
    assert offered(project, "logs", "--run", "") == [run]
    file = "sub/deploy_a.py::"
    cases = sorted(f"{file}{name}" for name in nodes[:3])
    assert offered(project, "run", file) == [f"{file}fit", f"{file}score"]
    assert offered(project, "run", f"{file}fit") == [f"{file}fit", *cases]
    assert offered(project, "run", f"{file}s") == [f"{file}score"]
    assert offered(project, "run", "sub/") == []
    assert not (project.folder / "sub" / "deploy_a.py.imported").exists()


def test_a_broken_project_offers_nothing(tmp_path: Path) -> None:
    """Completion is silent where the configuration or a file cannot be read."""
    project = Project(tmp_path)
    project.write({"rpd.toml": "x = [", "deploy_a.py": "def ("})
    done = project.rpd(project.folder, "bash", "rpd logs ", BREAKS, command="__complete")
    assert (done.exit_code, done.out, done.err) == (0, "", "")
    (tmp_path / "rpd.toml").write_text("")
    assert offered(project, "run", "deploy_a.py::") == []


@pytest.mark.parametrize(
    ("line", "words", "quote", "kept"),
    [
        ("rpd run ", ["rpd", "run", ""], "", 0),
        ("rpd run a/deploy_x.py::fi", ["rpd", "run", "a/deploy_x.py::fi"], "", 15),
        ("rpd run 'deploy_x.py::fit[a b", ["rpd", "run", "deploy_x.py::fit[a b"], "'", 0),
        (r"rpd logs fit\[it\'s", ["rpd", "logs", "fit[it's"], "", 0),
        ('rpd logs "a \\"b', ["rpd", "logs", 'a "b'], '"', 0),
        ("rpd run --cloud=se", ["rpd", "run", "--cloud=se"], "", 8),
        ("rpd run '' x", ["rpd", "run", "", "x"], "", 0),
    ],
)
def test_a_line_that_is_being_typed(line: str, words: list[str], quote: str, kept: int) -> None:
    """Words as bash sees them, quotes that are still open, and the part of the last word that bash leaves alone."""
    typed = split(line, BREAKS)
    assert (typed.words, typed.quote, typed.kept) == (words, quote, kept)
    assert [split(escaped(word), BREAKS).words for word in words] == [[word] for word in words]


# --- real shells ----------------------------------------------------------------------------------------------------


def typed_in_bash(project: Project, lines: list[str]) -> list[list[str]]:
    """Type each line and a TAB at an interactive bash, and return the words it then has there."""
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "TERM": "dumb",
        "PS1": "$ ",
        "INPUTRC": "/nonexistent",
        "PATH": f"{binaries}:{os.environ['PATH']}",
    }
    here, there = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], cwd=project.folder, env=environment,
        stdin=there, stdout=there, stderr=there, start_new_session=True,
    )  # fmt: skip
    os.close(there)
    collected = []
    try:
        os.write(here, b"eval \"$(rpd completion bash)\"; echo beg''un\n")
        read_until(here, b"begun\r\n")
        for line in lines:
            # The line as it is completed becomes the arguments of a printf, so that the shell itself takes it apart.
            os.write(here, f"{line}\t\x01printf '<%s>' \n echo; echo e''nd\n".encode())
            [matches] = re.findall(rb"(?m)^(?:\$ )?(<rpd>.*?>)(?:\$|\r)", read_until(here, b"end\r\n"))
            collected.append(re.findall("<(.*?)>", matches.decode()))
    finally:
        os.close(here)
        shell.kill()
        shell.wait()
    return collected


def read_until(descriptor: int, mark: bytes) -> bytes:
    text, deadline = b"", time.monotonic() + 60
    while mark not in text:
        assert time.monotonic() < deadline, text
        if select.select([descriptor], [], [], 1)[0]:
            text += os.read(descriptor, 65536)
    return text


def test_bash_puts_in_what_has_to_be_typed(project: Project, ran: RunResult) -> None:
    """An interactive bash: brackets, quotes and blanks come out as one word, colons and equal signs do not confuse it."""
    assert ran.run_dir is not None
    expected = {
        "rpd res": ["rpd", "resume"],
        "rpd logs fit[p": ["rpd", "logs", "fit[plain]"],
        r"rpd logs fit\[it": ["rpd", "logs", "fit[it's]"],
        "rpd logs fit[t": ["rpd", "logs", "fit[two words]"],
        "rpd logs 'fit[t": ["rpd", "logs", "fit[two words]"],
        'rpd logs "fit[i': ["rpd", "logs", "fit[it's]"],
        "rpd run --tb=sh": ["rpd", "run", "--tb=short"],
        "rpd run --cloud se": ["rpd", "run", "--cloud", "secure"],
        "rpd run sub/dep": ["rpd", "run", "sub/deploy_a.py"],
        "rpd run sub/deploy_a.py::s": ["rpd", "run", "sub/deploy_a.py::score"],
        "rpd run sub/deploy_a.py::fit[p": ["rpd", "run", "sub/deploy_a.py::fit[plain]"],
        "rpd show 2": ["rpd", "show", ran.run_dir.name],
        r"rpd run --gpu-id NVIDIA\ H100\ P": ["rpd", "run", "--gpu-id", "NVIDIA H100 PCIe"],
    }
    assert typed_in_bash(project, list(expected)) == list(expected.values())


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_one_of_its_shell(project: Project, shell: str) -> None:
    """Each shell that is here reads its script; every script asks the rpd that was typed."""
    printed = project.command("completion", shell)
    assert (printed.exit_code, printed.out) == (0, SCRIPTS[shell])
    assert f"__complete {shell} " in printed.out
    if shutil.which(shell) is not None:
        subprocess.run(
            [shell, "-n"], input=printed.out, text=True, check=True, capture_output=True, timeout=60
        )
    assert "takes one shell: bash, zsh, fish" in project.command("completion", "tcsh").err


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
def test_fish_offers_the_same(project: Project, ran: RunResult) -> None:
    """Fish's own report of its completions."""
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        ["fish", "--no-config", "-c", "rpd completion fish | source; complete -C 'rpd logs sc'"],
        cwd=project.folder, env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith("score")

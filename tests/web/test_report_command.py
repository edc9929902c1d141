"""``rpd report --html``: one run, several, or the nodes that fit an expression."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.cli import main
from rpd.errors import ExitCode
from tests.web.conftest import RUN, write_run
from tests.web.test_page import document

OTHER = "20260103T030405Z-abcdef"


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(folder.parent, OTHER)
    (folder.parent.parent / "rpd.toml").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent.parent / "cache"))
    monkeypatch.chdir(folder.parent.parent)
    return folder.parent.parent


def test_one_run_several_runs_and_a_query(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs come in the order named, each once; a query takes all runs, and of each the nodes that fit."""
    path = project / "new" / "page.html"

    def made(*words: str) -> tuple[list[str], int]:
        assert main(["report", *words, "--html", "new/page.html"]) == ExitCode.OK
        page = document(path.read_text())
        return [run["id"] for run in page["runs"]], len(page["nodes"])

    assert made(RUN) == ([RUN], 18)
    assert made(RUN, OTHER, RUN) == ([RUN, OTHER], 36)
    assert made("--where", "lr < 0.1 and depth == 4") == ([OTHER, RUN], 12)
    assert made(OTHER, "--where", "outcome == 'failed'") == ([OTHER], 2)
    assert "wrote" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--where", "lr < 0.01"), "rpd query"),
        (("--where", "lr > 7", "--html", "x.html"), "no node matches"),
        (("--where", "lrr > 7", "--html", "x.html"), "lrr"),
        (("--html", "."), "expected a file"),
        (("nosuch", "--html", "x.html"), "nosuch"),
        (("--sort", "lossy", "--html", "x.html"), "lossy"),
        ((RUN, OTHER), "--html FILE makes a page of several"),
    ],
)
def test_mistakes_are_told(
    project: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong argument is one error, and no file is made."""
    assert main(["report", *words]) == ExitCode.USAGE_ERROR
    assert message in capsys.readouterr().err
    assert not (project / "x.html").exists()

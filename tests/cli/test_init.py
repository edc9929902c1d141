"""``rpd init``, and conftests that have another name than pytest's."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.cli import main
from rpd.config.settings_file import find_root, read_file

JOB = "import rpd\n\n@rpd.job\ndef fit(data): ...\n"
FIXTURE = "import rpd\n\n@rpd.fixture\ndef data(): return 1\n"
PYTESTS = """
import pytest

def pytest_addoption(parser): parser.addoption("--slow", action="store_true")

@pytest.fixture
def tmp_model(): return 1
"""
WITHOUT_PYTEST = "raise ModuleNotFoundError(\"No module named 'pytest'\")  # as `import pytest` does\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_conftest_of_pytest_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``rpd init`` names the way out, ``--conftest`` takes it, and every command then goes by it."""
    (tmp_path / "conftest.py").write_text(WITHOUT_PYTEST)
    assert main(["init"]) == 4
    assert (
        "conftest.py already exists; nothing was written. If it belongs to pytest" in capsys.readouterr().err
    )
    assert main(["init", "--conftest", "rpd_conftest.py"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".rpdignore", "conftest.py", "deploy_first.py", "rpd.toml", "rpd_conftest.py",
    ]  # fmt: skip
    (tmp_path / "rpd_conftest.py").write_text(FIXTURE)
    (tmp_path / "deploy_b.py").write_text(JOB)
    capsys.readouterr()
    assert main(["run", "--dry-run"]) == 0
    assert main(["collect", "-q", "deploy_b.py"]) == 0
    assert capsys.readouterr().out.endswith("deploy_b.py::fit\n")
    assert (tmp_path / "conftest.py").read_text() == WITHOUT_PYTEST


def test_a_new_project_gets_settings_and_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``rpd.toml`` and ``.rpdignore`` say what they are for; in a repository git ignores the runs. Nothing is lost."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.pyc")
    (tmp_path / ".rpdignore").write_text("mine\n")
    assert main(["init"]) == 0
    assert f"added rpd-runs to {tmp_path / '.gitignore'}" in capsys.readouterr().out
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\nrpd-runs/\n"
    assert (tmp_path / ".rpdignore").read_text() == "mine\n"
    settings = tmp_path / "rpd.toml"
    assert read_file(settings) == {}
    lines = [line.removeprefix("# ") for line in settings.read_text().splitlines()]
    settings.write_text("\n".join(line for line in lines if " = " in line or line.startswith("[")))
    assert read_file(settings).keys() == {
        "n",
        "confirm_above_usd",
        "keep_failed",
        "addopts",
        "job",
        "variables",
    }
    assert main(["collect", "-q"]) == 0  # jobs take these defaults
    assert main(["init", "sub"]) == 0
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == [
        ".rpdignore", "conftest.py", "deploy_first.py",
    ]  # fmt: skip
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\nrpd-runs/\n"


def test_a_conftest_of_pytest_that_cannot_be_loaded_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an environment of rpd's own there is no pytest."""
    (tmp_path / "conftest.py").write_text(WITHOUT_PYTEST)
    (tmp_path / "deploy_b.py").write_text(JOB)
    assert main(["collect"]) == 2
    text = capsys.readouterr().err
    assert '`rpd init --conftest rpd_conftest.py`, or conftest = "rpd_conftest.py" in rpd.toml' in text
    (tmp_path / "conftest.py").write_text("1 / 0\n")
    assert main(["collect"]) == 2
    assert "rpd init" not in capsys.readouterr().err


def test_words_of_pytest_in_files_of_rpd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fixture or mark of pytest is named, with the replacement to write."""
    head = "import pytest, rpd\n\n"
    (tmp_path / "conftest.py").write_text(PYTESTS)
    cases = {
        "@rpd.job\ndef fit(tmp_model): ...\n": "'tmp_model' in conftest.py is a pytest fixture: declare it with @rpd.fixture",
        "@rpd.job\n@pytest.mark.parametrize('n', [1])\ndef fit(n): ...\n": "write @rpd.mark.parametrize",
        "@pytest.mark.skip\n@rpd.job\ndef fit(): ...\n": "rpd does not read pytest.mark.skip: write @rpd.mark.skip",
        "pytestmark = pytest.mark.skip\n@rpd.job\ndef fit(): ...\n": "rpd does not read pytestmark: write rpdmark",
    }
    for text, message in cases.items():
        (tmp_path / "deploy_b.py").write_text(head + text)
        assert main(["collect"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rpd.toml", "n = 2\n\n[job]\nimage = 'x'\n"),
        ("rpd.toml", "\ufeffn = 2\r\n"),
        (
            "pyproject.toml",
            "[project]\nname = 'x'\n\n[tool.rpd] # ours\nn = 2\n\n[tool.rpd.job]\nimage = 'x'\n",
        ),
        ("pyproject.toml", "[tool.rpd]\r\nn = 2\r\n"),
    ],
)
def test_the_setting_goes_into_the_file_there_is(name: str, text: str, tmp_path: Path) -> None:
    """It is added to the contents of the file, which stay unchanged."""
    (tmp_path / name).write_text(text, newline="")
    assert main(["init", "sub", "--conftest", "rpd_conftest.py"]) == 0
    assert (tmp_path / "sub" / "rpd_conftest.py").is_file()
    result = read_file(find_root(tmp_path / "sub")[1])
    assert result["conftest"] == "rpd_conftest.py"
    assert result["n"] == 2
    rest = (tmp_path / name).read_bytes().decode().replace('conftest = "rpd_conftest.py"\n', "")
    assert rest == text.removeprefix("\ufeff")


def test_what_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that is spelled in an unusual way, another name that is set: nothing is written."""
    for text, message in {
        "[tool]\nrpd = {n = 2}\n": 'put conftest = "rpd_conftest.py" into the table tool.rpd',
        "[tool.rpd]\nconftest = 'mine.py'\n": "it already sets conftest to 'mine.py'",
    }.items():
        (tmp_path / "pyproject.toml").write_text(text)
        assert main(["init", "--conftest", "rpd_conftest.py"]) == 4
        assert message in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]
    assert main(["init"]) == 0
    assert (tmp_path / "mine.py").is_file()


@pytest.mark.parametrize("name", ["conf/test.py", "conftest", "my-conftest.py", "..py", ""])
def test_names_that_no_conftest_can_have(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It has to be the name of a file that can be imported."""
    assert main(["init", "--conftest", name]) == 4
    assert "expected the name of a Python file" in capsys.readouterr().err
    assert main(["collect", "-o", f"conftest={name}"]) == 4

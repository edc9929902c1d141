"""The documentation: links lead somewhere, Python compiles and collects, commands exist."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from rpd.cli.commands import COMMANDS, every_setting
from rpd.errors import Cause, ExitCode
from rpd.execute import fixtures
from rpd.values.fixture import FIXTURE_ATTRIBUTE
from rpd.values.job import Job
from rpd.values.report import Outcome

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("*/README.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    }
)
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
ALL_DOCS = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.parent.name == "docs")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ((?:[\w-]+/)*(?:deploy_\w+|conftest)\.py)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it begins, its language, its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The name in the comment on the first line of a whole deploy file or conftest."""
        match = FILE_NAME.match(self.text)
        return match[1] if match else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page) if block.language == language]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page.relative_to(ROOT).as_posix(), line, match[1], match[2])


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_local_links_resolve(page: Path) -> None:
    """Every link to a file of the repository names a file that is there, and a heading that is on it."""
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    """Every Python block is Python."""
    compile(block.text, str(block), "exec")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with every block that is a whole file, each in a separate folder, named by page and line.

    A conftest stands next to a job that asks for its fixtures. Files that jobs send or require are there.
    """
    root = tmp_path_factory.mktemp("docs")
    (root / "rpd.toml").write_text('markers = ["slow", "smoke"]\n', encoding="utf-8")
    for block in blocks("python"):
        if block.file_name is None:
            continue
        folder = root / f"{block.page.replace('/', '-').removesuffix('.md')}-{block.line}"
        file = folder / block.file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
        for name in ("data/train.csv", "data/test.csv", "uv.lock", "requirements.txt"):
            (file.parent / name).parent.mkdir(exist_ok=True)
            (file.parent / name).touch()
        if file.name == "conftest.py":
            names = re.findall(r"^@rpd\.fixture.*\n(?:def|async def) (\w+)", block.text, re.MULTILINE)
            job = f"import rpd\n\n@rpd.job\ndef probe({', '.join(names)}): ...\n"
            (file.parent / "deploy_probe.py").write_text(job, encoding="utf-8")
    return root


def test_deploy_files_run_dry(written: Path) -> None:
    """Every block that is a whole file collects, and each of its nodes runs dry; all in one process."""
    done = rpd("run", "--dry-run", "-q", "--var", "dataset=small", cwd=written, seconds=300)
    assert done.returncode == 0, done.stdout + done.stderr
    folders = {path.parent.relative_to(written).parts[0] for path in written.rglob("deploy_*.py")}
    assert len(folders) > 15
    missing = {folder for folder in folders if f"{folder}/" not in done.stdout}
    assert missing == set()


@pytest.mark.parametrize("block", [*blocks("toml"), *blocks("bash")], ids=str)
def test_other_blocks_are_what_they_say(block: Block) -> None:
    """TOML is TOML, a script for the shell is one."""
    if block.language == "toml":
        tomllib.loads(block.text)
    else:
        subprocess.run(["sh", "-n"], input=block.text, text=True, check=True, timeout=60)


def templates_in(tree: ast.AST) -> Iterator[str]:
    """Yield the texts in a module, with ``…`` where an f-string has a value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_troubleshooting_quotes_what_rpd_prints() -> None:
    """Every message that the page explains is in the code, piece by piece around its names and numbers."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^### `(.*)`$", page, re.MULTILINE)
    assert len(quoted) > 30
    assert len(set(quoted)) == len(quoted)
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "rpd").rglob("*.py")]
    known = [text for source in sources for text in templates_in(ast.parse(source))]
    for message in quoted:
        pieces = [piece for piece in re.split(r"…", message) if len(piece.strip(" :,.()$")) >= 3]
        assert pieces, message
        for piece in pieces:
            assert any(piece in text for text in known), f"rpd prints no {piece!r} ({message})"


def test_every_entry_of_troubleshooting_says_what_to_do() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for entry in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        assert "**Do.**" in entry, entry.splitlines()[0]


def test_contributing_names_files_that_are_there() -> None:
    """Every path on the page leads to something."""
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:rpd|docs|tests)/[\w./]+)`", page)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists() and "NAME" not in path] == []


def commands() -> list[tuple[str, str]]:
    """Return every rpd command that a console block shows, with its place."""
    lines = []
    for block in blocks("console"):
        for line in block.text.splitlines():
            if line.startswith("$ "):
                lines += [
                    (str(block), part.strip()) for part in re.split(r"&&|;|\|", line[2:]) if is_rpd(part)
                ]
    return lines


def is_rpd(part: str) -> bool:
    words = shlex.split(part, comments=True)
    return bool(words) and words[0] == "rpd"


@pytest.mark.parametrize(("place", "command"), commands())
def test_commands_exist(place: str, command: str) -> None:
    """Every rpd command in a console block names a command and flags that its help knows."""
    words = shlex.split(command, comments=True)[1:]
    names = [word for word in words if not word.startswith("-")]
    if not words or words[0].startswith("-"):
        known = help_of("")
    else:
        assert re.search(rf"\b{names[0]}\b", help_of("")), f"{place}: no command {names[0]}"
        known = help_of(names[0])
    for flag in (word.partition("=")[0] for word in words if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", known), f"{place}: no flag {flag}"


def test_every_command_is_documented() -> None:
    """The documentation shows every command."""
    assert {name for name in COMMANDS if f"$ rpd {name}" not in ALL_DOCS} == set()


def test_every_flag_is_documented() -> None:
    """The documentation explains every flag of every command, in one of its spellings."""
    flags = [each.flags for each in every_setting() if not COMMANDS.keys().isdisjoint(each.commands)]
    assert [names for names in flags if not any(f"`{name}" in ALL_DOCS for name in names)] == []


def test_every_key_is_documented() -> None:
    """The documentation explains every key of the configuration file and every environment variable."""
    declared = every_setting()
    names = [name for setting in declared for name in (setting.key, setting.env) if name]
    assert [name for name in names if f"`{name}`" not in ALL_DOCS] == []


def test_every_exit_code_and_cause_is_documented() -> None:
    """The exit codes, causes and outcomes in the documentation are those of the code."""
    files = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (COMMAND_LINE, readme):
        assert re.findall(r"^\| (\d) \| ", page, re.MULTILINE) == [str(code.value) for code in ExitCode]
    assert [word for word in (*Cause, *Outcome) if f"`{word}`" not in files] == []


def test_every_job_field_and_fixture_is_documented() -> None:
    """The page on deploy files explains every field of a job and every built-in fixture."""
    page = (ROOT / "docs" / "deploy-files.md").read_text(encoding="utf-8")
    built_in = [name for name, value in vars(fixtures).items() if hasattr(value, FIXTURE_ATTRIBUTE)]
    names = [*(field.name for field in dataclasses.fields(Job)), *built_in, "request"]
    assert [name for name in names if f"`{name}`" not in page] == []


@cache
def help_of(command: str) -> str:
    done = rpd(*filter(None, [command, "--help"]), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rpd(*arguments: str, cwd: Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rpd", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"}
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds, check=False
    )

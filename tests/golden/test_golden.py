"""What each reading command prints, as text and as JSON, compared with a file of its earlier output.

``make goldens`` writes the files anew, and the change is reviewed as a diff: text is for people and may change, of JSON
keys may only be added (docs/stability.md).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

import rpd
from rpd.cli import main
from rpd.config.config import TELLING
from rpd.record.run_info import RunInfo
from tests.golden import prepared

COMMANDS = (
    "collect", "collect -q", "collect -v", "collect --json", "fixtures", "fixtures --per-node", "fixtures --json",
    "markers", "markers --json", "estimate", "estimate --json",
    "runs", "runs --json", "runs --filter outcome=failed", "runs --nodes --filter seed=1", "runs --nodes --json",
    "show", "show --json", "show 20261119", "show 20261119 'train[lr0.01-seed2]'",
    "show 20261119 'train[lr0.01-seed2]' --json", "show rpd-runs/20261120T100000Z-bbbbbb/deploy_x.train-lr0.1-seed1/manifest.toml",
    "diff 20261119 20261120", "diff 20261119 20261120 --all", "diff 20261119 20261120 --json",
    "diff ':train[lr0.1-seed1]' ':train[lr0.1-seed2]' --all",
    "events", "events 20261119 'train[lr0.01-seed2]'", "events --json", "events --all --filter event=refused",
    "query", "query 'loss < 0.6' --sort loss", "query --by lr --show 'count,mean(loss),std(loss),sum(usd)'", "query --columns",
    "query --sql 'SELECT event, count(*) AS n FROM events GROUP BY event ORDER BY event'", "query --csv --show run,node,loss",
    "query 'event.refused > 0' --json", "query --by outcome --json",
    "report", "report 20261119 --sort loss", "report --csv", "report --json", "report --over lr",
    "verify", "verify --json", "logs 'train[lr0.1-seed1]'",
)  # fmt: skip
WRONG = (
    "show 2025", "show nothere/manifest.toml", "show ./rpd-runs", "runs --filter outcom=failed", "events --all --filter evnt=x",
    "query 'losss < 1'", "query --sql 'SELECT x FROM nodes'", "report --over sed", "report --sort los", "diff 20261119",
    "events --all 20261119", "logs nothing", "verify 2025",
)  # fmt: skip


def _file_name(words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")[:80]


ELSEWHERE = {"ps", "gc", "audit", "plan", "advise", "volume", "gpus", "doctor", "capture-env"}
OF_RUN_TOML = {field.name for field in fields(RunInfo)}
DOCS = Path(__file__).parents[2] / "docs"


class _File(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.fixture
def golden(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """One file for each command."""
    return snapshot.use_extension(_File)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that all commands look at."""
    return prepared.make(tmp_path_factory.mktemp("golden"))


@pytest.fixture(autouse=True)
def _there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    for name in ("RUNPOD_API_KEY", "RUNPOD_API_BASE_URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))


def said(words: str, root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the output of a command, the same on every machine."""
    code = main(shlex.split(words))
    out, err = capsys.readouterr()
    text = "".join(
        [f"$ rpd {words}\n", out, *(f"stderr: {line}\n" for line in err.splitlines()), f"-> {int(code)}\n"]
    )
    text = text.replace(str(root.resolve()), "ROOT").replace(str(root), "ROOT")
    text = re.sub(r"(/rpd/execute/\w+\.py):\d+", r"\1:LINE", re.sub(r"(?m)[ \t]+$", "", text))
    return text.replace(rpd.__version__, "VERSION")


@pytest.mark.parametrize("words", COMMANDS, ids=_file_name)
def test_what_a_command_prints(
    words: str, root: Path, golden: SnapshotAssertion, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(words, root, capsys)
    assert "Traceback" not in text
    assert text == golden


@pytest.mark.parametrize("words", WRONG, ids=_file_name)
def test_what_a_mistake_is_told(
    words: str, root: Path, golden: SnapshotAssertion, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(root.rglob("*"))
    text = said(words, root, capsys)
    assert text.endswith("-> 4\n")
    assert text == golden
    assert [
        path for path in sorted(root.rglob("*")) if path not in before and path.name != ".manifests"
    ] == []


def test_a_damaged_manifest_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for that node gets exit code 4; who asks for the run gets the rest, and a line about it."""
    monkeypatch.chdir(prepared.make(tmp_path))
    broken = tmp_path / "rpd-runs" / prepared.NEWER / "deploy_x.train-lr0.1-seed1" / "manifest.toml"
    broken.write_text("schema_version = 1\n[node]\nid = 3\n", encoding="utf-8")
    for words in (
        "show 'train[lr0.1-seed1]'",
        f"show {broken}",
        f"diff ':train[lr0.1-seed1]' {prepared.OLDER}:lr0.1-seed1",
    ):
        assert main(shlex.split(words)) == 4
        assert f"{broken}: [node] id: expected a string" in capsys.readouterr().err
    for words, code in (
        ("show", 0),
        ("report", 0),
        ("query", 0),
        ("runs --nodes", 0),
        (f"diff {prepared.OLDER} latest", 1),
    ):
        assert main(shlex.split(words)) == code
        assert f"rpd: left out: {broken}: " in capsys.readouterr().err
    assert main(["show", "--json"]) == 0
    assert [str(broken) in text for text in json.loads(capsys.readouterr().out)["damaged"]] == [True]


def test_every_command_that_prints_json_is_here() -> None:
    """But for those whose answers come from RunPod or this machine; tests/cli has them."""
    here = {words.split()[0] for words in COMMANDS if "--json" in words}
    assert set(TELLING) - here == ELSEWHERE


def test_the_environment_as_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture-env", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert set(document) >= {"captured", "rpd", "python", "platform", "source", "packages"}
    assert set(document["source"]) >= {"git_sha", "branch", "lock_file", "lock_file_sha256"}


def test_every_key_is_documented() -> None:
    """docs/stability.md, or the page on files it refers to, names every key down to the items of lists."""
    text = "".join(
        (DOCS / name).read_text(encoding="utf-8") for name in ("stability.md", "files.md", "runs.md")
    )
    free = {
        "rows",
        "outcomes",
        "differences",
        "parameters",
        "metrics",
        "series",
        "variables",
        "phases",
        "fingerprint",
    }
    missing = set()
    for words in COMMANDS:
        if "--json" in words and not words.startswith("events"):
            saved = (Path(__file__).parent / "__snapshots__/test_golden").glob(
                f"*prints[[]{_file_name(words)}].txt"
            )
            document = json.loads(
                re.sub(r"(?m)^(\$|->|stderr:).*$", "", next(saved).read_text(encoding="utf-8"))
            )
            missing |= {
                key for key in _keys(document, free) if not re.search(rf"`\[*{re.escape(key)}\]*`", text)
            }
    assert missing <= OF_RUN_TOML


def _keys(value: Any, free: set[str]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            if key not in free:
                yield from _keys(each, free)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item, free)


@pytest.mark.parametrize("words", [words for words in COMMANDS if "--json" in words])
def test_documents_say_their_version(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(shlex.split(words))
    out = capsys.readouterr().out
    documents: list[Any] = (
        [json.loads(line) for line in out.splitlines()] if words.startswith("events") else [json.loads(out)]
    )
    assert {document["schema_version"] for document in documents} == {1}

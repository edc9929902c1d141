"""Texts as Python source: the written source evaluates to the original value."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from rpd.compat.runpod_deploy.excludes import translated
from rpd.compat.runpod_deploy.python_text import Lines, call, listed, literal, template
from rpd.compat.runpod_deploy.spec import TEMPLATE

texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.text("{}\"'\\\n$ab ", max_size=40)


@given(text=texts)
def test_a_literal_is_its_text(text: str) -> None:
    assert ast.literal_eval(literal(text)) == text


@given(
    text=st.lists(texts | st.sampled_from(["{seed}", "{lr}", "${seed}", "{ }", "{a,b}"]), max_size=6).map(
        "".join
    )
)
def test_a_template_renders_as_runpod_deploy_does(text: str) -> None:
    names: dict[str, Any] = {name: f"<{name}>" for name in re.findall(r"\{([A-Za-z_]\w*)\}", text)}
    rendered = re.sub(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda match: str(names[match[1]]), text)
    expression = template(text, TEMPLATE, lambda name: f"names['{name}']")
    assert eval(expression, {"names": names}) == rendered


@given(items=st.lists(texts, max_size=12))
def test_a_list_is_its_items_however_it_is_laid_out(items: list[str]) -> None:
    source = call("dict", (), {"exclude": listed(items)})
    assert eval(source) == {"exclude": items}


def test_lines_know_where_they_come_from() -> None:
    lines = Lines()
    lines.add("a")
    lines.add("b\nc", 7, counts=True)
    lines.add("d\ne", 9)
    assert (lines.text, lines.origin) == (["a", "b", "c", "d", "e"], [0, 7, 8, 9, 9])


TREE = (
    *(
        "a.txt",
        "b.log",
        "data/x.bin",
        "data/sub/y.bin",
        "src/data/x.bin",
        "src/a.txt",
        "src/deep/er/z",
        "deep/er/z",
    ),
    *(
        ".venv/bin/python",
        "src/.venv/lib",
        "#odd",
        "!bang",
        "x y/z",
        "src/__pycache__/m.pyc",
        "m.pyc",
        "data.txt",
    ),
)
PATTERNS = (
    *(
        "*.log",
        "*.pyc",
        "**/*.pyc",
        "data",
        "data/",
        "/data",
        "/data/",
        "data/x.bin",
        "/data/x.bin",
        "**/data/",
        "sub/y.bin",
    ),
    *(
        "deep/er/",
        "**/deep/er/",
        "/deep",
        ".venv/",
        "**/__pycache__/",
        "#odd",
        "!bang",
        "x y",
        "*.b?n",
        "[ab].*",
        "/src/a.txt",
    ),
    *("src/***", "/src/***", "da*", "nothing", "**/x.bin", "data/*", "/*.txt"),
)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed here")
@pytest.mark.parametrize("source", ["tree/", "tree"])
def test_rsync_leaves_out_the_same_files(source: str, tmp_path: Path) -> None:
    """Each pattern is given to rsync itself, and its translation to the rules that rpd reads."""
    for name in TREE:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    folder = "" if source.endswith("/") else "tree"
    patterns = [*PATTERNS, *([f"/tree{each}" for each in PATTERNS if each.startswith("/")] if folder else [])]
    for pattern in patterns:
        command = ["rsync", "-a", "--dry-run", "--out-format=%n", f"--exclude={pattern}", source, "gone/"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        sent = {line.removeprefix(f"{folder}/" if folder else "") for line in done.stdout.splitlines()}
        rule = translated(pattern, folder)
        rules = GitIgnoreSpec.from_lines([rule] if rule else [])
        # git looks at nothing below a folder that it ignores.
        kept = {
            name
            for name in TREE
            if not any(rules.match_file(f"{parent}/") for parent in _parents(name))
            and not rules.match_file(name)
        }
        assert {name for name in sent if name in TREE} == kept, pattern


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def test_excludes_of_rsync_become_those_of_git() -> None:
    said = {
        "*.pyc": "*.pyc",
        "**/*.pyc": "*.pyc",
        "**/__pycache__/": "__pycache__/",
        ".venv/": ".venv/",
        "/top": "/top",
        "a/b": "**/a/b",
        "**/a/b/": "**/a/b/",
        "dir/***": "dir/",
        "+ kept": None,
        "- gone": None,
        "!": None,
        ".hidden": ".hidden",
        "#odd": "\\#odd",
        "!bang": "\\!bang",
    }
    assert {pattern: translated(pattern) for pattern in said} == said
    # Where the folder itself is sent, its name is part of what begins at the top.
    assert translated("/src/x", "src") == "/x"
    assert translated("/x", "src") is None


def test_a_long_list_keeps_what_its_entries_are() -> None:
    entries = [
        'f"a/{seed}"',
        "seed",
        "run_dir.parent.name",
        'rf"\\d{seed}"',
        '"plain, with a comma"',
        "'it\"s'",
    ]
    source = call("put", (), {"exclude": f"[{', '.join(entries * 3)}]"}, indent=4)
    assert source.count("\n") == len(entries) * 3 + 3
    assert ast.dump(ast.parse(source.strip())) == ast.dump(
        ast.parse(f"put(exclude=[{', '.join(entries * 3)}])")
    )

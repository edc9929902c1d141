"""Texts as Python source: what is written evaluates to what was meant."""

from __future__ import annotations

import ast
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

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
    }
    assert {pattern: translated(pattern) for pattern in said} == said


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

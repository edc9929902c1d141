"""Variables: which value wins, and which flags are refused before anything is rented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rpd.collect import Collection
from rpd.config.config import CollectSettings
from rpd.errors import UsageError
from rpd.pipeline.variables import check_names, read_variables
from rpd.values.node import Node
from tests.heard import Heard
from tests.nodes import definition


def settings(**fields: Any) -> CollectSettings:
    return CollectSettings(**fields)


def test_the_flag_wins_over_the_file_and_the_file_over_the_settings(tmp_path: Path) -> None:
    (tmp_path / "vars.toml").write_text('b = "file"\nc = "file"\n', encoding="utf-8")
    given = settings(variables=dict.fromkeys("abc", "settings"), vars_file="vars.toml", var=(("c", "flag"),))
    assert dict(read_variables(given, tmp_path)) == {"a": "settings", "b": "file", "c": "flag"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("v.toml", None, "No such file"),
        ("v.toml", "a = ", "expected TOML"),
        ("v.json", "{", "expected JSON"),
        ("v.json", "[" * 100_000, "expected JSON"),
        ("v.json", "[1]", "expected a table of names and values"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, name: str, text: str | None, expected: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f"--vars-file {name}: .*{expected}"):
        read_variables(settings(vars_file=name), tmp_path)


def collected(*names: str, takes: tuple[str, ...] = ()) -> Collection:
    """Return a collection that declares variables, and has a job with arguments."""
    variables: Any = [Declared(name) for name in names]
    node = Node(definition=definition(argnames=takes), id="deploy_x.py::fit")
    return Collection(nodes=(node,), fixtures=tuple(variables))


class Declared:
    """The parts of a declared variable that count here."""

    is_variable = True

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"sweep": (("lr", ("1",)), ("lr", ("2",)))}, "--sweep lr is given twice"),
        ({"sweep": (("lr", ("1",)),), "var": (("lr", "2"),)}, "contradict each other"),
        ({"sweep": (("lrr", ("1",)),)}, "--sweep lrr: .*did you mean 'lr'"),
        ({"var": (("momentum", "1"),)}, "--var momentum: .*declare it with momentum = rpd.variable"),
    ],
)
def test_flags_that_name_nothing_are_refused(flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        check_names(settings(**flags), collected("lr"), Heard(), runs=True)


def test_an_undeclared_variable_is_a_notice_where_nothing_runs() -> None:
    heard = Heard()
    check_names(settings(var=(("momentum", "1"),)), collected("lr"), heard, runs=False)
    assert [text.partition(":")[0] for text in heard.notices] == ["--var momentum"]


def test_a_job_that_takes_all_variables_needs_no_declaration() -> None:
    heard = Heard()
    check_names(settings(var=(("momentum", "1"),)), collected(takes=("variables",)), heard, runs=True)
    assert heard.notices == []

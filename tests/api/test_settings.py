"""Settings as keyword arguments: each has the meaning and the checks of its flag or key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpd
from rpd.api.settings import check_name, names, words_of
from rpd.config import settings
from rpd.config.settings_file import override_value
from rpd.errors import UsageError
from rpd.hooks import make_plugin_manager
from rpd.pipeline import parser
from rpd.pipeline.command_line import Silent

NOT_FOR_PROGRAMS = {
    *(
        "show_config",
        "trace_config",
        "as_json",
        "graph",
        "print_run_dir",
        "setup_plan",
        "setup_show",
        "setup_only",
    ),
    *("overrides", "addopts", "plugins", "policy"),
}
"""``flags`` and ``plugins`` are arguments of the calls; the rest is for somebody who looks at a screen."""


def read(command: str, **given: Any) -> dict[str, Any]:
    """Return the command line's reading of the words for these settings, by the names of the settings."""
    words = words_of(command, given)
    flags, args, _ = parser.parse(Silent(name=command), words, [], make_plugin_manager(), lambda _flag: "")
    assert args == []
    keys = {setting.key: name for name, setting in settings().items()}
    named = {keys[key]: override_value(key, text) for key, text in flags.pop("overrides", ())}
    return {**flags, **named}


@pytest.mark.parametrize("command", ["collect", "estimate", "run"])
def test_every_setting_of_a_command_is_one_of_the_call(command: str) -> None:
    """Those of the command line and of the file; a new one has to be decided about."""
    declared = {name for name, each in settings().items() if command in each.commands}
    assert declared - names(command) - NOT_FOR_PROGRAMS == (
        {"verbose", "quiet", "color"} if command != "run" else set()
    ) | ({"yes"} & declared - names(command))
    known = {name for name, each in settings().items() if command in each.commands or each.key}
    assert names(command) <= known
    if command == "run":
        files = {name for name, each in settings().items() if each.key}
        assert files - names(command) - NOT_FOR_PROGRAMS == set()


VALUES: Mapping[str, tuple[Any, Any]] = {
    "keyword": ("seed42 and not slow", "seed42 and not slow"),
    "markexpr": ("-slow=1", "-slow=1"),
    "deselect": (["a.py::x[a b]", "-b"], ("a.py::x[a b]", "-b")),
    "last_failed": (["infra", "lost"], ("infra", "lost")),
    "failed_first": (True, True),
    "stepwise": (False, None),
    "var": ({"name": "a=b, c", "n": 3, "on": True, "list": [1, 2]},
            (("name", "a=b, c"), ("n", "3"), ("on", "true"), ("list", "[1, 2]"))),
    "sweep": ({"seed": range(1, 4), "lr": "0.1"}, (("seed", ("1", "2", "3")), ("lr", ("0.1",)))),
    "vars_file": (Path("x/y.toml"), "x/y.toml"),
    "markers": (["slow: takes 'hours'"], ("slow: takes 'hours'",)),
    "variables": ({"a b": 1, "c": [True, "x\n"]}, {"a b": 1, "c": [True, "x\n"]}),
    "strict_markers": (False, False),
    "cost_cap_usd": (2, 2.0),
    "max_runtime_seconds": (90, 90.0),
    "ssh_ready_seconds": (timedelta(minutes=2), 120.0),
    "wait_for_stock": ("30m", 1800.0),
    "keep_unverified": (timedelta(hours=1), 3600.0),
    "cloud": ("ALL", "any"),
    "width": (4, 4),
    "capture": (False, False),
    "verbose": (2, 2),
    "confirm_above_usd": (1.5, 1.5),
    "ssh": ({"give_up_after": "2m"}, {"give_up_after": 120.0}),
    "junit_xml": (Path("a b.xml"), "a b.xml"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_value_means_what_its_flag_means(name: str) -> None:
    """Through the words of the command line and back."""
    given_value, meant = VALUES[name]
    value = read("run", **{name: given_value}).get(name)
    assert (dict(value) if isinstance(value, Mapping) else value) == meant


def test_none_is_not_given() -> None:
    """A default is left to the file."""
    assert words_of("run", {"width": None, "keyword": None}) == []


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_text_is_taken_for_a_flag(key: str, text: str) -> None:
    """Whatever a program has in a text stays one value."""
    if text.strip() and "\0" not in text:
        assert read("run", keyword=text).get("keyword") == text
    if key.strip() and "=" not in key:
        assert read("run", var={key: text})["var"] == ((key.strip(), text),)


WRONG: Mapping[str, tuple[dict[str, Any], str]] = {
    "misspelt": ({"widht": 3}, "widht: unknown setting; did you mean 'width'?"),
    "a flag": ({"n": 3}, "n: unknown setting; did you mean 'width'?"),
    "a flag with words": ({"max_runtime_minutes": 3}, "did you mean 'max_runtime_seconds'?"),
    "of the command line": ({"show_config": True}, "show_config: this setting is for the command line"),
    "too little": ({"cost_cap_usd": -1}, "cost_cap_usd: expected an amount in dollars > 0, got -1"),
    "no number": ({"width": "many"}, "width: expected a whole number"),
    "a bool": ({"width": True}, "width: expected a string or a number, got True"),
    "no bool": ({"local": "yes"}, "local: expected True or False, got 'yes'"),
    "no duration": ({"wait_for_stock": "soon"}, "wait_for_stock: expected a duration"),
    "a choice": ({"cloud": "secur"}, "cloud: expected one of secure, community, any, got 'secur'; did you mean 'secure'?"),
    "a cause": ({"last_failed": ["infra", "x"]}, "last_failed: expected all, or any of"),
    "no mapping": ({"var": "a=1"}, "var: expected a mapping of names and values, got 'a=1'"),
    "a comma": ({"sweep": {"a": ["1,2"]}}, "sweep: a: a value has a comma in it"),
    "no value of a variable": ({"var": {"a": object()}}, "var: a: expected a string, a number or the like"),
    "a key": ({"confirm_above_usd": 0}, "confirm_above_usd: expected an amount in dollars > 0, got 0"),
    "a count": ({"verbose": -1}, "verbose: expected a whole number from 0, got -1"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_one_is_named(case: str) -> None:
    """With the rule and the value got."""
    given_values, message = WRONG[case]
    with pytest.raises(UsageError) as caught:
        words_of("run", given_values)
    assert message in str(caught.value)


def test_arguments_of_a_job_are_suggested_too() -> None:
    with pytest.raises(UsageError, match="sed: unknown setting; did you mean 'seed'"):
        check_name("run", "sed", also=["seed"])


def test_a_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call says so, and works with a folder that is named."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for call in (rpd.run, rpd.nodes, rpd.runs, rpd.reports, rpd.forecast, rpd.pods):
        with pytest.raises(UsageError, match="the current folder does not exist any more"):
            call()
    (tmp_path / "rpd.toml").touch()
    assert list(rpd.runs(tmp_path)) == []

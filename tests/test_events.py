"""The typed door has a method for each hook that rpd calls, with the arguments of the hook."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

from rpd import hooks
from rpd.errors import UsageError
from rpd.events import Events, NoEvents

ELSEWHERE = {"rpd_addoption", "rpd_generate_nodes", "rpd_make_parametrize_id"}
"""Called for some plugins only, by those who know which."""


def test_every_hook_has_a_method() -> None:
    methods = {name for name, _ in inspect.getmembers(Events, inspect.isfunction) if not name.startswith("_")}
    assert {f"rpd_{name}" for name in methods - {"is_heard"}} == hooks.hook_names() - ELSEWHERE


@pytest.mark.parametrize("name", sorted(hooks.hook_names() - ELSEWHERE))
def test_a_method_takes_what_its_hook_takes(name: str) -> None:
    method = inspect.signature(getattr(Events, name.removeprefix("rpd_")))
    spec = inspect.signature(getattr(hooks, name))
    assert list(method.parameters)[1:] == list(spec.parameters)
    assert [each.annotation for each in [*method.parameters.values()][1:]] == [
        each.annotation for each in spec.parameters.values()
    ]


WRONG = {
    "collect_file": ({"path": Path("a.py"), "config": None}, 3),
    "make_sources": ({"config": None, "nodes": [], "earlier": None}, [3]),
    "skip_node": ({"node": None}, "maintenance"),
    "command_environment": ({"node": None}, ["A=1"]),
    "prune": ({"node": None, "name": "loss", "step": 1.0, "value": 2.0}, False),
}
"""Hooks that decide, what they are called with, and an answer that means nothing."""


@pytest.mark.parametrize("hook", WRONG)
def test_an_answer_that_is_none_is_the_plugins_mistake(hook: str) -> None:
    """``return value > 3`` in ``rpd_prune`` must not end every node because False is not None."""
    given, answer = WRONG[hook]
    spec = inspect.signature(getattr(hooks, f"rpd_{hook}"))
    names: dict[str, object] = {}
    exec(f"def rpd_{hook}({', '.join(spec.parameters)}): return answer", {"answer": answer}, names)
    manager = hooks.make_plugin_manager()
    manager.register(SimpleNamespace(**names), "plugin")
    with pytest.raises(UsageError, match=f"rpd_{hook}: expected .* or None, got"):
        getattr(Events(manager), hook)(**given)


def test_plugins_hear_what_is_said() -> None:
    heard = []

    class Plugin:
        def rpd_notice(self, text: str) -> None:
            heard.append(text)

    manager = hooks.make_plugin_manager()
    events = Events(manager)
    assert not events.is_heard("notice")
    manager.register(Plugin(), "plugin")
    events.notice(text="said")
    events.notice("short")
    assert heard == ["said", "short"]
    assert events.is_heard("notice")
    NoEvents().notice(text="unheard")

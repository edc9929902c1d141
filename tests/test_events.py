"""The typed door has a method for each hook that rpd calls, with the arguments of the hook."""

from __future__ import annotations

import inspect

import pytest

from rpd import hooks
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

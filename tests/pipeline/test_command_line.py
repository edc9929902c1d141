"""A parser that knows only the options that a line may name reads it as one that knows all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.config import settings as known
from rpd.errors import UsageError
from rpd.hooks import PluginManager, make_plugin_manager
from rpd.pipeline.command_line import Silent, has_options_of_plugins, read_plain
from rpd.pipeline.parser import parse
from rpd.values.suggestions import closest

RUN = Silent(name="run")
FLAGS = sorted({flag for setting in known().values() if "run" in setting.commands for flag in setting.flags})
SHORT = [flag for flag in FLAGS if len(flag) == 2]


class Plugin:
    """With an option of a plugin, the parser has to know all of rpd's own, too."""

    def rpd_addoption(self, options: Any) -> None:
        options.add("--option-of-a-plugin")


def managers() -> tuple[PluginManager, PluginManager]:
    """Return the plugins of a line that is read with some options, and of one that is read with all."""
    with_options = make_plugin_manager()
    with_options.register(Plugin(), "plugin")
    return make_plugin_manager(), with_options


FEW, ALL = managers()

words = st.one_of(
    st.sampled_from(FLAGS),
    st.builds(
        "{}={}".format, st.sampled_from(FLAGS), st.sampled_from(["", "1", "a=b", "live", "all", "x,y"])
    ),
    st.builds("{}{}".format, st.sampled_from(SHORT), st.text("qvxknm1=", min_size=1, max_size=3)),
    st.sampled_from(
        ["--", "-", "", "1", "-1", "deploy.py", "deploy.py::train[a b]", "--no-such", "-Z", "-h="]
    ),
)


def outcome(argv: list[str], manager: PluginManager) -> object:
    """Return what a line says, or the words of the error it is."""
    try:
        flags, args, options = parse(RUN, argv, [], manager, lambda _flag: "")
    except UsageError as error:
        return str(error)
    return flags, list(flags), args, [each for each in options if each[0] != "option_of_a_plugin"]


@given(st.lists(words, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_line_is_read_the_same_with_few_options_and_with_all(argv: list[str]) -> None:
    """Flags in their order, arguments and mistakes are the same; so are those of a line that needs no parser."""
    read = outcome(argv, ALL)
    assert outcome(argv, FEW) == read
    plain = read_plain(RUN, argv, FEW)
    if plain is not None:
        flags, args = plain
        assert (flags, list(flags), args, []) == read


def test_flags_that_take_no_value_need_no_parser() -> None:
    """They are counted, and stand in the order in which they were given last; what needs a value needs the parser."""
    flags, args = read_plain(RUN, ["-q", "a.py", "-v", "-q", "--setup-plan", "b.py"], FEW) or ({}, [])
    assert list(flags.items()) == [("verbose", 1), ("quiet", 2), ("setup_plan", True), ("dry_run", True)]
    assert args == ["a.py", "b.py"]
    assert read_plain(RUN, ["-k", "a"], FEW) is None
    assert read_plain(RUN, ["-qq"], FEW) is None


def test_a_suggestion_may_name_any_option() -> None:
    """A mistake is told with all options in view, not only those that the line names."""
    assert "did you mean --maxfail?" in str(outcome(["-q", "--maxfial=3"], FEW))
    assert closest("--maxfial", FLAGS) == "--maxfail"


def test_an_option_of_a_plugin_needs_the_parser() -> None:
    """Its default counts without any flag on the line."""
    assert has_options_of_plugins(ALL)
    assert not has_options_of_plugins(FEW)
    assert read_plain(RUN, [], ALL) is None
    assert read_plain(Silent(name="ps", arguments=""), ["pod"], FEW) is None

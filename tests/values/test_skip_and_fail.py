"""Ending a node from inside it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

import rpd
from rpd.errors import DefinitionError
from rpd.values.skip_and_fail import Failed, Skipped


def test_skip_and_fail_carry_their_reason() -> None:
    """Each ends the node with its own exception and the words given."""
    with pytest.raises(Skipped, match=r"^no data$") as caught:
        rpd.skip("no data")
    assert not caught.value.allow_module_level
    with pytest.raises(Failed, match=r"^worse than before$"):
        rpd.fail("worse than before")


def test_a_module_that_is_there_is_returned() -> None:
    """``importorskip`` imports, even a name with dots."""
    import json.decoder

    assert rpd.importorskip("json.decoder") is json.decoder


@pytest.mark.parametrize(
    ("reason", "message"), [(None, "could not import 'no_such_module'"), ("mine", "^mine$")]
)
def test_a_module_that_is_not_there_skips(reason: str | None, message: str) -> None:
    """The given reason is shown, or the missing module; at module level the file is skipped."""
    with pytest.raises(Skipped, match=message) as caught:
        rpd.importorskip("no_such_module", reason=reason)
    assert caught.value.allow_module_level


@pytest.mark.parametrize(
    ("version", "wanted", "is_enough"),
    [
        ("2.10", "2.9", True),
        ("2.9", "2.10", False),
        ("2.10.0rc1", "2.10", True),
        ("1.0", "1", True),
        ("1", "1.0.1", False),
        ("", "1", False),
        (None, "1", False),
    ],
)
def test_versions_are_compared_by_their_numbers(
    monkeypatch: pytest.MonkeyPatch, version: str | None, wanted: str, is_enough: bool
) -> None:
    """``minversion`` is not held as text against text; a module without a version is not new enough."""
    module = ModuleType("versioned_for_rpd")
    if version is not None:
        module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "versioned_for_rpd", module)
    if is_enough:
        assert rpd.importorskip("versioned_for_rpd", minversion=wanted) is module
    else:
        with pytest.raises(Skipped, match=f"required is '{wanted}'"):
            rpd.importorskip("versioned_for_rpd", wanted)


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_name_that_is_none(name: str) -> None:
    """It is a mistake, not a reason to skip."""
    with pytest.raises(DefinitionError, match="importorskip: expected the name of a module"):
        rpd.importorskip(name)

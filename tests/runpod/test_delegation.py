"""Providers that pass calls on to others: none of what a provider may be asked is answered by a default instead."""

from __future__ import annotations

import pytest

from rpd.pipeline.whole_account import WholeAccount
from rpd.runpod.switch import SwitchingProvider
from rpd.values.pod import Provider


@pytest.mark.parametrize("kind", [WholeAccount, SwitchingProvider])
def test_everything_is_passed_on(kind: type[Provider]) -> None:
    asked = {name for name in vars(Provider) if not name.startswith("_")}
    answered = {name for each in kind.__mro__ if each is not Provider for name in vars(each)}
    assert asked <= answered

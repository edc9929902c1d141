"""Providers that pass calls on to others: no method of the protocol is answered by a default instead."""

from __future__ import annotations

import pytest

from rpd.errors import TransientError
from rpd.pipeline.whole_account import WholeAccount
from rpd.runpod.dry.provider import OfflineProvider
from rpd.runpod.switch import SwitchingProvider
from rpd.values.pod import PodInfo, Provider


@pytest.mark.parametrize("kind", [WholeAccount, SwitchingProvider])
def test_everything_is_passed_on(kind: type[Provider]) -> None:
    asked = {name for name in vars(Provider) if not name.startswith("_")}
    answered = {name for each in kind.__mro__ if each is not Provider for name in vars(each)}
    assert asked <= answered


class _Account(OfflineProvider):
    """Has clusters that cannot be listed at first."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = OfflineProvider()
        self.lists.list = self._fail  # type: ignore[method-assign]

    def _fail(self) -> list[PodInfo]:
        raise TransientError("HTTP 502")

    def clusters(self) -> OfflineProvider:
        return self.lists


def test_what_may_be_a_cluster_is_not_deleted_as_a_pod() -> None:
    """The other API would call it gone: while clusters cannot be listed, nothing is said of an unknown id."""
    account = WholeAccount(_Account())
    assert account.list() == []
    assert not account.sees_clusters
    assert list(account.unseen) == ["clusters"]
    for act in (account.delete, account.stop, account.get):
        with pytest.raises(TransientError):
            act("cluster-1")

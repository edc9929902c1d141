"""The account, as GraphQL tells of it: the only one of RunPod's APIs that knows the balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpd.values.pod import Account

QUERY = "query { myself { id clientBalance currentSpendPerHr } }"


def read_account(me: Mapping[str, Any]) -> Account:
    """Return the account in ``myself``. Raises KeyError where it has no id."""
    return Account(
        id=str(me["id"]),
        balance_usd=me.get("clientBalance"),
        spend_usd_per_hr=me.get("currentSpendPerHr"),
    )

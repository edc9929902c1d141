"""The account, read over GraphQL: the only one of RunPod's APIs that reports the balance."""

from __future__ import annotations

from rpd.runpod.response import identifier, needed_table, number
from rpd.values.pod import Account

QUERY = "query { myself { id clientBalance currentSpendPerHr spendLimit } }"


def read_account(me: object) -> Account:
    """Return the account in ``myself``. Raise Misshapen if it has no id."""
    fields = needed_table(me)
    return Account(
        id=identifier(fields.get("id")),
        balance_usd=number(fields.get("clientBalance")),
        spend_usd_per_hr=number(fields.get("currentSpendPerHr")),
        limit_usd_per_hr=number(fields.get("spendLimit")),
    )

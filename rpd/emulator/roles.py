"""Roles of an account's members: which may read, change, and see the bill.

RunPod documents the roles, but not the answer to a call that lacks a permission. Here it is REST v2's 403,
and for GraphQL the code FORBIDDEN.
"""

from __future__ import annotations

from collections.abc import Collection

READ, CHANGE, BILL, CLUSTERS = "read", "change", "bill", "clusters"
ROLES: dict[str, frozenset[str]] = {
    "admin": frozenset({READ, CHANGE, BILL, CLUSTERS}),
    "dev": frozenset({READ, CHANGE}),
    "billing": frozenset({READ, BILL}),
    "basic": frozenset({READ}),
}
DENIED = "access denied"
_MONEY = ("clientBalance", "clientLifetimeSpend", "dailyCharges", "spendDetails", "minBalance")
"""Fields of GraphQL's ``myself`` that tell what the account pays."""


def needed_by_rest(operation: str, method: str) -> str:
    """Return the permission that an operation of REST v2 needs."""
    if "Billing" in operation:
        return BILL
    if method == "GET":
        return READ
    return CLUSTERS if "Cluster" in operation else CHANGE


def needed_by_graphql(fields: Collection[str], document: str) -> str:
    """Return the permission that a GraphQL document needs, by its top fields and its text."""
    if "mutation" in document.partition("{")[0]:
        return CLUSTERS if any("Cluster" in field for field in fields) else CHANGE
    return BILL if any(word in document for word in _MONEY) else READ

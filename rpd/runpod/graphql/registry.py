"""Registry credentials in GraphQL: the documents, and how to read the responses."""

from __future__ import annotations

from rpd.runpod.graphql.escape import quote
from rpd.runpod.response import identifier, tables, text
from rpd.values.pod import RegistryAuth

LIST = "query { myself { containerRegistryCreds { id name } } }"
SAVE = "saveRegistryAuth"


def save(name: str, username: str, password: str) -> str:
    """Return the mutation that stores credentials. Raise ImpossibleRequest for text that cannot be sent."""
    fields = (
        f"name: {quote(name, 'the name of the credentials')}",
        f"username: {quote(username, 'Registry.username')}",
        f"password: {quote(password, 'Registry.password')}",
    )
    return f"mutation {{ {SAVE}(input: {{ {', '.join(fields)} }}) {{ id name }} }}"


def delete(registry_id: str) -> str:
    """Return the mutation that deletes credentials."""
    return f"mutation {{ deleteRegistryAuth(registryAuthId: {quote(registry_id, 'registry')}) }}"


def read(rows: object) -> tuple[RegistryAuth, ...]:
    """Return the credentials in a response. Raise Misshapen if one has no id."""
    return tuple(
        RegistryAuth(id=identifier(row.get("id")), name=text(row.get("name"))) for row in tables(rows)
    )

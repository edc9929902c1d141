"""The GraphQL face: RunPod's schema resolved over the account, with answers as RunPod's server words them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLFormattedError,
    GraphQLObjectType,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    parse,
    specified_rules,
    validate,
)
from graphql.utilities import value_from_ast_untyped
from graphql.validation import NoSchemaIntrospectionCustomRule

from rpd.emulator.account import Account
from rpd.emulator.refusals import HICCUP, Refusal
from rpd.emulator.resolvers import Resolvers
from rpd.emulator.roles import DENIED, needed_by_graphql

_OPERATIONS = {
    "podFindAndDeployOnDemand": "create", "deployCpuPod": "create", "podRentInterruptable": "create",
    "podStop": "stop", "podResume": "resume", "podBidResume": "resume", "podResumeZeroGpu": "resume",
    "podTerminate": "terminate", "pod": "get", "myself": "list", "gpuTypes": "gpus", "dataCenters": "datacenters",
}  # fmt: skip
_PUBLIC = {"gpuTypes", "dataCenters", "countryCodes", "cpuFlavors", "cpuTypes"}
_POD_KEY_MAY = {"podStop", "podTerminate", "pod"}
_UNKNOWN_FIELD = re.compile(
    r'Expected value of type "(\w+)" not to include unknown field "(\w+)".*', re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The sender of a call: the owner, a pod with its own key (``pod``), or a client without one (``anonymous``)."""

    pod: str | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One parsed and valid document, with its top fields in the form that faults compare."""

    document: DocumentNode
    variables: dict[str, Any]
    subjects: tuple[dict[str, str], ...]
    text: str = ""

    @property
    def fields(self) -> set[str]:
        """The names of its top fields."""
        return {subject["field"] for subject in self.subjects}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and a JSON body."""

    status: int
    body: dict[str, Any]


class GraphqlFace:
    """The GraphQL face: it answers documents.

    ``when_volume_deleted`` is called with the id of a network volume whose files may be deleted.
    """

    def __init__(
        self, account: Account, clock: Callable[[], float], when_volume_deleted: Callable[[str], None]
    ) -> None:
        self._account = account
        self._checked = lru_cache(maxsize=512)(self._check)  # clients poll with the same documents
        self._schema = build_schema((resources.files(__package__) / "schema.graphql").read_text())
        for type_name, resolvers in Resolvers(account, clock, when_volume_deleted).table().items():
            kind = self._schema.type_map[type_name]
            assert isinstance(kind, GraphQLObjectType)
            for name, resolver in resolvers.items():
                kind.fields[name].resolve = resolver

    def read(self, body: Any) -> Call | Answer:
        """Parse and validate a request body.

        Return the Call, or at once the Answer to one that cannot be executed.
        """
        query = body.get("query") if isinstance(body, dict) else None
        if not isinstance(query, str) or not query.strip():
            return _refused(400, "GraphQL operations must contain a non-empty `query`.", "BAD_REQUEST")
        document = self._checked(query)
        if isinstance(document, Answer):
            return document
        variables = body.get("variables") or {}
        return Call(
            document=document,
            variables=variables,
            subjects=tuple(self._subjects(document, variables)),
            text=query,
        )

    def _check(self, query: str) -> DocumentNode | Answer:
        try:
            document = parse(query)
        except GraphQLSyntaxError:
            return _refused(400, HICCUP, "GRAPHQL_PARSE_FAILED")
        errors = validate(self._schema, document, (*specified_rules, NoSchemaIntrospectionCustomRule))
        if errors:
            return Answer(400, {"errors": [_formatted(e, "GRAPHQL_VALIDATION_FAILED") for e in errors]})
        return document

    def _subjects(self, document: DocumentNode, variables: dict[str, Any]) -> Iterable[dict[str, str]]:
        for operation in document.definitions:
            if not isinstance(operation, OperationDefinitionNode):
                continue
            for node in operation.selection_set.selections:
                if isinstance(node, FieldNode):
                    values = {
                        a.name.value: value_from_ast_untyped(a.value, variables) for a in node.arguments or ()
                    }
                    yield self._subject(node.name.value, values.get("input") or {})

    def _subject(self, name: str, given: Mapping[str, Any]) -> dict[str, str]:
        pod = self._account.pods.get(given.get("podId") or "")
        cloud = str(given.get("cloudType") or "").lower()
        fields = {"name": given.get("name"), "gpu": given.get("gpuTypeId"), "dc": given.get("dataCenterId"),
                  "cloud": cloud, "pod": given.get("podId")}  # fmt: skip
        texts = {key: str(value) for key, value in fields.items() if value}
        return {
            **texts,
            **(pod.subject if pod else {}),
            "field": name,
            "operation": _OPERATIONS.get(name, name),
            "face": "graphql",
        }

    def answer(self, call: Call, caller: Caller) -> Answer:
        """Execute ``call``."""
        if caller.anonymous and not call.fields <= _PUBLIC | {"myself"}:
            return _refused(200, "Unauthorized", "UNAUTHENTICATED", call)
        if caller.pod is not None and not self._pod_key_may(call, caller.pod):
            return _refused(200, "Unauthorized", "FORBIDDEN", call)
        if caller.pod is None and not self._account.may(needed_by_graphql(call.fields, call.text)):
            return _refused(200, DENIED, "FORBIDDEN", call)
        result = execute_sync(
            self._schema, call.document, variable_values=call.variables, context_value=caller
        )
        body: dict[str, Any] = {}
        bad_variables = False
        if result.errors:
            bad_variables = result.data is None and not any(error.path for error in result.errors)
            code = "BAD_USER_INPUT" if bad_variables else "INTERNAL_SERVER_ERROR"
            body["errors"] = [_formatted(error, code) for error in result.errors]
        if not bad_variables:
            body["data"] = result.data
        return Answer(400 if bad_variables else 200, body)

    def _pod_key_may(self, call: Call, pod_id: str) -> bool:
        return call.fields <= _POD_KEY_MAY and all(s.get("pod") == pod_id for s in call.subjects)


def _as_javascript(message: str) -> str:
    """Return a validation error in the words of RunPod's server, which runs the JavaScript library."""
    quoted = message.replace("'", '"').replace("has invalid value: Expected", "got invalid value; Expected")
    return _UNKNOWN_FIELD.sub(r'Field "\2" is not defined by type "\1".', quoted)


def _formatted(error: GraphQLError, code: str) -> GraphQLFormattedError:
    """Return an error as Apollo sends it: message, path, ``extensions.code``; a crash of ours is a hiccup of theirs."""
    formatted = error.formatted
    original = error.original_error
    if isinstance(original, Refusal):
        formatted["message"], code = original.message, original.code
    elif original is not None and not isinstance(original, GraphQLError):
        formatted["message"] = HICCUP
    else:
        formatted["message"] = _as_javascript(formatted["message"])
    formatted["extensions"] = {**formatted.get("extensions", {}), "code": code}
    return formatted


def _refused(status: int, message: str, code: str, call: Call | None = None) -> Answer:
    body: dict[str, Any] = {"errors": [{"message": message, "extensions": {"code": code}}]}
    if call is not None:
        body["data"] = None
    return Answer(status, body)

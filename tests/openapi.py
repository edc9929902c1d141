"""RunPod's OpenAPI document as a judge of requests and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class OpenApi:
    """Checks calls against RunPod's OpenAPI document; a failure lists the violations."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        from jsonschema import Draft202012Validator
        from referencing import Registry, Resource
        from referencing.jsonschema import DRAFT202012

        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self._document = document
        self._registry = Registry().with_resource("urn:api", resource)
        self._validator = Draft202012Validator

    def check_request(self, method: str, path: str, query: Mapping[str, str], body: Any) -> None:
        """Fail if RunPod's contract forbids such a request."""
        operation = self._operation(method, path)
        parameters = {
            p["name"]: p for p in map(self._resolved, operation.get("parameters", [])) if p["in"] == "query"
        }
        unknown = set(query) - set(parameters)
        assert not unknown, f"{method} {path}: unknown parameters {unknown}"
        for name, text in query.items():
            schema = self._resolved(parameters[name]["schema"])
            self._check(_value(text, schema.get("type")), parameters[name]["schema"], name)
        content = operation.get("requestBody", {}).get("content", {})
        if content:
            self._check(body, content["application/json"]["schema"], f"{method} {path}: request")
        else:
            assert body is None, f"{method} {path}: takes no body"

    def check_response(self, method: str, path: str, status: int, kind: str, body: Any) -> None:
        """Fail if RunPod's contract does not know such an answer."""
        operation = self._operation(method, path)
        responses = operation["responses"]
        response = self._resolved(responses.get(str(status), responses["default"]))
        content = response.get("content", {})
        if not content:
            assert body in (None, b"", ""), f"{method} {path}: {status} has no body"
            return
        assert kind in content, f"{method} {path}: {status} is {kind}, expected one of {list(content)}"
        self._check(body, content[kind]["schema"], f"{method} {path}: {status}")

    def _operation(self, method: str, path: str) -> Any:
        paths = sorted(self._document["paths"].items(), key=lambda item: item[0].count("{"))
        for pattern, operations in paths:
            if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", pattern), path) and method.lower() in operations:
                return operations[method.lower()]
        raise AssertionError(f"RunPod has no {method} {path}")

    def _resolved(self, schema: Any) -> Any:
        if "$ref" not in schema:
            return schema
        return self._registry.resolver("urn:api").lookup(schema["$ref"]).contents

    def _check(self, value: Any, schema: Any, where: str) -> None:
        schema = _absolute(schema)
        errors = list(self._validator(schema, registry=self._registry).iter_errors(value))
        assert not errors, f"{where}: " + "; ".join(f"{list(e.absolute_path)}: {e.message}" for e in errors)


def _value(text: str, kind: str | None) -> Any:
    """Return the value of a text in a query, by its type in the contract."""
    match kind:
        case "array":
            return text.split(",")
        case "integer":
            return int(text)
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
    return text


def _absolute(schema: Any) -> Any:
    """Return ``schema`` with references that lead into the document wherever it is used."""
    if isinstance(schema, dict):
        return {
            key: f"urn:api{value}" if key == "$ref" and value.startswith("#") else _absolute(value)
            for key, value in schema.items()
        }
    return [_absolute(item) for item in schema] if isinstance(schema, list) else schema

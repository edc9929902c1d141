"""The fingerprint of a node: everything its result depends on, part by part, each as a hash."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from rpd.user_text import parse_python
from rpd.values.fixture import FixtureDef
from rpd.values.frozen import frozen
from rpd.values.node import SOURCE_ATTRIBUTE, Definition, Node
from rpd.values.printable import tellable
from rpd.values.variable import takes_all

Fingerprint = dict[str, str]
"""Part (job, fixtures, parameters, variables, image, pod, lock, what was sent) to its hash."""

IMAGE_VERSION = "image version"
"""The part for what the name of the image meant; a run that could not learn it has none."""
_SENT = "sent "
_SENT_WITH_IGNORED = "sent-with-ignored "


@frozen
class Sent:
    """One upload from ``path`` (relative to the root folder) and its rules.

    ``part`` is its key in the fingerprint.
    """

    part: str
    path: str
    exclude: tuple[str, ...]
    ignored: bool


def sent_key(path: str, exclude: Sequence[str], *, ignored: bool = False) -> str:
    """Return the part for an upload of a path relative to the root folder; ``exclude`` left files of it out."""
    return (_SENT_WITH_IGNORED if ignored else _SENT) + json.dumps([path, *exclude])


def sent_parts(parts: Iterable[str]) -> Iterator[Sent]:
    """Yield those parts that name something that was sent."""
    for part in parts:
        for prefix in (_SENT, _SENT_WITH_IGNORED):
            if part.startswith(prefix):
                path, *exclude = json.loads(part.removeprefix(prefix))
                yield Sent(part=part, path=path, exclude=tuple(exclude), ignored=prefix != _SENT)


def fingerprint(
    node: Node, *, lock_sha256: str, variables: Mapping[str, Any], sent: Mapping[str, str], digest: str = ""
) -> Fingerprint:
    """Return the fingerprint of ``node`` next to a lock file, with the values of all variables.

    ``sent`` holds the sha256 of the files sent to its pods, by ``sent_key``; ``digest`` is that of its image,
    if known.
    """
    gpu = node.params.get("gpu", node.job.gpu)
    return {
        **_code(node.definition),
        "parameters": _hash(sorted(f"{name}={tellable(value)!r}" for name, value in node.parameters.items())),
        "variables": _hash(_variables(node, variables)),
        "image": _hash([node.job.image or f"template {node.job.template_id}"]),
        "pod": _hash([repr(gpu), repr(sorted(node.job.env.items())), repr(node.job.docker_args)]),
        "lock": lock_sha256[:16],
        **({IMAGE_VERSION: _hash([digest])} if digest else {}),
        **{part: sha256[:16] for part, sha256 in sent.items()},
    }


@lru_cache(maxsize=1024)
def _code(definition: Definition) -> Fingerprint:
    """Return the parts for the code of a job, which are those of all its nodes."""
    own = [fixture for fixture in _fixtures(definition) if not fixture.is_built_in]
    return {
        "job": _hash([_source(definition.function)]),
        # Another version of rpd is no reason to pay again.
        "fixtures": _hash(sorted(_source(fixture.function) for fixture in own)),
    }


@lru_cache(maxsize=1024)
def _fixtures(definition: Definition) -> tuple[FixtureDef, ...]:
    closure = definition.closure
    return tuple(fixture for name in closure.names for fixture in closure.definitions.get(name, ()))


def _variables(node: Node, values: Mapping[str, Any]) -> list[str]:
    """Return the variables that the node can see: those it uses, or all if it asks for all."""
    if takes_all(node.definition):
        return [f"{name}={value!r}" for name, value in sorted(values.items())]
    used = {
        fixture.name: getattr(fixture.function, "variable", None)
        for fixture in _fixtures(node.definition)
        if fixture.is_variable
    }
    return [
        f"{name}={values[name] if name in values else getattr(declared, 'default', '')!r}"
        for name, declared in sorted(used.items())
    ]


@lru_cache(maxsize=1024)
def _source(function: Callable[..., Any]) -> str:
    """Return the source text of a function, from its ``def`` on; its name if the text is not to be found.

    Decorators are left out: they declare the nodes and their pods, which are parts of the fingerprint
    already, and a sweep that grows must not be paid for again.
    """
    generated: str | None = getattr(function, SOURCE_ATTRIBUTE, None)
    if generated is not None:
        return generated
    try:
        import textwrap

        text = textwrap.dedent(inspect.getsource(function))
        first = parse_python(text).body[0]
    except (OSError, TypeError):
        return repr(function)
    except SyntaxError:  # a lambda amid other code
        return text
    if not isinstance(first, ast.FunctionDef):
        return text
    return "".join(text.splitlines(keepends=True)[first.lineno - 1 :])


def _hash(parts: Iterable[str]) -> str:
    import hashlib  # its library takes longer to load than a dry run may

    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]

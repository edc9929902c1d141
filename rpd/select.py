r"""Selecting nodes: ``-k`` and ``-m``, one grammar, one matcher, and ``--deselect``.

::

    expression: or_ | (nothing: false)
    or_:        and_ ("or" and_)*
    and_:       not_ ("and" not_)*
    not_:       "not" not_ | "(" or_ ")" | name | name "(" key "=" value ("," key "=" value)* ")"
    name:       word characters and : + - . [ ] \ /
    value:      "text" | 'text' | whole number | True | False | None
"""

from __future__ import annotations

import keyword as python
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn, Protocol

from rpd.errors import UsageError
from rpd.values.frozen import frozen
from rpd.values.mark import Mark
from rpd.values.node import Definition, Node
from rpd.values.suggestions import closest

Value = str | int | bool | None
_NAME = r"[\w:+\-.\[\]\\/]+"
_TOKEN = rf"""[ \t]*(?:(?P<word>{_NAME})|(?P<text>"[^"]*"|'[^']*')|(?P<sign>[()=,])|(?P<end>\Z)|(?P<odd>.))"""
"""Patterns as texts: most command lines hold no expression, and need not wait until they are compiled."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:+-.[]\\/")
"""Characters of names, without those beyond ASCII."""
_SIGNS = {"(": "left parenthesis", ")": "right parenthesis", "=": "=", ",": ","}
_OPERATORS = ("or", "and", "not")
_CONSTANTS: Mapping[str, Value] = {"True": True, "False": False, "None": None}


class Matcher(Protocol):
    """Says whether a name of an expression is true of one node."""

    def __call__(self, name: str, arguments: Mapping[str, Value], /) -> bool:
        """Return whether ``name``, perhaps with arguments, matches."""
        ...


Predicate = Callable[[Matcher], bool]


@frozen(kw_only=False)
class Token:
    """``kind`` is the name for error messages; ``column`` starts at 1."""

    kind: str
    text: str
    column: int


@frozen
class Expression:
    """A compiled expression: ``matches(matcher)``; ``names`` are those it asks for."""

    matches: Predicate
    names: frozenset[str]


class ExpressionError(ValueError):
    """The text is no expression; ``column`` starts at 1."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(message)
        self.column = column


def compile_expression(text: str) -> Expression:
    """Return the expression that ``text`` is. Raise ExpressionError."""
    parser = _Parser(_tokens(text))
    return Expression(matches=parser.expression(), names=frozenset(parser.names))


def _tokens(text: str) -> Iterator[Token]:
    """Yield the tokens one at a time, so that the error names the first thing that is wrong."""
    pattern = re.compile(_TOKEN, re.DOTALL)
    position = 0
    while True:
        match = pattern.match(text, position)
        assert match  # the last two alternatives match anything
        assert match.lastgroup
        yield _token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1)
        position = match.end()


def _token(group: str, text: str, column: int) -> Token:
    if group == "odd":
        if text in "\"'":
            raise ExpressionError(column, f'closing quote "{text}" is missing')
        raise ExpressionError(column, f'unexpected character "{text}"')
    if group == "text" and "\\" in text:
        where = column + text.index("\\")
        raise ExpressionError(where, r'escaping with "\" not supported in marker expression')
    kinds = {
        "word": text if text in _OPERATORS else "identifier",
        "text": "string literal",
        "end": "end of input",
    }
    return Token(kinds[group] if group in kinds else _SIGNS[text], text, column)


class _Parser:
    """Recursive descent over the tokens, each rule returning a predicate."""

    def __init__(self, tokens: Iterator[Token]) -> None:
        self.names: set[str] = set()
        self._tokens = tokens
        self._next = next(self._tokens)

    def expression(self) -> Predicate:
        if self._next.kind == "end of input":
            return lambda _: False
        whole = self._or()
        self._expect("end of input")
        return whole

    def _or(self) -> Predicate:
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else _any(parts)

    def _and(self) -> Predicate:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else _all(parts)

    def _not(self) -> Predicate:
        if self._take("not"):
            return _negated(self._not())
        if self._take("left parenthesis"):
            inner = self._or()
            self._expect("right parenthesis")
            return inner
        name = self._take("identifier")
        if name is None:
            self._reject("not", "left parenthesis", "identifier")
        self.names.add(name.text)
        arguments = self._arguments() if self._take("left parenthesis") else {}
        return _named(name.text, arguments)

    def _arguments(self) -> dict[str, Value]:
        arguments = dict([self._argument()])
        while self._take(","):
            key, value = self._argument()
            arguments[key] = value
        self._expect("right parenthesis")
        return arguments

    def _argument(self) -> tuple[str, Value]:
        key = self._expect("identifier")
        if not key.text.isidentifier():
            raise ExpressionError(key.column, f"not a valid python identifier {key.text}")
        if python.iskeyword(key.text):
            raise ExpressionError(key.column, f"unexpected reserved python keyword `{key.text}`")
        self._expect("=")
        quoted = self._take("string literal")
        return key.text, quoted.text[1:-1] if quoted else _constant(self._expect("identifier"))

    def _take(self, kind: str) -> Token | None:
        token = self._next
        if token.kind != kind:
            return None
        self._next = next(self._tokens)
        return token

    def _expect(self, kind: str) -> Token:
        return self._take(kind) or self._reject(kind)

    def _reject(self, *expected: str) -> NoReturn:
        message = f"expected {' OR '.join(expected)}; got {self._next.kind}"
        raise ExpressionError(self._next.column, message)


def _constant(token: Token) -> Value:
    if token.text in _CONSTANTS:
        return _CONSTANTS[token.text]
    if token.text.removeprefix("-").isdecimal():
        return int(token.text)
    raise ExpressionError(token.column, f'unexpected character/s "{token.text}"')


def _any(parts: Sequence[Predicate]) -> Predicate:
    return lambda matcher: any(part(matcher) for part in parts)


def _all(parts: Sequence[Predicate]) -> Predicate:
    return lambda matcher: all(part(matcher) for part in parts)


def _negated(inner: Predicate) -> Predicate:
    return lambda matcher: not inner(matcher)


def _named(name: str, arguments: Mapping[str, Value]) -> Predicate:
    return lambda matcher: matcher(name, arguments)


# --- the meaning of names -------------------------------------------------------------------------------------------


class KeywordMatcher:
    """``-k``: a name matches if it is part of a name of the node, ignoring case.

    These are the names of the node, its function, its file and folders, its marks, and the attributes of its function.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Definition, str], bool] = {}
        self._node: Node
        self._text = ""

    def at(self, node: Node) -> KeywordMatcher:
        """Return this matcher, now asking about ``node``."""
        self._node = node
        self._text = node.name.lower()
        return self

    def __call__(self, name: str, arguments: Mapping[str, Value], /) -> bool:
        if arguments:
            raise UsageError("Keyword expressions do not support call parameters.")
        part = name.lower()
        return (
            part in self._text
            or self._in_definition(part)
            or any(part in mark.name.lower() for mark in self._node.marks)
            or (not name.isascii() and any(text in self._text for text in _in_ids(name)))
        )

    def _in_definition(self, part: str) -> bool:
        definition = self._node.definition
        key = (definition, part)
        if key not in self._known:
            self._known[key] = any(part in word for word in definition.keywords)
        return self._known[key]


def _in_ids(name: str) -> set[str]:
    """Return how letters beyond ASCII, of either case, stand in the ids of values: as escapes, here in lower case."""
    forms = (name, name.lower(), name.upper())
    return {form.encode("unicode_escape").decode("ascii").lower() for form in forms}


class MarkMatcher:
    """``-m``: a name matches the marks of exactly that name; arguments must be among the mark's keywords."""

    def __init__(self) -> None:
        self._marks: tuple[Mark, ...] = ()

    def at(self, node: Node) -> MarkMatcher:
        """Return this matcher, now asking about ``node``."""
        self._marks = node.marks
        return self

    def __call__(self, name: str, arguments: Mapping[str, Value], /) -> bool:
        return any(mark.name == name and _has(mark, arguments) for mark in self._marks)


_ABSENT = object()


def _has(mark: Mark, arguments: Mapping[str, Value]) -> bool:
    return all(mark.kwargs.get(key, _ABSENT) == value for key, value in arguments.items())


# --- the selection --------------------------------------------------------------------------------------------------


@frozen
class Selection:
    """Nodes that will run and nodes that will not, each in their order."""

    selected: tuple[Node, ...]
    deselected: tuple[Node, ...] = ()


def select(
    nodes: Iterable[Node],
    *,
    keyword: str = "",
    markexpr: str = "",
    deselect: Sequence[str] = (),
    known_marks: Collection[str] | None = None,
) -> Selection:
    """Split ``nodes`` by ``-k``, ``-m`` and ``--deselect`` (prefixes of ids); an empty expression filters nothing.

    ``known_marks`` are the names ``markexpr`` may use, None: any. Raise UsageError that names the column.
    """
    tests: list[Callable[[Node], bool]] = []
    if deselect:
        prefixes = (*deselect, *map(with_escapes, deselect))
        tests.append(lambda node: not node.id.startswith(prefixes))
    if keyword.strip():
        tests.append(_keyword_test(keyword))
    if markexpr.strip():
        tests.append(_mark_test(markexpr, known_marks))
    if not tests:
        return Selection(selected=tuple(nodes))
    selected: list[Node] = []
    deselected: list[Node] = []
    for node in nodes:
        (selected if all(test(node) for test in tests) else deselected).append(node)
    return Selection(selected=tuple(selected), deselected=tuple(deselected))


def spellings(text: str) -> tuple[str, ...]:
    """Return how ``text`` may stand in node ids: as it is, then with its letters beyond ASCII as escapes."""
    if text.isascii():
        return (text,)
    return text, with_escapes(text), text.encode("unicode_escape").decode("ascii")


def with_escapes(node_id: str) -> str:
    """Return a node id with the letters of its case as ids have them: beyond ASCII as escapes."""
    base, bracket, case = node_id.partition("[")
    return node_id if case.isascii() else f"{base}{bracket}{case.encode('unicode_escape').decode('ascii')}"


def untypable(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield the nodes whose case id is no name of the grammar: ``-k`` can find parts of it only."""
    for node in nodes:
        case = node.case
        if case and (case in _OPERATORS or not (_PLAIN.issuperset(case) or re.fullmatch(_NAME, case))):
            yield node


def _keyword_test(text: str) -> Callable[[Node], bool]:
    matches, matcher = _compile("-k", text.strip()).matches, KeywordMatcher()
    return lambda node: matches(matcher.at(node))


def _mark_test(text: str, known: Collection[str] | None) -> Callable[[Node], bool]:
    expression, matcher = _compile("-m", text.strip()), MarkMatcher()
    if known is not None:
        _check_known(expression.names, known)
    matches = expression.matches
    return lambda node: matches(matcher.at(node))


def _compile(flag: str, text: str) -> Expression:
    wrong = f"Wrong expression passed to {flag!r}"
    try:
        return compile_expression(text)
    except ExpressionError as error:
        raise UsageError(f"{wrong}: {text}: at column {error.column}: {error}") from None
    except RecursionError:
        raise UsageError(f"{wrong}: too many parentheses or 'not' within each other") from None


def _check_known(names: Iterable[str], known: Collection[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        close = closest(unknown[0], known)
        meant = f" Did you mean {close!r}?" if close else ""
        raise UsageError(
            f"Unknown marker(s) in '-m' expression: {', '.join(unknown)}.{meant} "
            "Use 'rpd markers' to see available markers."
        )

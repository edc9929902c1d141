"""The expression of ``rpd query``: comparisons of columns, with and, or, not; parsed by Python, never run by it."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rpd.errors import UsageError
from rpd.query.rows import EXPRESSION, Row, resolve, value_of

LONGEST = 10_000
RULE = 'expected comparisons such as: outcome == "failed" and lr < 0.01'

_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMPUTE: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

Value = Callable[[Row], Any]


def names_in(text: str) -> set[str]:
    """Return the names in an expression, as they were typed; empty if it does not parse."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)}


class Expression:
    """A condition on rows."""

    def __init__(self, text: str, columns: Sequence[str]) -> None:
        """Read ``text``. Raise UsageError with the column of a mistake, and for names that are no column."""
        self._text = text
        self._columns = columns
        self.names: list[str] = []
        """The columns it uses, in order."""
        if len(text) > LONGEST:
            raise UsageError(f"the expression is longer than {LONGEST} characters")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            at = getattr(error, "offset", None) or 1
            raise UsageError(f"rpd query: column {at} of {text!r}: {RULE}") from None
        self._value = self._read(tree.body)

    def matches(self, row: Row) -> bool:
        """Return whether the row matches. A missing value is neither less nor greater than anything."""
        return bool(self._value(row))

    def _wrong(self, node: ast.AST, what: str) -> UsageError:
        column = getattr(node, "col_offset", 0) + 1
        return UsageError(f"rpd query: column {column} of {self._text!r}: {what}; {RULE}")

    def _read(self, node: ast.expr) -> Value:
        """Compile a node of the expression into a function of a row. Raise UsageError for other syntax."""
        match node:
            case ast.Constant(value=str() | int() | float() | bool() | None):
                constant = node.value
                return lambda _row: constant
            case ast.Name() | ast.Attribute():
                return self._column(node)
            case ast.List() | ast.Tuple():
                items = [self._read(item) for item in node.elts]
                return lambda row: [item(row) for item in items]
            case ast.UnaryOp(op=ast.Not()):
                inner = self._read(node.operand)
                return lambda row: not inner(row)
            case ast.UnaryOp(op=ast.USub()):
                inner = self._read(node.operand)
                return lambda row: _computed(operator.sub, 0, inner(row))
            case ast.BoolOp():
                parts = [self._read(part) for part in node.values]
                whole = all if isinstance(node.op, ast.And) else any
                return lambda row: whole(part(row) for part in parts)
            case ast.BinOp() if type(node.op) in _COMPUTE:
                compute, left, right = _COMPUTE[type(node.op)], self._read(node.left), self._read(node.right)
                return lambda row: _computed(compute, left(row), right(row))
            case ast.Compare():
                return self._comparison(node)
        raise self._wrong(node, f"{ast.unparse(node)[:60]!r} is not part of the language")

    def _column(self, node: ast.Name | ast.Attribute) -> Value:
        text = ast.unparse(node)
        if text.count(".") > 1 or not all(part.isidentifier() for part in text.split(".")):
            raise self._wrong(node, f"{text!r} is not a column")
        name = resolve(text, self._columns, EXPRESSION)
        if name not in self.names:
            self.names.append(name)
        return lambda row: value_of(row, name)

    def _comparison(self, node: ast.Compare) -> Value:
        operands = [self._read(each) for each in (node.left, *node.comparators)]
        tests = [self._test(node, op) for op in node.ops]

        def compare(row: Row) -> bool:
            values = [operand(row) for operand in operands]
            return all(test(a, b) for test, a, b in zip(tests, values, values[1:], strict=False))

        return compare

    def _test(self, node: ast.Compare, op: ast.cmpop) -> Callable[[Any, Any], bool]:
        if isinstance(op, ast.In | ast.NotIn):
            is_in = isinstance(op, ast.In)
            return lambda left, right: _is_in(left, right) is is_in
        if isinstance(op, ast.Is | ast.IsNot):
            raise self._wrong(node, "is compares objects; write == or !=")
        compare = _COMPARE[type(op)]
        return lambda left, right: _compared(compare, left, right)


def _compared(compare: Callable[[Any, Any], Any], left: Any, right: Any) -> bool:
    """Compare two values; ones that cannot be compared, or are missing, are neither less nor greater nor equal."""
    try:
        return bool(compare(left, right))
    except TypeError:
        return False


def _computed(compute: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Compute with two numbers; return None if one is not a number, or the result is undefined."""
    numbers = all(isinstance(each, int | float) for each in (left, right))
    try:
        return compute(left, right) if numbers else None
    except (ArithmeticError, ValueError):
        return None


def _is_in(left: Any, right: Any) -> bool:
    try:
        return left in right
    except TypeError:
        return False

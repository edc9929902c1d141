"""The space of a study: the values that each argument may have."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from rpd.errors import DefinitionError
from rpd.values.job import Gpu
from rpd.values.printable import tellable

Values = Mapping[str, Any]
"""Name of an argument to its value."""
GPU = "gpu"
"""The argument that decides which GPU is rented."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The values of one argument. ``size`` is their number, None for infinitely many."""

    size: int | None = None

    def at(self, part: float) -> Any:
        """Return the value at a fraction of the range (0 <= part < 1); equal parts are equally likely."""
        raise NotImplementedError

    def every(self) -> Iterator[Any]:
        """Yield every value of a finite dimension."""
        raise NotImplementedError

    def encode(self, value: Any) -> Any:
        """Return the JSON form of a value. Raise ValueError if it has none."""
        return value

    def decode(self, encoded: Any) -> Any:
        """Return the value of a JSON form. Raise ValueError if it is not in the dimension."""
        raise NotImplementedError

    def document(self) -> dict[str, Any]:
        """Return the dimension as JSON, for the record of a run."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Uniform(Dimension):
    """Numbers from ``low`` to ``high``; ``log``: each power of ten as likely as the next."""

    low: float
    high: float
    log: bool = False

    def encode(self, value: Any) -> Any:
        return value if isinstance(value, bool) or not isinstance(value, Real) else float(value)

    def at(self, part: float) -> float:
        if self.log:
            return math.exp(math.log(self.low) + part * (math.log(self.high) - math.log(self.low)))
        return self.low + part * (self.high - self.low)

    def decode(self, encoded: Any) -> float:
        if isinstance(encoded, bool) or not isinstance(encoded, int | float):
            raise ValueError(f"expected a number, got {encoded!r}")
        if not self.low <= encoded <= self.high and not math.isclose(
            encoded, self.at(0.0 if encoded < self.low else 1.0)
        ):
            raise ValueError(f"expected a number from {self.low:g} to {self.high:g}, got {encoded!r}")
        return float(encoded)

    def document(self) -> dict[str, Any]:
        return {"kind": "uniform", "low": self.low, "high": self.high, "log": self.log}

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


@dataclass(frozen=True, kw_only=True)
class Integers(Dimension):
    """Integers from ``low`` to ``high``, both included, in steps; ``log`` as for Uniform."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def encode(self, value: Any) -> Any:
        return value if isinstance(value, bool) or not isinstance(value, Integral) else int(value)

    def at(self, part: float) -> int:
        if self.log:
            low, high = math.log(self.low), math.log(self.high + 1)
            return min(self.high, int(math.exp(low + part * (high - low))))
        assert self.size is not None
        return self.low + self.step * min(self.size - 1, int(part * self.size))

    def every(self) -> Iterator[int]:
        yield from range(self.low, self.high + 1, self.step)

    def decode(self, encoded: Any) -> int:
        is_one = isinstance(encoded, int) and not isinstance(encoded, bool)
        if not is_one or encoded not in range(self.low, self.high + 1, self.step):
            raise ValueError(f"expected a whole number: {self}, got {encoded!r}")
        return int(encoded)

    def document(self) -> dict[str, Any]:
        return {"kind": "integers", "low": self.low, "high": self.high, "step": self.step, "log": self.log}

    def __str__(self) -> str:
        step = f" in steps of {self.step}" if self.step > 1 else ""
        return f"{self.low} to {self.high}{step}{' (log)' if self.log else ''}"


@dataclass(frozen=True, kw_only=True)
class Choice(Dimension):
    """One of the listed values, of any type; the journal stores their index."""

    values: tuple[Any, ...]

    def at(self, part: float) -> Any:
        return self.values[min(len(self.values) - 1, int(part * len(self.values)))]

    def every(self) -> Iterator[Any]:
        yield from self.values

    def encode(self, value: Any) -> int:
        for place, candidate in enumerate(self.values):
            if candidate is value or candidate == value:
                return place
        raise ValueError(f"expected one of {self}, got {value!r}")

    def decode(self, encoded: Any) -> Any:
        if isinstance(encoded, bool) or not isinstance(encoded, int) or not 0 <= encoded < len(self.values):
            raise ValueError(f"expected an index from 0 to {len(self.values) - 1}, got {encoded!r}")
        return self.values[encoded]

    def document(self) -> dict[str, Any]:
        plain = (str, int, float, bool, type(None))
        values = [value if isinstance(value, plain) else str(tellable(value)) for value in self.values]
        return {"kind": "choice", "values": values}

    def __str__(self) -> str:
        return " | ".join(map(str, self.values))


# --- the words of deploy files --------------------------------------------------------------------------------------


def uniform(low: float, high: float) -> Dimension:
    """Any number from ``low`` to ``high``. Raise DefinitionError."""
    _check_order("uniform", low, high, int | float)
    return Uniform(low=float(low), high=float(high))


def log_uniform(low: float, high: float) -> Dimension:
    """Any number from ``low`` to ``high``, each power of ten equally likely. Raise DefinitionError."""
    _check_order("log_uniform", low, high, int | float)
    if low <= 0:
        raise DefinitionError("log_uniform", "low", "expected a number > 0", low)
    return Uniform(low=float(low), high=float(high), log=True)


def integers(low: int, high: int, step: int = 1, *, log: bool = False) -> Dimension:
    """Integers from ``low`` to ``high``, both included; ``log`` as in ``log_uniform``. Raise DefinitionError."""
    _check_order("integers", low, high, int)
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise DefinitionError("integers", "step", "expected a whole number >= 1", step)
    if log and (low < 1 or step != 1):
        wrong = (
            ("low", "expected a whole number >= 1", low) if low < 1 else ("step", "expected 1 with log", step)
        )
        raise DefinitionError("integers", *wrong)
    return Integers(low=low, high=high, step=step, log=log, size=(high - low) // step + 1)


def choice(values: Sequence[Any]) -> Dimension:
    """One of ``values``. Raise DefinitionError if the list is empty or has a value twice."""
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | range | set | frozenset):
        raise DefinitionError("choice", "values", "expected a list of values", values)
    distinct = tuple(values)
    if not distinct:
        raise DefinitionError("choice", "values", "expected at least one value", values)
    for place, value in enumerate(distinct):
        if any(type(value) is type(earlier) and value == earlier for earlier in distinct[:place]):
            raise DefinitionError("choice", "values", "expected each value once", value)
    return Choice(values=distinct, size=len(distinct))


def _check_order(word: str, low: object, high: object, kind: Any) -> None:
    for name, value in (("low", low), ("high", high)):
        good = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
        if not good:
            expected = "a whole number" if kind is int else "a number"
            raise DefinitionError(word, name, f"expected {expected}", value)
    if not low < high:  # type: ignore[operator] # both are numbers by now
        raise DefinitionError(word, "high", f"expected more than low ({low:g})", high)


# --- the whole ------------------------------------------------------------------------------------------------------


class Space:
    """The dimensions of a study, by the names of their arguments."""

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        self.dimensions = dict(dimensions)

    @property
    def size(self) -> int | None:
        """The number of points, None for infinitely many."""
        sizes = [dimension.size for dimension in self.dimensions.values()]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def draw(self, by: random.Random) -> Values:
        """Return a point, each as likely as any other."""
        return {name: dimension.at(by.random()) for name, dimension in self.dimensions.items()}

    def points(self) -> Iterator[Values]:
        """Yield every point of a finite space, the last argument varying fastest."""
        for values in itertools.product(*(dimension.every() for dimension in self.dimensions.values())):
            yield dict(zip(self.dimensions, values, strict=True))

    def encode(self, values: Values) -> dict[str, Any]:
        """Return the JSON form of a point."""
        return {name: dimension.encode(values[name]) for name, dimension in self.dimensions.items()}

    def decode(self, encoded: Any) -> Values:
        """Return the point of a JSON form. Raise ValueError if it is not in the space."""
        if not isinstance(encoded, Mapping) or set(encoded) != set(self.dimensions):
            names = ", ".join(self.dimensions)
            raise ValueError(f"expected values of {names}, got {encoded!r}")
        values = {}
        for name, dimension in self.dimensions.items():
            try:
                values[name] = dimension.decode(encoded[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return values

    def checked(self, values: object) -> Values:
        """Return the point that ``values`` mean. Raise ValueError if it is not in the space."""
        if not isinstance(values, Mapping) or set(values) != set(self.dimensions):
            raise ValueError(f"expected values of {', '.join(self.dimensions)}, got {values!r}")
        return self.decode(self.encode(values))

    def example(self) -> Values:
        """Return one point, always the same."""
        return {name: dimension.at(0.0) for name, dimension in self.dimensions.items()}

    def texts(self) -> dict[str, str]:
        """Return each dimension in the notation for people."""
        return {name: str(dimension) for name, dimension in self.dimensions.items()}

    def document(self) -> dict[str, Any]:
        """Return the space as JSON, for the record of a run."""
        return {name: dimension.document() for name, dimension in self.dimensions.items()}


def space_of(document: Mapping[str, Any]) -> Space:
    """Return the space of a document made by ``Space.document``; values that JSON cannot hold are strings.

    Raise ValueError if it is none.
    """
    made: dict[str, Dimension] = {}
    try:
        for name, fields in document.items():
            match fields["kind"]:
                case "uniform":
                    made[name] = Uniform(low=fields["low"], high=fields["high"], log=fields["log"])
                case "integers":
                    size = (fields["high"] - fields["low"]) // fields["step"] + 1
                    made[name] = Integers(
                        low=fields["low"],
                        high=fields["high"],
                        step=fields["step"],
                        log=fields["log"],
                        size=size,
                    )
                case "choice":
                    made[name] = Choice(values=tuple(fields["values"]), size=len(fields["values"]))
                case kind:
                    raise ValueError(f"{name}: unknown kind {kind!r}")
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(f"not a space: {type(error).__name__}: {error}") from None
    return Space(made)


def make_space(dimensions: Mapping[str, Any]) -> Space:
    """Return the space of a mark. Raise DefinitionError if an argument is not a dimension."""
    for name, dimension in dimensions.items():
        if not isinstance(dimension, Dimension):
            hint = "Write rpd.choice, rpd.uniform, rpd.log_uniform or rpd.integers"
            raise DefinitionError("rpd.mark.search", name, "expected a range of values", dimension, hint=hint)
    if not dimensions:
        raise DefinitionError("rpd.mark.search", "", "expected at least one argument with a range", {})
    return Space({name: _as_gpus(each) if name == GPU else each for name, each in dimensions.items()})


def _as_gpus(dimension: Dimension) -> Dimension:
    """Return the choice of GPUs with each id turned into a Gpu."""
    if not isinstance(dimension, Choice):
        raise DefinitionError("rpd.mark.search", GPU, "expected rpd.choice of GPUs", str(dimension))
    gpus = tuple(Gpu(value) if isinstance(value, str) else value for value in dimension.values)
    for value in gpus:
        if not isinstance(value, Gpu):
            raise DefinitionError("rpd.mark.search", GPU, "expected GPUs or their ids", value)
    return Choice(values=gpus, size=len(gpus))

"""Parametrization: the axes of one job function, and the cases that are their product."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from rpd.collect.ids import GivenIds, MakeId, make_ids
from rpd.collect.marks import check_marks
from rpd.collect.source_lines import arguments_with_default
from rpd.config import Config
from rpd.errors import CollectionError, UsageError
from rpd.values.fixture import FixtureDef, Scope
from rpd.values.frozen import EMPTY, frozen
from rpd.values.mark import Mark, ParameterSet
from rpd.values.node import Definition, FixtureParam

EMPTY_CHOICES = ("fail_at_collect", "skip", "xfail")


@frozen(kw_only=False)
class Case:
    """Parameters of one node: ``ids`` are joined by ``-`` to the case id.

    Given by position where there are many: Python is half as fast with keywords.
    """

    params: Mapping[str, Any] = EMPTY
    fixture_params: Mapping[str, FixtureParam] = EMPTY
    ids: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()


class NoValue:
    """The value of arguments in an empty parameter set: their node never runs."""

    def __repr__(self) -> str:
        return "NOTSET"


NO_VALUE = NoValue()


class ParamKey:
    """Identifies an indirect parameter: equal values of one type share a live fixture.

    Unhashable values, such as lists, are hashed by their ``repr``. Values that cannot be compared equal only
    themselves.
    """

    __slots__ = ("_hash", "_value")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._hash = _hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParamKey) or type(self._value) is not type(other._value):
            return False
        if self._value is other._value:
            return True
        try:
            # Comparing arrays gives an array, whose truth value raises.
            return self._hash == other._hash and bool(self._value == other._value)
        except Exception:  # noqa: BLE001 - the user's own code, which may raise anything
            return False

    def __repr__(self) -> str:
        return f"ParamKey({self._value!r})"


def _hash(value: Any) -> int:
    """Return a hash of any value; errors of a user's own ``__hash__``, except TypeError, are raised."""
    try:
        return hash(value)
    except TypeError:
        try:
            return hash(repr(value))
        except Exception:  # noqa: BLE001 - the user's own code, which may raise anything
            return hash(type(value))


class Metafunc:
    """The argument of ``rpd_generate_nodes``: a job function that can be parametrized.

    ``fixturenames`` are the names it needs, directly or not; ``definition`` is the function as known so far;
    ``function``, ``module`` and ``config`` are those of the job.
    """

    def __init__(
        self,
        *,
        definition: Definition,
        fixturenames: Sequence[str],
        config: Config,
        chains: Mapping[str, tuple[FixtureDef, ...]],
        make_id: MakeId,
        registered: Mapping[str, str],
    ) -> None:
        self.definition = definition
        self.fixturenames = list(fixturenames)
        self.config = config
        self.function = definition.function
        self.module = definition.module
        self._chains = chains
        self._make_id = make_id
        self._registered = registered
        self._axes: list[list[Case]] = []
        self._direct: dict[str, Scope] = {}
        self._indirect: dict[str, Scope | None] = {}

    @property
    def direct(self) -> Mapping[str, Scope]:
        """The arguments parametrized directly, with the scope of their values."""
        return self._direct

    @property
    def indirect(self) -> Mapping[str, Scope | None]:
        """The fixtures parametrized indirectly, with the scope that overrides theirs, if any."""
        return self._indirect

    def chain(self, name: str) -> tuple[FixtureDef, ...]:
        """Return the fixtures of that name that the function sees, the nearest last."""
        return self._chains.get(name, ())

    def is_parametrized(self, name: str) -> bool:
        """Return whether ``name`` already has parameters."""
        return name in self._direct or name in self._indirect

    def parametrize(
        self,
        argnames: str | Sequence[str],
        argvalues: Iterable[Any],
        indirect: bool | Sequence[str] = False,  # noqa: FBT001, FBT002 - pytest's signature
        ids: GivenIds = None,
        scope: str | None = None,
    ) -> None:
        """Run the job once for each of ``argvalues``; several calls multiply.

        ``argnames`` is ``"a, b"`` or a sequence of names; ``indirect`` lists those (True: all) that go to the
        fixture of that name as ``request.param``; ``scope`` overrides the lifetime of values. Raise
        CollectionError.
        """
        names, in_tuples = split_argnames(argnames)
        through = self._through(names, indirect)
        self._check_names(names, through)
        wide = None if scope is None else Scope.parse(scope)
        axis = self._axis(names, argvalues, ids, in_tuples=in_tuples)
        for name in names:
            if name in through:
                self._indirect[name] = wide
            else:
                self._direct[name] = wide or Scope.JOB
        via = frozenset(names) if wide else through
        self._axes.append([_case(names, cell, via, chosen) for cell, chosen in axis])

    def parametrize_fixture(self, fixture: FixtureDef) -> None:
        """Run the job once for each of the ``params`` of ``fixture``. Raise CollectionError."""
        name = fixture.name
        axis = self._axis([name], fixture.params or (), fixture.ids, in_tuples=False)
        self._indirect[name] = None
        self._axes.append(
            [
                Case(
                    fixture_params={name: FixtureParam(key=ParamKey(cell.values[0]), value=cell.values[0])},
                    ids=() if chosen is None else (chosen,),
                    marks=cell.marks,
                )
                for cell, chosen in axis
            ]
        )

    def _axis(
        self, names: Sequence[str], argvalues: Iterable[Any], ids: GivenIds, *, in_tuples: bool
    ) -> list[tuple[ParameterSet, str | None]]:
        """Return the parameter sets, checked, each with its id."""
        cells = self._cells(names, argvalues, in_tuples=in_tuples)
        marks = [mark for cell in cells for mark in cell.marks]
        check_marks(marks, self._registered, strict=self.config.collect.strict_markers, case=True)
        strict = self.config.collect.strict_parametrization_ids
        return list(
            zip(cells, make_ids(names, cells, ids, make_id=self._make_id, strict=strict), strict=True)
        )

    def cases(self) -> list[Case]:
        """Return the product of all parametrizations, the first one varying slowest."""
        return reduce(_product, self._axes) if self._axes else [Case()]

    def _cells(
        self, names: Sequence[str], argvalues: Iterable[Any], *, in_tuples: bool
    ) -> list[ParameterSet]:
        if isinstance(argvalues, str | bytes):
            raise CollectionError(f"parametrize: expected a sequence of values, got {argvalues!r}")
        try:
            values = list(argvalues)
        except TypeError:
            raise CollectionError(f"parametrize: expected a sequence of values, got {argvalues!r}") from None
        cells = [_parameter_set(value, names, in_tuples=in_tuples) for value in values]
        for cell in cells:
            if len(cell.values) != len(names):
                raise CollectionError(
                    f'in "parametrize" the number of names ({len(names)}):\n  {list(names)}\n'
                    f"must be equal to the number of values ({len(cell.values)}):\n  {list(cell.values)}"
                )
        return cells or [self._empty(names)]

    def _empty(self, names: Sequence[str]) -> ParameterSet:
        choice = self.config.collect.empty_parameter_set_mark
        if choice not in EMPTY_CHOICES:
            raise UsageError(
                f"empty_parameter_set_mark: expected one of {', '.join(EMPTY_CHOICES)}, got {choice!r}"
            )
        if choice == "fail_at_collect":
            raise CollectionError(
                f"Empty parameter set for ({', '.join(names)}): there is nothing to run. "
                "If that is intended, set empty_parameter_set_mark to skip or xfail"
            )
        keywords: dict[str, Any] = {"reason": f"got empty parameter set for ({', '.join(names)})"}
        if choice == "xfail":
            keywords["run"] = False
        return ParameterSet((NO_VALUE,) * len(names), (Mark(choice, (), keywords),), "NOTSET")

    def _through(self, names: Sequence[str], indirect: bool | Sequence[str]) -> frozenset[str]:  # noqa: FBT001
        if isinstance(indirect, bool):
            return frozenset(names) if indirect else frozenset()
        if isinstance(indirect, str) or not isinstance(indirect, Sequence):
            raise CollectionError(
                f"expected Sequence or boolean for indirect, got {type(indirect).__name__}: {indirect!r}"
            )
        for name in indirect:
            if name not in names:
                raise CollectionError(f"indirect fixture {name!r} doesn't exist in {list(names)}")
        return frozenset(indirect)

    def _check_names(self, names: Sequence[str], through: frozenset[str]) -> None:
        for name in names:
            if names.count(name) > 1 or self.is_parametrized(name):
                raise CollectionError(f"duplicate parametrization of {name!r}")
            if name in self.fixturenames and not (name in through and not self._chains.get(name)):
                continue
            if name in arguments_with_default(self.function):
                raise CollectionError(f"function already takes an argument {name!r} with a default value")
            kind = "fixture" if name in through else "argument"
            raise CollectionError(f"function uses no {kind} {name!r}")


def split_argnames(argnames: str | Sequence[str]) -> tuple[list[str], bool]:
    """Return the names in ``"a, b"`` or in a sequence, and whether each set of values is a tuple.

    It is, unless there is one name in a string without a comma. Raise CollectionError for anything else.
    """
    if isinstance(argnames, str):
        names = [name.strip() for name in argnames.split(",") if name.strip()]
        return names, len(names) != 1 or argnames.rstrip().endswith(",")
    if isinstance(argnames, Sequence) and all(isinstance(name, str) for name in argnames):
        return list(argnames), True
    raise CollectionError(f"parametrize: expected names of arguments, got {argnames!r}")


def _parameter_set(value: Any, names: Sequence[str], *, in_tuples: bool) -> ParameterSet:
    if isinstance(value, ParameterSet):
        return value
    if not in_tuples:
        return ParameterSet((value,))
    try:
        return ParameterSet(tuple(value))
    except TypeError:
        from rpd.values.printable import tellable  # only errors show values

        if len(names) == 1:
            raise CollectionError(
                f"parametrize: expected a tuple of one value for {list(names)}, got {tellable(value)!r}; "
                f'for values as they are write "{names[0]}"'
            ) from None
        raise CollectionError(
            f'in "parametrize" the number of names ({len(names)}):\n  {list(names)}\n'
            f"must be equal to the number of values (1):\n  {tellable(value)!r}"
        ) from None


def _product(first: list[Case], second: list[Case]) -> list[Case]:
    """Return every case of ``first`` with every one of ``second``."""
    return [
        Case(
            {**one.params, **other.params},
            {**one.fixture_params, **other.fixture_params},
            one.ids + other.ids,
            one.marks + other.marks,
        )
        for one in first
        for other in second
    ]


def _case(names: Sequence[str], cell: ParameterSet, via: frozenset[str], chosen: str | None) -> Case:
    values = dict(zip(names, cell.values, strict=True))
    ids = () if chosen is None else (chosen,)
    if not via:
        return Case(params=values, ids=ids, marks=cell.marks)
    return Case(
        params={name: value for name, value in values.items() if name not in via},
        fixture_params={
            name: FixtureParam(key=ParamKey(value), value=value)
            for name, value in values.items()
            if name in via
        },
        ids=ids,
        marks=cell.marks,
    )

"""Marks: facts a user attaches to a job function, read by rpd and by plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from rpd.errors import DefinitionError
from rpd.values.frozen import EMPTY, frozen

if TYPE_CHECKING:
    from typing import Literal

    from rpd.values.job import Gpu


F = TypeVar("F", bound=Callable[..., Any])

MARKS_ATTRIBUTE = "__rpd_marks__"
"""Where decorators keep the marks of a function: a tuple, in the order in which the decorators ran (bottom up)."""
NEEDS = "needs"
"""The mark whose arguments are functions: without arguments it takes what it is called with, and decorates nothing."""

SEARCH = "search"
"""The mark of a study, whose nodes are its trials."""


class _Hidden:
    def __repr__(self) -> str:
        return "HIDDEN_PARAM"


HIDDEN_PARAM = _Hidden()
"""As an id: this parameter set adds nothing to the node id (allowed once for a function)."""


@frozen(kw_only=False)
class Mark:
    """``rpd.mark.<name>(*args, **kwargs)``; also usable as a decorator."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = EMPTY

    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Mark: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Decorate a function when called with nothing else, otherwise add arguments and return a new mark."""
        is_plain = (
            len(args) == 1 and not kwargs and callable(args[0]) and not isinstance(args[0], Mark | type)
        )
        if is_plain and (self.name != NEEDS or self.args):
            return attach_mark(args[0], self)
        return Mark(self.name, (*self.args, *args), {**self.kwargs, **kwargs})


def attach_mark(function: F, mark: Mark) -> F:
    """Add ``mark`` to ``function`` and return the function itself."""
    marks: tuple[Mark, ...] = function.__dict__.get(MARKS_ATTRIBUTE, ())
    setattr(function, MARKS_ATTRIBUTE, (*marks, mark))
    return function


if TYPE_CHECKING:
    # Signatures of rpd's own marks, for editors and type checkers. At run time each is a plain Mark, and the
    # collector checks the arguments.

    class _Parametrize(Mark):
        def __call__(  # type: ignore[override]
            self,
            argnames: str | Sequence[str],
            argvalues: Iterable[object],
            indirect: bool | Sequence[str] = ...,  # noqa: FBT001 - pytest's signature
            ids: Iterable[str | float | bool | None] | Callable[[Any], object] | None = ...,
            scope: Literal["job", "module", "worker", "session"] | None = ...,
        ) -> Mark: ...

    class _Skip(Mark):
        @overload
        def __call__(self, function: F, /) -> F: ...
        @overload
        def __call__(self, reason: str = ...) -> Mark: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    class _SkipIf(Mark):
        def __call__(  # type: ignore[override]
            self,
            condition: str | bool,  # noqa: FBT001 - pytest's signature
            *conditions: str | bool,
            reason: str = ...,
        ) -> Mark: ...

    class _Xfail(Mark):
        @overload
        def __call__(self, function: F, /) -> F: ...
        @overload
        def __call__(
            self,
            condition: str | bool = ...,  # noqa: FBT001 - pytest's signature
            *conditions: str | bool,
            reason: str = ...,
            run: bool = ...,
            raises: type[BaseException] | tuple[type[BaseException], ...] | None = ...,
            strict: bool = ...,
        ) -> Mark: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    class _UseFixtures(Mark):
        def __call__(self, *names: str) -> Mark: ...  # type: ignore[override]

    class _Retry(Mark):
        def __call__(  # type: ignore[override]
            self,
            *,
            infra: int = ...,
            oom: int | Literal["next-gpu"] = ...,
            timeout: int = ...,
            code: int = ...,
        ) -> Mark: ...

    class _Timeout(Mark):
        def __call__(  # type: ignore[override]
            self, job: str | float = ..., *, silent: str | float = ...
        ) -> Mark: ...

    class _Gpu(Mark):
        @overload  # type: ignore[override]
        def __call__(self, gpu: Gpu | None, /) -> Mark: ...
        @overload
        def __call__(
            self,
            *ids: str,
            count: int = ...,
            min_vram_gb: int | None = ...,
            max_price_usd: float | None = ...,
            prefer: Literal["listed", "cheapest", "place"] = ...,
        ) -> Mark: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    class _Budget(Mark):
        def __call__(  # type: ignore[override]
            self,
            *,
            cost_cap_usd: float = ...,
            max_runtime: str | float | None = ...,
            ssh_ready_timeout: str | float = ...,
        ) -> Mark: ...

    class _Search(Mark):
        def __call__(  # type: ignore[override]
            self,
            space: Mapping[str, object] = ...,
            /,
            *,
            minimize: str | Sequence[str] = ...,
            maximize: str | Sequence[str] = ...,
            trials: int = ...,
            sampler: object = ...,
            search_seed: int = ...,
            prune: object = ...,
            confirm: Gpu | str | None = ...,
            top: int = ...,
            **ranges: object,
        ) -> Mark: ...

    class _Slots(Mark):
        def __call__(self, gpu: int) -> Mark: ...  # type: ignore[override]

    class _Needs(Mark):
        def __call__(  # type: ignore[override]
            self,
            *jobs: Callable[..., Any] | str,
            all: bool = ...,  # noqa: A002 - as a user reads it: needs(train, all=True)
        ) -> Mark: ...


class MarkGenerator:
    """``rpd.mark``: every attribute is a mark of that name."""

    if TYPE_CHECKING:
        parametrize: _Parametrize
        skip: _Skip
        skipif: _SkipIf
        xfail: _Xfail
        usefixtures: _UseFixtures
        retry: _Retry
        timeout: _Timeout
        gpu: _Gpu
        budget: _Budget
        search: _Search
        slots: _Slots
        needs: _Needs

    def __getattr__(self, name: str) -> Mark:
        if name.startswith("_"):
            raise AttributeError(f"mark names may not begin with an underscore: {name!r}")
        return Mark(name)


mark = MarkGenerator()


@frozen(kw_only=False)
class ParameterSet:
    """``rpd.param(*values, id=…, marks=…)``: one cell of a parametrization. ``id`` None means: generate it."""

    values: tuple[Any, ...]
    marks: tuple[Mark, ...] = ()
    id: str | _Hidden | None = None


def param(*values: Any, marks: Mark | Sequence[Mark] = (), id: str | _Hidden | None = None) -> ParameterSet:  # noqa: A002
    """Return one parameter set with an id or marks, for ``parametrize`` or a fixture's ``params``.

    Raise DefinitionError for an id that is not a string and for anything but marks.
    """
    if not isinstance(marks, Mark | Iterable):
        raise DefinitionError("param", "marks", "expected a mark or a sequence of marks", marks)
    own_marks = (marks,) if isinstance(marks, Mark) else tuple(marks)
    for each in own_marks:
        if not isinstance(each, Mark):
            raise DefinitionError("param", "marks", "expected a mark or a sequence of marks", each)
    if id is not None and not isinstance(id, str | _Hidden):
        raise DefinitionError("param", "id", "expected a string", id)
    return ParameterSet(values, own_marks, id)


@frozen(kw_only=False)
class Location:
    """A place in a user's file; ``file`` is relative to the root folder (POSIX), ``line`` starts at 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

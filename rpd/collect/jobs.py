"""The job functions of a module, and the nodes made of each."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pluggy

from rpd.collect.closure import make_closure, pick, reachable
from rpd.collect.failures import at_function, from_exception
from rpd.collect.ids import MakeId, unique_ids
from rpd.collect.marks import check_marks, marks_of, used_fixtures
from rpd.collect.parametrize import Metafunc, split_argnames
from rpd.collect.source_lines import argument_names, location_of
from rpd.collect.visible_fixtures import Registry, View, attached, check_calls, is_a
from rpd.config import Config
from rpd.errors import CollectionError, DefinitionError, UsageError
from rpd.hooks import hook_names
from rpd.values.fixture import FIXTURE_ATTRIBUTE, Closure, FixtureDef, Scope
from rpd.values.frozen import frozen, replace
from rpd.values.job import EARLIER_JOB_ATTRIBUTE, JOB_ATTRIBUTE, Job
from rpd.values.mark import MARKS_ATTRIBUTE, NEEDS, Mark
from rpd.values.never_rented import (
    check_cluster,
    check_cluster_gpu,
    check_cluster_lifecycle,
    check_kind,
    check_place,
)
from rpd.values.node import Definition, Node
from rpd.values.suggestions import closest

GENERATE = "rpd_generate_nodes"
_PROVISION, _GPU = "provision", "gpu"
_POD, _CLUSTER = "pod", "cluster"
"""The built-in fixtures that rent a pod or select it."""
_OWN_ATTRIBUTES = frozenset(
    {JOB_ATTRIBUTE, EARLIER_JOB_ATTRIBUTE, MARKS_ATTRIBUTE, FIXTURE_ATTRIBUTE, "__wrapped__"}
)


@frozen
class FileContext:
    """The data shared by all jobs of one file."""

    config: Config
    module: ModuleType
    path: Path
    file: str
    view: View
    registry: Registry
    registered: Mapping[str, str]
    module_marks: tuple[Mark, ...]


@frozen
class Hooks:
    """The hooks of the plugins that one file sees."""

    config: Config
    generate: pluggy.HookCaller
    make_id: pluggy.HookCaller

    def id_maker(self) -> MakeId:
        """Return the function that asks the plugins for the id of a value."""
        if not self.make_id.get_hookimpls():
            return lambda _value, _argname: None
        return self._make_id

    def _make_id(self, value: Any, argname: str) -> str | None:
        made = self.make_id(config=self.config, val=value, argname=argname, value=value)
        if not isinstance(made, str | None):
            raise CollectionError(
                f"rpd_make_parametrize_id: expected a string or None for {argname!r}, got {made!r}"
            )
        return made


Problem = tuple[str, CollectionError]
"""The name of a job and the error in it."""


def job_functions(
    module: ModuleType, rootdir: Path, *, is_given: bool = False
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the module's own jobs by name, in the order of its namespace, and errors for those that cannot be jobs.

    A job imported from another module belongs to that module; one function under two names is one job. A program
    that gives its functions (``is_given``) may decorate one again for each run.
    """
    jobs: dict[str, Any] = {}
    errors: list[Problem] = []
    wrong: set[int] = set()
    for name, value in list(vars(module).items()):
        if is_a(value, type):
            errors += _jobs_in_class(value, module, rootdir)
        if (
            is_a(value, Mark)
            and value.name == NEEDS
            and len(value.args) == 1
            and _is_swallowed(name, value, module)
        ):
            text = "write @rpd.mark.needs(train), with the job that is needed; without arguments it takes the function"
            errors.append((name, at_function(text, value.args[0], rootdir=rootdir, name=name)))
        if not is_a(attached(value, JOB_ATTRIBUTE), Job) or not _is_own(value, module):
            continue
        problem = _job_problem(name, value) or (None if is_given else _second_job(name, value))
        if problem and id(value) in wrong:
            continue
        if problem:
            wrong.add(id(value))
            errors.append((name, at_function(problem, value, rootdir=rootdir, name=name)))
        else:
            jobs[name] = value
    return _without_aliases(jobs), errors + _redefined(jobs, module, rootdir)


def _is_swallowed(name: str, mark: Mark, module: ModuleType) -> bool:
    """Return whether a mark without arguments took the function below it for its argument."""
    return getattr(mark.args[0], "__name__", None) == name and _is_own(mark.args[0], module)


def _is_own(value: Any, module: ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def _job_problem(name: str, value: Any) -> str | None:
    if isinstance(value, type):
        return f"class {name!r} cannot be a job: there are no job classes, decorate a function"
    if not inspect.isroutine(value) and not callable(value):
        return f"{name!r} cannot be a job: expected a function, got {value!r}"
    if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
        return f"async def functions are not supported: {name!r} must be a plain function"
    if inspect.isgeneratorfunction(value):
        return f"generator {name!r} cannot be a job: a job does not yield (a fixture may)"
    foreign = attached(value, "pytestmark")
    if isinstance(foreign, list) and foreign:
        mark = getattr(foreign[0], "name", "…")
        return f"rpd does not read pytest.mark.{mark}: write @rpd.mark.{mark}"
    if attached(value, FIXTURE_ATTRIBUTE) is not None:
        return f"{name!r} is both a job and a fixture: make it one of them"
    return None


def _second_job(name: str, value: Any) -> str | None:
    if attached(value, EARLIER_JOB_ATTRIBUTE) is None:
        return None
    return (
        f"{name!r} is decorated with two different jobs, of which only the outer one would count: keep one "
        "(train(spot=True) is the job train with a field changed)"
    )


def _jobs_in_class(owner: type, module: ModuleType, rootdir: Path) -> Iterator[Problem]:
    if not _is_own(owner, module):
        return
    for name, value in vars(owner).items():
        if is_a(attached(value, JOB_ATTRIBUTE), Job):
            shown = f"{owner.__name__}.{name}"
            text = f"{shown!r} cannot be a job: there are no job classes, move the function out of the class"
            yield shown, at_function(text, value, rootdir=rootdir, name=shown)


def _without_aliases(jobs: dict[str, Any]) -> dict[str, Any]:
    names: dict[int, str] = {}
    for name, function in jobs.items():
        if id(function) not in names or name == getattr(function, "__name__", None):
            names[id(function)] = name
    kept = set(names.values())
    return {name: function for name, function in jobs.items() if name in kept}


def _redefined(jobs: Mapping[str, Any], module: ModuleType, rootdir: Path) -> list[Problem]:
    """Return an error for each job that replaces a decorated function of the same name: that one would not run."""
    path = str(module.__file__)
    spec = module.__spec__
    get_code = getattr(spec.loader, "get_code", None) if spec else None
    try:
        code = get_code(spec.name) if get_code and spec else None
        consts = code.co_consts if code else ()
        names = Counter(const.co_name for const in consts if isinstance(const, CodeType))
        if not any(names[name] > 1 for name in jobs):
            return []
        from rpd.user_text import parse_python  # few files define a name twice

        body = parse_python(Path(path).read_bytes()).body
    except OSError:  # removed, or made unreadable, since it was imported
        return []
    errors = []
    for name in jobs:
        lines = [
            item.lineno
            for item in body
            if isinstance(item, ast.FunctionDef) and item.name == name and item.decorator_list
        ]
        if len(lines) > 1:
            text = f"two jobs are called {name!r} (lines {', '.join(map(str, lines))}): rename one of them"
            errors.append((name, at_function(text, jobs[name], rootdir=rootdir, name=name)))
    return errors


def nodes_of(name: str, function: Any, context: FileContext, hooks: Hooks) -> list[Node]:
    """Return the nodes of one job function, in order. Raise CollectionError, with place and source."""
    config = context.config
    try:
        return _nodes_of(name, function, context, hooks)
    except (KeyboardInterrupt, UsageError):
        raise
    except CollectionError as error:
        if error.file:
            raise
        text = f"In {name}: {error}"
        raise at_function(text, function, rootdir=config.rootdir, name=name) from None
    except BaseException as error:  # noqa: BLE001 - ids functions and hooks may raise anything
        raise from_exception(
            error,
            rootdir=config.rootdir,
            full_trace=config.output.full_trace,
            otherwise=location_of(function, config.rootdir),
            title=f"In {context.file}::{name}:",
        ) from None


def _nodes_of(name: str, function: Any, context: FileContext, hooks: Hooks) -> list[Node]:
    check_calls(function, context.config.rootdir)
    own = marks_of(function)
    check_marks(own, context.registered, strict=context.config.collect.strict_markers)
    marks = (*own, *context.module_marks)
    argnames = argument_names(function)
    needed = tuple(dict.fromkeys((*context.view.autouse, *used_fixtures(marks), *argnames)))
    definition = _definition(name, function, argnames, marks, context)
    metafunc = _parametrized(definition, needed, marks, context, hooks)
    view = _effective_view(metafunc, context)
    plain = {each for each, scope in metafunc.direct.items() if scope is Scope.JOB}
    closure = make_closure(function, needed, view, direct=plain, rootdir=context.config.rootdir)
    definition = replace(definition, closure=closure)
    nodes = _make_nodes(definition, metafunc, marks, strict=context.config.collect.strict_parametrization_ids)
    _check_pods(definition, nodes)
    return nodes


def asks_for_others(definition: Definition) -> bool:
    """Return whether a job needs others, or requests their results."""
    return takes_results(definition) or any(mark.name == NEEDS for mark in definition.marks)


def takes_results(definition: Definition) -> bool:
    """Return whether a job requests the built-in fixture ``needs``."""
    nearest = definition.closure.nearest(NEEDS)
    return nearest is not None and nearest.is_built_in


def _check_pods(definition: Definition, nodes: Iterable[Node]) -> None:
    """Raise DefinitionError for a pod that RunPod never rents, as far as is known before fixtures run."""
    definitions = definition.closure.definitions
    if _PROVISION not in definitions:
        return
    gpu_is_the_jobs = len(definitions.get(_GPU, ())) == 1
    checked: set[int] = set()
    for node in nodes:
        if id(node.job) in checked:
            continue
        checked.add(id(node.job))
        check_place(node.job)
        check_cluster(node.job)
        check_cluster_lifecycle(node.job.cluster, node.job.lifecycle)
        _check_handle(definition, node)
        if gpu_is_the_jobs and _GPU not in node.params and _GPU not in node.fixture_params:
            check_kind(node.job)
            check_cluster_gpu(node.job)


def _check_handle(definition: Definition, node: Node) -> None:
    """Raise DefinitionError for the built-in ``pod`` in a job with a cluster, and for ``cluster`` in one without.

    Also raise it for the mark ``slots`` with a cluster: its GPUs are not shared out.
    """
    if node.job.cluster and any(mark.name == "slots" for mark in node.marks):
        hint = "Nodes may share a cluster, one after the other: rent it in a fixture of a wider scope"
        raise DefinitionError(
            "Job", "cluster", "expected no cluster with the mark slots", node.job.cluster, hint=hint
        )
    wrong = _POD if node.job.cluster else _CLUSTER
    chain = definition.closure.definitions.get(wrong, ())
    if not chain or wrong in node.params or not chain[-1].is_built_in:
        return
    if wrong == _POD:
        hint = "Ask for cluster (cluster.primary is a pod), and for cluster_dir instead of staged_dir"
        raise DefinitionError(
            "Job", "cluster", "expected a job that does not ask for pod", node.job.cluster, hint=hint
        )
    hint = "Write cluster=Cluster(nodes=2), or ask for pod"
    raise DefinitionError("Job", "cluster", "expected a Cluster(…) for the fixture cluster", None, hint=hint)


def _definition(
    name: str, function: Any, argnames: tuple[str, ...], marks: tuple[Mark, ...], context: FileContext
) -> Definition:
    place = location_of(function, context.config.rootdir)
    attributes = (key for key in vars(function) if key not in _OWN_ATTRIBUTES)
    words = (*_path_words(context.file), name, *attributes, *(mark.name for mark in marks))
    return Definition(
        name=name,
        file=context.file,
        line=place.line,
        function=function,
        job=attached(function, JOB_ATTRIBUTE),
        argnames=argnames,
        closure=Closure(),
        keywords=frozenset(word.lower() for word in words),
        module=context.module,
        marks=marks,
        doc=inspect.getdoc(function) or "",
    )


def _path_words(file: str) -> list[str]:
    return [part for part in file.split("/") if part not in ("", "..")]


def _parametrized(
    definition: Definition,
    needed: tuple[str, ...],
    marks: tuple[Mark, ...],
    context: FileContext,
    hooks: Hooks,
) -> Metafunc:
    """Return the function with all its parameters: from its module's hook, its fixtures, plugins and its marks."""
    parametrize_marks = [mark for mark in marks if mark.name == "parametrize"]
    stop = {each for mark in parametrize_marks for each in _direct_names(mark)}
    names = reachable(needed, context.view, stop)
    metafunc = Metafunc(
        definition=definition,
        fixturenames=names,
        config=context.config,
        chains=context.view.definitions,
        make_id=hooks.id_maker(),
        registered=context.registered,
    )
    own_hook = getattr(context.module, GENERATE, None)
    if own_hook is not None:
        _generate(own_hook, metafunc, context.config.rootdir)
    by_mark = {each for mark in parametrize_marks for each in _names(mark)}
    for name in names:
        if name not in by_mark and not metafunc.is_parametrized(name):
            fixture = _parametrized_fixture(context.view.chain(name), name)
            if fixture is not None:
                metafunc.parametrize_fixture(fixture)
    hooks.generate(metafunc=metafunc)
    for mark in parametrize_marks:
        _apply(metafunc, mark)
    return metafunc


def _generate(hook: Any, metafunc: Metafunc, rootdir: Path) -> None:
    """Call the hook of a deploy file with the arguments it requests, like those of plugins. Raise CollectionError."""
    values = {"metafunc": metafunc}
    argnames = argument_names(hook)
    for name in argnames:
        if name not in values:
            text = f"{GENERATE} has the argument metafunc, not {name!r}"
            raise at_function(text, hook, rootdir=rootdir)
    hook(**{name: values[name] for name in argnames})


def misplaced_hooks(module: ModuleType, rootdir: Path, conftest: str) -> Iterator[CollectionError]:
    """Yield an error for each function of a deploy file that looks like a hook and would never be called."""
    for name, value in vars(module).items():
        if not name.startswith("rpd_") or name == GENERATE or not is_a(value, FunctionType):
            continue
        if attached(value, JOB_ATTRIBUTE) or attached(value, FIXTURE_ATTRIBUTE) or not _is_own(value, module):
            continue
        if closest(name, [GENERATE], likeness=0.8):
            yield at_function(f"unknown hook {name}; did you mean {GENERATE}?", value, rootdir=rootdir)
        elif name in hook_names():
            text = f"rpd does not call {name} in a deploy file: move it to the {conftest} of its folder"
            text += ", or to a plugin"
            yield at_function(text, value, rootdir=rootdir)


def _parametrized_fixture(chain: tuple[FixtureDef, ...], name: str) -> FixtureDef | None:
    """Return the definition whose params apply: the nearest that has any, as far as each requests the one before."""
    for fixture in reversed(chain):
        if fixture.params is not None:
            return fixture
        if name not in fixture.argnames:
            return None
    return None


def _names(mark: Mark) -> list[str]:
    argnames = mark.args[0] if mark.args else mark.kwargs.get("argnames", "")
    return split_argnames(argnames)[0]


def _direct_names(mark: Mark) -> list[str]:
    indirect = mark.args[2] if len(mark.args) > 2 else mark.kwargs.get("indirect", False)
    if indirect is True:
        return []
    through = indirect if isinstance(indirect, list | tuple) else ()
    return [name for name in _names(mark) if name not in through]


def _apply(metafunc: Metafunc, mark: Mark) -> None:
    try:
        _signature().bind(metafunc, *mark.args, **mark.kwargs)
    except TypeError as error:
        raise CollectionError(f"rpd.mark.parametrize: {error}") from None
    metafunc.parametrize(*mark.args, **mark.kwargs)


@cache
def _signature() -> inspect.Signature:
    return inspect.signature(Metafunc.parametrize)


def _effective_view(metafunc: Metafunc, context: FileContext) -> View:
    """Return the view of the job once its parameters are known: wide direct arguments and overridden scopes."""
    changes = {}
    for name, scope in metafunc.direct.items():
        if scope is not Scope.JOB:
            place = location_of(metafunc.function, context.config.rootdir)
            changes[name] = context.registry.parameter(name, scope, place)
    for name, override in metafunc.indirect.items():
        chain = context.view.chain(name)
        if override is not None and chain:
            changes[name] = context.registry.rescoped(chain[-1], override)
    for name, override in metafunc.indirect.items():
        if override is not None:
            for user in _wider_users(name, override, metafunc.fixturenames, pick(context.view, changes)):
                changes[user.name] = context.registry.rescoped(user, override)
    return pick(context.view, changes)


def _wider_users(name: str, scope: Scope, names: Iterable[str], view: View) -> Iterator[FixtureDef]:
    """Yield the fixtures that depend on ``name`` and are wider than ``scope``, the scope of its parameter.

    They end with each of its values.
    """
    for each in names:
        chain = view.chain(each)
        if each != name and chain and chain[-1].scope > scope and name in reachable([each], view):
            yield chain[-1]


def _make_nodes(
    definition: Definition, metafunc: Metafunc, marks: tuple[Mark, ...], *, strict: bool
) -> list[Node]:
    cases = metafunc.cases()
    joined = ["-".join(case.ids) if case.ids else None for case in cases]
    ids = unique_ids([*metafunc.direct, *metafunc.indirect], joined, strict=strict)
    prefix = f"{definition.file}::{definition.name}"
    jobs: dict[tuple[int, int], Job] = {}
    # Most cases have no marks of their own, and share what those of the function make of the job.
    own = None if all(case.marks for case in cases) else _own_job(definition.job, marks, jobs)
    return [
        Node(
            definition=definition,
            id=prefix if text is None else f"{prefix}[{text}]",
            case=text or "",
            params=case.params,
            fixture_params=case.fixture_params,
            marks=(*case.marks, *marks) if case.marks else marks,
            own_job=_own_job(definition.job, (*case.marks, *marks), jobs) if case.marks else own,
        )
        for case, text in zip(cases, ids, strict=True)
    ]


def _own_job(job: Job, marks: tuple[Mark, ...], made: dict[tuple[int, int], Job]) -> Job | None:
    """Return ``job`` with the nearest marks ``gpu`` and ``budget`` applied.

    Nodes that share both share the result.
    """
    gpu = next((mark for mark in marks if mark.name == "gpu"), None)
    budget = next((mark for mark in marks if mark.name == "budget"), None)
    if gpu is None and budget is None:
        return None
    from rpd.values.job_marks import marked_job  # most jobs have neither

    key = (id(gpu), id(budget))
    if key not in made:
        made[key] = marked_job(job, gpu, budget)
    return made[key]

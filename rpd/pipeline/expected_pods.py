"""Foresight: determines which pods nodes will request, before anything is rented.

The calls that rent pods are read from the source (``rpd.execute.rental_calls``). Fixtures that decide about
the pod, above all ``gpu``, are called as in a dry run: unable to open connections or to start processes. A
fixture that holds something (one that yields) or that needs a pod is not called.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from rpd.config import Config
from rpd.events import NoEvents
from rpd.execute.rental_calls import PROVISION, Rental, Unforeseen, job_of, rentals
from rpd.values.fixture import FixtureDef, Scope, needs
from rpd.values.frozen import frozen
from rpd.values.job import Job
from rpd.values.node import Definition, Node

if TYPE_CHECKING:
    from rpd.execute.context import RunContext
    from rpd.execute.end_notices import Asides
    from rpd.execute.mode import Dry
    from rpd.stop import Stop

_BUILT_IN_GPU = ("rpd.execute.fixtures", "gpu")


class Foresight:
    """Foresees the pods of ``nodes``: all that run, since any of those that share a pod may be the one to rent it."""

    def __init__(self, config: Config, nodes: Sequence[Node]) -> None:
        self._config = config
        self._nodes = nodes
        self._rentals: dict[Definition, tuple[Rental, ...] | Unforeseen] = {}
        self._usual: dict[Hashable, tuple[tuple[Job, ...], ...]] = {}
        """The pods of nodes of which only their job decides about them."""
        self._plain: dict[Definition, bool] = {}
        self._jobs: dict[Hashable, Job] = {}
        self._shared: dict[FixtureDef, tuple[Job, ...]] = {}
        self._values: dict[Hashable, object] = {}

    def pods(self, node: Node) -> tuple[tuple[Job, ...], ...]:
        """Return for each pod of a node the jobs with which it may be rented; the node's own choice comes first.

        Equal jobs are the same object. Raise Unforeseen.
        """
        if "gpu" in node.params or not self._is_plain(node.definition):
            return self._rented(node)
        key = (node.definition, id(node.job))
        jobs = self._usual.get(key)
        if jobs is None:
            jobs = self._usual[key] = self._rented(node)
        return jobs

    def _is_plain(self, definition: Definition) -> bool:
        """Return whether the job alone decides about the pods of a node, as with most nodes of a sweep."""
        is_plain = self._plain.get(definition)
        if is_plain is None:
            gpu = definition.closure.nearest("gpu")
            names = {name for rental in self._rentals_of(definition) for name in rental.arguments}
            is_plain = not names or (names == {"gpu"} and gpu is not None and _is_built_in_gpu(gpu))
            self._plain[definition] = is_plain
        return is_plain

    def _rented(self, node: Node) -> tuple[tuple[Job, ...], ...]:
        pods = []
        for rental in self._rentals_of(node.definition):
            own = self._job(rental, node)
            others = self._jobs_at(rental) if rental.is_shared else ()
            pods.append((own, *(job for job in others if job is not own)))
        return tuple(pods)

    def _rentals_of(self, definition: Definition) -> tuple[Rental, ...]:
        result = self._rentals.get(definition)
        if result is None:
            try:
                result = rentals(definition)
            except Unforeseen as error:
                result = error
            self._rentals[definition] = result
        if isinstance(result, Unforeseen):
            raise result
        return result

    def _jobs_at(self, rental: Rental) -> tuple[Job, ...]:
        """Return every job with which a pod that nodes share may be rented, by whichever of them comes first."""
        holder = rental.holder
        assert holder is not None
        jobs = self._shared.get(holder)
        if jobs is None:
            users = (
                node
                for node in self._nodes
                if holder in node.definition.closure.definitions.get(holder.name, ())
            )
            jobs = self._shared[holder] = tuple(
                {id(job): job for job in map(partial(self._job, rental), users)}.values()
            )
        return jobs

    def _job(self, rental: Rental, node: Node) -> Job:
        values = {name: self.value(name, node) for name in rental.arguments}
        key = (id(rental), id(node.job), repr(values))
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = job_of(rental, node.job, values.__getitem__)
        return job

    # --- future values of arguments ---------------------------------------------------------------------------------

    def value(self, name: str, node: Node) -> object:
        """Return the future value of the fixture or parameter ``name`` for a node. Raise Unforeseen."""
        if name in node.params:
            return node.params[name]
        chain = node.definition.closure.chain(name)
        if not chain:
            raise Unforeseen(f"{node.definition.location} has no fixture {name!r}")
        nearest = chain[-1]
        if _is_built_in_gpu(nearest):
            return node.job.gpu
        key = self._key(nearest, node)
        if key not in self._values:
            self._values[key] = self._called(nearest, node)
        result = self._values[key]
        if isinstance(result, Unforeseen):
            raise result
        return result

    @staticmethod
    def _key(definition: FixtureDef, node: Node) -> Hashable:
        """Return the cache key of a fixture's value: its parameters, and the node if it uses ``request``."""
        closure = node.definition.closure
        names = needs(closure, definition)
        if any("request" in fixture.argnames for name in names for fixture in closure.chain(name)):
            return definition, node.id
        direct = tuple((name, repr(value)) for name, value in node.params.items() if name in names)
        return (
            definition,
            closure,
            direct,
            tuple((name, param.key) for name, param in node.fixture_params.items() if name in names),
        )

    def _called(self, definition: FixtureDef, node: Node) -> object:
        """Return the value of a fixture, or why it cannot be known now."""
        if why := _why_not_called(definition, node):
            return Unforeseen(f"{definition.name!r} ({definition.location}) {why}")
        try:
            return self._caller(definition.name, node)
        except Exception as error:  # noqa: BLE001 - the run meets the error again, at its place
            reason = f"{type(error).__name__}: {error}"
            return Unforeseen(
                f"{definition.name!r} ({definition.location}) cannot be called before the run: {reason}"
            )

    @cached_property
    def _caller(self) -> Callable[[str, Node], object]:
        # Imported here: few projects have such a fixture, and listing nodes must not load the modules that
        # run them.
        from rpd.pipeline.variables import read_variables

        return _caller(self._config, read_variables(self._config.collect, self._config.invocation_dir))


def _is_built_in_gpu(definition: FixtureDef) -> bool:
    return (definition.module, definition.name) == _BUILT_IN_GPU


def _why_not_called(definition: FixtureDef, node: Node) -> str:
    closure = node.definition.closure
    names = needs(closure, definition)
    if PROVISION in names:
        return "needs a pod"
    for name in names - node.params.keys():
        for fixture in closure.chain(name):
            if fixture.is_generator:
                return f"needs {name!r}, which yields" if fixture is not definition else "yields"
            if fixture.scope is not Scope.JOB and "request" in fixture.argnames:
                return f"needs {name!r}, which is of scope {fixture.scope.label} and asks for the request"
    return ""


@frozen(kw_only=False)
class _Ahead:
    """All that a fixture which is called before the run finds of it."""

    config: Config
    variables: Mapping[str, Any]
    asides: Asides
    mode: Dry
    stop: Stop
    run_id: str = ""


def _caller(config: Config, variables: Mapping[str, Any]) -> Callable[[str, Node], object]:
    """Return a function that calls a fixture by name, with everything it needs, for a node that is not running."""
    from rpd.execute import no_network
    from rpd.execute.end_notices import Asides
    from rpd.execute.mode import Dry
    from rpd.execute.node.current import acting_for
    from rpd.execute.node.node_run import NodeRun
    from rpd.execute.node.pod_use import PodUse
    from rpd.execute.scopes import Scopes, Setup
    from rpd.journal.files import DryRunFiles
    from rpd.journal.journal import NoJournal
    from rpd.stop import Stop

    scopes = Scopes(())
    ahead = _Ahead(config, variables, Asides(), Dry(), Stop())
    files = DryRunFiles.below(config.runs_path)

    def call(name: str, node: Node) -> object:
        run = NodeRun(
            node=node,
            files=files.node(node),
            journal=NoJournal(),
            events=NoEvents(),
            context=cast("RunContext", ahead),
            use=PodUse(node=node, budget=node.job.budget),
            tells_fixtures=False,
        )
        setup = Setup(scopes, run, 0)
        with acting_for(run), no_network.guarded("before a run, to find out its cost"):
            try:
                return setup.get(name)
            finally:
                setup.teardown()

    return call

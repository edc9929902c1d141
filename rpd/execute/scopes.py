"""Live fixture values: set up once in their scope, torn down last in, first out.

A value narrower than the job's run belongs to a ``Setup`` (one node); wider ones are shared through
``Scopes``. A wide value is one *instance* per scope place (file, slot, run) and combination of the parameters
it depends on; it is torn down as soon as the plan has no further node that uses it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from typing import Any

from rpd.errors import CollectionError, UsageError
from rpd.execute.asked import asked_while_running
from rpd.execute.deadlines import TEARDOWN_SECONDS
from rpd.execute.node.current import acting_for
from rpd.execute.node.node_run import NodeRun
from rpd.execute.pod.held import Held
from rpd.execute.project_folder import PROJECT, checked_project, has_own_project, stages_project
from rpd.execute.rental_calls import PROVISION
from rpd.stop import Latch, Stop
from rpd.values.fixture import FixtureDef, Scope, needs
from rpd.values.frozen import frozen
from rpd.values.mutable import fresh, mutable
from rpd.values.node import Definition, Node

Finalizer = Callable[[], object]
Key = tuple[Hashable, ...]
_OWN = ("pod", "cluster")
"""The fixtures whose pods stand in a node's record, whatever else it uses."""


@mutable
class Instance:
    """One live value of a wide fixture."""

    definition: FixtureDef
    key: Key
    finalizers: list[Finalizer] = fresh(factory=list)
    dependents: list[Instance] = fresh(factory=list)
    ready: Latch = fresh(factory=Latch)
    value: Any = None
    error: BaseException | None = None
    order: int = 0
    """Sequence number of its set-up's end; the values it depends on have lower ones."""
    last_user: NodeRun | None = None
    users: set[NodeRun] = fresh(factory=set)
    """The running nodes that use it."""
    finisher: int | None = None
    """Id of the thread that tears it down; None while it is alive."""
    gone: Latch = fresh(factory=Latch)
    """Set when its teardown is over."""


@frozen(kw_only=False)
class TeardownError:
    """An error of a teardown, and the last node that used the value: its report includes the error."""

    fixture: FixtureDef
    error: BaseException
    user: NodeRun | None


class Scopes:
    """The wide values of a run, for the nodes of a plan; ``begins`` is called before each set-up. Thread-safe."""

    def __init__(
        self,
        nodes: Sequence[Node],
        begins: Callable[[FixtureDef], object] = lambda _definition: None,
        *,
        stop: Stop | None = None,
    ) -> None:
        self._begins = begins
        self._stop = stop or Stop()
        self._lock = threading.Lock()
        self._instances: dict[Key, Instance] = {}
        self._made = 0
        self._users: Counter[Key] = Counter()
        self._wide: dict[Definition, tuple[FixtureDef, ...]] = {}
        self._variables: dict[Definition, tuple[str, ...]] = {}
        for node in nodes:
            self._users.update(self._counted(node))

    def add(self, node: Node) -> None:
        """Count a node that joined the plan among the users of wide values."""
        with self._lock:
            self._users.update(self._counted(node))

    def variables(self, definition: Definition) -> tuple[str, ...]:
        """Return the names of the declared variables that nodes of ``definition`` use."""
        names = self._variables.get(definition)
        if names is None:
            closure = definition.closure
            nearest = ((name, closure.nearest(name)) for name in closure.names)
            names = self._variables[definition] = tuple(
                name for name, fixture in nearest if fixture and fixture.is_variable
            )
        return names

    def acquire(self, definition: FixtureDef, setup: Setup, slot: int) -> Instance:
        """Return the live instance of a wide fixture for a node; the first caller sets it up, the others wait.

        Raise the error of its set-up, for every caller, and Interrupted.
        """
        key = self._key(definition, setup.node, slot)
        with self._lock:
            instance = self._instances.get(key)
            is_first = instance is None
            if instance is None:
                instance = self._instances[key] = Instance(definition=definition, key=key)
            instance.users.add(setup.run)
        if is_first:
            self._set_up(instance, setup, slot)
        elif not (instance.ready.is_set() or self._stop.hold(instance.ready, grace=0.0)):
            self._stop.check()
        instance.last_user = setup.run
        if instance.error is not None:
            raise instance.error
        return instance

    def _set_up(self, instance: Instance, setup: Setup, slot: int) -> None:
        holder, setup.run.holder = setup.run.holder, instance.definition.name
        try:  # around everything: others wait for this instance to be ready, whatever is raised
            if instance.definition.scope is Scope.WORKER:
                # A slot holds one value of a worker fixture at a time: another parameter means the old one is over.
                setup.late_errors.extend(
                    self._finish_where(lambda other: _is_replaced(other, instance, slot))
                )
            self._begins(instance.definition)
            instance.value = setup.call(instance.definition, instance.finalizers, owner=instance)
        except BaseException as error:  # noqa: BLE001 - kept and raised for each user
            instance.error = error
            # Its partial set-up is of no use to anyone, and may include a pod.
            setup.late_errors.extend(self._finish(instance, setup.run))
        finally:
            setup.run.holder = holder
            with self._lock:
                self._made += 1
                instance.order = self._made
            instance.ready.set()

    def leave(self, run: NodeRun, instances: Sequence[Instance]) -> None:
        """Note that a node no longer uses these instances."""
        with self._lock:
            for instance in instances:
                instance.users.discard(run)

    def node_done(self, node: Node) -> list[TeardownError]:
        """Note that a node is over; tear down the values that no other node of the plan will use."""
        over: set[Key] = set()
        with self._lock:
            for key in self._counted(node):
                self._users[key] -= 1
                if not self._users[key]:
                    over.add(key)
        return self._finish_where(lambda instance: instance.key in over) if over else []

    def give_back(self, nodes: Sequence[Node]) -> list[TeardownError]:
        """Tear down the values of ``nodes`` that hold a pod, even if others need them: an idle pod would bill."""
        keys = {
            self._key(definition, node, 0)
            for node in nodes
            for definition in self._wide_definitions(node.definition)
            if definition.scope is not Scope.WORKER
            and PROVISION in needs(node.definition.closure, definition)
        }
        return self._finish_where(lambda instance: instance.key in keys)

    def drop_lost(self) -> list[TeardownError]:
        """Tear down the values whose pod is out of reach, so that the next node gets a fresh one."""
        return self._finish_where(
            lambda instance: isinstance(instance.value, Held) and instance.value.is_lost
        )

    def forget_failures(self, of: NodeRun) -> None:
        """Let wide values whose set-up failed for ``of`` be set up again; used for retries after platform errors."""
        with self._lock:
            for key, instance in list(self._instances.items()):
                if instance.error is not None and instance.last_user is of:
                    del self._instances[key]

    def slot_done(self, slot: int) -> list[TeardownError]:
        """Note that a slot is over; tear down its worker-scoped values."""
        return self._finish_where(
            lambda instance: instance.definition.scope is Scope.WORKER and instance.key[1] == slot
        )

    def all_done(self) -> list[TeardownError]:
        """Tear down everything that is left."""
        return self._finish_where(lambda _instance: True)

    def _finish_where(self, over: Callable[[Instance], bool]) -> list[TeardownError]:
        with self._lock:
            instances = [
                instance
                for instance in self._instances.values()
                if over(instance) and instance.ready.is_set()
            ]
            if not instances:
                return []
            for instance in instances:  # all of them now, so that no node gets a value that is about to end
                self._forget(instance)
        errors: list[TeardownError] = []
        for instance in sorted(instances, key=lambda each: each.order, reverse=True):
            errors.extend(self._finish(instance, instance.last_user))
        return errors

    def _finish(self, instance: Instance, user: NodeRun | None) -> list[TeardownError]:
        with self._lock:
            finisher = instance.finisher
            if finisher is None:
                instance.finisher = threading.get_ident()
                self._forget(instance)
        if finisher is not None:
            # Another node is tearing it down. The caller will tear down what it depends on, so wait until it
            # is gone.
            if finisher != threading.get_ident():
                self._stop.hold(instance.gone, grace=2 * TEARDOWN_SECONDS)
            return []
        try:
            errors: list[TeardownError] = []
            # In the reverse order of their set-up, since later values may rest on earlier ones.
            for dependent in reversed(instance.dependents):
                errors.extend(self._finish(dependent, dependent.last_user))
            errors.extend(run_finalizers(instance.finalizers, instance.definition, user))
        finally:
            instance.gone.set()
        if user is not None and user.tells_fixtures:
            user.events.fixture_teardown(node=user.node, fixture=instance.definition)
        return errors

    def _forget(self, instance: Instance) -> None:
        """Let the next caller have a new value; a failed one stays failed."""
        if instance.error is None and self._instances.get(instance.key) is instance:
            del self._instances[instance.key]

    def _counted(self, node: Node) -> Iterator[Key]:
        """Yield the keys of the instances that a node of the plan is known to use."""
        for definition in self._wide_definitions(node.definition):
            if definition.scope is not Scope.WORKER:
                yield self._key(definition, node, 0)

    def _wide_definitions(self, job: Definition) -> tuple[FixtureDef, ...]:
        """Return the wide fixtures that the nodes of a job need, or may request while they run."""
        wide = self._wide.get(job)
        if wide is None:
            closure = job.closure
            needed = [fixture for name in closure.names for fixture in closure.definitions.get(name, ())]
            late = [fixture for name in _asked_late(job) for fixture in closure.chain(name)]
            wide = self._wide[job] = tuple(
                fixture for fixture in dict.fromkeys((*needed, *late)) if fixture.scope > Scope.JOB
            )
        return wide

    def _key(self, definition: FixtureDef, node: Node, slot: int) -> Key:
        match definition.scope:
            case Scope.MODULE:
                place: Hashable = node.file
            case Scope.WORKER:
                place = slot
            case _:
                place = None
        if not node.fixture_params:
            return (definition, place)
        names = needs(node.definition.closure, definition)
        params = tuple((name, param.key) for name, param in node.fixture_params.items() if name in names)
        return (definition, place, params) if params else (definition, place)


def _asked_late(job: Definition) -> Iterator[str]:
    """Yield the names that the job or its fixtures may request while they run, and those they need in turn."""
    closure = job.closure
    planned = (fixture.function for name in closure.names for fixture in closure.definitions.get(name, ()))
    for function in (job.function, *planned):
        for name in asked_while_running(function):
            chain = closure.chain(name)
            if chain:
                yield from needs(closure, chain[-1])


def _is_replaced(former: Instance, instance: Instance, slot: int) -> bool:
    """Return whether ``former`` is the same worker fixture with an old parameter that no node uses any more."""
    is_same_fixture = former is not instance and former.definition is instance.definition
    return is_same_fixture and former.key[1] == slot and not former.users


class Setup:
    """The fixture values of one node on one slot."""

    def __init__(self, scopes: Scopes, run: NodeRun, slot: int) -> None:
        self.run = run
        self.node = run.node
        self.late_errors: list[TeardownError] = []
        """Errors from teardowns of other nodes' values during this node's set-up."""
        self._scopes = scopes
        self._slot = slot
        self._values: dict[FixtureDef, Any] = {}
        self._shared: list[Instance] = []
        self._finalizers: list[tuple[FixtureDef, list[Finalizer]]] = []

    def prepare(self) -> dict[str, Any]:
        """Set up everything the node needs, in the order of its closure; return the arguments of the job function."""
        closure = self.node.definition.closure
        self._check_project()
        for name in closure.names:
            self.get(name)
        for value in (*self._values.values(), *(instance.value for instance in self._shared)):
            if isinstance(value, Held):
                value.join(self.run)
        for name in _OWN:
            own = self.get(name) if name in closure.names else None
            if isinstance(own, Held):
                own.belong_to(self.run)
        variables = self._scopes.variables(self.node.definition)
        self.run.results.variables.update({name: self.get(name) for name in variables})
        return {name: self.get(name) for name in self.node.definition.argnames}

    def _check_project(self) -> None:
        """Set up and check the folder to send before a pod is rented for it. Raise UsageError."""
        node = self.node
        if not stages_project(node) or not has_own_project(node):
            return  # the folder of the deploy file was checked before the run
        chain = node.definition.closure.chain(PROJECT)
        if chain and PROVISION in needs(node.definition.closure, chain[-1]):
            return  # staged_dir checks it once there is a pod, which this fixture needs
        self.run.context.uploads.check(checked_project(self.get(PROJECT)))

    def get_unplanned(self, name: str, *, below: FixtureDef | None, owner: Instance | None) -> Any:
        """Return the value of ``name`` for ``getfixturevalue``."""
        with self.run.deadlines.shielded():
            value = self.get(name, below=below, owner=owner)
        if isinstance(value, Held):
            value.join(self.run)
        return value

    def get(self, name: str, *, below: FixtureDef | None = None, owner: Instance | None = None) -> Any:
        """Return the value of ``name`` for the fixture ``below``.

        Its own name means the fixture that it overrides.
        """
        if name in self.node.params:
            return self.node.params[name]
        if name == "request":
            return Request(self, below, owner)
        return self._value(self._find(name, below), owner)

    def _find(self, name: str, below: FixtureDef | None) -> FixtureDef:
        chain = self.node.definition.closure.chain(name)
        if below is not None and below.name == name:
            chain = chain[: chain.index(below)]
        if not chain:
            where = below.location if below else self.node.definition.location
            names = sorted({*self.node.definition.closure.visible, "request"})
            import difflib  # for a mistake only

            close = difflib.get_close_matches(name, names, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise CollectionError(
                f"fixture {name!r} not found{meant}; available fixtures: {', '.join(names)}",
                file=where.file,
                line=where.line,
            )
        return chain[-1]

    def _value(self, definition: FixtureDef, owner: Instance | None) -> Any:
        if definition.scope is Scope.JOB:
            if definition not in self._values:
                finalizers: list[Finalizer] = []
                try:
                    self._values[definition] = self.call(definition, finalizers, owner=None)
                finally:
                    # Entered when its set-up is over, also after an error: everything it requested must
                    # outlive it.
                    self._finalizers.append((definition, finalizers))
            return self._values[definition]
        instance = self._scopes.acquire(definition, self, self._slot)
        if owner is not None and owner not in instance.dependents:
            instance.dependents.append(owner)
        self._shared.append(instance)
        return instance.value

    def call(self, definition: FixtureDef, finalizers: list[Finalizer], *, owner: Instance | None) -> Any:
        """Call a fixture function with its own fixtures; collect its teardown and finalizers in ``finalizers``."""
        arguments = {
            name: Request(self, definition, owner, finalizers)
            if name == "request"
            else self.get(name, below=definition, owner=owner)
            for name in definition.argnames
        }
        try:
            # Built-in fixtures rent and send, which must not be cut in half: they see a stop in another way.
            if definition.is_built_in:
                return _begin(definition, arguments, finalizers)
            with self.run.stoppable():
                return _begin(definition, arguments, finalizers)
        finally:
            if self.run.tells_fixtures:
                self.run.events.fixture_setup(node=self.node, fixture=definition)

    def add_finalizer(self, finalizer: Finalizer) -> None:
        """Call ``finalizer`` at the teardown of the node, before the teardown of anything set up until now."""
        job = self.node.definition
        itself = FixtureDef(
            name=job.name,
            function=job.function,
            scope=Scope.JOB,
            argnames=job.argnames,
            location=job.location,
        )
        self._finalizers.append((itself, [finalizer]))

    def teardown(self) -> list[TeardownError]:
        """Tear down the node's own values, last in, first out; every finalizer runs, even if others raise."""
        errors: list[TeardownError] = []
        while self._finalizers:
            definition, finalizers = self._finalizers.pop()
            errors.extend(run_finalizers(finalizers, definition, self.run))
            if self.run.tells_fixtures and definition.function is not self.node.definition.function:
                self.run.events.fixture_teardown(node=self.node, fixture=definition)
        self._values.clear()
        self._scopes.leave(self.run, self._shared)
        return errors


def _begin(definition: FixtureDef, arguments: dict[str, Any], finalizers: list[Finalizer]) -> Any:
    """Call a fixture function, a generator up to its ``yield``; the part after it goes to ``finalizers``."""
    if not definition.is_generator:
        return definition.function(**arguments)
    generator = definition.function(**arguments)
    try:
        value = next(generator)
    except StopIteration:
        raise CollectionError(
            f"fixture {definition.name!r} did not yield a value",
            file=definition.location.file,
            line=definition.location.line,
        ) from None
    finalizers.append(lambda: _resume(generator, definition))
    return value


def _resume(generator: Generator[Any, None, None], definition: FixtureDef) -> None:
    """Run a yield fixture to its end."""
    try:
        next(generator)
    except StopIteration:
        return
    generator.close()
    raise CollectionError(
        f"fixture {definition.name!r} yielded more than once",
        file=definition.location.file,
        line=definition.location.line,
    )


def run_finalizers(
    finalizers: list[Finalizer], definition: FixtureDef, user: NodeRun | None
) -> list[TeardownError]:
    """Run finalizers in reverse order, each even if others raise; return their errors."""
    errors: list[TeardownError] = []
    while finalizers:
        finalizer = finalizers.pop()
        try:
            if user is None:
                finalizer()
            else:
                with acting_for(user), user.context.mode.guard(), user.unwinding(definition):
                    finalizer()
        except BaseException as error:  # noqa: BLE001 - part of the report
            errors.append(TeardownError(definition, error, user))
    return errors


class Request:
    """The value of the fixture ``request``: who requests, its parameter, and a place for finalizers."""

    def __init__(
        self,
        setup: Setup,
        definition: FixtureDef | None,
        owner: Instance | None,
        finalizers: list[Finalizer] | None = None,
    ) -> None:
        self._setup = setup
        self._definition = definition
        self._owner = owner
        self._finalizers = finalizers

    @property
    def fixturename(self) -> str | None:
        """The fixture that requests; None for the job function."""
        return self._definition.name if self._definition else None

    @property
    def scope(self) -> str:
        """The scope of the fixture that requests."""
        return (self._definition.scope if self._definition else Scope.JOB).label

    @property
    def node(self) -> Node:
        """The node that is being set up; for a wide fixture, the first one that requested it."""
        return self._setup.node

    @property
    def config(self) -> Any:
        """The configuration of the run."""
        return self._setup.run.context.config

    @property
    def function(self) -> Callable[..., Any]:
        """The job function."""
        return self._setup.node.definition.function

    @property
    def module(self) -> Any:
        """The module of the deploy file."""
        return self._setup.node.definition.module

    @property
    def param(self) -> Any:
        """The parameter of a parametrized fixture. Raise AttributeError if it has none."""
        parameter = self._setup.node.fixture_params.get(self._definition.name) if self._definition else None
        if parameter is None:
            raise AttributeError(
                f"{self.fixturename or 'the job'} is not parametrized: there is no request.param"
            )
        return parameter.value

    def addfinalizer(self, finalizer: Finalizer) -> None:
        """Call ``finalizer()`` at teardown, also if the set-up fails after this line. Raise UsageError."""
        if not callable(finalizer):
            raise UsageError(f"request.addfinalizer: expected a function, got {finalizer!r}")
        if self._finalizers is None:
            self._setup.add_finalizer(finalizer)
        else:
            self._finalizers.append(finalizer)

    def getfixturevalue(self, name: str) -> Any:
        """Return the value of another fixture by name, setting it up now if necessary."""
        if self._definition is not None:
            chain = self._setup.node.definition.closure.chain(name)
            if chain and chain[-1].scope < self._definition.scope:
                raise CollectionError(
                    f"ScopeMismatch: fixture {self._definition.name!r} ({self._definition.scope.label}) asks for "
                    f"{name!r} ({chain[-1].scope.label}), which has a shorter lifetime",
                    file=self._definition.location.file,
                    line=self._definition.location.line,
                )
        return self._setup.get_unplanned(name, below=self._definition, owner=self._owner)

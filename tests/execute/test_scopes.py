"""Live fixture values: random graphs of fixtures, on several threads, and the corners that matter."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpd.errors import CollectionError, Interrupted
from rpd.events import NoEvents
from rpd.execute.end_notices import Asides
from rpd.execute.mode import Dry
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.pod_use import PodUse
from rpd.execute.scopes import Request, Scopes, Setup, TeardownError
from rpd.journal.files import DryRunFiles
from rpd.journal.journal import NoJournal
from rpd.stop import Stop, StopLevel
from rpd.values.fixture import Closure, FixtureDef, Scope
from rpd.values.job import Job
from rpd.values.mark import Location
from rpd.values.node import Definition, FixtureParam, Node
from tests.waiting import DEADLINE

HERE = Location("deploy_x.py", 1)


def make_run(node: Node) -> NodeRun:
    context: Any = SimpleNamespace(asides=Asides(), mode=Dry(), stop=Stop())
    return NodeRun(
        node=node,
        context=context,
        use=PodUse(node=node, budget=node.job.budget),
        files=DryRunFiles.below(Path("runs")).node(node),
        journal=NoJournal(),
        events=NoEvents(),
    )


def fixture(
    name: str, function: Callable[..., Any], scope: Scope = Scope.JOB, *needs: str, generator: bool = False
) -> FixtureDef:
    return FixtureDef(
        name=name, function=function, scope=scope, argnames=needs, location=HERE, is_generator=generator
    )


def make_node(
    name: str,
    fixtures: Sequence[FixtureDef],
    *,
    file: str = "deploy_x.py",
    params: dict[str, int] | None = None,
    visible: Sequence[FixtureDef] = (),
) -> Node:
    """Return a node that needs ``fixtures``, given so that each comes after those it needs."""
    ordered = sorted(fixtures, key=lambda each: -each.scope)
    chains: dict[str, tuple[FixtureDef, ...]] = {}
    for each in fixtures:
        chains[each.name] = (*chains.get(each.name, ()), each)
    names = tuple(dict.fromkeys(each.name for each in ordered))
    shown = {**{each.name: (each,) for each in visible}, **chains}
    return Node(
        definition=Definition(
            name=name, file=file, line=1, function=lambda **_: None, job=Job(), argnames=names,
            closure=Closure(names=names, definitions=chains, visible=shown), keywords=frozenset(),
        ),
        id=f"{file}::{name}",
        fixture_params={key: FixtureParam(key=value, value=value) for key, value in (params or {}).items()},
    )  # fmt: skip


# --- random graphs --------------------------------------------------------------------------------------------------


@dataclass
class Value:
    """A live value that knows its parents and whether it is still alive."""

    name: str
    needs: list[Value]
    users: list[Value] = field(default_factory=list)
    alive: bool = True


@dataclass(frozen=True)
class Kind:
    """One fixture of a random graph."""

    scope: Scope
    needs: tuple[int, ...]
    parameters: int
    breaks: str


@dataclass
class World:
    """Makes the values of a graph, and writes down whatever must not be."""

    kinds: list[Kind]
    wrong: list[str] = field(default_factory=list)
    made: list[Value] = field(default_factory=list)
    set_ups: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.fixtures = [self._fixture(index) for index in range(len(self.kinds))]

    def _fixture(self, index: int) -> FixtureDef:
        kind = self.kinds[index]
        needs = [f"f{each}" for each in kind.needs]

        def function(**given: Value) -> Any:
            value = Value(f"f{index}", list(given.values()))
            with self.lock:
                self.set_ups[value.name] += 1
                self.wrong += [
                    f"{value.name} was made of dead {each.name}" for each in value.needs if not each.alive
                ]
                if kind.breaks == "setup":
                    raise RuntimeError(value.name)
                for each in value.needs:
                    each.users.append(value)
                self.made.append(value)
            yield value
            with self.lock:
                self.wrong += [f"{value.name} torn down twice"] if not value.alive else []
                self.wrong += [
                    f"{value.name} torn down before {each.name}" for each in value.users if each.alive
                ]
                self.wrong += [
                    f"{value.name} torn down after {each.name}" for each in value.needs if not each.alive
                ]
                value.alive = False
            if kind.breaks == "teardown":
                raise RuntimeError(value.name)

        return fixture(f"f{index}", function, kind.scope, *needs, generator=True)

    def closure(self, wanted: set[int]) -> list[FixtureDef]:
        waiting = deque(wanted)
        collected = set(wanted)
        while waiting:
            for each in self.kinds[waiting.popleft()].needs:
                if each not in collected:
                    collected.add(each)
                    waiting.append(each)
        return [self.fixtures[index] for index in sorted(collected)]

    def use(self, arguments: dict[str, Any]) -> None:
        with self.lock:
            self.wrong += [f"the job got dead {name}" for name, value in arguments.items() if not value.alive]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Kind], list[tuple[str, set[int], int]]]:
    """Fixtures that need only earlier ones of the same or a wider scope, and nodes (file, fixtures, parameter)."""
    kinds: list[Kind] = []
    for _ in range(draw(st.integers(1, 6))):
        scope = draw(st.sampled_from(Scope))
        allowed = [index for index, kind in enumerate(kinds) if kind.scope >= scope]
        needs = tuple(draw(st.lists(st.sampled_from(allowed), unique=True, max_size=3))) if allowed else ()
        breaks = draw(st.sampled_from(["", "", "", "", "setup", "teardown"]))
        kinds.append(Kind(scope, needs, draw(st.sampled_from([1, 1, 2])), breaks))
    node = st.tuples(
        st.sampled_from(["deploy_a.py", "deploy_b.py"]),
        st.sets(st.integers(0, len(kinds) - 1), min_size=1, max_size=3),
        st.integers(0, 1),
    )
    return kinds, draw(st.lists(node, min_size=1, max_size=8))


def run_nodes(scopes: Scopes, nodes: Sequence[Node], world: World, *, slots: int, places: int) -> None:
    """Carry nodes out as a run does: ``slots`` times ``places`` threads take the next one until none is left."""
    waiting = deque(nodes)

    def work(slot: int) -> None:
        while True:
            try:
                node = waiting.popleft()
            except IndexError:
                return
            setup = Setup(scopes, make_run(node), slot)
            try:
                arguments = setup.prepare()
            except RuntimeError:
                pass
            else:
                world.use(arguments)
            setup.teardown()
            scopes.node_done(node)

    def run_slot(slot: int) -> None:
        threads = [threading.Thread(target=work, args=(slot,)) for _ in range(places)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        scopes.slot_done(slot)

    if slots == places == 1:
        work(0)
        scopes.slot_done(0)
    else:
        running = [threading.Thread(target=run_slot, args=(slot,)) for slot in range(slots)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    scopes.all_done()


def nodes_of(world: World, wanted: Sequence[tuple[str, set[int], int]]) -> list[Node]:
    made = []
    for number, (file, fixtures, parameter) in enumerate(wanted):
        closure = world.closure(fixtures)
        params = {each.name: parameter for each in closure if world.kinds[int(each.name[1:])].parameters > 1}
        made.append(make_node(f"j{number}", closure, file=file, params=params))
    return made


@given(graph=graphs())
@settings(max_examples=150)
def test_every_value_is_torn_down_once_in_reverse(
    graph: tuple[list[Kind], list[tuple[str, set[int], int]]],
) -> None:
    """Whatever the graph and whatever breaks, each value is torn down once, after all that were made of it."""
    kinds, wanted = graph
    world = World(kinds)
    nodes = nodes_of(world, wanted)
    run_nodes(Scopes(nodes), nodes, world, slots=1, places=1)
    assert world.wrong == []
    assert [value.name for value in world.made if value.alive] == []


@given(graph=graphs(), slots=st.integers(1, 3), places=st.integers(1, 2))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_with_threads(
    graph: tuple[list[Kind], list[tuple[str, set[int], int]]], slots: int, places: int
) -> None:
    """The same holds when several slots, and several nodes on one slot, work at the same time."""
    kinds, wanted = graph
    world = World(kinds)
    nodes = nodes_of(world, wanted)
    random.Random(0).shuffle(nodes)
    run_nodes(Scopes(nodes), nodes, world, slots=slots, places=places)
    assert world.wrong == []
    assert [value.name for value in world.made if value.alive] == []


@given(graph=graphs())
@settings(max_examples=100)
def test_each_scope_is_set_up_once(graph: tuple[list[Kind], list[tuple[str, set[int], int]]]) -> None:
    """A value is set up once for each node, file, slot or run that needs it, and for each parameter it depends on."""
    kinds, wanted = graph
    kinds = [Kind(kind.scope, kind.needs, 1, "") for kind in kinds]
    world = World(kinds)
    nodes = nodes_of(world, wanted)
    run_nodes(Scopes(nodes), nodes, world, slots=1, places=1)
    for index, kind in enumerate(kinds):
        users = [node for node in nodes if f"f{index}" in node.definition.closure.names]
        expected = {
            Scope.JOB: len(users),
            Scope.MODULE: len({node.file for node in users}),
            Scope.WORKER: min(1, len(users)),
            Scope.SESSION: min(1, len(users)),
        }
        assert world.set_ups[f"f{index}"] == expected[kind.scope]


def test_a_value_outlives_what_another_node_still_tears_down() -> None:
    """Two nodes end at once: the one with the wider value waits for the teardown of the values made of it."""
    world = World([Kind(Scope.SESSION, (), 1, ""), Kind(Scope.MODULE, (0,), 1, "")])
    first, second = nodes_of(world, [("deploy_a.py", {1}, 0), ("deploy_b.py", {0}, 0)])
    scopes = Scopes([first, second])
    setups = [Setup(scopes, make_run(node), slot) for slot, node in enumerate((first, second))]
    values = [setup.prepare() for setup in setups]
    begun, other_done = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        other_done.wait(0.1)  # in vain: the other node cannot be done before this is over

    scopes.acquire(world.fixtures[1], setups[0], 0).finalizers.append(slow)
    ending = threading.Thread(target=scopes.node_done, args=(first,))
    ending.start()
    assert begun.wait(DEADLINE)
    assert scopes.node_done(second) == []
    other_done.set()
    ending.join()
    assert world.wrong == []
    assert not any(value.alive for each in values for value in each.values())


# --- corners --------------------------------------------------------------------------------------------------------


def prepare(*fixtures: FixtureDef, name: str = "job", **how: Any) -> tuple[Scopes, Setup]:
    node = make_node(name, fixtures, **how)
    scopes = Scopes([node])
    return scopes, Setup(scopes, make_run(node), 0)


def test_an_override_may_ask_for_what_it_overrides() -> None:
    """A fixture that asks for its own name gets the value of the one it overrides, which outlives it."""
    log: list[str] = []

    def outer() -> Any:
        yield 1
        log.append("outer")

    def inner(value: int) -> Any:
        yield value + 1
        log.append("inner")

    base = fixture("value", outer, generator=True)
    override = fixture("value", inner, Scope.JOB, "value", generator=True)
    _, setup = prepare(base, override)
    assert setup.prepare() == {"value": 2}
    assert setup.teardown() == []
    assert log == ["inner", "outer"]


def test_a_failed_wide_set_up_fails_for_everybody() -> None:
    """A wide fixture that fails is tried once; each node that asks gets the same error."""
    calls: list[int] = []

    def broken() -> None:
        calls.append(1)
        raise RuntimeError("broken")

    wide = fixture("wide", broken, Scope.SESSION)
    nodes = [make_node("a", [wide]), make_node("b", [wide])]
    scopes = Scopes(nodes)
    for node in nodes:
        with pytest.raises(RuntimeError, match="broken"):
            Setup(scopes, make_run(node), 0).prepare()
        assert scopes.node_done(node) == []
    assert calls == [1]


def test_nobody_waits_for_a_value_whose_set_up_could_not_be_announced() -> None:
    """An exception before the fixture function is called ends its set-up, too: the next node gets the same error."""

    def refuse(_definition: FixtureDef) -> None:
        raise RuntimeError("no room")

    wide = fixture("wide", lambda: 1, Scope.SESSION)
    nodes = [make_node("a", [wide]), make_node("b", [wide])]
    scopes = Scopes(nodes, begins=refuse)
    for node in nodes:
        with pytest.raises(RuntimeError, match="no room"):
            Setup(scopes, make_run(node), 0).prepare()


def test_a_failure_can_be_forgotten() -> None:
    """After ``forget_failures`` the next one who asks tries again: for failures of the platform."""
    calls: list[int] = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("once")
        return "there"

    wide = fixture("wide", flaky, Scope.SESSION)
    node = make_node("a", [wide])
    scopes = Scopes([node])
    run = make_run(node)
    with pytest.raises(RuntimeError):
        Setup(scopes, run, 0).prepare()
    scopes.forget_failures(run)
    assert Setup(scopes, make_run(node), 0).prepare() == {"wide": "there"}


def test_a_failed_set_up_tears_down_what_it_began() -> None:
    """Finalizers added before a set-up fails still run, wide or not."""
    log: list[str] = []
    for scope in (Scope.JOB, Scope.SESSION):

        def broken(request: Request, scope: Scope = scope) -> None:
            request.addfinalizer(lambda: log.append(scope.label))
            raise RuntimeError

        scopes, setup = prepare(fixture("broken", broken, scope, "request"))
        with pytest.raises(RuntimeError):
            setup.prepare()
        setup.teardown()
        scopes.all_done()
    assert log == ["job", "session"]


def test_teardown_errors_name_fixture_and_last_user() -> None:
    """An exception of a teardown is reported with its fixture and the last node that used the value."""

    def wide() -> Any:
        yield
        raise ValueError("no end")

    definition = fixture("wide", wide, Scope.SESSION, generator=True)
    nodes = [make_node("a", [definition]), make_node("b", [definition])]
    scopes = Scopes(nodes)
    runs = [make_run(node) for node in nodes]
    errors: list[TeardownError] = []
    for node, run in zip(nodes, runs, strict=True):
        setup = Setup(scopes, run, 0)
        setup.prepare()
        errors += [*setup.teardown(), *scopes.node_done(node)]
    [error] = errors
    assert error.fixture is definition
    assert error.user is runs[1]
    assert str(error.error) == "no end"


def test_generators_yield_exactly_once() -> None:
    """A fixture that never yields fails its set-up, one that yields twice its teardown."""
    _, setup = prepare(fixture("odd", lambda: iter(()), generator=True))
    with pytest.raises(CollectionError, match="'odd' did not yield a value"):
        setup.prepare()
    _, setup = prepare(fixture("odd", lambda: (each for each in (1, 2)), generator=True))
    setup.prepare()
    [errors] = setup.teardown()
    assert "'odd' yielded more than once" in str(errors.error)


def test_a_worker_value_in_use_is_not_replaced() -> None:
    """A slot replaces a worker value by that of another parameter, but not while another node still works with it."""
    ended: list[int] = []

    def wide(request: Request) -> Any:
        yield request.param
        ended.append(request.param)

    definition = fixture("wide", wide, Scope.WORKER, "request", generator=True)
    nodes = [make_node(f"j{n}", [definition], params={"wide": n}) for n in range(3)]
    scopes = Scopes(nodes)
    setups = [Setup(scopes, make_run(node), 0) for node in nodes]
    assert setups[0].prepare() == {"wide": 0}
    assert setups[1].prepare() == {"wide": 1}
    assert ended == []
    setups[0].teardown()
    setups[1].teardown()
    assert setups[2].prepare() == {"wide": 2}
    assert sorted(ended) == [0, 1]
    setups[2].teardown()
    scopes.slot_done(0)
    assert ended[2:] == [2]


def test_values_may_be_asked_for_while_running() -> None:
    """``getfixturevalue`` sets up a new value, and refuses one that lives shorter than the asker."""
    other = fixture("other", lambda: "there")

    def asks(request: Request) -> str:
        return str(request.getfixturevalue("other"))

    _, setup = prepare(fixture("asks", asks, Scope.JOB, "request"), visible=[other])
    assert setup.prepare() == {"asks": "there"}
    _, setup = prepare(fixture("asks", asks, Scope.SESSION, "request"), visible=[other])
    with pytest.raises(CollectionError, match=r"ScopeMismatch.*'asks' \(session\) asks for 'other' \(job\)"):
        setup.prepare()
    _, setup = prepare(fixture("asks", asks, Scope.JOB, "request"))
    with pytest.raises(CollectionError, match="'other' not found; available fixtures: asks"):
        setup.prepare()


def test_the_request_tells_who_asks() -> None:
    """``request`` knows the fixture, its scope and parameter; without a parameter it says so."""
    seen: list[Request] = []

    def asks(request: Request) -> None:
        seen.append(request)

    _, setup = prepare(fixture("asks", asks, Scope.MODULE, "request"), params={"asks": 5})
    setup.prepare()
    [request] = seen
    assert (request.fixturename, request.scope, request.param) == ("asks", "module", 5)
    assert request.node is setup.node
    _, setup = prepare(fixture("asks", asks, Scope.MODULE, "request"))
    setup.prepare()
    with pytest.raises(AttributeError, match="asks is not parametrized"):
        _ = seen[1].param


@pytest.mark.parametrize("moment", ["set-up", "teardown"])
def test_a_stop_lets_go_of_who_waits_for_another(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixture of another node that never returns, as set-up or as teardown, does not hold a node that waits for it."""
    monkeypatch.setattr("rpd.execute.scopes.TEARDOWN_SECONDS", 0.0)
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> Any:
        if moment == "teardown":
            yield 1
        begun.set()
        go_on.wait(DEADLINE)
        yield 1

    wide = fixture("wide", hang, Scope.SESSION, generator=True)
    above = fixture("above", lambda wide: wide, Scope.SESSION, "wide")
    node, stop = make_node("a", [wide, above]), Stop()
    scopes = Scopes([node, node], stop=stop)
    first, second = Setup(scopes, make_run(node), 0), Setup(scopes, make_run(node), 1)

    def hold() -> None:
        first.prepare()
        scopes.all_done()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert begun.wait(DEADLINE)
    stop.request(StopLevel.END, "Ctrl-C")
    if moment == "set-up":
        with pytest.raises(Interrupted, match="Ctrl-C"):
            second.prepare()
    else:
        instance = first._shared[0]
        assert instance.definition is wide
        assert scopes._finish(instance, None) == []
    go_on.set()
    holder.join(DEADLINE)
    assert not holder.is_alive()

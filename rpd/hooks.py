"""Every hook of rpd, in the order in which a run calls them.

A plugin is a module, a class instance or a ``conftest.py`` with functions of these names, marked
``@rpd.hookimpl`` if an option is needed (``tryfirst``, ``trylast``, ``wrapper``). A plugin takes only the
arguments it names. rpd's own behaviour (fixtures, provider, manifest, terminal) is registered through the
same door.

Some hooks decide (``rpd_configure``, ``rpd_modify_plan``, ``rpd_run_node``): their exceptions end whatever
they decide about. The others only observe: their exceptions are reported once, and the run continues.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from _thread import allocate_lock
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from rpd.errors import BudgetExceeded, Interrupted, JobTimeout, UsageError
from rpd.values.suggestions import closest

if TYPE_CHECKING:
    from rpd.config import Config
    from rpd.config.options import OptionGroup
    from rpd.values.dryrun import DryRunNode
    from rpd.values.fixture import FixtureDef
    from rpd.values.hand_over import HandOver
    from rpd.values.job import Job
    from rpd.values.node import Node
    from rpd.values.plan import Earlier, Plan, Source
    from rpd.values.pod import PodInfo, Provider
    from rpd.values.report import NodeReport, RunSummary, Skip
    from rpd.values.step import Step
    from rpd.values.telemetry import Sample

PROJECT = "rpd"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

_observers: set[str] = set()

Spec = TypeVar("Spec", bound=Callable[..., None])


def observer(spec: Spec) -> Spec:
    """Declare a hook that only observes: no implementation can end, or change, the event it is called for."""
    _observers.add(spec.__name__)
    return hookspec(spec)


# --- start-up -------------------------------------------------------------------------------------------------------


@hookspec
def rpd_addoption(options: OptionGroup) -> None:
    """Add options: ``options.add("--site", default=…, help=…)``. Called before the command line is read.

    rpd asks plugins, and the conftests of the folders and files on the command line and of the folders above; other
    conftests are loaded too late.
    """


@hookspec
def rpd_markers(config: Config) -> Sequence[str] | None:
    """Return marks that jobs may have, each ``"name: description"`` or ``"name(arguments): description"``.

    rpd asks plugins, and the conftests of the folders and files on the command line and of the folders above; other
    conftests are loaded too late.
    """


@hookspec
def rpd_configure(config: Config) -> None:
    """Look at the finished configuration, before anything is collected. May raise UsageError.

    Among conftests, rpd asks those of the folders and files on the command line, and of the folders above.
    """


# --- collecting -----------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def rpd_collect_file(path: Path, config: Config) -> ModuleType | None:
    """Return a module made from a file, or None to leave it to the next plugin and finally to Python's import.

    Called for every file that is collected: those on the command line, with any suffix, and those in folders
    whose names match a pattern of ``deploy_files``. The module needs ``__file__``; its functions are
    collected like those of a deploy file. Raise CollectionError, with file and line, for errors in the file.
    """


@hookspec(firstresult=True)
def rpd_make_parametrize_id(config: Config, val: Any, argname: str, value: Any) -> str | None:
    """Return the id of a parameter value, or None to leave it to the next plugin and at last to rpd.

    ``value`` is ``val`` under the name it had before.
    """


@hookspec
def rpd_generate_nodes(metafunc: Any) -> None:
    """Parametrize a job function in code: ``metafunc.parametrize("seed", [1, 2])``; see ``metafunc.fixturenames``."""


@hookspec
def rpd_modify_nodes(config: Config, nodes: list[Node]) -> None:
    """Reorder, drop, add or replace (``dataclasses.replace``) collected nodes, in place; before ``-k`` and ``-m``."""


@hookspec
def rpd_select_nodes(config: Config, nodes: list[Node]) -> None:
    """Reorder or drop, in place, the nodes left by ``-k``, ``-m`` and ``--deselect``.

    Dropped nodes count as deselected. ``--lf``, ``--ff``, ``--nf`` and ``--sw`` work here, after other
    plugins.
    """


@observer
def rpd_collected(nodes: Sequence[Node], deselected: int, errors: Sequence[Any]) -> None:
    """Called when nodes are collected and selected, with the collection errors."""


# --- planning -------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def rpd_provider(config: Config) -> Provider | None:
    """Return the provider that rents the pods of this run; called when the first pod is needed."""


@hookspec
def rpd_make_sources(config: Config, nodes: list[Node], earlier: Earlier) -> Sequence[Source] | None:
    """Remove nodes from ``nodes``, in place, and return sources that hand out lanes of them, or of others, later.

    ``earlier`` is the past of a resumed run. May raise UsageError.
    """


@hookspec(firstresult=True)
def rpd_modify_plan(config: Config, plan: Plan) -> Plan | None:
    """Return another plan (``dataclasses.replace``) than the one rpd made, or None to leave it."""


# --- running --------------------------------------------------------------------------------------------------------


@observer
def rpd_run_started(
    config: Config, plan: Plan, backend: str, folder: Path | None, done: Sequence[NodeReport]
) -> None:
    """Called when a run begins to carry out its plan; ``folder`` is the run folder (None in a dry run).

    ``done`` are reports of nodes outside of the plan: cached ones, and those that were over when a run is resumed.
    """


@observer
def rpd_nodes_added(nodes: Sequence[Node], ahead: int) -> None:
    """Called when nodes join the plan of a running run; at most ``ahead`` more will.

    Called without a node if only that number has become smaller.
    """


@observer
def rpd_node_started(node: Node, folder: Path | None) -> None:
    """Called when a slot takes up a node; ``folder`` is the node's own folder (None in a dry run)."""


@hookspec(firstresult=True)
def rpd_skip_node(node: Node) -> Skip | None:
    """Return why a node whose turn has come is passed over, or None to let it run.

    Called on the thread of a slot, after the node's own marks and before anything is set up or rented for it.
    """


@observer
def rpd_fixture_setup(node: Node, fixture: FixtureDef) -> None:
    """Called after a fixture function returned or failed. A wide fixture is set up for its first node."""


@hookspec(firstresult=True)
def rpd_run_node(node: Node, call: Callable[[], object]) -> bool | None:
    """Call the job function of a node whose fixtures are set up.

    Wrap it (``wrapper=True``) to do something around it.

    Called on the thread of a slot. The node is reported with the exception of the innermost implementation.
    """


@hookspec(firstresult=True)
def rpd_pod_kind(job: Job) -> object | None:
    """Return how the pods of a job with ``cluster`` are rented together: an ``rpd.execute.pod.kinds.PodKind``."""


@observer
def rpd_pod_event(pod_name: str, event: str, detail: dict[str, Any]) -> None:
    """An event of a pod: intent, refused, created, booting, silent, ready, released, kept, lost or unreleased."""


@observer
def rpd_pod_ready(node: Node | None, pod: PodInfo) -> None:
    """Called when a pod has run its first command over SSH; ``node`` asked for it (None: a wider fixture did)."""


@observer
def rpd_pod_joined(node: Node, pod: PodInfo, share: float) -> None:
    """Called when a node with its fixtures set up uses a pod, its own or a shared one; ``share`` is its part."""


@hookspec
def rpd_command_environment(node: Node) -> Mapping[str, str] | None:
    """Return variables for every command of ``node`` on its pods (``TRACEPARENT``); asked once for each attempt.

    They go before the job's own. A command that differs in them alone is the same command to ``rpd resume``.
    """


@observer
def rpd_step_started(node: Node, step: Step) -> None:
    """Called when a step begins (its ``seconds`` and ``exit_code`` are not known yet)."""


@observer
def rpd_step_output(node: Node, data: bytes) -> None:
    """Called with raw output of a node's commands as it comes, secrets masked, on the thread of a slot."""


@observer
def rpd_step_mark(node: Node, name: str) -> None:
    """Called when a running command begins a part (``rpd-step NAME``), secrets masked; empty: the part is over."""


@observer
def rpd_transfer_progress(node: Node, done: int, total: int) -> None:
    """Called with how many bytes of a ``put`` are sent, out of how many; about ten times a second, on any thread."""


@observer
def rpd_telemetry(node: Node, sample: Sample) -> None:
    """Called every few seconds with how busy a pod of ``node`` is, on a thread of the pod's own."""


@observer
def rpd_metric(node: Node, name: str, step: float, value: float) -> None:
    """Called with each number that a command of ``node`` writes while it runs, in order; NaN and infinities too.

    ``name`` is that of the series, secrets masked; if the command gives no step, the values are counted. On
    the thread of a slot: be quick. In a resumed run, the numbers of a resumed node are repeated from the
    first.
    """


@hookspec(firstresult=True)
def rpd_prune(node: Node, name: str, step: float, value: float) -> str | None:
    """Return why ``node`` is to end now, or None to let it go on.

    Called after ``rpd_metric``, with the same arguments.

    The running command gets SIGTERM and some seconds of grace, then the job's pulls follow as after a
    failure, and the outcome is ``pruned``, which is no failure. If no command is running, the node's next one
    is not started.
    """


@observer
def rpd_step_finished(node: Node, step: Step) -> None:
    """Called when a step has ended."""


@observer
def rpd_pod_released(pod: PodInfo, final_state: str, usd: float) -> None:
    """Called when a pod no longer bills for its GPU (``deleted``, ``stopped``) or stays on purpose (``running``)."""


@observer
def rpd_fixture_teardown(node: Node, fixture: FixtureDef) -> None:
    """Called after a fixture was torn down, or failed to be; ``node`` used it last."""


@observer
def rpd_node_report(node: Node, report: NodeReport) -> None:
    """Called with the report of a node that is over, on the thread of a slot; again if a wider teardown changes it."""


@observer
def rpd_hand_over(handed: HandOver) -> None:
    """Called once for each node of a finished run, after its pods are released, with all its results.

    One after the other, on a separate thread: it may take its time, such as to send files to a tracker. At
    the end rpd waits a minute for calls in progress.
    """


@observer
def rpd_dry_run_node(node: Node, planned: DryRunNode) -> None:
    """Called in a dry run, before the report of a node, with the pods and steps it would have asked for."""


@observer
def rpd_notice(text: str) -> None:
    """Called with a sentence for the person at the screen (a fallback was taken, Ctrl-C does this now)."""


@observer
def rpd_stopping(how: str, reason: str) -> None:
    """Called when a run is cut short: ``drain``, nothing new starts; ``end``, running work is ended.

    ``abandon``, pods go.

    On any thread, and again when it gets more urgent.
    """


# --- the end --------------------------------------------------------------------------------------------------------


@observer
def rpd_run_finished(config: Config, summary: RunSummary) -> None:
    """Called when everything is over and released."""


# --- making the plugin manager --------------------------------------------------------------------------------------


_HOOKABLE = (FunctionType, MethodType, staticmethod, classmethod, MemberDescriptorType)


class PluginManager(pluggy.PluginManager):
    """A plugin manager for which every function named ``rpd_*`` is a hook, marked or not.

    It guards every implementation of an observer when it is registered, so that no caller of a hook has to.
    """

    def __init__(self, project_name: str) -> None:
        super().__init__(project_name)
        # As threading's, whose import would take a millisecond of every start.
        self._telling = allocate_lock()
        self._reported: set[tuple[str, str]] = set()
        self._defect: Exception | None = None

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Register ``plugin``, its observers guarded."""
        registered = super().register(plugin, name)
        for caller in self.get_hookcallers(plugin) or () if registered is not None else ():
            if caller.name in _observers:
                for implementation in caller.get_hookimpls():
                    if implementation.plugin is plugin:
                        self._guard(implementation, caller.name)
        return registered

    def _guard(self, implementation: pluggy.HookImpl, hook: str) -> None:
        is_wrapper = implementation.wrapper or implementation.hookwrapper
        guarded = _guarded_wrapper if is_wrapper else _guarded
        failed = partial(self._failed, implementation.plugin_name, hook, implementation.function)
        # pluggy has no place to put something around an implementation; it has read its arguments by now.
        setattr(implementation, "function", guarded(implementation.function, failed))  # noqa: B010 - it is Final

    def _failed(self, plugin: str, hook: str, function: Callable[..., Any], error: BaseException) -> None:
        """Report an observer's exception, the first time. Raise it if it is not the observer's own."""
        if _concerns_the_caller(error):
            raise error
        with self._telling:
            if (plugin, hook) in self._reported:
                return
            self._reported.add((plugin, hook))
            if _is_own(function) and isinstance(error, Exception):
                self._defect = self._defect or error
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        place = _place(error, _file_of(function))
        self.hook.rpd_notice(text=f"plugin {plugin}: {hook} raised {said}{place}; the run continues")

    def raise_defect(self) -> None:
        """Raise the exception of one of rpd's own observers: it must neither end a run nor stay unseen."""
        if self._defect is not None:
            raise self._defect

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> pluggy.HookspecOpts | None:
        """Read the marks of the functions above themselves: pluggy's way is for modules and classes of any kind."""
        if module_or_class is not sys.modules[__name__]:
            return super().parse_hookspec_opts(module_or_class, name)
        return getattr(vars(module_or_class).get(name), f"{PROJECT}_spec", None)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """Take an unmarked ``rpd_*`` function as a plain hook implementation."""
        if not name.startswith(PROJECT) and _is_other(plugin, name):
            return None
        marked = super().parse_hookimpl_opts(plugin, name)
        if marked is not None or not name.startswith("rpd_") or not callable(getattr(plugin, name, None)):
            return marked
        return {
            "wrapper": False,
            "hookwrapper": False,
            "optionalhook": False,
            "tryfirst": False,
            "trylast": False,
            "specname": None,
        }


Failed = Callable[[BaseException], None]


def _guarded(function: Callable[..., Any], failed: Failed) -> Callable[..., None]:
    def call(*arguments: Any, **keywords: Any) -> None:
        try:
            function(*arguments, **keywords)
        except BaseException as error:  # noqa: BLE001 - an observer may raise anything, SystemExit too
            failed(error)

    return call


def _guarded_wrapper(function: Callable[..., Any], failed: Failed) -> Callable[..., Any]:
    """Guard both halves of a wrapper: if one raises, the wrapped function is still called."""

    def call(*arguments: Any, **keywords: Any) -> Generator[None, Any, Any]:
        wrapper = function(*arguments, **keywords)
        has_begun = False
        try:
            next(wrapper)
            has_begun = True
        except BaseException as error:  # noqa: BLE001 - as above; StopIteration: it has no yield on this way
            failed(error)
        result = yield
        if not has_begun:
            return result
        try:
            wrapper.send(result)
        except StopIteration as end:
            return end.value
        except BaseException as error:  # noqa: BLE001 - as above
            failed(error)
        else:
            wrapper.close()
            failed(RuntimeError("it yielded more than once"))
        return result

    return call


def _concerns_the_caller(error: BaseException) -> bool:
    """Return whether ``error`` was raised in an observer, but is meant for the thread it runs on.

    Python raises Ctrl-C on the main thread, and rpd the end of a job's time on the job's, wherever they are.
    """
    if isinstance(error, KeyboardInterrupt):
        import threading

        return threading.current_thread() is threading.main_thread()
    return isinstance(error, Interrupted | JobTimeout | BudgetExceeded)


def _is_own(function: Callable[..., Any]) -> bool:
    """Return whether a function is rpd's own, so that its exceptions are defects of rpd."""
    return str(getattr(function, "__module__", "")).partition(".")[0] == PROJECT


def _is_other(plugin: object, name: str) -> bool:
    """Return whether an attribute is certainly no hook: pluggy finds that out, too, but slowly, and there are many."""
    if name.startswith("__"):
        return True
    is_module = isinstance(plugin, ModuleType)
    places = (vars(plugin),) if is_module else _namespaces(plugin)
    value = next((each[name] for each in places if name in each), None)
    kind = type(value)
    return f"{PROJECT}_impl" not in vars(value) if kind is FunctionType else not issubclass(kind, _HOOKABLE)


def _namespaces(plugin: object) -> Iterator[Mapping[str, Any]]:
    """Yield where the names of a class or an instance are defined, the nearest first."""
    if not isinstance(plugin, type):
        yield getattr(plugin, "__dict__", {})
    for kind in (plugin if isinstance(plugin, type) else type(plugin)).__mro__:
        yield vars(kind)


def make_plugin_manager(blocked: Sequence[str] = ()) -> PluginManager:
    """Return a plugin manager that knows the hooks above and refuses plugins of the names in ``blocked``."""
    manager = PluginManager(PROJECT)
    manager.add_hookspecs(importlib.import_module(__name__))
    for name in blocked:
        manager.set_blocked(name)
    return manager


def load_named_plugins(manager: PluginManager, names: Sequence[str]) -> None:
    """Import and register the modules in ``names`` (``-p``, ``RPD_PLUGINS``). Raise UsageError."""
    for name in names:
        if manager.is_blocked(name) or manager.has_plugin(name):
            continue
        register(manager, _loaded(name, partial(importlib.import_module, name)), name)


def load_entry_points(manager: PluginManager) -> None:
    """Register installed plugins (entry-point group ``rpd``) unless RPD_DISABLE_PLUGIN_AUTOLOAD is set."""
    if os.environ.get("RPD_DISABLE_PLUGIN_AUTOLOAD"):
        return
    if not _may_have_entry_points():
        return
    import importlib.metadata

    for entry in importlib.metadata.entry_points(group=PROJECT):
        if not manager.is_blocked(entry.name) and not manager.has_plugin(entry.name):
            register(manager, _loaded(entry.name, entry.load), entry.name)


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    """Return the plugin that ``load`` imports. Raise UsageError whatever the plugin raises."""
    try:
        return load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may raise anything while it is imported, SystemExit too
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise UsageError(f"plugin {name}: cannot be imported: {reason}{_place(error)}") from error


def _place(error: BaseException, wanted: str = "") -> str:
    """Return `` (file:line)`` of the plugin's line that raised ``error``, empty if none of its lines ran.

    Lines in the file ``wanted`` are preferred: a library that a plugin called says less.
    """
    place = ours = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and file not in (__file__, importlib.__file__):
            place = f" ({file}:{trace.tb_lineno})"
            ours = place if file == wanted else ours
        trace = trace.tb_next
    return ours or place


def _file_of(function: Callable[..., Any]) -> str:
    """Return the file in which a function is written, empty if it is not written in Python."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return str(getattr(code, "co_filename", ""))


def _may_have_entry_points() -> bool:
    """Return whether an installed distribution seems to have entry points for rpd.

    A glance at the files, because loading the library that reads them properly takes a third of an ``rpd
    collect``, and usually there are none.
    """
    header = f"[{PROJECT}]".encode()
    for place in sys.path:
        if place.endswith((".zip", ".egg")) and Path(place).is_file():
            return True
        for name in _names_in(place):
            if name.endswith((".dist-info", ".egg-info")) and header in _content(
                f"{place}{os.sep}{name}{os.sep}entry_points.txt", otherwise=header
            ):
                return True
    return False


def _content(path: str, *, otherwise: bytes) -> bytes:
    """Return the content of a file, nothing if it is not there; ``otherwise`` if it is large or cannot be read.

    In the system's own words: there are hundreds to read, few are there, and ``open`` takes three times as long.
    """
    if not os.access(path, os.F_OK):
        return b""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return otherwise
    try:
        content = os.read(file, _USUAL)
    except OSError:
        return otherwise
    finally:
        os.close(file)
    return content if len(content) < _USUAL else otherwise


_USUAL = 1 << 14


def _names_in(place: str) -> Sequence[str]:
    try:
        return os.listdir(place or ".")  # noqa: PTH208 - read at each start
    except OSError:
        return ()


def register(manager: PluginManager, plugin: object, name: str) -> None:
    """Register ``plugin``. Raise UsageError for a hook that does not exist or takes other arguments."""
    _check_hook_names(plugin, name)
    try:
        manager.register(plugin, name)
    except pluggy.PluginValidationError as error:
        if manager.is_registered(plugin):  # older versions of pluggy leave it half registered
            manager.unregister(plugin)
        raise UsageError(f"plugin {name}: {_explained(error, manager)}") from error


def _explained(error: pluggy.PluginValidationError, manager: PluginManager) -> str:
    """Return pluggy's message on one line, with the arguments that the hook does have."""
    text = " ".join(line.strip() for line in str(error).splitlines())
    named = re.search(r"hook '(\w+)'", text)
    spec = getattr(manager.hook, named[1]).spec if named else None
    return f"{text}; its arguments are {', '.join(spec.argnames)}" if spec else text


def hook_names() -> frozenset[str]:
    """Return the name of every hook there is."""
    return frozenset(hook for hook in globals() if hook.startswith("rpd_"))


def observer_names() -> frozenset[str]:
    """Return the name of every hook that only observes."""
    return frozenset(_observers)


def _check_hook_names(plugin: object, name: str) -> None:
    hooks = hook_names()
    for attribute in vars(plugin) if hasattr(plugin, "__dict__") else ():
        if not attribute.startswith("rpd_"):
            continue
        value = getattr(plugin, attribute)
        if attribute in hooks and not inspect.isroutine(value):
            raise UsageError(f"plugin {name}: {attribute}: expected a function, got {value!r}")
        if inspect.iscoroutinefunction(value):
            raise UsageError(
                f"plugin {name}: {attribute} is async: hooks are called in threads, so write a plain function"
            )
        if callable(value) and attribute not in hooks:
            close = closest(attribute, hooks)
            meant = f"; did you mean {close}?" if close else ""
            raise UsageError(f"plugin {name}: unknown hook {attribute}{meant}")

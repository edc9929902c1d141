"""Every hook of rpd, in the order in which a run calls them.

A plugin is a module, a class instance or a ``conftest.py`` with functions of these names, marked ``@rpd.hookimpl``
where an option is wanted (``tryfirst``, ``trylast``, ``wrapper``). A plugin takes only the arguments it names. rpd's
own behaviour (fixtures, provider, manifest, terminal) is registered through the same door.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from rpd.errors import UsageError
from rpd.values.closest import closest

if TYPE_CHECKING:
    from rpd.config import Config
    from rpd.config.options import OptionGroup
    from rpd.values.dryrun import DryRunNode
    from rpd.values.fixture import FixtureDef
    from rpd.values.node import Node
    from rpd.values.plan import Plan
    from rpd.values.pod import PodInfo, Provider
    from rpd.values.report import NodeReport, RunSummary
    from rpd.values.step import Step
    from rpd.values.telemetry import Sample

PROJECT = "rpd"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# --- start-up -------------------------------------------------------------------------------------------------------


@hookspec
def rpd_addoption(options: OptionGroup) -> None:
    """Add options: ``options.add("--site", default=…, help=…)``. Called before the command line is read.

    Plugins are asked, and the conftests of what the command line names (a folder, a file) and of the folders above;
    other conftests are loaded too late for that.
    """


@hookspec
def rpd_markers(config: Config) -> Sequence[str] | None:
    """Return marks that jobs may have, each ``"name: description"`` or ``"name(arguments): description"``.

    Plugins are asked, and the conftests of what the command line names (a folder, a file) and of the folders above;
    other conftests are loaded too late for that.
    """


@hookspec
def rpd_configure(config: Config) -> None:
    """Look at the finished configuration, before anything is collected. May raise UsageError.

    Of the conftests those of what the command line names, and of the folders above, are asked.
    """


# --- collecting -----------------------------------------------------------------------------------------------------


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
    """Reorder or drop, in place, the nodes that ``-k``, ``-m`` and ``--deselect`` have left.

    What is dropped counts as deselected. ``--lf``, ``--ff``, ``--nf`` and ``--sw`` work here, after other plugins.
    """


@hookspec
def rpd_collected(nodes: Sequence[Node], deselected: int, errors: Sequence[Any]) -> None:
    """Hear what was collected and selected, and the collection errors."""


# --- planning -------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def rpd_provider(config: Config) -> Provider | None:
    """Return who rents the pods of this run; called when the first pod is needed."""


@hookspec(firstresult=True)
def rpd_modify_plan(config: Config, plan: Plan) -> Plan | None:
    """Return another plan (``dataclasses.replace``) than the one rpd made, or None to leave it."""


# --- running --------------------------------------------------------------------------------------------------------


@hookspec
def rpd_run_started(
    config: Config, plan: Plan, far_end: str, folder: Path | None, done: Sequence[NodeReport]
) -> None:
    """Hear that the plan is being carried out; ``folder`` is the run folder (None in a dry run).

    ``done`` are reports of nodes outside of the plan: cached ones, and those that were over when a run is resumed.
    """


@hookspec
def rpd_node_started(node: Node, folder: Path | None) -> None:
    """Hear that a slot took up a node; ``folder`` is the node's own folder."""


@hookspec
def rpd_fixture_setup(node: Node, fixture: FixtureDef) -> None:
    """Hear that a fixture function was called for a node, or failed. A wide fixture is set up for its first node."""


@hookspec(firstresult=True)
def rpd_run_node(node: Node, call: Callable[[], object]) -> bool | None:
    """Call the job function of a node whose fixtures are set up. Wrap it (``wrapper=True``) to do something around it.

    Called on the thread of a slot. What the innermost implementation raises is what the node is reported with.
    """


@hookspec
def rpd_pod_event(pod_name: str, event: str, detail: dict[str, Any]) -> None:
    """Hear of a pod's life: ``intent``, ``refused``, ``created``, ``ready``, ``released``, ``kept``, ``lost``."""


@hookspec
def rpd_pod_ready(node: Node | None, pod: PodInfo) -> None:
    """Hear that a pod ran its first command over SSH; ``node`` asked for it (None: a wider fixture did)."""


@hookspec
def rpd_pod_joined(node: Node, pod: PodInfo, share: float) -> None:
    """Hear that a node whose fixtures are set up uses a pod, its own or a shared one; ``share`` is its part of it."""


@hookspec
def rpd_step_started(node: Node, step: Step) -> None:
    """Hear that a step began (its ``seconds`` and ``exit_code`` are not known yet)."""


@hookspec
def rpd_step_output(node: Node, data: bytes) -> None:
    """Hear raw output of a node's commands as it comes, secrets masked. Called on the thread of a slot."""


@hookspec
def rpd_transfer_progress(node: Node, done: int, total: int) -> None:
    """Hear how many bytes of a ``put`` went over so far, out of how many; some ten times a second, on any thread."""


@hookspec
def rpd_telemetry(node: Node, sample: Sample) -> None:
    """Hear how busy a pod is that ``node`` uses now, every few seconds. Called on a thread of the pod's own."""


@hookspec
def rpd_step_finished(node: Node, step: Step) -> None:
    """Hear that a step ended."""


@hookspec
def rpd_pod_released(pod: PodInfo, final_state: str, usd: float) -> None:
    """Hear that a pod no longer bills for its GPU (``deleted``, ``stopped``) or stays on purpose (``running``)."""


@hookspec
def rpd_fixture_teardown(node: Node, fixture: FixtureDef) -> None:
    """Hear that a fixture was torn down, or that this failed; ``node`` used it last."""


@hookspec
def rpd_node_report(node: Node, report: NodeReport) -> None:
    """Hear the report of a node that is over. Called on the thread of a slot; also when a wider teardown changed it."""


@hookspec
def rpd_dry_run_node(node: Node, planned: DryRunNode) -> None:
    """Hear what a node would have asked for and done; in a dry run, before its report."""


@hookspec
def rpd_notice(text: str) -> None:
    """Hear a sentence meant for the person at the screen (a fallback that was taken, what Ctrl-C is doing now)."""


@hookspec
def rpd_stopping(how: str, reason: str) -> None:
    """Hear that a run is cut short: ``drain``, nothing new begins; ``end``, what runs is ended; ``abandon``, pods go.

    Called on any thread, and again where it gets more urgent.
    """


# --- the end --------------------------------------------------------------------------------------------------------


@hookspec
def rpd_run_finished(config: Config, summary: RunSummary) -> None:
    """Hear that everything is over and released."""


# --- making the plugin manager --------------------------------------------------------------------------------------


_HOOKABLE = (FunctionType, MethodType, staticmethod, classmethod)


class PluginManager(pluggy.PluginManager):
    """A plugin manager for which every function named ``rpd_*`` is a hook, marked or not."""

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


def _is_other(plugin: object, name: str) -> bool:
    """Return whether an attribute is certainly no hook: pluggy finds that out, too, but slowly, and there are many."""
    return name.startswith("__") or (
        isinstance(plugin, ModuleType) and not issubclass(type(vars(plugin).get(name)), _HOOKABLE)
    )


def make_plugin_manager(blocked: Sequence[str] = ()) -> PluginManager:
    """Return a plugin manager that knows the hooks above and refuses plugins of the names in ``blocked``."""
    manager = PluginManager(PROJECT)
    manager.add_hookspecs(importlib.import_module(__name__))
    for name in blocked:
        manager.set_blocked(name)
    return manager


def load_named_plugins(manager: PluginManager, names: Sequence[str]) -> None:
    """Import and register the modules in ``names`` (``-p``, ``RPD_PLUGINS``). Raises UsageError."""
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
    """Return the plugin that ``load`` imports. Raises UsageError whatever the plugin raises."""
    try:
        return load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may raise anything while it is imported, SystemExit too
        told = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise UsageError(f"plugin {name}: cannot be imported: {told}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Return `` (file:line)`` of the plugin's line that raised ``error``, empty where none of its lines ran."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and file not in (__file__, importlib.__file__):
            found = f" ({file}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


def _may_have_entry_points() -> bool:
    """Whether some installed distribution seems to name rpd in its entry points.

    A glance at the files, because the library that reads them properly takes a third of an ``rpd collect`` to load,
    and mostly there are none.
    """
    for entry in map(Path, sys.path):
        if entry.suffix in (".zip", ".egg") and entry.is_file():
            return True
        for kind in ("dist-info", "egg-info"):
            for path in entry.glob(f"*.{kind}/entry_points.txt"):
                try:
                    if f"[{PROJECT}]" in path.read_text(encoding="utf-8"):
                        return True
                except (OSError, UnicodeDecodeError):
                    return True
    return False


def register(manager: PluginManager, plugin: object, name: str) -> None:
    """Register ``plugin``. Raises UsageError for a hook that does not exist or takes other arguments."""
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


def _check_hook_names(plugin: object, name: str) -> None:
    known = hook_names()
    for attribute in vars(plugin) if hasattr(plugin, "__dict__") else ():
        if not attribute.startswith("rpd_"):
            continue
        value = getattr(plugin, attribute)
        if attribute in known and not inspect.isroutine(value):
            raise UsageError(f"plugin {name}: {attribute}: expected a function, got {value!r}")
        if inspect.iscoroutinefunction(value):
            raise UsageError(
                f"plugin {name}: {attribute} is async: hooks are called in threads, so write a plain function"
            )
        if callable(value) and attribute not in known:
            close = closest(attribute, known)
            meant = f"; did you mean {close}?" if close else ""
            raise UsageError(f"plugin {name}: there is no hook {attribute}{meant}")

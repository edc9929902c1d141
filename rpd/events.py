"""Events: the one door through which rpd calls hooks, with a typed method for each.

The methods are the hooks without their prefix: ``events.notice(…)`` calls every ``rpd_notice``. Observers are
guarded where plugins are registered (``PluginManager.register``): their exceptions never reach the caller.
Exceptions of deciders (``configure``, ``modify_plan``, ``run_node`` …) do; an answer of another type than expected
raises UsageError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from rpd.errors import UsageError
from rpd.hooks import PROJECT, PluginManager, make_plugin_manager

if TYPE_CHECKING:
    from rpd.config import Config
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

T = TypeVar("T")


class Events:
    """Calls the hooks of the plugins that ``manager`` holds."""

    def __init__(self, manager: PluginManager) -> None:
        self.manager = manager
        self._hook = manager.hook

    def is_heard(self, event: str) -> bool:
        """Return whether any plugin implements that event (``"step_output"``).

        If none does, it need not be produced.
        """
        return bool(getattr(self._hook, f"{PROJECT}_{event}").get_hookimpls())

    def markers(self, *, config: Config) -> list[Sequence[str]]:
        """Call ``rpd_markers``."""
        markers: list[Sequence[str]] = self._hook.rpd_markers(config=config)
        return markers

    def configure(self, *, config: Config) -> None:
        """Call ``rpd_configure``."""
        self._hook.rpd_configure(config=config)

    def collect_file(self, *, path: Path, config: Config) -> ModuleType | None:
        """Call ``rpd_collect_file``."""
        answer: ModuleType | None = self._hook.rpd_collect_file(path=path, config=config)
        return _checked("rpd_collect_file", answer, ModuleType, "a module")

    def modify_nodes(self, *, config: Config, nodes: list[Node]) -> None:
        """Call ``rpd_modify_nodes``."""
        self._hook.rpd_modify_nodes(config=config, nodes=nodes)

    def select_nodes(self, *, config: Config, nodes: list[Node]) -> None:
        """Call ``rpd_select_nodes``."""
        self._hook.rpd_select_nodes(config=config, nodes=nodes)

    def collected(self, *, nodes: Sequence[Node], deselected: int, errors: Sequence[Any]) -> None:
        """Call ``rpd_collected``."""
        self._hook.rpd_collected(nodes=nodes, deselected=deselected, errors=errors)

    def provider(self, *, config: Config) -> Provider | None:
        """Call ``rpd_provider``."""
        answer: Provider | None = self._hook.rpd_provider(config=config)
        return answer

    def make_sources(self, *, config: Config, nodes: list[Node], earlier: Earlier) -> tuple[Source, ...]:
        """Call ``rpd_make_sources``."""
        answers = self._hook.rpd_make_sources(config=config, nodes=nodes, earlier=earlier)
        if not answers:
            return ()
        from rpd.values.plan import Source  # few runs have one

        lists = [_checked("rpd_make_sources", each, (list, tuple), "a list of sources") for each in answers]
        sources = [source for each in lists for source in each]
        for source in sources:
            _checked("rpd_make_sources", source, Source, "sources (rpd.values.plan.Source)")
        return tuple(sources)

    def pod_kind(self, *, job: Job) -> object | None:
        """Call ``rpd_pod_kind``."""
        answer: object | None = self._hook.rpd_pod_kind(job=job)
        return answer

    def modify_plan(self, *, config: Config, plan: Plan) -> Plan | None:
        """Call ``rpd_modify_plan``."""
        answer: Plan | None = self._hook.rpd_modify_plan(config=config, plan=plan)
        return answer

    def run_started(
        self, *, config: Config, plan: Plan, backend: str, folder: Path | None, done: Sequence[NodeReport]
    ) -> None:
        """Call ``rpd_run_started``."""
        self._hook.rpd_run_started(config=config, plan=plan, backend=backend, folder=folder, done=done)

    def nodes_added(self, *, nodes: Sequence[Node], ahead: int) -> None:
        """Call ``rpd_nodes_added``."""
        self._hook.rpd_nodes_added(nodes=nodes, ahead=ahead)

    def node_started(self, *, node: Node, folder: Path | None) -> None:
        """Call ``rpd_node_started``."""
        self._hook.rpd_node_started(node=node, folder=folder)

    def skip_node(self, *, node: Node) -> Skip | None:
        """Call ``rpd_skip_node``."""
        answer: Skip | None = self._hook.rpd_skip_node(node=node)
        if answer is None:
            return None
        from rpd.values.report import Skip  # most nodes are not passed over

        return _checked("rpd_skip_node", answer, Skip, "an rpd.values.report.Skip")

    def fixture_setup(self, *, node: Node, fixture: FixtureDef) -> None:
        """Call ``rpd_fixture_setup``."""
        self._hook.rpd_fixture_setup(node=node, fixture=fixture)

    def run_node(self, *, node: Node, call: Callable[[], object]) -> bool | None:
        """Call ``rpd_run_node``."""
        answer: bool | None = self._hook.rpd_run_node(node=node, call=call)
        return answer

    def pod_event(self, *, pod_name: str, event: str, detail: dict[str, Any]) -> None:
        """Call ``rpd_pod_event``."""
        self._hook.rpd_pod_event(pod_name=pod_name, event=event, detail=detail)

    def pod_ready(self, *, node: Node | None, pod: PodInfo) -> None:
        """Call ``rpd_pod_ready``."""
        self._hook.rpd_pod_ready(node=node, pod=pod)

    def pod_joined(self, *, node: Node, pod: PodInfo, share: float) -> None:
        """Call ``rpd_pod_joined``."""
        self._hook.rpd_pod_joined(node=node, pod=pod, share=share)

    def command_environment(self, *, node: Node) -> dict[str, str]:
        """Call ``rpd_command_environment``; of a name that two plugins give, that of the last one registered counts."""
        answers = self._hook.rpd_command_environment(node=node)
        for answer in answers:
            _checked("rpd_command_environment", answer, Mapping, "a dict of variables")
        return {name: value for answer in reversed(answers) if answer for name, value in answer.items()}

    def step_started(self, *, node: Node, step: Step) -> None:
        """Call ``rpd_step_started``."""
        self._hook.rpd_step_started(node=node, step=step)

    def step_output(self, *, node: Node, data: bytes) -> None:
        """Call ``rpd_step_output``."""
        self._hook.rpd_step_output(node=node, data=data)

    def step_mark(self, *, node: Node, name: str) -> None:
        """Call ``rpd_step_mark``."""
        self._hook.rpd_step_mark(node=node, name=name)

    def transfer_progress(self, *, node: Node, done: int, total: int) -> None:
        """Call ``rpd_transfer_progress``."""
        self._hook.rpd_transfer_progress(node=node, done=done, total=total)

    def telemetry(self, *, node: Node, sample: Sample) -> None:
        """Call ``rpd_telemetry``."""
        self._hook.rpd_telemetry(node=node, sample=sample)

    def metric(self, *, node: Node, name: str, step: float, value: float) -> None:
        """Call ``rpd_metric``."""
        self._hook.rpd_metric(node=node, name=name, step=step, value=value)

    def prune(self, *, node: Node, name: str, step: float, value: float) -> str | None:
        """Call ``rpd_prune``."""
        answer: str | None = self._hook.rpd_prune(node=node, name=name, step=step, value=value)
        return _checked("rpd_prune", answer, str, "the reason as a text")

    def step_finished(self, *, node: Node, step: Step) -> None:
        """Call ``rpd_step_finished``."""
        self._hook.rpd_step_finished(node=node, step=step)

    def pod_released(self, *, pod: PodInfo, final_state: str, usd: float) -> None:
        """Call ``rpd_pod_released``."""
        self._hook.rpd_pod_released(pod=pod, final_state=final_state, usd=usd)

    def fixture_teardown(self, *, node: Node, fixture: FixtureDef) -> None:
        """Call ``rpd_fixture_teardown``."""
        self._hook.rpd_fixture_teardown(node=node, fixture=fixture)

    def node_report(self, *, node: Node, report: NodeReport) -> None:
        """Call ``rpd_node_report``."""
        self._hook.rpd_node_report(node=node, report=report)

    def hand_over(self, *, handed: HandOver) -> None:
        """Call ``rpd_hand_over``."""
        self._hook.rpd_hand_over(handed=handed)

    def dry_run_node(self, *, node: Node, planned: DryRunNode) -> None:
        """Call ``rpd_dry_run_node``."""
        self._hook.rpd_dry_run_node(node=node, planned=planned)

    def notice(self, text: str) -> None:
        """Call ``rpd_notice``."""
        self._hook.rpd_notice(text=text)

    def stopping(self, *, how: str, reason: str) -> None:
        """Call ``rpd_stopping``."""
        self._hook.rpd_stopping(how=how, reason=reason)

    def run_finished(self, *, config: Config, summary: RunSummary) -> None:
        """Call ``rpd_run_finished``."""
        self._hook.rpd_run_finished(config=config, summary=summary)


def _checked(hook: str, answer: T, kind: type | tuple[type, ...], expected: str) -> T:
    """Return the answer of a hook, if it is None or of that ``kind``. Raise UsageError."""
    if answer is None or isinstance(answer, kind):
        return answer
    raise UsageError(f"{hook}: expected {expected} or None, got {answer!r}")


class NoEvents(Events):
    """Events without any listener."""

    def __init__(self) -> None:
        super().__init__(make_plugin_manager())


class DryRunEvents(Events):
    """The events of a dry run: no pod lives in it, so nothing is heard of one."""

    def pod_event(self, *, pod_name: str, event: str, detail: dict[str, Any]) -> None:
        pass

    def pod_ready(self, *, node: Node | None, pod: PodInfo) -> None:
        pass

    def pod_joined(self, *, node: Node, pod: PodInfo, share: float) -> None:
        pass

    def pod_released(self, *, pod: PodInfo, final_state: str, usd: float) -> None:
        pass

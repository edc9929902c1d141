"""rpd runs GPU jobs on RunPod the way pytest runs tests: these are the words of deploy files and programs."""

from __future__ import annotations

TYPE_CHECKING = False
"""As type checkers know it, without loading ``typing``."""

if TYPE_CHECKING:
    from rpd import errors
    from rpd.api.ahead import forecast, nodes, prices
    from rpd.api.outcome import RunOutcome
    from rpd.api.past import reports, runs, verify
    from rpd.api.pods import pods
    from rpd.api.run import run, start
    from rpd.api.running import Running
    from rpd.cluster.running_cluster import RunningCluster
    from rpd.collect.parametrize import Metafunc
    from rpd.collect.params_file import params_from
    from rpd.config import Config
    from rpd.errors import CommandFailed, CommandTimeout, MissingArtifact, OutOfMemory, RpdError
    from rpd.execute.pod.handle import Pod
    from rpd.execute.pod.provision import Provision
    from rpd.execute.scopes import Request
    from rpd.graph.needed_results import Needed, Needs
    from rpd.hooks import hookimpl
    from rpd.search.prune_rules import halving, median_rule
    from rpd.search.space import choice, integers, log_uniform, uniform
    from rpd.values.fixture import fixture
    from rpd.values.job import Budget, Cluster, Gpu, Job, Lifecycle, Registry, Secret, Storage, job
    from rpd.values.mark import HIDDEN_PARAM, mark, param
    from rpd.values.node import Node
    from rpd.values.report import NodeReport, Outcome, RunSummary
    from rpd.values.skip_and_fail import fail, importorskip, skip
    from rpd.values.step import Completed, Pulled, Staged
    from rpd.values.variable import variable

__version__ = "0.1.0"

_HOME = {
    "Budget": "rpd.values.job",
    "Cluster": "rpd.values.job",
    "CommandFailed": "rpd.errors",
    "CommandTimeout": "rpd.errors",
    "Completed": "rpd.values.step",
    "Config": "rpd.config",
    "Gpu": "rpd.values.job",
    "HIDDEN_PARAM": "rpd.values.mark",
    "Job": "rpd.values.job",
    "Lifecycle": "rpd.values.job",
    "Metafunc": "rpd.collect.parametrize",
    "MissingArtifact": "rpd.errors",
    "Needed": "rpd.graph.needed_results",
    "Needs": "rpd.graph.needed_results",
    "Node": "rpd.values.node",
    "NodeReport": "rpd.values.report",
    "OutOfMemory": "rpd.errors",
    "Outcome": "rpd.values.report",
    "Pod": "rpd.execute.pod.handle",
    "Provision": "rpd.execute.pod.provision",
    "Pulled": "rpd.values.step",
    "Registry": "rpd.values.job",
    "Request": "rpd.execute.scopes",
    "RpdError": "rpd.errors",
    "RunOutcome": "rpd.api.outcome",
    "RunSummary": "rpd.values.report",
    "Running": "rpd.api.running",
    "RunningCluster": "rpd.cluster.running_cluster",
    "Secret": "rpd.values.job",
    "Staged": "rpd.values.step",
    "Storage": "rpd.values.job",
    "choice": "rpd.search.space",
    "fail": "rpd.values.skip_and_fail",
    "fixture": "rpd.values.fixture",
    "forecast": "rpd.api.ahead",
    "halving": "rpd.search.prune_rules",
    "hookimpl": "rpd.hooks",
    "importorskip": "rpd.values.skip_and_fail",
    "integers": "rpd.search.space",
    "job": "rpd.values.job",
    "log_uniform": "rpd.search.space",
    "mark": "rpd.values.mark",
    "median_rule": "rpd.search.prune_rules",
    "nodes": "rpd.api.ahead",
    "param": "rpd.values.mark",
    "params_from": "rpd.collect.params_file",
    "pods": "rpd.api.pods",
    "prices": "rpd.api.ahead",
    "reports": "rpd.api.past",
    "run": "rpd.api.run",
    "runs": "rpd.api.past",
    "skip": "rpd.values.skip_and_fail",
    "start": "rpd.api.run",
    "uniform": "rpd.search.space",
    "variable": "rpd.values.variable",
    "verify": "rpd.api.past",
}
"""Word -> the module it comes from, which is imported when the word is first used."""

__all__ = [
    "HIDDEN_PARAM",
    "Budget",
    "Cluster",
    "CommandFailed",
    "CommandTimeout",
    "Completed",
    "Config",
    "Gpu",
    "Job",
    "Lifecycle",
    "Metafunc",
    "MissingArtifact",
    "Needed",
    "Needs",
    "Node",
    "NodeReport",
    "OutOfMemory",
    "Outcome",
    "Pod",
    "Provision",
    "Pulled",
    "Registry",
    "Request",
    "RpdError",
    "RunOutcome",
    "RunSummary",
    "Running",
    "RunningCluster",
    "Secret",
    "Staged",
    "Storage",
    "choice",
    "errors",
    "fail",
    "fixture",
    "forecast",
    "halving",
    "hookimpl",
    "importorskip",
    "integers",
    "job",
    "log_uniform",
    "mark",
    "median_rule",
    "nodes",
    "param",
    "params_from",
    "pods",
    "prices",
    "reports",
    "run",
    "runs",
    "skip",
    "start",
    "uniform",
    "variable",
    "verify",
]

if not TYPE_CHECKING:  # or type checkers would take every misspelt word for one of ours

    def __getattr__(name):
        """Import a word on first use, so that ``import rpd`` costs nothing."""
        from importlib import import_module

        if name == "errors":
            return import_module("rpd.errors")
        try:
            home = _HOME[name]
        except KeyError:
            raise AttributeError(f"module 'rpd' has no attribute {name!r}") from None
        value = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "errors"})

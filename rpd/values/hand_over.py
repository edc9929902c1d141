"""The results of a node, for plugins that store them elsewhere: experiment trackers, artifact stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpd.values.frozen import EMPTY, frozen
from rpd.values.report import NodeReport
from rpd.values.step import Step

Series = tuple[tuple[float, float], ...]
"""Steps and values, in the order of steps."""


@frozen
class Span:
    """A phase of a node, and when it was: seconds since 1970.

    Phases are ``waiting``, ``booting``, ``staging``, ``working``, ``pulling`` and ``idle`` (the pod does nothing).
    """

    name: str
    began: float
    ended: float


@frozen
class TimedStep:
    """A step of a node, and when it was: seconds since 1970."""

    step: Step
    began: float
    ended: float


@frozen
class HandOver:
    """One node of a finished run; all texts have secrets masked.

    ``series`` are its curves by name, ``artifacts`` the pulled files and folders, as paths on this machine,
    ``phases`` and ``steps`` its actions, in order of time.
    """

    run: str
    report: NodeReport
    series: Mapping[str, Series] = EMPTY
    artifacts: tuple[str, ...] = ()
    phases: tuple[Span, ...] = ()
    steps: tuple[TimedStep, ...] = ()

    @property
    def node(self) -> str:
        """The id of the node."""
        return self.report.node.id

    @property
    def name(self) -> str:
        """A name that is the same whenever this node of this run is handed over: ``<run> <job>[<case>]``."""
        return f"{self.run} {self.node.rpartition('::')[2]}"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the node."""
        return self.report.node.parameters

    @property
    def metrics(self) -> Mapping[str, float]:
        """The numbers among the job's metrics."""
        values = self.report.metrics.items()
        return {
            name: float(value)
            for name, value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    @property
    def usd(self) -> float:
        """Its cost."""
        return self.report.cost.estimated_usd

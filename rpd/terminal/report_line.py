"""The line of a finished node: where it ran, how long, its cost; cut to the width of the terminal."""

from __future__ import annotations

from rpd.terminal.screen import Screen
from rpd.terminal.styles import cell_len, fit_middle, money, short_gpu, shorten
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport, PodRecord

_SHORTEST_ID = 24
_SHORTEST_TEXT = 8


class ReportLine:
    """Fits lines that begin with a word of ``indent`` columns to a screen; for programs nothing is cut."""

    def __init__(self, screen: Screen, indent: int) -> None:
        self._screen = screen
        self._indent = indent

    def text(self, report: NodeReport, count: str) -> str:
        """Return the text after the id of a node; ``count`` comes last."""
        pod = report.pod
        usd = "" if pod is None else f" {money(report.cost.estimated_usd)}"
        text = f"{format_duration(report.result.seconds)}{usd}{count}"
        place = _place_of(pod) if pod is not None else ""
        # With little room, the place is dropped first: the rest of an id has to distinguish it from others.
        if place and (not self._screen.is_interactive or self._room(f"{place}  {text}") >= _SHORTEST_ID):
            return f"{place}  {text}"
        return text

    def cropped(self, text: str, rest: str, *, at_end: bool = False) -> str:
        """Cut a text that would make a line with ``rest`` wrap, in its middle or ``at_end``."""
        if not self._screen.is_interactive:
            return text
        room = max(self._room(rest), _SHORTEST_TEXT)
        masked = self._screen.ink.legible(text)
        if cell_len(masked) <= room:
            return masked
        return shorten(masked, room) if at_end else fit_middle(masked, room)

    def _room(self, rest: str) -> int:
        return self._screen.width - 1 - self._indent - 2 - cell_len(rest)


def _place_of(pod: PodRecord) -> str:
    """Return ``2x H100 80GB HBM3 EU-RO-1``."""
    gpu = short_gpu(pod.gpu or "CPU")
    many = f"{pod.count}x {gpu}" if pod.count > 1 else gpu
    return f"{many} {pod.datacenter}" if pod.datacenter else many

"""The lines that events of pods deserve in the log of a run, where no board shows them or ``-v`` asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpd.terminal.board_rows import gpu_of
from rpd.terminal.styles import counted
from rpd.values.duration import format_duration
from rpd.values.frozen import frozen
from rpd.values.pod import PodInfo


@frozen(kw_only=False)
class Line:
    """The first word of a line, the text after the node's name, and the style of the word."""

    word: str
    text: str
    style: str = ""


class PodLines:
    """Turns events into lines. Called under a lock.

    ``level`` counts ``-v`` up and ``-q`` down; ``is_interactive``: a board shows running nodes;
    ``ends_with_run``: kept pods end with the emulator of the run.
    """

    def __init__(self, level: int, *, is_interactive: bool, ends_with_run: bool) -> None:
        self._level = level
        self._ends_with_run = ends_with_run
        self._is_log = level >= 1 or (level == 0 and not is_interactive)
        self._refusals: dict[str, set[str]] = {}
        """By node: the offers that were refused to it so far."""
        self._waiting: set[str] = set()
        """The nodes that wait for stock, each announced once."""

    def event(self, who: str, event: str, detail: Mapping[str, Any]) -> Line | None:
        """Return the line of an event; None if the board is enough."""
        pod, offer, reason = (str(detail.get(key) or "") for key in ("pod_id", "offer", "reason"))
        match event:
            case "refused":
                refusals = self._refusals.setdefault(who, set())
                is_news = offer not in refusals
                refusals.add(offer)
                # There may be hundreds: the lines for waiting and for the pod say how many.
                if is_news and self._level >= 1:
                    return Line("REFUSED", f"{offer}: {reason}" if reason else offer, "yellow")
            case "waiting" if who not in self._waiting and self._is_log:
                self._waiting.add(who)
                return Line("WAITING", _wait(reason, detail), "yellow")
            case "created" if self._level >= 1:
                return Line("CREATED", f"pod {pod}: {offer}")
            case "booting" if self._level >= 1:
                return Line("BOOTING", f"pod {pod}: {reason}")
            case "preflight" if self._is_log:
                return Line("NETWORK", reason, "cyan")
            case "silent" if self._level > -2:
                return Line("SILENT", reason, "yellow")
            case "released" if self._level >= 1:
                return Line("GONE", f"pod {pod} {detail.get('final_state', '')}".rstrip())
            case "lost" if self._level > -2:
                return Line("LOST", f"pod {pod} {reason}".rstrip(), "red")
            case "kept" if self._level > -2 and not self._ends_with_run:
                return Line("KEPT", f"pod {pod} is still billing; release it: rpd stop {pod}", "yellow")
            case "unreleased":
                text = f"pod {pod} may still bill ({reason}); release it: rpd stop {pod}"
                return Line("UNSURE", text, "bold red")
        return None

    def ready(self, who: str, pod: PodInfo, waited: float | None) -> Line | None:
        """Return the line of a pod that is ready after ``waited`` seconds."""
        refused = len(self._refusals.pop(who, ()))
        self._waiting.discard(who)
        if not self._is_log:
            return None
        place = " ".join(part for part in (gpu_of(pod), pod.datacenter or "") if part)
        rate = "" if pod.usd_per_hr is None else f" ${pod.usd_per_hr:.2f}/h"
        after = "" if waited is None else f", ready after {format_duration(waited)}"
        before = f", {counted(refused, 'offer')} refused before" if refused else ""
        return Line("READY", f"{place}{rate}{after}{before}", "cyan")


def _wait(reason: str, detail: Mapping[str, Any]) -> str:
    if reason:
        return f"{reason}; waiting until a pod of this run is released"
    left = format_duration(float(detail.get("seconds_left") or 0))
    return f"{counted(int(detail.get('refused') or 0), 'offer')} refused; trying again for {left}"

"""The board: the present activity of every running node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rpd.terminal.curves import sparkline
from rpd.terminal.progress import elapsed
from rpd.terminal.styles import Ink, cell_len, fit, fit_middle, money
from rpd.values.frozen import frozen

_MOST_ROWS = 40
_MOST_PINNED = 3
_FIXED = 8 + 1 + 1 + 1 + 6 + 1 + 7 + 2
"""Columns of state, elapsed time and money with the gaps."""
_SHORTEST_LINE = 16
_SHORTEST_NAME = 16
_SPARK = 8
"""Columns of the curve of a metric."""
_LONGEST_GPU = 9
"""Columns of a GPU where there is little room."""
_MARKS = (", ", " · ")
"""What parts of the footer are divided by."""
_STYLES = {"running": "cyan", "refused": "yellow", "lost": "red"}


@dataclass(slots=True)
class Row:
    """One running node: ``since`` and ``billed_since`` by the clock, ``utilization`` of its GPUs in percent."""

    name: str
    since: float
    state: str = "starting"
    gpu: str = ""
    datacenter: str = ""
    utilization: float | None = None
    usd_per_hr: float = 0.0
    billed_since: float | None = None
    usd_before: float = 0.0
    """What pods cost that it has no more."""
    last_line: str = ""
    mark: str = ""
    """What its command says that it does now."""
    metric: str = ""
    """The first series that its command writes."""
    values: list[float] = field(default_factory=list)
    """Values of that series, thinned out."""

    def usd(self, now: float) -> float:
        """Return the cost of its pods so far, in USD."""
        seconds = 0.0 if self.billed_since is None else max(now - self.billed_since, 0)
        return self.usd_before + seconds * self.usd_per_hr / 3600

    def place(self, longest_gpu: int) -> str:
        """Return its GPU, cut where it is longer than that, with its data centre."""
        gpu = self.gpu if len(self.gpu) <= longest_gpu else f"{self.gpu[: longest_gpu - 1].rstrip()}…"
        return " ".join(part for part in (gpu, self.datacenter) if part)

    @property
    def shown_state(self) -> str:
        """Its activity in 8 columns; while a command runs, the load of its GPUs, if they report it."""
        if self.state != "running" or self.utilization is None:
            return self.state
        return f"GPU {self.utilization:>3.0f}%"


@frozen(kw_only=False)
class Layout:
    """How wide the columns are, and how much of a GPU's name is shown."""

    name: int
    place: int
    last_line: int
    gpu: int


def draw(
    rows: Sequence[Row],
    *,
    now: float,
    width: int,
    height: int,
    footer: Sequence[str],
    ink: Ink,
    pinned: Sequence[str] = (),
) -> str:
    """Return the board, lines of at most ``width`` columns: the oldest nodes, how many more, failures, the footer.

    Of ``pinned``, one line each, only the last few are shown. The board takes at most half of ``height`` plus
    the footer, so that finished nodes stay visible above it.
    """
    most = max(min(_MOST_ROWS, height // 2), 1)
    kept = pinned[-min(_MOST_PINNED, max(1, most // 4)) :]
    room = max(1, most - len(kept))
    shown = rows if len(rows) <= room else rows[: max(room - 1, 0)]
    layout = _layout(shown, width)
    lines = [_line(row, layout, now, ink) for row in shown]
    if len(shown) < len(rows):
        lines.append(ink(fit(_others(rows[len(shown) :]), width - 1).rstrip(), "dim"))
    lines += [ink(fit(text, width - 1).rstrip(), "red") for text in kept]
    lines += [ink(_fit_parts(text, width - 1), "bold") for text in footer]
    return "\n".join(lines)


def _fit_parts(text: str, width: int) -> str:
    """Return ``text`` without those of its last parts that do not fit: half a number would be another number."""
    while cell_len(text) > width:
        shorter = max((text.rpartition(mark)[0] for mark in _MARKS), key=len)
        if not shorter:
            return fit(text, width).rstrip()
        text = shorter
    return text


def _others(rows: Sequence[Row]) -> str:
    """Return how many more nodes are running, by their activity."""
    states = Counter(row.state for row in rows)
    if len(states) == 1:
        return f"… and {len(rows)} more {next(iter(states))}"
    counts = ", ".join(f"{number} {state}" for state, number in states.most_common())
    return f"… and {len(rows)} more: {counts}"


def _layout(rows: Sequence[Row], width: int) -> Layout:
    """Return the widest places that leave room for a last line: whole, with a cut GPU, none."""
    room = max(width - 1 - _FIXED, 0)
    longest = max((cell_len(row.name) for row in rows), default=0)
    name = min(longest, max(width // 3, _SHORTEST_NAME), room)
    rest = room - name
    for gpu in (width, _LONGEST_GPU):
        place = max((cell_len(row.place(gpu)) for row in rows), default=0)
        if rest - place >= _SHORTEST_LINE:
            return Layout(name, place, rest - place, gpu)
    return Layout(name, 0, rest, 0)


def _line(row: Row, layout: Layout, now: float, ink: Ink) -> str:
    so_far = f"{elapsed(now - row.since):>6} {money(row.usd(now)):>7}"
    place = fit(row.place(layout.gpu), layout.place) if layout.place else ""
    facts = f"{fit_middle(row.name, layout.name)} {place} {so_far}  "
    state = ink(fit(row.shown_state, 8), _STYLES.get(row.state, "dim"))
    return f"{state} {facts}{ink(fit(_shown_line(row), layout.last_line).rstrip(), 'dim')}"


def _shown_line(row: Row) -> str:
    """Return its command's last metric, announced part and last line."""
    text = f"{row.mark}: {row.last_line}" if row.mark else row.last_line
    if not row.values:
        return text
    measured = f"{row.metric} {row.values[-1]:.4g} {sparkline(row.values, _SPARK)}"
    return f"{measured}  {text}" if text.strip() else measured

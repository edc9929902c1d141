"""The board: what every running node is doing now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len

from rpd.terminal.ink import Ink, fit, money
from rpd.values.duration import format_duration

_MOST_ROWS = 12
_FIXED = 9 + 2 + 6 + 1 + 7 + 2
"""Columns of state, elapsed time and money with the gaps."""
_SHORTEST_LINE = 20
_STYLES = {"running": "cyan", "refused": "yellow", "lost": "red"}


@dataclass(slots=True)
class Row:
    """One running node: ``since`` and ``billed_since`` by the clock, ``place`` its GPU and data centre."""

    name: str
    since: float
    state: str = "starting"
    place: str = ""
    usd_per_hr: float = 0.0
    billed_since: float | None = None
    last_line: str = ""

    def usd(self, now: float) -> float:
        """Return what its pod has cost it so far."""
        return 0.0 if self.billed_since is None else max(now - self.billed_since, 0) * self.usd_per_hr / 3600


def draw(rows: Iterable[Row], *, now: float, width: int, height: int, footer: str, ink: Ink) -> str:
    """Return the board, lines of at most ``width`` columns: the oldest nodes, how many more, the footer.

    It takes at most half of ``height`` and never more than 12 rows, so that it stays calm.
    """
    every = list(rows)
    most = max(min(_MOST_ROWS, height // 2), 1)
    shown = every if len(every) <= most else every[: most - 1]
    hidden = len(every) - len(shown)
    widths = _widths(shown, width)
    lines = [_line(row, widths, now, ink) for row in shown]
    if hidden:
        lines.append(ink(f"… and {hidden} more", "dim"))
    return "\n".join([*lines, ink(fit(footer, width - 1), "bold")])


def _widths(rows: Iterable[Row], width: int) -> tuple[int, int, int]:
    """Return the columns of name, place and last line; where it is narrow, there is no place."""
    name = min(max((cell_len(row.name) for row in rows), default=0), max(width // 3, 16))
    place = min(max((cell_len(row.place) + 1 for row in rows), default=0), width // 4)
    rest = max(width - 1 - _FIXED - name, 0)
    return (name, place, rest - place) if rest - place >= _SHORTEST_LINE else (name, 0, rest)


def _line(row: Row, widths: tuple[int, int, int], now: float, ink: Ink) -> str:
    name, place, last_line = widths
    so_far = f"{elapsed(now - row.since):>6} {money(row.usd(now)):>7}"
    facts = f"{fit(row.name, name)} {fit(row.place, place)} {so_far}  "
    state = ink(fit(row.state, 8), _STYLES.get(row.state, "dim"))
    return f"{state} {facts}{ink(fit(row.last_line, last_line).rstrip(), 'dim')}"


def elapsed(seconds: float) -> str:
    """Return a duration that goes on: whole seconds at least, so that it does not flicker."""
    return f"{seconds:.0f}s" if seconds < 9.5 else format_duration(max(seconds, 10))

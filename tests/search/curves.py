"""A simulated study: trials with known curves run in slots of known speed and price. No clock, no pod."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass

from rpd.search.prune_rules import Rule
from rpd.search.samplers import RandomSampler
from rpd.search.space import Space, integers, log_uniform
from rpd.search.trials import Objective

SHAPES = ("power", "exponential", "late")
TRIALS, STEPS = 40, 81
SLOTS = ((1.0, 0.5), (1.0, 0.5), (2.0, 1.5), (4.0, 3.5))
"""Steps a second and USD an hour of each slot."""
SPACE = Space({"lr": log_uniform(1e-5, 1e-1), "layers": integers(2, 12)})


@dataclass(frozen=True)
class Played:
    """How a pruned study compares with running every trial to its end."""

    found: bool
    seconds: float
    """The part of the pod-seconds."""
    usd: float
    """The part of the money."""


def curve(shape: str, rng: random.Random, noise: float, values: dict[str, float]) -> list[float]:
    """Return the losses of a trial: they fall from the same start to a level that its values determine."""
    end = 0.2 + 0.25 * abs(math.log10(values["lr"]) + 3) + 0.02 * abs(values["layers"] - 7)
    start = 2.3 + rng.random() * 0.1

    def part(step: int) -> float:
        match shape:
            case "power":
                return (1 + step) ** -0.7
            case "exponential":
                return math.exp(-0.08 * step)
            case _:  # flat at first, then down
                return 1 / (1 + math.exp((step - 6) / 2))

    return [end + (start - end) * part(step) + rng.gauss(0, noise) for step in range(1, STEPS + 1)]


def play(seed: int, shape: str, noise: float, rule: Rule) -> Played:
    """Run a study with ``rule`` and again without, in the same slots."""
    rng, sampler = random.Random(seed), RandomSampler(SPACE, seed)
    curves = {number: curve(shape, rng, noise, dict(sampler.ask(number))) for number in range(1, TRIALS + 1)}
    ends, seconds, usd = _run(curves, rule)
    every, all_seconds, all_usd = _run(curves, None)
    is_found = min(ends, key=ends.__getitem__) == min(every, key=every.__getitem__)
    return Played(is_found, seconds / all_seconds, usd / all_usd)


def _run(curves: dict[int, list[float]], rule: Rule | None) -> tuple[dict[int, float], float, float]:
    """Return the last losses of the trials that came to their end, the pod-seconds and the money."""
    pruner = rule.start(Objective(metric="loss")) if rule else None
    waiting, ends = list(curves), dict[int, float]()
    seconds = usd = 0.0
    events = [(0.0, slot, 0, 0, 0.0) for slot in range(len(SLOTS))]
    while events:
        now, slot, trial, step, used = heapq.heappop(events)
        if not trial:
            if not waiting:
                continue
            trial, step, used = waiting.pop(0), 0, 0.0
        speed, price = SLOTS[slot]
        seconds, usd, used, step = seconds + 1 / speed, usd + price / 3600 / speed, used + 1 / speed, step + 1
        value = curves[trial][step - 1]
        is_over = step == STEPS
        if is_over:
            ends[trial] = value
        if rule and pruner:
            at = {"steps": step, "seconds": used, "dollars": used * price / 3600}[rule.unit]
            is_over = pruner.report(trial, at, value) is not None or is_over
        heapq.heappush(events, (now + 1 / speed, slot, 0 if is_over else trial, step, used))
    return ends, seconds, usd

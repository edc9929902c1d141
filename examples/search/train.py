"""Train a network with one hidden layer to tell two moons apart. It needs only the standard library.

With scikit-learn it takes that library's moons; else it makes its own, which look the same.
"""

import argparse
import json
import math
import os
import random
from pathlib import Path

EPOCHS, POINTS = 30, 120


def moons(rng):
    """Return points and their classes."""
    try:
        from sklearn.datasets import make_moons

        points, classes = make_moons(POINTS, noise=0.2, random_state=1)
        return [(float(x), float(y)) for x, y in points], [int(each) for each in classes]
    except ImportError:
        points, classes = [], []
        for number in range(POINTS):
            angle, kind = math.pi * rng.random(), number % 2
            x, y = (
                (math.cos(angle), math.sin(angle))
                if kind == 0
                else (1 - math.cos(angle), 0.5 - math.sin(angle))
            )
            points.append((x + rng.gauss(0, 0.2), y + rng.gauss(0, 0.2)))
            classes.append(kind)
        return points, classes


def train(lr, hidden, rng):
    """Yield the mean loss of each epoch, with the weights so far."""
    points, classes = moons(rng)
    first = [[rng.gauss(0, 1) for _ in range(3)] for _ in range(hidden)]
    second = [rng.gauss(0, 1 / math.sqrt(hidden)) for _ in range(hidden + 1)]
    order = list(range(len(points)))
    for _ in range(EPOCHS):
        rng.shuffle(order)
        total = 0.0
        for place in order:
            (x, y), wanted = points[place], classes[place]
            units = [math.tanh(a * x + b * y + c) for a, b, c in first]
            score = sum(w * u for w, u in zip(second, units, strict=False)) + second[-1]
            guess = 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))
            total -= math.log(max(guess if wanted else 1 - guess, 1e-9))
            error = guess - wanted
            for unit in range(hidden):
                slope = error * second[unit] * (1 - units[unit] ** 2)
                second[unit] -= lr * error * units[unit]
                for weight, value in enumerate((x, y, 1.0)):
                    first[unit][weight] -= lr * slope * value
            second[-1] -= lr * error
        yield total / len(points), {"first": first, "second": second}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--out", required=True)
    given = parser.parse_args()
    weights = {}
    # rpd reads numbers from here while the command runs; without rpd they are dropped.
    with Path(os.environ.get("RPD_METRICS", os.devnull)).open("a") as series:
        for epoch, (loss, weights) in enumerate(train(given.lr, given.hidden, random.Random(1)), start=1):  # noqa: B007 - the last ones are kept
            print(f"epoch {epoch}: loss {loss:.4f}", flush=True)
            series.write(json.dumps({"step": epoch, "loss": loss}) + "\n")
            series.flush()
    Path(given.out).mkdir()
    (Path(given.out) / "model.json").write_text(json.dumps(weights))


main()

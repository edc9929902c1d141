"""The steps of the example, on the pod: they do not use rpd and need only the standard library."""

import argparse
import json
import random
from pathlib import Path

SLOPE, HEIGHT, NOISE = 1.7, 0.3, 0.05


def prepare(out: Path) -> None:
    """Write points near a line: some to train on, some to test with."""
    dice = random.Random(0)
    for name, count in (("train", 200), ("test", 50)):
        points = [
            (x, SLOPE * x + HEIGHT + dice.gauss(0, NOISE)) for x in (dice.random() for _ in range(count))
        ]
        (out / f"{name}.json").write_text(json.dumps(points), encoding="utf-8")


def train(data: Path, out: Path, seed: int) -> None:
    """Fit a line by gradient descent, one point at a time in an order that depends on the seed."""
    dice = random.Random(seed)
    points = json.loads((data / "train.json").read_text(encoding="utf-8"))
    slope, height = dice.uniform(-1, 1), dice.uniform(-1, 1)
    for step in range(5):
        dice.shuffle(points)
        loss = 0.0
        for x, y in points:
            error = slope * x + height - y
            slope, height = slope - 0.1 * error * x, height - 0.1 * error
            loss += error * error / len(points)
        print(f"step {step}: loss {loss:.5f}", flush=True)
    (out / "line.json").write_text(json.dumps({"slope": slope, "height": height}), encoding="utf-8")


def test(data: Path, model: Path, out: Path) -> None:
    """Write the mean squared error on points that the model has not seen."""
    line = json.loads((model / "line.json").read_text(encoding="utf-8"))
    points = json.loads((data / "test.json").read_text(encoding="utf-8"))
    errors = [(line["slope"] * x + line["height"] - y) ** 2 for x, y in points]
    (out / "metrics.json").write_text(json.dumps({"loss": sum(errors) / len(errors)}), encoding="utf-8")


def main() -> None:
    """Take the step's name, the folders it reads, and the folder it writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=("prepare", "train", "test"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folders[-1].mkdir(parents=True, exist_ok=True)
    if given.step == "prepare":
        prepare(*given.folders)
    elif given.step == "train":
        train(*given.folders, seed=given.seed)
    else:
        test(*given.folders)


if __name__ == "__main__":
    main()

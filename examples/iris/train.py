"""Train a small neural network on the Iris data; the standard library is all it needs.

Writes ``metrics.json`` (accuracy and loss on the test rows) and ``predictions.csv`` (one line a test row).
"""

import argparse
import csv
import json
import math
import random
from pathlib import Path

HIDDEN_UNITS = 8
TEST_SHARE = 0.2


def main():
    args = parse_arguments()
    rng = random.Random(args.seed)
    rows, species = read_rows(Path(__file__).with_name("iris.csv"))
    train, test = split(rows, rng)
    scale = make_scaler(train)
    network = Network(inputs=len(rows[0]["features"]), outputs=len(species), rng=rng)
    for epoch in range(1, args.epochs + 1):
        rng.shuffle(train)
        losses = [network.learn(scale(row["features"]), row["label"], args.lr) for row in train]
        print(f"epoch {epoch:3}/{args.epochs}  loss {sum(losses) / len(losses):.4f}", flush=True)
    write_results([(row, network.predict(scale(row["features"]))) for row in test], species, args.out)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of the split, the weights and the order")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the results")
    return parser.parse_args()


def read_rows(path):
    """Return the rows (line in the file, features, label) and the names of the labels."""
    with path.open(newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    species = sorted({record["species"] for record in records})
    rows = []
    for line, record in enumerate(records, start=2):
        label = species.index(record.pop("species"))
        rows.append({"line": line, "features": [float(value) for value in record.values()], "label": label})
    return rows, species


def split(rows, rng):
    """Return training and test rows; every species has the same share in both."""
    train, test = [], []
    for label in sorted({row["label"] for row in rows}):
        same = [row for row in rows if row["label"] == label]
        rng.shuffle(same)
        cut = round(len(same) * TEST_SHARE)
        test += same[:cut]
        train += same[cut:]
    return train, test


def make_scaler(rows):
    """Return a function that gives features mean 0 and deviation 1, as measured on ``rows`` alone."""
    columns = list(zip(*(row["features"] for row in rows), strict=True))
    means = [sum(column) / len(column) for column in columns]
    deviations = [
        math.sqrt(sum((value - mean) ** 2 for value in column) / len(column))
        for column, mean in zip(columns, means, strict=True)
    ]
    return lambda features: [(x - m) / d for x, m, d in zip(features, means, deviations, strict=True)]


class Network:
    """One hidden layer (tanh), softmax on top, trained by stochastic gradient descent on cross-entropy."""

    def __init__(self, *, inputs, outputs, rng):
        def weights(n_out, n_in):
            return [[rng.gauss(0, 1 / math.sqrt(n_in)) for _ in range(n_in + 1)] for _ in range(n_out)]

        self.hidden = weights(HIDDEN_UNITS, inputs)  # the last weight of each unit is its bias
        self.output = weights(outputs, HIDDEN_UNITS)

    def predict(self, features):
        """Return the probability of each label."""
        return self._forward(features)[1]

    def learn(self, features, label, lr):
        """Take one step down the gradient for one row and return its loss before the step."""
        activity, probabilities = self._forward(features)
        errors = [p - (index == label) for index, p in enumerate(probabilities)]
        blame = [
            sum(error * unit[i] for error, unit in zip(errors, self.output, strict=True))
            * (1 - activity[i] ** 2)
            for i in range(HIDDEN_UNITS)
        ]
        descend(self.output, errors, [*activity, 1.0], lr)
        descend(self.hidden, blame, [*features, 1.0], lr)
        return -math.log(max(probabilities[label], 1e-12))

    def _forward(self, features):
        activity = [math.tanh(dot(unit, [*features, 1.0])) for unit in self.hidden]
        return activity, softmax([dot(unit, [*activity, 1.0]) for unit in self.output])


def dot(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))


def softmax(values):
    top = max(values)  # keeps exp() in range
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


def descend(layer, errors, inputs, lr):
    for unit, error in zip(layer, errors, strict=True):
        for i, x in enumerate(inputs):
            unit[i] -= lr * error * x


def write_results(predicted, species, folder):
    """Write ``metrics.json`` and ``predictions.csv`` for (row, probabilities) of every test row."""
    folder.mkdir(parents=True, exist_ok=True)
    hits, losses = 0, []
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["line", "species", "predicted", *(f"p_{name}" for name in species)])
        for row, probabilities in sorted(predicted, key=lambda pair: pair[0]["line"]):
            best = probabilities.index(max(probabilities))
            hits += best == row["label"]
            losses.append(-math.log(max(probabilities[row["label"]], 1e-12)))
            shares = [f"{p:.6f}" for p in probabilities]
            table.writerow([row["line"], species[row["label"]], species[best], *shares])
    metrics = {"accuracy": round(hits / len(predicted), 4), "loss": round(sum(losses) / len(losses), 4)}
    (folder / "metrics.json").write_text(json.dumps(metrics) + "\n", encoding="utf-8")
    print(f"test rows {len(predicted)}  accuracy {metrics['accuracy']:.4f}  loss {metrics['loss']:.4f}")


if __name__ == "__main__":
    main()

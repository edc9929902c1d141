"""Learn to tell noisy patterns apart, with PyTorch on the GPU, or on the processor, or without PyTorch."""

import argparse
import json
import math
import random
import time
from pathlib import Path

CLASSES, PIXELS, BATCH = 10, 64, 256


def with_torch(lr, steps):
    """Train with PyTorch; return the metrics and the weights as bytes."""
    import io

    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "the processor"
    print(f"PyTorch {torch.__version__} on {name}", flush=True)
    torch.manual_seed(1)
    patterns = torch.randn(CLASSES, PIXELS, device=device)
    model = torch.nn.Sequential(
        torch.nn.Linear(PIXELS, 256), torch.nn.ReLU(), torch.nn.Linear(256, CLASSES)
    ).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss = torch.zeros(())
    right = 0.0
    for step in range(steps):
        wanted = torch.randint(CLASSES, (BATCH,), device=device)
        seen = patterns[wanted] + 2 * torch.randn(BATCH, PIXELS, device=device)
        scores = model(seen)
        loss = torch.nn.functional.cross_entropy(scores, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (scores.argmax(1) == wanted).float().mean().item()
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)
    held = io.BytesIO()
    torch.save(model.state_dict(), held)
    return {"loss": loss.item(), "accuracy": right, "device": device}, held.getvalue()


def without_torch(lr, steps):
    """Train one layer in plain Python; return the same as above."""
    print(
        "no PyTorch here: a smaller model, on the processor (rpd run --python names an environment)",
        flush=True,
    )
    pick = random.Random(1)
    patterns = [[pick.gauss(0, 1) for _ in range(PIXELS)] for _ in range(CLASSES)]
    weights = [[0.0] * PIXELS for _ in range(CLASSES)]
    loss, right = 0.0, 0
    for _ in range(steps):
        wanted = pick.randrange(CLASSES)
        seen = [value + pick.gauss(0, 2) for value in patterns[wanted]]
        scores = [sum(w * x for w, x in zip(row, seen, strict=True)) for row in weights]
        high = max(scores)
        shares = [math.exp(score - high) for score in scores]
        total = sum(shares)
        loss = -math.log(max(shares[wanted] / total, 1e-12))
        right += scores.index(high) == wanted
        for number, row in enumerate(weights):
            error = shares[number] / total - (number == wanted)
            for place in range(PIXELS):
                row[place] -= lr * error * seen[place]
    return {"loss": loss, "accuracy": right / steps, "device": "python"}, json.dumps(weights).encode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    began = time.perf_counter()
    try:
        metrics, weights = with_torch(options.lr, options.steps)
    except ImportError:
        metrics, weights = without_torch(options.lr, options.steps)
    Path("weights").mkdir(exist_ok=True)
    Path("weights/last.bin").write_bytes(weights)
    metrics["train_seconds"] = round(time.perf_counter() - began, 2)
    Path("metrics.json").write_text(json.dumps(metrics))
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()

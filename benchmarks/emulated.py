"""An emulator for the benchmarks that rent pods, started once and ready before anything is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import environment


@contextmanager
def emulator(folder: Path) -> Iterator[dict[str, str]]:
    """Start an emulator whose pods boot at once; yield the environment that points ``rpd run`` at it."""
    command = [sys.executable, "-m", "rpd.emulator", "--boot-seconds", "0", "--linger", "0"]
    with (folder / "emulator.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield environment(RUNPOD_API_BASE_URL=ready["base_url"], RUNPOD_API_KEY=ready["api_key"])
        finally:
            assert process.stdin is not None
            process.stdin.close()  # the emulator ends itself and its pods when its input ends
            process.wait(timeout=30)

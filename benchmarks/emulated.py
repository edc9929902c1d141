"""An emulator for the benchmarks that rent pods, started once and ready before anything is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from measure import environment


def requests(backend: Mapping[str, str]) -> int:
    """Return how many calls an emulator has answered so far."""
    headers = {"Authorization": f"Bearer {backend['RUNPOD_API_KEY']}"}
    request = urllib.request.Request(f"{backend['RUNPOD_API_BASE_URL']}/_emulator/state", headers=headers)
    with urllib.request.urlopen(request) as answer:
        return int(json.load(answer)["requests"])


@contextmanager
def emulator(folder: Path, *, boot_seconds: float = 0) -> Iterator[dict[str, str]]:
    """Start an emulator, by default one whose pods boot at once; yield the environment for ``rpd run`` on it."""
    command = [sys.executable, "-m", "rpd.emulator", "--boot-seconds", f"{boot_seconds:g}", "--linger", "0"]
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

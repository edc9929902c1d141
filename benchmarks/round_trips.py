"""Round trips: how often a node waits for its pod and for RunPod's API, counted at the socket.

A line on which a round trip takes a second stands between rpd and an emulator: the extra seconds of a node
are the number of answers that rpd waited for, one after the other. Billed are those from the moment when the
pod accepts connections until it is gone; TLS, which the emulator does not speak, would add two for each
connection to the API. The peers are OpenSSH's ``ssh`` and a command over its control connection, on an equal
line to OpenSSH's sshd (as root; left out on a machine without one).

Usage: python benchmarks/round_trips.py [--check]

``--check`` exits 1 if a count is above its target: counts do not depend on the machine.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from emulated import emulator
from measure import REPOSITORY, Row, exit_if_missed, figures, machine, run
from openssh import control_connection, target, wait_until
from transfer import sshd

sys.path.insert(0, str(REPOSITORY))

from rpd.remote.protocol import Command
from rpd.remote.ssh import connect
from tests.delayed_line import DelayedLine

TARGET = 16
ROUND_TRIP = 1.0
"""Seconds: long compared with everything else."""
TRIES = 3
"""What a machine that is busy takes may be a round trip's time; the fewest count."""
COMMANDS = 10

DEPLOY = """import rpd
from rpd import Gpu


@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
def train(pod, staged_dir):
    {job}
"""
JOBS = {
    "send the project, run, pull": (
        'pod.run("echo done > result.txt", cwd=staged_dir); pod.pull("result.txt", cwd=staged_dir)'
    ),
    f"the same, and {COMMANDS} commands more": "; ".join(
        [
            'pod.run("echo done > result.txt", cwd=staged_dir)',
            *['pod.run("true")'] * COMMANDS,
            'pod.pull("result.txt", cwd=staged_dir)',
        ]
    ),
}


def billed(folder: Path, backend: dict[str, str], job: str) -> int:
    """Return the round trips of a node from the first connection to its pod on."""
    (folder / "deploy_job.py").write_text(DEPLOY.format(job=job), encoding="utf-8")
    api = urlsplit(backend["RUNPOD_API_BASE_URL"]).port
    assert api is not None
    seconds = {}
    for round_trip in (0.0, ROUND_TRIP):
        with DelayedLine(round_trip) as line:
            base_url = f"http://127.0.0.1:{line.to(api, leads_to_pods=True)}"
            command = [sys.executable, "-m", "rpd", "run", "--yes", "-q", "deploy_job.py"]
            run(command, cwd=folder, env={**backend, "RUNPOD_API_BASE_URL": base_url})
            ready = min(at for port, at in line.opened_at.items() if port != api)
            seconds[round_trip] = line.answered_at[api] - ready
    # A connection over a real line takes one more.
    return 1 + round((seconds[ROUND_TRIP] - seconds[0.0]) / ROUND_TRIP)


def openssh(folder: Path) -> tuple[int, int, int] | None:
    """Return the round trips of ``ssh``, of a command over its control connection, and of one over rpd's connection."""
    if os.geteuid() or not shutil.which("ssh") or not shutil.which("sshd", path="/usr/sbin:/usr/local/sbin"):
        return None
    with sshd(folder) as endpoint, DelayedLine(ROUND_TRIP) as line:
        wait_until(lambda: listens(endpoint.port), what="sshd")
        port = line.to(endpoint.port)
        alone = fewest(line, lambda: run(["ssh", *target(folder, port), "true"], cwd=folder))
        with control_connection(folder, port) as ssh:
            shared = fewest(line, lambda: run([*ssh, "true"], cwd=folder))
        remote = connect(
            replace(endpoint, port=port),
            private_key=folder / "user" / "id_ed25519",
            known_hosts=folder / "known_hosts_counted",
            pod_id="pod",
            timeout=30,
            is_alive=lambda: True,
        )
        keys = itertools.count()
        ours = fewest(line, lambda: remote.run(Command(key=f"step{next(keys)}", text="true"), lambda _: None))
        remote.close()
    return alone, shared, ours


def listens(port: int) -> bool:
    """Return whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fewest(line: DelayedLine, act: Callable[[], object]) -> int:
    """Return how many round trips ``act`` waits for."""
    return min(line.count(act) for _ in range(TRIES))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        with emulator(folder) as backend:
            first, more = (billed(folder, backend, job) for job in JOBS.values())
    with tempfile.TemporaryDirectory() as name:
        peers = openssh(Path(name))
    one, ten = JOBS
    rows = [
        Row(what=one, ours=first, unit="trips", goal=TARGET),
        Row(what=ten, ours=more, unit="trips"),
        Row(
            what="  each of those, to a whole one",
            ours=round((more - first) / COMMANDS),
            unit="trips",
            goal=1,
        ),
    ]
    if peers is not None:
        alone, shared, ours = peers
        what = 'pod.run("true") over the same sshd'
        rows += [
            Row(what=what, ours=ours, unit="trips", goal=1),
            Row(what=what, ours=ours, unit="trips", goal=1, peer="ssh, control connection", theirs=shared),
            Row(what=what, ours=ours, unit="trips", peer="ssh pod true", theirs=alone),
        ]
    print(f"Round trips of a node from the first connection to its pod until that is gone, {machine()}\n")
    print(figures(rows))
    if "--check" in sys.argv:
        exit_if_missed(rows)


if __name__ == "__main__":
    main()

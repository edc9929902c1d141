"""Files and commands over SSH, beside ``rsync -az`` over the same sshd.

    python benchmarks/transfer.py [FILES] [MEGABYTES]

Starts OpenSSH's sshd for itself on this machine (as root), and prints seconds, and ratios to rsync. Each figure is the
median of three, each into a new folder: ext4 is slow to make files where many were deleted a moment ago.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rpd.remote.keys import make_keypair
from rpd.remote.protocol import Command, Remote
from rpd.remote.ssh import connect
from rpd.values.pod import SshEndpoint

ROUNDS = 3
_numbers = count()


@contextmanager
def sshd(folder: Path) -> Iterator[SshEndpoint]:
    """Run an sshd with keys of its own and a home folder without start-up files."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("rsync") is None or os.geteuid() != 0:
        sys.exit("skipped: this needs OpenSSH's sshd, rsync, and root")
    Path("/run/sshd").mkdir(exist_ok=True)
    host, user = make_keypair(folder / "host"), make_keypair(folder / "user")
    (folder / "authorized_keys").write_text(f"{user.public_line}\n")
    (folder / "home").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {host.private_key}",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        "StrictModes no",
        "PidFile none",
        f"SetEnv HOME={folder}/home",
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([program, "-D", "-f", str(folder / "sshd_config")])
    try:
        yield SshEndpoint(host="127.0.0.1", port=port)
    finally:
        process.terminate()
        process.wait()


def make_tree(root: Path, files: int, size: int) -> None:
    """Write ``files`` files of ``size`` bytes, half of each random and half text."""
    chance = random.Random(1)
    for number in range(files):
        path = root / f"d{number % 50}" / f"s{number % 7}" / f"file_{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(size // 2) + b"some words, " * (size // 24))


def seconds(act: Callable[[int], object]) -> float:
    """Return the median duration of ``act``, which is told the number of its round."""
    taken = []
    for number in range(ROUNDS):
        os.sync()
        began = time.perf_counter()
        act(number)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def changed_seconds(
    tree: Path, theirs: Callable[[], object], ours: Callable[[], object]
) -> tuple[float, float]:
    """Change every hundredth file, another one each round, and return the median durations of both."""
    taken: list[tuple[float, float]] = []
    for number in range(ROUNDS):
        for path in sorted(tree.rglob("*.bin"))[number::100]:
            path.write_bytes(path.read_bytes()[::-1])
        os.sync()
        began = time.perf_counter()
        theirs()
        middle = time.perf_counter()
        ours()
        taken.append((middle - began, time.perf_counter() - middle))
    return statistics.median(one for one, _ in taken), statistics.median(two for _, two in taken)


def show(what: str, ours: float, theirs: float) -> None:
    print(f"{what:<42} rpd {ours:6.2f} s   rsync -az {theirs:6.2f} s   ratio {ours / theirs:5.2f}")


def show_latency(what: str, values: Sequence[float]) -> None:
    ordered = sorted(values)
    p95 = ordered[int(len(ordered) * 0.95)]
    print(f"{what:<42} p50 {ordered[len(ordered) // 2] * 1000:5.0f} ms   p95 {p95 * 1000:5.0f} ms")


def run(remote: Remote, text: str, output: Callable[[bytes], None] = lambda _: None) -> None:
    remote.run(Command(key=f"bench-{next(_numbers)}", text=text), output)


def compare_transfers(
    remote: Remote, endpoint: SshEndpoint, folder: Path, files: int, megabytes: int
) -> None:
    tree, far, back = folder / "tree", folder / "far", folder / "back"
    far.mkdir()
    back.mkdir()
    make_tree(tree, files, megabytes * 1_000_000 // files)
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    shell = f"ssh -p {endpoint.port} -i {folder}/user/id_ed25519 {options}"
    host = f"root@{endpoint.host}"

    def rsync(source: str, target: str) -> None:
        subprocess.run(["rsync", "-az", "-e", shell, source, target], check=True)

    what = f"{megabytes} MB in {files} files"
    theirs = seconds(lambda number: rsync(f"{tree}/", f"{host}:{far}/r{number}/"))
    ours = seconds(lambda number: remote.put(tree, f"{far}/p{number}"))
    theirs_again = seconds(lambda _: rsync(f"{tree}/", f"{host}:{far}/r0/"))
    ours_again = seconds(lambda _: remote.put(tree, f"{far}/p0"))
    theirs_changed, ours_changed = changed_seconds(
        tree, lambda: rsync(f"{tree}/", f"{host}:{far}/r0/"), lambda: remote.put(tree, f"{far}/p0")
    )
    theirs_back = seconds(lambda number: rsync(f"{host}:{far}/r0/", f"{back}/r{number}/"))
    ours_back = seconds(lambda number: remote.pull(f"{far}/p0", back / f"p{number}"))
    show(f"push of {what}", ours, theirs)
    show("push again, unchanged", ours_again, theirs_again)
    show("push again, 1 % of the files changed", ours_changed, theirs_changed)
    show(f"pull of {what}, verified", ours_back, theirs_back)


def measure_commands(remote: Remote) -> None:
    lines: list[float] = []
    ends: list[float] = []

    def hear(data: bytes) -> None:
        now = time.time()
        lines.extend(now - float(stamp) for stamp in data.split())

    run(remote, "for i in $(seq 100); do date +%s.%N; sleep 0.02; done", hear)
    for _ in range(20):
        stamps: list[bytes] = []
        run(remote, "sleep 0.2; date +%s.%N", stamps.append)
        ends.append(time.time() - float(b"".join(stamps)))
    whole = []
    for _ in range(20):
        began = time.perf_counter()
        run(remote, "true")
        whole.append(time.perf_counter() - began)
    show_latency("log line to driver", lines)
    show_latency("exit to driver", ends)
    show_latency('run("true")', whole)


def main(files: int = 5000, megabytes: int = 230) -> None:
    with tempfile.TemporaryDirectory() as name, sshd(Path(name)) as endpoint:
        folder = Path(name)
        remote = connect(
            endpoint,
            private_key=folder / "user" / "id_ed25519",
            known_hosts=folder / "known_hosts",
            pod_id="benchmark",
            timeout=30.0,
            is_alive=lambda: True,
        )
        measure_commands(remote)
        compare_transfers(remote, endpoint, folder, files, megabytes)
        remote.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

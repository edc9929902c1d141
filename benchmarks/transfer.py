"""Files and commands over SSH, compared with ``rsync`` over the same sshd: on a slow line, and on this machine.

  python benchmarks/transfer.py [line] [loopback] [latency] [counts]

Starts OpenSSH's sshd on this machine (as root). ``line`` goes over 50 Mbit/s with 40 ms there and back
(``slow_line.py``), ``loopback`` is as quick as the machine, ``latency`` measures commands, and ``counts``
prints only figures that do not depend on the machine, bytes and round trips, and fails if they miss their
goals. Without arguments, all but ``counts`` run. Each figure is the median of three, in turn with its peer,
each into a new folder: ext4 is slow to make files in a folder in which many were just deleted. Only files of 2 GB are
removed. rsync makes its connection each time, rpd has one already.
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
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from measure import Row, exit_if_missed, figures, machine
from openssh import control_connection
from slow_line import OFFICE, Counts, OtherProcess, slow_line

import rpd.__main__  # noqa: F401 - people wait for the command line, which sets up memory (gc) at import
from rpd.errors import ConnectionLost
from rpd.remote.keys import make_keypair
from rpd.remote.protocol import Command, Remote
from rpd.remote.ssh import connect
from rpd.values.pod import SshEndpoint

ROUNDS = 3
MB = 1_000_000
_numbers = count()


@contextmanager
def sshd(folder: Path) -> Iterator[SshEndpoint]:
    """Run an sshd with new keys and a home folder without start-up files."""
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
        # As on a pod, where rpd need not look for the process that knows its variables.
        f"SetEnv HOME={folder}/home RUNPOD_POD_ID=benchmark",
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([program, "-D", "-f", str(folder / "sshd_config")])
    try:
        yield SshEndpoint(host="127.0.0.1", port=port)
    finally:
        process.terminate()
        process.wait()


class Far:
    """The far end, over one connection to it: a remote of rpd's, rsync, and the rows of figures."""

    def __init__(self, folder: Path, port: int, line: OtherProcess | None) -> None:
        self.folder = folder
        self._port = port
        self._line = line
        self.rows: list[Row] = []
        self.remote = self.connect()

    def connect(self) -> Remote:
        return connect(
            SshEndpoint(host="127.0.0.1", port=self._port),
            private_key=self.folder / "user" / "id_ed25519",
            known_hosts=self.folder / "known_hosts",
            pod_id=f"benchmark{self._port}",
            timeout=30.0,
            is_alive=lambda: True,
        )

    def place(self) -> Path:
        """Return a new folder."""
        made = self.folder / f"place{next(_numbers)}"
        made.mkdir()
        return made

    def clear(self) -> None:
        """Remove the large files that arrived: a virtual machine takes long over memory that was never used before."""
        for path in self.folder.glob("place*/large"):
            path.unlink()

    def rsync(self, source: object, target: object, *options: str) -> None:
        """Copy between ``far:PATH`` and a path here; ``-az`` unless options are given."""
        checks = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        shell = f"ssh -p {self._port} -i {self.folder}/user/id_ed25519 {checks}"
        ends = (str(end).replace("far:", "root@127.0.0.1:") for end in (source, target))
        subprocess.run(["rsync", *(options or ("-az",)), "-e", shell, *ends], check=True)

    def compare(
        self,
        what: str,
        *,
        goal: float,
        theirs: Callable[[Path], object],
        ours: Callable[[Path], object],
        peer: str = "rsync -az",
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
        rounds: int = ROUNDS,
    ) -> None:
        """Add the rows of one comparison: each is given a new folder.

        ``before`` comes first each round, ``after`` after each of the two.
        """
        taken: list[tuple[float, float]] = []
        counts: list[tuple[Counts, Counts]] = []
        for _ in range(rounds):
            before()
            peers, seen = self._cost(theirs)
            after()
            mine, our = self._cost(ours)
            after()
            taken.append((mine, peers))
            counts.append((our, seen))
        seconds = [statistics.median(column) for column in zip(*taken, strict=True)]
        self.add(Row(what=what, ours=seconds[0], peer=peer, theirs=seconds[1], goal=goal))
        if self._line is not None:
            sent = [statistics.median(c.bytes for c in column) / MB for column in zip(*counts, strict=True)]
            trips = [statistics.median(c.round_trips for c in column) for column in zip(*counts, strict=True)]
            self.add(
                Row(
                    what="  on the wire",
                    ours=sent[0],
                    peer=peer,
                    theirs=sent[1],
                    goal=max(goal, 1.05),
                    unit="MB",
                )
            )
            self.add(
                Row(what="  round trips", ours=trips[0], peer=peer, theirs=trips[1], goal=goal, unit="trips")
            )

    def _cost(self, act: Callable[[Path], object]) -> tuple[float, Counts]:
        place = self.place()
        os.sync()
        if self._line is not None:
            self._line.ask("reset")
        began = time.perf_counter()
        act(place)
        seconds = time.perf_counter() - began
        return seconds, self._line.ask("count") if self._line is not None else Counts()

    def cut(self, what: str, size: int, act: Callable[[Path], object]) -> None:
        """Add the row of bytes on the wire where the line is cut at 60 % of ``size``."""
        assert self._line is not None
        place = self.place()
        self._line.ask("reset")
        self._line.ask("cut", int(size * 0.6))
        with suppress(ConnectionLost):
            act(place)
        counts = self._line.ask("count")
        self.add(
            Row(
                what=what,
                ours=counts.bytes / MB,
                peer="the size",
                theirs=size / MB,
                goal=1.05,
                unit="MB",
            )
        )

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print("  ".join(row.cells()), flush=True)


# --- the files ------------------------------------------------------------------------------------------------------


def make_tree(root: Path, files: int, size: int, seed: int = 1) -> Path:
    """Write ``files`` files of ``size`` bytes, half of each random and half text."""
    chance = random.Random(seed)
    for number in range(files):
        path = root / f"d{number % 50}" / f"s{number % 7}" / f"file_{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(size // 2) + b"some words, " * (size // 24))
    return root


def change_files(tree: Path) -> Callable[[], object]:
    """Return a function that changes every hundredth file, another one each time."""
    paths, numbers = sorted(tree.rglob("*.bin")), count()

    def change() -> None:
        for path in paths[next(numbers) :: 100]:
            path.write_bytes(path.read_bytes()[::-1])

    return change


def change_inside(path: Path) -> Callable[[], object]:
    """Return a function that rewrites a megabyte inside a file, elsewhere each time."""

    def change() -> None:
        number = next(_numbers)
        with path.open("r+b") as file:
            file.seek(path.stat().st_size * (number % 7) // 8 + 12_345)
            file.write(random.Random(number).randbytes(MB))

    return change


def line_rows(far: Far, rounds: int = ROUNDS) -> None:
    """Compare on a slow line."""
    tree = make_tree(far.place() / "tree", 1000, 20_000)
    first: list[Path] = []

    def push(place: Path) -> None:
        far.remote.put(tree, f"{place}/t")
        first.append(place)

    what = "20 MB in 1,000 files"
    far.compare(
        f"push of {what}",
        goal=1.0,
        theirs=lambda p: far.rsync(f"{tree}/", f"far:{p}/t/"),
        ours=push,
        rounds=rounds,
    )
    there = f"{first[0]}/t"
    far.compare(
        "push again, unchanged",
        goal=0.3,
        theirs=lambda _: far.rsync(f"{tree}/", f"far:{there}/"),
        ours=lambda _: far.remote.put(tree, there),
        rounds=rounds,
    )
    far.compare(
        f"pull of {what}",
        goal=1.0,
        theirs=lambda p: far.rsync(f"far:{there}/", f"{p}/t/"),
        ours=lambda p: far.remote.pull(there, p),
        rounds=rounds,
    )
    for megabytes in (32, 64):
        change_rows(far, megabytes, rounds)
    cut_rows(far)


def change_rows(far: Far, megabytes: int, rounds: int) -> None:
    """Compare where a megabyte changes inside a large file."""
    here, there, back = far.place(), far.place(), far.place()
    (here / "model.bin").write_bytes(random.Random(2).randbytes(megabytes * MB))
    shutil.copytree(here, there / "r")
    far.remote.put(here, f"{there}/p")
    change = change_inside(here / "model.bin")
    what = f"1 MB changed inside {megabytes} MB"
    far.compare(
        f"push, {what}",
        goal=1.5,
        theirs=lambda _: far.rsync(f"{here}/", f"far:{there}/r/"),
        ours=lambda _: far.remote.put(here, f"{there}/p"),
        before=change,
        rounds=rounds,
    )
    shutil.copytree(there / "r", back / "theirs")
    far.remote.pull(f"{there}/r", back)
    far.compare(
        f"pull, {what}",
        goal=1.5,
        theirs=lambda _: far.rsync(f"far:{there}/r/", f"{back}/theirs/"),
        ours=lambda _: far.remote.pull(f"{there}/r", back),
        before=change_inside(there / "r/model.bin"),
        rounds=rounds,
    )


def cut_rows(far: Far) -> None:
    """Count bytes where the line breaks in the middle."""
    size = 40 * MB
    one, many = far.place() / "one", far.place() / "many"
    one.mkdir()
    (one / "model.bin").write_bytes(random.Random(3).randbytes(size))
    for number in range(40):
        path = many / f"d{number % 4}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(MB))
    for name, tree in (("one file", one), ("40 files", many)):
        far.cut(f"push of 40 MB in {name}, cut", size, lambda p, t=tree: far.remote.put(t, f"{p}/t"))
        far.cut(f"pull of 40 MB in {name}, cut", size, lambda p, t=tree: far.remote.pull(str(t), p))


def loopback_rows(far: Far) -> None:
    """Compare on this machine."""
    tree = make_tree(far.place() / "tree", 5000, 46_000)
    tree_rows(far, tree, "230 MB in 5,000 files")
    large = far.place() / "from" / "large"
    large.parent.mkdir()
    with large.open("wb") as file:
        for number in range(64):
            file.write(random.Random(number).randbytes(1 << 20) * 32)
    far.compare(
        "pull of one file of 2 GB",
        goal=1.0,
        peer="rsync -a",
        theirs=lambda p: far.rsync(f"far:{large}", p, "-a"),
        ours=lambda p: far.remote.pull(str(large), p),
        after=far.clear,
    )
    large.unlink()
    tiny = make_tree(far.place() / "tiny", 50_000, 480)
    tree_rows(far, tiny, "50,000 tiny files", goal=1.2)


def tree_rows(far: Far, tree: Path, what: str, goal: float = 1.0) -> None:
    """Compare a first push, the same again, a change, and a pull of a tree."""
    first: list[Path] = []

    def push(place: Path) -> None:
        far.remote.put(tree, f"{place}/t")
        first.append(place)

    far.compare(
        f"push of {what}", goal=goal, theirs=lambda p: far.rsync(f"{tree}/", f"far:{p}/t/"), ours=push
    )
    there, theirs = f"{first[0]}/t", f"{far.place()}/t"
    far.rsync(f"{tree}/", f"far:{theirs}/")
    far.compare(
        "push again, unchanged",
        goal=0.3,
        theirs=lambda _: far.rsync(f"{tree}/", f"far:{theirs}/"),
        ours=lambda _: far.remote.put(tree, there),
    )
    far.compare(
        "push again, 1 % of the files changed",
        goal=goal,
        theirs=lambda _: far.rsync(f"{tree}/", f"far:{theirs}/"),
        ours=lambda _: far.remote.put(tree, there),
        before=change_files(tree),
    )
    far.compare(
        f"pull of {what}",
        goal=goal,
        theirs=lambda p: far.rsync(f"far:{theirs}/", f"{p}/t/"),
        ours=lambda p: far.remote.pull(there, p),
    )


# --- commands ---------------------------------------------------------------------------------------------------------


LATE = 0.5
"""Seconds (p95) that a line or the end of a command may take to be noticed."""


def late(what: str, values: Sequence[float], goal: float | None = None) -> Iterator[Row]:
    """Yield the rows of a latency."""
    ordered = sorted(values)
    p95 = ordered[int(len(ordered) * 0.95)]
    yield Row(what=f"{what}, p95", ours=p95, unit="s", goal=goal)
    yield Row(what="  median", ours=statistics.median(ordered), unit="s")


def run(remote: Remote, text: str, output: Callable[[bytes], None] = lambda _: None) -> None:
    remote.run(Command(key=f"bench-{next(_numbers)}", text=text), output)


COMMANDS = 40
CONTROL_TARGET = 4.0
"""Times a command over OpenSSH's control connection, which starts one program on the pod and writes nothing there."""


def measure_commands(remote: Remote, ssh: Sequence[str]) -> list[Row]:
    """Return the latencies of rpd's commands, and of ``ssh`` over a connection that is there already, in turn."""
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
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(COMMANDS):
        ours.append(seconds(lambda: run(remote, "true")))
        theirs.append(seconds(lambda: subprocess.run([*ssh, "true"], check=True)))
    return [
        *late("log line to driver", lines, LATE),
        *late("exit to driver", ends, LATE),
        Row(
            what='pod.run("true"), median',
            ours=statistics.median(ours),
            unit="s",
            goal=CONTROL_TARGET,
            peer="ssh, control connection",
            theirs=statistics.median(theirs),
        ),
    ]


def seconds(act: Callable[[], object]) -> float:
    """Return how long ``act`` takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def measured(folder: Path, part: str, endpoint: SshEndpoint) -> list[Row]:
    """Return the rows of one part, each over its own connection to the sshd."""
    if part == "loopback":
        far = Far(folder, endpoint.port, None)
        loopback_rows(far)
    else:
        # Counts on a line as quick as the machine are the same, apart from the effect of compression.
        with slow_line(endpoint.port, *OFFICE) as line:
            far = Far(folder, line.port, line)
            line_rows(far, rounds=1 if part == "counts" else ROUNDS)
            far.remote.close()
        return far.rows
    far.remote.close()
    return far.rows


def main(*parts: str) -> None:
    with tempfile.TemporaryDirectory() as name, sshd(Path(name)) as endpoint:
        folder = Path(name)
        rows: list[Row] = []
        for part in parts or ("latency", "line", "loopback"):
            if part == "latency":
                far = Far(folder, endpoint.port, None)
                with control_connection(folder, endpoint.port) as ssh:
                    rows += measure_commands(far.remote, ssh)
                far.remote.close()
            else:
                rows += measured(folder, part, endpoint)
        if parts == ("counts",):
            rows = [row for row in rows if row.unit != "s"]
        if rows:
            print(f"Files and commands over SSH, {machine()}\n\n{figures(rows)}")
        if parts == ("counts",):
            exit_if_missed(rows)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Telemetry: the output of the loop on a pod, its reading, and when a command counts as hung."""

from __future__ import annotations

import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.remote.protocol import Command
from rpd.remote.ssh import SshRemote
from rpd.remote.telemetry import Monitor, Reader, Silence
from rpd.values.telemetry import DiskSample, GpuSample, Sample
from tests.clock import Clock
from tests.remote.conftest import Connect, Machine
from tests.waiting import wait_until

SAID = b"""load 0.52
memory 1024 4096
gpu 0, 35, 1024, 81559, 45, 210.50
gpu 1, [N/A], 1, 81559, 30, [Not Supported]
disk 100 200 /
disk 300 400 /work space
end
"""


def test_sample_is_read_whole() -> None:
    """All GPUs, memory, load and disks become one sample; values that a GPU does not report are None."""
    (sample,) = Reader().feed(SAID)
    assert sample.load == 0.52
    assert (sample.memory_used_mb, sample.memory_total_mb) == (1024, 4096)
    assert sample.gpus == (
        GpuSample(
            index=0,
            utilization=35,
            memory_used_mb=1024,
            memory_total_mb=81559,
            temperature_c=45,
            power_w=210.5,
        ),
        GpuSample(index=1, memory_used_mb=1, memory_total_mb=81559, temperature_c=30),
    )
    assert sample.disks == {
        "/": DiskSample(used_mb=100, total_mb=200), "/work space": DiskSample(used_mb=300, total_mb=400)
    }  # fmt: skip
    assert sample.utilization == 35
    assert "utilization" not in sample.to_json()["gpus"][1]


@given(cuts=st.lists(st.integers(0, 2 * len(SAID)), max_size=8))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    """However the network cuts the bytes, the same samples come out."""
    data = SAID * 2
    edges = [0, *sorted(cuts), len(data)]
    reader = Reader()
    samples = [s for begin, end in pairwise(edges) for s in reader.feed(data[begin:end])]
    whole = list(Reader().feed(data))
    assert [(s.gpus, s.load, s.disks) for s in samples] == [(s.gpus, s.load, s.disks) for s in whole]


@given(noise=st.binary(max_size=200))
def test_noise_is_passed_over(noise: bytes) -> None:
    """Other output of a pod spoils no sample after it."""
    *_, last = Reader().feed(noise + b"\nend\n" + SAID)
    assert last.load == 0.52


KEPT = b"""kept packages:# python 3.12.3 /usr/bin/python3
kept packages:numpy==2.1.0
kept packages:torch==2.8.0
kept packages.
kept nvidia-smi.
kept nvidia-smi:+---+
kept passwords:hunter2
kept passwords.
"""


@given(cuts=st.lists(st.integers(0, len(KEPT + SAID)), max_size=8))
def test_what_a_pod_tells_of_itself_is_kept_once_it_is_whole(cuts: list[int]) -> None:
    """Texts come line by line between the samples; an empty one is none, nor is one of another name."""
    data, reader = KEPT + SAID, Reader()
    edges = [0, *sorted(cuts), len(data)]
    samples = [s for begin, end in pairwise(edges) for s in reader.feed(data[begin:end])]
    assert reader.take_kept() == [
        ("packages", "# python 3.12.3 /usr/bin/python3\nnumpy==2.1.0\ntorch==2.8.0")
    ]
    assert (reader.take_kept(), len(samples), samples[0].load) == ([], 1, 0.52)


def test_a_pod_tells_its_packages_again_when_some_were_installed(
    machine: Machine, connecting: Connect
) -> None:
    """The list is that of the pod's python, as ``pip freeze`` prints it, and follows installations by the job."""
    place = machine.files / "bin"
    site = machine.files / "site"
    for folder in (place, site / "one-1.0.dist-info"):
        folder.mkdir(parents=True)
    python = place / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    machine.path = f"{place}:{machine.path}"
    notices: list[tuple[str, str]] = []
    heartbeat(machine)
    watching = Monitor(
        connecting(),
        interval=0.2,
        beat=0.2,
        mount="/workspace",
        hear=lambda _sample: None,
        kept=lambda name, text: notices.append((name, text)),
    )
    watching.start()
    try:
        wait_until(lambda: any(name == "packages" for name, _ in notices), what="the list")
        assert "one==1.0" in notices[0][1].splitlines()
        other = site / "two-2.5.dist-info"
        other.mkdir()
        (other / "direct_url.json").write_text(
            '{"url": "https://x/y.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'
        )
        wait_until(
            lambda: "two @ git+https://x/y.git@abc" in notices[-1][1].splitlines(), what="the new list"
        )
    finally:
        watching.close()


class Heard:
    """Keeps the samples of a monitor."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.silences = 0
        self.failures: list[Exception] = []

    def __call__(self, sample: Sample | None) -> None:
        if sample is None:
            self.silences += 1
        else:
            self.samples.append(sample)


def monitor(remote: SshRemote, heard: Heard, *, interval: float = 0.2, beat: float = 0.2) -> Monitor:
    made = Monitor(
        remote, interval=interval, beat=beat, mount="/workspace", hear=heard, failed=heard.failures.append
    )
    made.start()
    return made


def heartbeat(machine: Machine) -> Path:
    folder = machine.home / ".rpd/watchdog"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pid").touch()
    (folder / "heartbeat").write_text("0\n")
    return folder / "heartbeat"


def test_samples_come_while_a_command_runs(machine: Machine, remote: SshRemote) -> None:
    """Beside a running command, over the same connection, the pod tells how busy it is."""
    heard = Heard()
    watching = monitor(remote, heard)
    gate = machine.files / "gate"
    thread = threading.Thread(
        target=remote.run,
        args=(Command(key="one", text=f"while [ ! -e {gate} ]; do sleep 0.1; done"), lambda _data: None),
    )
    thread.start()
    wait_until(lambda: len(heard.samples) >= 3, what="three samples")
    assert thread.is_alive()
    gate.touch()
    thread.join(30)
    watching.close()
    assert heard.samples[0].memory_total_mb
    assert "/" in heard.samples[0].disks


def test_what_the_watchdog_says_is_told_once_as_it_says_it(machine: Machine, remote: SshRemote) -> None:
    """Its lines come the moment they are written, and a channel that is opened again doubles none."""
    heartbeat(machine)
    trace = machine.home / ".rpd/watchdog.log"
    trace.write_text("2026-01-01T00:00:00Z watchdog 7 guards pod p\n")
    notices: list[str] = []
    watching = Monitor(remote, interval=0, beat=0.1, mount="/", hear=lambda _: None, traced=notices.append)
    watching.start()
    wait_until(lambda: len(notices) == 1, what="the first line")
    machine.drop()
    with trace.open("a") as file:
        file.write("2026-01-01T00:00:01Z this pod ends: its deadline has passed\n")
    wait_until(lambda: len(notices) == 2, what="the second line")
    watching.close()
    assert notices == trace.read_text().splitlines()


@pytest.mark.usefixtures("busybox")
def test_busybox_is_enough(machine: Machine, connecting: Connect) -> None:
    """The loop needs nothing that busybox lacks."""
    heard = Heard()
    watching = monitor(connecting(), heard, interval=1, beat=0.2)
    wait_until(lambda: len(heard.samples) >= 2, what="two samples")
    watching.close()
    assert heard.samples[0].load is not None
    assert heard.samples[0].memory_total_mb


def test_a_broken_channel_is_opened_again(machine: Machine, remote: SshRemote) -> None:
    """When the connection breaks the samples come again soon, without anybody's doing."""
    heard = Heard()
    watching = monitor(remote, heard)
    wait_until(lambda: len(heard.samples) >= 1, what="a sample")
    machine.drop()
    before = len(heard.samples)
    wait_until(lambda: len(heard.samples) > before + 1, what="samples after the break")
    watching.close()


def test_driver_is_a_heartbeat(machine: Machine, remote: SshRemote) -> None:
    """A driver that listens shows itself to the watchdog, also where no samples are wanted; one that is gone does not."""
    beat = heartbeat(machine)
    heard = Heard()
    watching = monitor(remote, heard, interval=0)
    wait_until(lambda: time.time() - int(beat.read_text()) < 3, what="a heartbeat")
    wait_until(lambda: heard.silences >= 2, what="the passing of time")
    watching.close()
    assert heard.samples == []
    # One may be under way still; they came five times a second.
    wait_until(lambda: time.time() - int(beat.read_text()) > 3, what="an end of the heartbeats")


def test_a_listener_that_fails_is_told_once(machine: Machine, remote: SshRemote) -> None:
    """An exception of a listener is reported once and ends nothing."""
    beat = heartbeat(machine)
    errors: list[Exception] = []
    heard = 0

    def fail(_sample: Sample | None) -> None:
        nonlocal heard
        heard += 1
        raise ValueError("the listener's own mistake")

    watching = Monitor(remote, interval=0.1, beat=0.1, mount="/", hear=fail, failed=errors.append)
    watching.start()
    wait_until(lambda: heard >= 3, what="more samples")
    wait_until(lambda: time.time() - int(beat.read_text()) < 3, what="a heartbeat")
    watching.close()
    assert [str(error) for error in errors] == ["the listener's own mistake"]


# --- hung commands ----------------------------------------------------------------------------------------------------


def sample(*utilizations: float | None) -> Sample:
    return Sample(
        at="", gpus=tuple(GpuSample(index=i, utilization=value) for i, value in enumerate(utilizations))
    )


def test_silence_needs_both_signs() -> None:
    """Output or one busy GPU shows life; without either for the whole time the command has hung."""
    clock = Clock()
    silence = Silence(10, clock)
    clock.now = 9
    assert not silence.has_hung(sample(0, 0))
    silence.output()
    clock.now = 18
    assert not silence.has_hung(sample(0, 97))
    clock.now = 27.9
    assert not silence.has_hung(sample(0, 3))
    clock.now = 28
    assert silence.has_hung(sample(0, 3))


@pytest.mark.parametrize("heard", [None, sample(), sample(None)])
def test_without_gpus_silence_alone_counts(heard: Sample | None) -> None:
    """On a pod that tells nothing of a GPU the output decides."""
    clock = Clock()
    silence = Silence(10, clock)
    clock.now = 10
    assert silence.has_hung(heard)


def test_what_is_over_has_not_hung(remote: SshRemote) -> None:
    """A command that has ended is not asked to end: the next one would get the request."""
    clock = Clock()
    silence = Silence(10, clock)
    clock.now = 10
    silence.over()
    assert not silence.has_hung(None)
    silence.diagnose(remote)
    assert remote.run(Command(key="next", text="true"), lambda _data: None).exit_code == 0


def test_diagnosis_shows_what_runs(remote: SshRemote) -> None:
    """The diagnosis of a hung command names the processes of the pod."""
    silence = Silence(10)
    silence.over()
    silence.diagnose(remote)
    assert silence.diagnosis is not None
    assert b"no output and idle GPUs for 10 s" in silence.diagnosis
    assert b"--- ps" in silence.diagnosis
    assert b"ARGS" in silence.diagnosis or b"COMMAND" in silence.diagnosis
    # Neither the script of the diagnosis, nor its children.
    assert b"ps -eo sid,pid" not in silence.diagnosis.replace(b"--- ps -eo", b"")


def test_diagnosis_leaves_out_shells_that_rpd_starts_meanwhile(
    machine: Machine, connecting: Connect, tmp_path: Path
) -> None:
    """Its own and the job's processes are told apart in one list: each list may have new ones."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ps").write_text(
        f"""#!/bin/sh
echo x >>{tmp_path}/calls
number=$(wc -l <{tmp_path}/calls)
echo "SID PID PPID STAT WCHAN ELAPSED TIME COMMAND"
echo "7 7 1 S - 00:01 00:00:00 python train.py"
echo "90$number 90$number 1 S - 00:01 00:00:00 sh -c IFS= read -r how"
"""
    )
    (programs / "ps").chmod(0o755)
    machine.path = f"{programs}:{machine.path}"
    silence = Silence(10)
    silence.over()
    silence.diagnose(connecting())
    assert silence.diagnosis is not None
    assert b"python train.py" in silence.diagnosis
    assert b"read -r how" not in silence.diagnosis

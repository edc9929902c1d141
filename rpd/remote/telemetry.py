"""Telemetry: one channel over which a pod reports its load, and the driver shows that it is still there.

The pod writes every few seconds, from a loop in sh. The driver answers with single lines, each of which is a
heartbeat for the pod's watchdog: only a living driver keeps an idle pod alive, not a connection that nobody
has closed.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from rpd.errors import RpdError
from rpd.remote.protocol import Feed, Remote
from rpd.threads import guarded, started
from rpd.values.late_pattern import late_pattern
from rpd.values.telemetry import DiskSample, GpuSample, Sample

LONGEST_BEAT = 20.0
"""Most seconds between two heartbeats."""
IDLE_PERCENT = 5.0
"""A GPU with at most this load counts as idle."""

_FIRST_WAIT = 1.0
_LONGEST_PAUSE = 60.0
_LONGEST_LINE = 4096
_MOST_LINES = 200
"""Most lines of one sample: GPUs, disks and a few more."""
_MOST_TRACED = 2000
"""Most lines of a watchdog's trace; it writes a handful, and one per hour."""
_DIAGNOSE_SECONDS = 60.0

_MOST_KEPT = 5000
"""Most lines of a text that a pod reports about itself."""
PACKAGES, NVIDIA_SMI = "packages", "nvidia-smi"
"""The names of these texts."""

# Prints the packages of the pod's Python as `pip freeze` does, which takes a second where this takes a
# moment. Before that it writes their folders to a file: a folder newer than that file has changed since.
_PACKAGES = r"""
import os, platform, sys
folders = [path for path in dict.fromkeys(sys.path) if os.path.isdir(path)]
with open(sys.argv[1], "w") as file:
    file.writelines(path + "\n" for path in folders)
def origin(path):
    try:
        import json
        with open(os.path.join(path, "direct_url.json")) as file:
            facts = json.load(file)
        vcs = facts.get("vcs_info")
        return " @ " + (vcs["vcs"] + "+" + facts["url"] + "@" + vcs["commit_id"] if vcs else facts["url"])
    except Exception:
        return ""
found = {}
for folder in folders:
    for name in os.listdir(folder):
        stem, end = os.path.splitext(name)
        package, dash, rest = stem.partition("-")
        if dash and end in (".dist-info", ".egg-info"):
            found.setdefault(package, package + (origin(os.path.join(folder, name)) or "==" + rest.split("-")[0]))
print("# python " + platform.python_version() + " " + sys.executable)
print("\n".join(sorted(found.values(), key=str.lower)))
"""
_QUERY = "index,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw"

# $1 seconds between samples (0: none), $2 the folder of the volume. Standard input brings the heartbeats;
# when it ends, nobody is listening any more. Each sample is written in one piece.
_LOOP = r"""
exec 2>/dev/null
for folder in "${HOME:-/root}/.rpd/watchdog" "/tmp/.rpd-$(id -u)/watchdog"; do [ ! -e "$folder/pid" ] || break; done
limited() { if command -v timeout >/dev/null; then timeout 10 "$@"; else "$@"; fi; }
number() { value=; read -r value <"$1"; case $value in ''|*[!0-9]*) return 1 ;; esac; }
memory() {
  for group in /sys/fs/cgroup /sys/fs/cgroup/memory; do
    case $group in
      */memory) limited_to=$group/memory.limit_in_bytes used=$group/memory.usage_in_bytes ;;
      *) limited_to=$group/memory.max used=$group/memory.current ;;
    esac
    number $limited_to && limit=$value && number $used || continue
    # What was only read from files is given back when somebody wants it.
    cache=$(sed -n 's/^\(total_\)*inactive_file //p' $group/memory.stat | tail -n 1)
    # No limit is a very large one.
    if [ "$limit" -lt 70000000000000 ]; then
      echo "memory $(((value - ${cache:-0}) / 1048576)) $((limit / 1048576))"
      return
    fi
  done
  total= free=
  while read -r name amount unit; do
    case $name in MemTotal:) total=$amount ;; MemAvailable:) free=$amount ;; esac
  done </proc/meminfo
  [ -z "$free" ] || echo "memory $(((total - free) / 1024)) $((total / 1024))"
}
sample() {
  read -r load rest </proc/loadavg && echo "load $load"
  memory
  limited nvidia-smi --query-gpu=@QUERY@ --format=csv,noheader,nounits | sed 's/^/gpu /'
  df -kP / "$2" | while read -r device total used free share where; do
    case $total in ''|*[!0-9]*) ;; *) echo "disk $((used / 1024)) $((total / 1024)) $where" ;; esac
  done
  echo end
}
# What the pod is made of: `kept NAME:LINE` for each line, then `kept NAME.`; each in one piece, others write here too.
keep() {
  while IFS= read -r line; do printf 'kept %s:%s\n' "$1" "$line"; done
  printf 'kept %s.\n' "$1"
}
packages_changed() {
  [ -e "$packages" ] || return 0
  while read -r installed; do [ ! "$installed" -nt "$packages" ] || return 0; done <"$packages"
  return 1
}
list_packages() {
  python=$(command -v python3 || command -v python) || return
  (cd / && limited "$python" -c @PACKAGES@ "$packages") | keep @PACKAGES_NAME@
}
inventory() {
  if packages_changed; then list_packages; fi
  if [ -z "$shown" ] && command -v nvidia-smi >/dev/null; then limited nvidia-smi | keep @NVIDIA_SMI@; fi
  shown=1
}
samples() {
  while :; do
    text=$(sample "$@")
    printf '%s\n' "$text" || exit 0
    inventory
    sleep "$1" >/dev/null || sleep 1 >/dev/null || exit 0
  done
}
talk() {
  trace= shown= packages=${folder%/*}/packages
  rm -f "$packages"
  if [ "$1" = 0 ]; then inventory & else samples "$@" & fi
  sampler=$!
  # Lines of the watchdog are passed on at once: it may end the pod the next moment.
  [ ! -e "${folder%/*}/watchdog.log" ] || { tail -n +1 -f "${folder%/*}/watchdog.log" & trace=$!; }
  while read -r beat; do
    [ ! -d "$folder" ] || printf '%-20s\n' "$(date +%s)" 1<>"$folder/heartbeat"
  done
  kill "$sampler"
  [ -z "$trace" ] || kill "$trace"
}
"""
_LOOP = (
    _LOOP.replace("@QUERY@", _QUERY)
    .replace("@PACKAGES@", shlex.quote(_PACKAGES))
    .replace("@PACKAGES_NAME@", PACKAGES)
    .replace("@NVIDIA_SMI@", NVIDIA_SMI)
)

_DIAGNOSE = r"""
limited() { if command -v timeout >/dev/null 2>&1; then timeout 20 "$@"; else "$@"; fi; }
show() { echo "--- $*"; limited "$@" 2>&1 | cut -c 1-8000 | head -n 200; echo; }
# The sessions of rpd itself in a list of processes. What a job runs is in a session of its own.
own_sessions() {
  while read -r session process _ _ _ _ _ words; do
    case $words in
      *.rpd/watchdog/watchdog.sh*|*.rpd/steps/*/supervise*)
        [ "$session" != "$process" ] || printf '%s ' "$session" ;;
      *'IFS= read -r how'*) printf '%s ' "$session" ;;
    esac
  done
}
show_processes() {
  columns=sid,pid,ppid,stat,wchan:24,etime,time,args
  echo "--- ps -eo $columns, without rpd's own"
  # One list for both: rpd may start a shell between two.
  listed=$(limited ps -eo $columns 2>&1)
  own=" $(printf '%s\n' "$listed" | own_sessions)"
  printf '%s\n' "$listed" | cut -c 1-8000 | head -n 200 | while IFS= read -r line; do
    session=${line#"${line%%[! ]*}"}
    case $own in *" ${session%% *} "*) ;; *) printf '%s\n' "$line" ;; esac
  done
  echo
}
diagnose() {
  if command -v dmesg >/dev/null 2>&1 && dmesg >/dev/null 2>&1; then echo '--- dmesg'; dmesg | tail -n 20; fi
  if ps -eo pid >/dev/null 2>&1; then show_processes; else show ps; fi
  if command -v py-spy >/dev/null 2>&1; then
    for folder in /proc/[0-9]*; do
      case $(readlink "$folder/exe" 2>/dev/null) in */python*) show py-spy dump --pid "${folder#/proc/}" ;; esac
    done
  fi
  if command -v nvidia-smi >/dev/null 2>&1; then show nvidia-smi; fi
}
diagnose
"""
_CRASH = r"""
show() { echo "--- $*"; "$@" 2>&1 | cut -c 1-1000 | tail -n 60; echo; }
show dmesg
for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
  [ ! -r "$file" ] || show cat "$file"
done
if command -v free >/dev/null 2>&1; then show free -m; fi
if command -v nvidia-smi >/dev/null 2>&1; then show nvidia-smi; fi
"""
_CRASH_SECONDS = 20.0

Hear = Callable[[Sample | None], None]
"""Takes each sample; None if only time has passed."""

_WHOLE = late_pattern(r"-?[0-9]{1,15}")
_KEPT = late_pattern(rf"kept ({PACKAGES}|{NVIDIA_SMI})([:.])(.*)")
_TRACE = late_pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


class Monitor:
    """Listens to one pod, on its own thread, from ``start`` to ``close``.

    ``interval`` is the time between samples (s; 0: none), ``beat`` that between heartbeats, ``mount`` the
    folder of the pod's volume. A lost channel is reopened, with growing pauses. On its thread it calls
    ``hear`` with samples, ``traced`` with each line of the pod's watchdog, ``kept`` with name and text of a
    report of the pod about itself, and ``broken`` when the channel is lost. Their exceptions go to
    ``failed``, the first one only.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        interval: float,
        beat: float,
        mount: str,
        hear: Hear,
        traced: Callable[[str], None] = lambda _line: None,
        kept: Callable[[str, str], None] = lambda _name, _text: None,
        broken: Callable[[], None] = lambda: None,
        failed: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        self._remote = remote
        self._beat = beat
        self._interval = interval
        self._wait = min(beat, interval or beat)
        self._script = f"{_LOOP}\ntalk {interval:g} {shlex.quote(mount)}\n"
        self._hear = hear
        self._traced = traced
        self._kept = kept
        self._broken = broken
        self._trace: set[str] = set()
        self._failed: Callable[[Exception], None] | None = failed
        self._closed = threading.Event()
        self._feed: Feed | None = None

    def start(self) -> None:
        """Start to listen, after a moment: a node that ends before that costs nothing."""
        started(self._run, name="rpd-telemetry")

    def close(self) -> None:
        """Stop listening; from any thread."""
        self._closed.set()
        if self._feed is not None:
            self._feed.close()

    def _run(self) -> None:
        pause = min(_FIRST_WAIT, self._wait)
        while not self._closed.wait(pause):
            began = time.monotonic()
            try:
                self._feed = self._remote.feed(self._script)
                self._listen(self._feed)
                self._feed.close()
            except RpdError:
                pass  # the node on the pod will see the error; here it is only retried
            except Exception as error:  # noqa: BLE001 - without its heartbeat the pod would end itself
                self._tell_failed(error)
            if not self._closed.is_set():
                self._tell(self._broken)
            # A channel that breaks soon after it was opened is reopened ever more rarely.
            went_well = time.monotonic() - began > 2 * self._beat
            pause = min(_FIRST_WAIT, self._wait) if went_well else min(2 * pause, _LONGEST_PAUSE)

    def _listen(self, feed: Feed) -> None:
        reader = Reader()
        beaten = heard = 0.0
        while not self._closed.is_set():
            data = feed.read(self._wait)
            if data == b"":
                return
            if time.monotonic() - beaten >= self._beat:
                feed.send(b"\n")
                beaten = time.monotonic()
            for sample in reader.feed(data or b""):
                # A pod that writes without pause is heard only as often as it was asked to write.
                if time.monotonic() - heard >= self._interval / 2:
                    heard = time.monotonic()
                    self._tell(partial(self._hear, sample))
            if data is None:
                self._tell(partial(self._hear, None))
            for name, text in reader.take_kept():
                self._tell(partial(self._kept, name, text))
            for line in reader.take_trace():
                # A reopened channel sends the whole trace again.
                if line not in self._trace and len(self._trace) < _MOST_TRACED:
                    self._trace.add(line)
                    self._tell(partial(self._traced, line))

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # noqa: BLE001 - a listener's mistake must not cost the pod its heartbeat
            self._tell_failed(error)

    def _tell_failed(self, error: Exception) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            guarded(partial(failed, error))


class Reader:
    """Turns the lines of the loop into samples; lines it does not understand are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[str] = []
        self._trace: list[str] = []
        self._keeping: dict[str, list[str]] = {}
        self._kept: list[tuple[str, str]] = []

    def feed(self, data: bytes) -> Iterator[Sample]:
        """Take the next bytes and yield the samples that are complete now."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_LONGEST_LINE:]
        for line in lines:
            text = line[-_LONGEST_LINE:].decode(errors="replace").strip()
            if text == "end":
                yield _sample(self._lines)
                self._lines = []
            elif kept := _KEPT.fullmatch(text):
                self._keep(kept[1], kept[3], is_last=kept[2] == ".")
            elif _TRACE.match(text):
                if len(self._trace) < _MOST_TRACED:
                    self._trace.append(text)
            else:
                self._lines.append(text)
                del self._lines[:-_MOST_LINES]

    def _keep(self, name: str, line: str, *, is_last: bool) -> None:
        lines = self._keeping.setdefault(name, [])
        if not is_last:
            if len(lines) < _MOST_KEPT:
                lines.append(line)
        elif lines:
            self._kept = [*(each for each in self._kept if each[0] != name), (name, "\n".join(lines))]
            self._keeping[name] = []

    def take_kept(self) -> list[tuple[str, str]]:
        """Return the texts completed since the last call, with their names: PACKAGES or NVIDIA_SMI."""
        taken, self._kept = self._kept, []
        return taken

    def take_trace(self) -> list[str]:
        """Return the watchdog's lines since the last call."""
        taken, self._trace = self._trace, []
        return taken


def _sample(lines: list[str]) -> Sample:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    load: float | None = None
    memory: tuple[int, int] | None = None
    gpus: list[GpuSample] = []
    disks: dict[str, DiskSample] = {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        with contextlib.suppress(ValueError):
            match kind:
                case "load":
                    load = _number(rest)
                case "memory":
                    used, total = rest.split()
                    memory = _whole(used), _whole(total)
                case "disk":
                    used, total, folder = rest.split(" ", 2)
                    disks[folder] = DiskSample(used_mb=_whole(used), total_mb=_whole(total))
                case "gpu":
                    gpus.append(_gpu(rest))
    used_mb, total_mb = memory or (None, None)
    return Sample(
        at=at, gpus=tuple(gpus), load=load, memory_used_mb=used_mb, memory_total_mb=total_mb, disks=disks
    )


def _gpu(text: str) -> GpuSample:
    index, *values = [word.strip() for word in text.split(",")]
    utilization, used, total, temperature, power = [_number(value) for value in values]
    return GpuSample(
        index=_whole(index),
        utilization=utilization,
        memory_used_mb=used,
        memory_total_mb=total,
        temperature_c=temperature,
        power_w=power,
    )


def _whole(text: str) -> int:
    """Return a number of at most 15 digits. Raise ValueError."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float | None:
    """Return a number, None for ``[N/A]``, infinities and the like."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class Silence:
    """Detects a command that hangs: no output and idle GPUs for ``seconds`` while it runs. Thread-safe.

    If a pod has no GPU, or reports nothing about it, silence alone counts.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.diagnosis: bytes | None = None
        """The diagnosis of the hung command; None while it has not hung."""
        self._clock = clock
        self._lock = threading.Lock()
        self._is_over = False
        self._since = clock()

    def output(self) -> None:
        """Note that there was output."""
        self._since = self._clock()

    def has_hung(self, sample: Sample | None) -> bool:
        """Take a sample (None: time passed); return whether the command has hung."""
        busiest = max((gpu.utilization or 0.0 for gpu in sample.gpus), default=0.0) if sample else 0.0
        if busiest > IDLE_PERCENT:
            self.output()
        return not self._is_over and self._clock() - self._since >= self.seconds

    def diagnose(self, remote: Remote) -> None:
        """Examine the pod, then ask the command to end; only once."""
        if self.diagnosis is not None:
            return
        self.diagnosis = f"\nrpd: no output and idle GPUs for {self.seconds:g} s\n{_look(remote)}".encode()
        # Under the lock: after ``over``, an interrupt would hit the next command.
        with self._lock:
            if not self._is_over:
                remote.interrupt()

    def over(self) -> None:
        """Note that the command has ended: nothing must be interrupted any more."""
        with self._lock:
            self._is_over = True


def look_at_crash(remote: Remote) -> str:
    """Return a pod's information about a command that was killed or crashed: the kernel's log, memory, GPUs."""
    try:
        return remote.script(_CRASH, timeout=_CRASH_SECONDS)
    except RpdError as error:
        return f"rpd: cannot inspect the pod: {error}\n"


def _look(remote: Remote) -> str:
    try:
        return remote.script(_DIAGNOSE, timeout=_DIAGNOSE_SECONDS)
    except RpdError as error:
        return f"rpd: cannot inspect the pod: {error}\n"

"""The watchdog: a process on the pod that ends the pod, whatever happens to the driver.

Its program is ``watchdog.sh`` in this folder. It ends the pod at an absolute deadline, or a grace time later
while it hears a driver; and earlier if no command has run and no driver was heard for the linger time. So a
closed laptop does not end a job, and a killed driver leaves no pod behind.
"""

from __future__ import annotations

import math
import re
import shlex
from functools import cache

from rpd.config.config import PodSettings
from rpd.errors import RemoteError
from rpd.remote.protocol import Remote
from rpd.values.frozen import frozen

UNPRICED_SECONDS = 72 * 3600.0
"""Seconds that a pod may live if its rate is unknown and its job has no longest runtime."""

_ARM_SECONDS = 30.0

# A number overwrites the bytes of the old one in one piece: the watchdog never reads half of one, and a full
# disk does not matter.
_COMMON = r"""
_rpd_number() { printf '%-20s\n' "$2" 2>/dev/null 1<>"$_rpd_folder/$1"; }
_rpd_in_charge() {
  _rpd_pid=
  { read -r _rpd_pid <"$_rpd_folder/pid"; } 2>/dev/null
  case $_rpd_pid in ''|*[!0-9]*) return 1 ;; esac
  kill -0 "$_rpd_pid" 2>/dev/null || return 1
  # The id may be another process's by now.
  [ ! -r /proc/self/cmdline ] || tr '\000' ' ' <"/proc/$_rpd_pid/cmdline" 2>/dev/null | grep -q 'watchdog\.sh'
}
# $1 seconds left, $2 linger, $3 grace. The deadline comes last: what belongs to it is there by then.
_rpd_tell() {
  _rpd_now=$(date +%s)
  _rpd_deadline=$((_rpd_now + $1))
  _rpd_number linger "$2" && _rpd_number grace "$3" && _rpd_number heartbeat "$_rpd_now" &&
    _rpd_number deadline "$_rpd_deadline"
}
"""

# Proving that a watchdog is in charge takes a few hundred bytes.
_AGAIN = r"""
_rpd_again() {
  for _rpd_folder in "${HOME:-/root}/.rpd/watchdog" "/tmp/.rpd-$(id -u)/watchdog"; do
    if [ -e "$_rpd_folder/pid" ] && _rpd_in_charge && _rpd_tell "$@"; then echo "armed $_rpd_deadline"; return; fi
  done
  echo absent
}
"""

# $1 pod, $2 the program, $3 seconds left, $4 linger, $5 grace, $6 the cluster it belongs to, if any.
_ARM = r"""
# Renamed into place: a watchdog may still be reading the file that is there.
_rpd_install() {
  mkdir -p "$_rpd_folder" && printf '%s' "$1" >"$_rpd_folder/program" &&
    mv -f "$_rpd_folder/program" "$_rpd_folder/watchdog.sh"
} 2>/dev/null
_rpd_arm() {
  umask 077
  _rpd_folder=${HOME:-/root}/.rpd/watchdog
  [ -e "$_rpd_folder/pid" ] || _rpd_install "$2" || { _rpd_folder=/tmp/.rpd-$(id -u)/watchdog; _rpd_install "$2"; }
  _rpd_tell "$3" "$4" "$5" ||
    { echo "error neither the home folder nor /tmp can be written"; return; }
  [ -z "${6:-}" ] || printf '%s\n' "$6" 2>/dev/null >"$_rpd_folder/cluster"
  if _rpd_in_charge; then echo "armed $_rpd_deadline"; return; fi
  [ ! -e "$_rpd_folder/pid" ] || _rpd_install "$2"
  _rpd_said=$(
    (
      if command -v setsid >/dev/null 2>&1; then exec setsid sh "$_rpd_folder/watchdog.sh" "$_rpd_folder" "$1"; fi
      trap '' HUP
      exec sh "$_rpd_folder/watchdog.sh" "$_rpd_folder" "$1"
    ) </dev/null 2>&1 &
  )
  case $_rpd_said in armed) echo "armed $_rpd_deadline" ;; *) echo "${_rpd_said:-error it did not start}" ;; esac
}
"""


class Unguarded(RemoteError):
    """The pod cannot end itself."""


@frozen
class Terms:
    """How pods guard themselves in a run; all in seconds.

    ``grace`` is the time beyond its cap that a pod gives a driver it hears, so that the node can end properly
    first. ``keep_failed`` and ``keep_unverified`` are how long a pod stays whose node did not pass, or whose
    results could not be fetched completely; 0: not at all.
    """

    linger: float = 900.0
    grace: float = 300.0
    keep_failed: float = 0.0
    keep_unverified: float = 7200.0
    telemetry_interval: float = 5.0

    @classmethod
    def of(cls, pods: PodSettings) -> Terms:
        """Return the terms in the settings of a run."""
        return cls(
            linger=pods.watchdog_linger,
            grace=pods.watchdog_grace,
            keep_failed=pods.keep_failed or 0.0,
            keep_unverified=pods.keep_unverified,
            telemetry_interval=pods.telemetry_interval,
        )


USUAL_TERMS = Terms()


def arm(
    remote: Remote,
    *,
    pod_id: str,
    seconds_left: float,
    linger_seconds: float,
    grace_seconds: float = 0.0,
    cluster_id: str = "",
) -> int:
    """Send the pod's watchdog its deadline, starting the watchdog if necessary; return the deadline.

    ``seconds_left`` counts from now; the deadline is in seconds since 1970; both are on the pod's own clock.
    A driver that the pod hears has ``grace_seconds`` more. Safe to call again at any time. Raise Unguarded if
    the pod could not end itself, ConnectionLost, PodLost.
    """
    numbers = _numbers(seconds_left, linger_seconds, grace_seconds)
    words = f"{shlex.quote(pod_id)} {shlex.quote(program())} {numbers}"
    if cluster_id:
        words += f" {shlex.quote(cluster_id)}"
    said = remote.script(f"{_COMMON}{_ARM}\n_rpd_arm {words}\n", timeout=_ARM_SECONDS)
    if (deadline := _armed(said)) is not None:
        return deadline
    error = re.search(r"^error (.*)$", said, re.MULTILINE)
    why = error[1][:300] if error else said.strip()[-300:] or "no answer"
    raise Unguarded(f"pod {pod_id} cannot run its watchdog: {why}")


def arm_again(
    remote: Remote,
    *,
    pod_id: str,
    seconds_left: float,
    linger_seconds: float,
    grace_seconds: float = 0.0,
    cluster_id: str = "",
) -> int:
    """Do the same as ``arm`` with a much smaller command, if the watchdog is already running."""
    numbers = _numbers(seconds_left, linger_seconds, grace_seconds)
    said = remote.script(f"{_COMMON}{_AGAIN}\n_rpd_again {numbers}\n", timeout=_ARM_SECONDS)
    if (deadline := _armed(said)) is not None:
        return deadline
    return arm(
        remote,
        pod_id=pod_id,
        seconds_left=seconds_left,
        linger_seconds=linger_seconds,
        grace_seconds=grace_seconds,
        cluster_id=cluster_id,
    )


def _numbers(left: float, linger: float, grace: float) -> str:
    return f"{max(0, math.ceil(left))} {max(1, math.ceil(linger))} {max(0, math.ceil(grace))}"


def _armed(said: str) -> int | None:
    """Return the deadline that a pod confirms."""
    match = re.search(r"^armed ([0-9]{1,12})$", said, re.MULTILINE)
    return int(match[1]) if match else None


@cache
def program() -> str:
    """Return the text of the watchdog's program."""
    from importlib import resources  # no dry run needs it

    return (resources.files("rpd.remote") / "watchdog.sh").read_text(encoding="utf-8")

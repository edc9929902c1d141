"""The watchdog: a process on the pod that ends the pod, whatever becomes of the driver.

Its program is ``watchdog.sh`` beside this file. It ends the pod at an absolute deadline; and before that once neither a
command runs nor a driver has been there for the linger time. So a closed laptop does not end a job, and a killed driver
leaves no pod behind.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from rpd.errors import RemoteError
from rpd.remote.protocol import Remote

UNPRICED_SECONDS = 72 * 3600.0
"""How long a pod may live whose rate is not known and whose job has no longest runtime."""

_ARM_SECONDS = 30.0

# $1 pod, $2 seconds left, $3 linger, $4 the program. Numbers are written over the bytes that are there, in one piece:
# the watchdog never reads half of one, and a disk that is full meanwhile is no hindrance.
_ARM = r"""
_rpd_number() { printf '%-20s\n' "$2" 2>/dev/null 1<>"$_rpd_folder/$1"; }
_rpd_in_charge() {
  _rpd_pid=
  { read -r _rpd_pid <"$_rpd_folder/pid"; } 2>/dev/null
  case $_rpd_pid in ''|*[!0-9]*) return 1 ;; esac
  kill -0 "$_rpd_pid" 2>/dev/null || return 1
  # The id may be another process's by now.
  [ ! -r /proc/self/cmdline ] || tr '\000' ' ' <"/proc/$_rpd_pid/cmdline" 2>/dev/null | grep -q 'watchdog\.sh'
}
# Renamed into place: a watchdog may still be reading the file that is there.
_rpd_install() {
  mkdir -p "$_rpd_folder" && printf '%s' "$1" >"$_rpd_folder/program" &&
    mv -f "$_rpd_folder/program" "$_rpd_folder/watchdog.sh"
} 2>/dev/null
_rpd_arm() {
  umask 077
  _rpd_folder=${HOME:-/root}/.rpd/watchdog
  [ -e "$_rpd_folder/pid" ] || _rpd_install "$4" || { _rpd_folder=/tmp/.rpd-$(id -u)/watchdog; _rpd_install "$4"; }
  _rpd_now=$(date +%s)
  _rpd_deadline=$((_rpd_now + $2))
  { _rpd_number linger "$3" && _rpd_number heartbeat "$_rpd_now" && _rpd_number deadline "$_rpd_deadline"; } ||
    { echo "error neither the home folder nor /tmp can be written"; return; }
  if _rpd_in_charge; then echo "armed $_rpd_deadline"; return; fi
  [ ! -e "$_rpd_folder/pid" ] || _rpd_install "$4"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How pods guard themselves in a run; all in seconds.

    ``grace`` is what a pod gets beyond its cap, so that the driver can end the node in order first. ``keep_failed``
    and ``keep_unverified`` are how long a pod stays whose node did not pass, or whose results could not be fetched
    whole; 0: not at all.
    """

    linger: float = 900.0
    grace: float = 300.0
    keep_failed: float = 0.0
    keep_unverified: float = 7200.0
    telemetry_interval: float = 5.0

    @classmethod
    def of(cls, config: Any) -> Terms:
        """Return the terms that the settings of a run give."""
        if config is None:
            return cls()
        return cls(
            linger=config.watchdog_linger,
            grace=config.watchdog_grace,
            keep_failed=config.keep_failed or 0.0,
            keep_unverified=config.keep_unverified,
            telemetry_interval=config.telemetry_interval,
        )


USUAL_TERMS = Terms()


def arm(remote: Remote, *, pod_id: str, seconds_left: float, linger_seconds: float) -> int:
    """Give the pod's watchdog a new deadline and linger time, starting it unless it runs; return the deadline.

    ``seconds_left`` counts from now on the pod's own clock, by which the deadline (seconds since 1970) is meant too.
    Safe to call again at any time. Raises Unguarded where the pod could not end itself, ConnectionLost, PodLost.
    """
    left, linger = max(0, math.ceil(seconds_left)), max(1, math.ceil(linger_seconds))
    words = (shlex.quote(pod_id), str(left), str(linger), shlex.quote(program()))
    said = remote.script(f"{_ARM}\n_rpd_arm {' '.join(words)}\n", timeout=_ARM_SECONDS)
    if armed := re.search(r"^armed ([0-9]{1,12})$", said, re.MULTILINE):
        return int(armed[1])
    error = re.search(r"^error (.*)$", said, re.MULTILINE)
    why = error[1][:300] if error else said.strip()[-300:] or "no answer"
    raise Unguarded(f"pod {pod_id} cannot guard itself: {why}")


@cache
def program() -> str:
    """Return the text of the watchdog's program."""
    return (resources.files("rpd.remote") / "watchdog.sh").read_text(encoding="utf-8")

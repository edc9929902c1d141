"""Detached commands: started on the pod in their own session and followed by their log, whatever the connection does.

A command has a folder on the container disk, ``~/.rpd/steps/<key>/`` (``/tmp/.rpd-<uid>/steps/<key>/`` if the
home folder cannot be written)::

    command       its text, run by bash if there is one, else by sh
    supervise     the script that runs it and outlives it
    claim         made by the one supervisor that may run it: a second start does nothing
    log           standard output and error, raw
    metrics       everything it writes to $RPD_METRICS: numbers, one line each
    group         the process group of the command; ``pid`` is the supervisor's
    alive         a fifo that the supervisor holds open: its reader sees end of file when the supervisor is gone
    ../../python  contains the module ``rpd_metrics``
    ../../bin     contains the command ``rpd-step``, with which a script announces its current part in the log
    exit          exit code, number of processes that the kernel's OOM killer ended meanwhile, time of the end (seconds
                  since 1970, as in ``began``); linked or renamed into place

Nothing here is polled: the driver waits for bytes on one SSH channel, and on the pod ``tail`` waits for the
log. The fifo, and not the process id, tells the end, because PID 1 of a pod is often a ``sleep`` that never
reaps a process.

The log comes over standard output of that channel. Standard error carries rpd's own lines about the command,
and between the first and the others the bytes of the metrics file (``Control`` separates them). So log and
metrics have an offset each, and both continue there after a break.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Mapping
from functools import cache

from rpd.errors import CommandTimeout, ConnectionLost, Interrupted, PodLost, RemoteError
from rpd.remote.out_of_memory import NOTE, is_sign
from rpd.remote.protocol import Command, Output
from rpd.remote.shell import (
    DeadlinePassed,
    Disconnected,
    Interrupt,
    Program,
    Shell,
    TooMuch,
    is_variable_name,
)
from rpd.threads import begun
from rpd.uptime import uptime
from rpd.values.frozen import frozen, replace
from rpd.values.step import Completed

TAIL_LINES = 20

_TAIL_BYTES = 64 << 10
_KILLED = 137
_KILL_SECONDS = 5.0
_DRAIN_SECONDS = 10.0
_LAST_LOOK_SECONDS = 5.0
_SAME_DRIVER_SECONDS = 1
_TO_A_WHOLE_WORD = re.compile(r"\A(?:[^\n]*\n|\S*\s?)")
_LONGEST_REASON = 1000
_MOST_SAID_BESIDE = 256 << 10
"""Most bytes on standard error while a log is followed: two lines, and complaints of a shell."""
_MOST_VAIN_LOOKS = 8
_MOST_LOOKS = 20
"""Most attempts to read the rest of a log whose command has ended."""

# The pod's own statements about a command: only ASCII digits, and not too many, since a pod may send
# anything.
_FOLLOWING = re.compile(rb"^following (-?[0-9]{1,15}) ([0-9]{1,20})\n", re.MULTILINE)
_GONE = re.compile(r"^gone ([0-9]{1,20})$", re.MULTILINE)
_RENEW = re.compile(r"^renew$", re.MULTILINE)
_METRICS = re.compile(r"^metrics ([0-9]{1,18})$", re.MULTILINE)
_END = re.compile(
    r"^end ([0-9]{1,3}|lost|unstarted) (-?[0-9]{1,15}) ([0-9]{1,18}) (-?[0-9]{1,15})$", re.MULTILINE
)

# Sets the variables of PID 1 that the session lacks, and puts its PATH before the session's. No value is
# evaluated. Each entry becomes one line (a newline in a value travels as \001).
_LOAD_ENVIRONMENT = r"""
_rpd_load_environment() {
  [ ! -r "$1" ] || _rpd_load_lines "$(tr '\000\n' '\n\001' <"$1" 2>/dev/null)"
}
_rpd_load_lines() {
  _rpd_nl='
'
  _rpd_soh=$(printf '\001')
  while IFS= read -r _rpd_entry; do
    _rpd_name=${_rpd_entry%%=*}
    case $_rpd_name in ''|[0-9]*|*[!A-Za-z0-9_]*) continue ;; esac
    _rpd_value=${_rpd_entry#*=}
    while case $_rpd_value in *"$_rpd_soh"*) true ;; *) false ;; esac; do
      _rpd_value=${_rpd_value%%"$_rpd_soh"*}$_rpd_nl${_rpd_value#*"$_rpd_soh"}
    done
    if [ "$_rpd_name" = PATH ]; then
      _rpd_rest=$PATH:
      while [ -n "$_rpd_rest" ]; do
        case ":$_rpd_value:" in *":${_rpd_rest%%:*}:"*) ;; *) _rpd_value=$_rpd_value:${_rpd_rest%%:*} ;; esac
        _rpd_rest=${_rpd_rest#*:}
      done
    else
      eval "_rpd_known=\${$_rpd_name+known}"
      [ -z "$_rpd_known" ] || continue
    fi
    export "$_rpd_name=$_rpd_value"
  done <<_RPD_END
$1
_RPD_END
}
# Lines such as `export NAME="VALUE"`, as RunPod's images write them; a value that goes on in the next line is left out.
_rpd_load_exports() {
  [ -r "$1" ] || return 0
  _rpd_load_lines "$(sed -n -e "s/^export \\([A-Za-z0-9_]*\\)=\"\\(.*\\)\"\$/\\1=\\2/p" \
    -e "/^export [A-Za-z0-9_]*='.*'\$/{s/^export //; s/='/=/; s/'\$//; s/'\\\\''/'/g; p;}" <"$1" 2>/dev/null)"
}
# What the pod was created with, from where it still is: a PID 1 that became sshd has written over its own variables.
# Of other processes the oldest counts, and none of a job's, which hold more than the pod's variables.
_rpd_load_pod() {
  _rpd_load_environment /proc/1/environ
  for _rpd_file in /etc/rp_environment "${HOME:-/root}/.rpd-ssh/environment"; do
    [ -z "${RUNPOD_POD_ID:-}" ] || return 0
    _rpd_load_exports "$_rpd_file"
  done
  [ -z "${RUNPOD_POD_ID:-}" ] || return 0
  _rpd_oldest=
  for _rpd_file in $(grep -ls RUNPOD_POD_ID= /proc/[0-9]*/environ); do
    _rpd_file=${_rpd_file#/proc/}
    _rpd_file=${_rpd_file%/environ}
    if [ -z "$_rpd_oldest" ] || [ "$_rpd_file" -lt "$_rpd_oldest" ]; then
      grep -qs RPD_NODE= "/proc/$_rpd_file/environ" || _rpd_oldest=$_rpd_file
    fi
  done
  [ -z "$_rpd_oldest" ] || _rpd_load_environment "/proc/$_rpd_oldest/environ"
}
"""

_SUPERVISE = r"""
_rpd_dir=$1 _rpd_missing=$2
set -C
{ true >"$_rpd_dir/claim"; } 2>/dev/null || exit 0
set +C
echo $$ >"$_rpd_dir/pid"
_rpd_kills() {
  for _rpd_file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r "$_rpd_file" ] || continue
    while read -r _rpd_key _rpd_count; do
      [ "$_rpd_key" != oom_kill ] || { _rpd_killed=$_rpd_count; return; }
    done <"$_rpd_file"
  done
}
_rpd_killed=0
_rpd_kills
_rpd_before=$_rpd_killed
if [ -n "$_rpd_missing" ]; then
  echo "rpd: there is no folder $_rpd_missing to run in" >>"$_rpd_dir/log"
  _rpd_code=126
else
  _rpd_shell=sh
  ! command -v bash >/dev/null 2>&1 || _rpd_shell=bash
  # Started where its file is, so that the shell's own messages begin with "command: line 1:", not with a long path.
  export _rpd_cwd="$PWD"
  cd "$_rpd_dir" || exit
  if command -v setsid >/dev/null 2>&1; then
    setsid "$_rpd_shell" command </dev/null >>"$_rpd_dir/log" 2>&1 9>&- &
  else
    set -m 2>/dev/null
    "$_rpd_shell" command </dev/null >>"$_rpd_dir/log" 2>&1 9>&- &
  fi
  _rpd_child=$!
  echo "$_rpd_child" >"$_rpd_dir/group"
  wait "$_rpd_child"
  _rpd_code=$?
fi
_rpd_kills
_rpd_ooms=$((_rpd_killed - _rpd_before))
if [ "$_rpd_ooms" -gt 0 ] && [ "$_rpd_code" -ne 0 ]; then echo '@OOM_NOTE@' >>"$_rpd_dir/log"; fi
# Over the bytes that are there already: a full disk can still be reported.
printf '%-31s\n' "$_rpd_code $_rpd_ooms $(date +%s)" 1<>"$_rpd_dir/exit.new"
ln "$_rpd_dir/exit.new" "$_rpd_dir/exit" 2>/dev/null || mv -f "$_rpd_dir/exit.new" "$_rpd_dir/exit"
""".replace("@OOM_NOTE@", NOTE)

_FIND_FOLDER = r"""
_rpd_find() {
  _rpd_base=${HOME:-/root}/.rpd
  if [ ! -d "$_rpd_base/steps/$1" ]; then
    set -- "$1" /tmp/.rpd-*
    [ "$2" != '/tmp/.rpd-*' ] || return 1
    _rpd_base=/tmp/.rpd-$(id -u)
  fi
  _rpd_dir=$_rpd_base/steps/$1
  [ -d "$_rpd_dir" ]
}
"""

# Sets _rpd_life to when PID 1 started, in ticks since the machine booted: another number means that the container was
# restarted, 0 that it is unknown.
_LIFE = r"""
_rpd_life() {
  _rpd_stat=
  { read -r _rpd_stat </proc/1/stat; } 2>/dev/null
  set -- ${_rpd_stat##*) }
  _rpd_life=${20:-0}
}
"""

# A script that redirects its output finds the log in a variable.
_STEP_COMMAND = r"""#!/bin/sh
# rpd-step NAME: says that a part of the job begins. Without a name: that it is over.
if [ -n "$RPD_LOG" ] && [ -w "$RPD_LOG" ]; then exec >>"$RPD_LOG"; fi
printf '::rpd-step %s\n' "$*"
"""

SESSION_FUNCTIONS = _LOAD_ENVIRONMENT + _FIND_FOLDER
"""The sh functions for a person's session: ``_rpd_load_environment FILE``, ``_rpd_load_pod``, ``_rpd_find KEY``."""

_PREPARE = r"""
_rpd_prepare() {
  umask 077
  if ! _rpd_find "$1"; then
    _rpd_base=${HOME:-/root}/.rpd
    if ! mkdir -p "$_rpd_base/steps/$1" 2>/dev/null || [ ! -w "$_rpd_base/steps/$1" ]; then
      _rpd_base=/tmp/.rpd-$(id -u)
      mkdir -p "$_rpd_base/steps/$1" 2>/dev/null
    fi
    _rpd_dir=$_rpd_base/steps/$1
  fi
  [ -e "$_rpd_dir/claim" ] && return 0
  { printf 'cd "$_rpd_cwd" || exit 126; unset _rpd_cwd OLDPWD; %s\n' "$2" >"$_rpd_dir/command" &&
    printf '%s' "$3" >"$_rpd_dir/supervise" &&
    printf '%-31s\n' pending >"$_rpd_dir/exit.new" &&
    _rpd_now=$(date +%s) &&
    echo "$_rpd_now" >"$_rpd_dir/began" &&
    : >>"$_rpd_dir/log" &&
    : >>"$_rpd_dir/metrics" &&
    { [ -p "$_rpd_dir/alive" ] || mkfifo "$_rpd_dir/alive"; } &&
    { [ -x "$_rpd_base/bin/rpd-step" ] || { mkdir -p "$_rpd_base/bin" &&
      printf '%s' "$4" >"$_rpd_base/bin/rpd-step" && chmod 700 "$_rpd_base/bin/rpd-step"; }; } &&
    { [ -e "$_rpd_base/python/rpd_metrics.py" ] || { mkdir -p "$_rpd_base/python" &&
      printf '%s' "$5" >"$_rpd_base/python/rpd_metrics.py.$$" &&
      mv -f "$_rpd_base/python/rpd_metrics.py.$$" "$_rpd_base/python/rpd_metrics.py"; }; }
  } || { echo "error the folder $_rpd_dir cannot be prepared" >&2; exit 3; }
}
"""

# $1 offset of the first byte wanted, $2 offset in the metrics (empty: not wanted), $3 the line that ends the
# metrics; until then nothing else is written to standard error. The waiter reads the fifo and is reaped at
# once by the shell that waits for it, so that tail (GNU) sees its end within 0.01 s. A tail that has read all is ended
# without that, unless it may still be writing because there is more than fits into a pipe; if it was, the driver misses
# bytes and looks again. If tail cannot watch a process, a loop reads the new bytes.
_FOLLOW = (
    _LIFE
    + r"""
_rpd_now=
_rpd_has_read() {
  while read -r _rpd_key _rpd_pos; do
    [ "$_rpd_key" != pos: ] || { [ "$_rpd_pos" = "$2" ] && [ "$((_rpd_pos - _rpd_at))" -le 65536 ]; return; }
  done <"/proc/$1/fdinfo/3"
  return 1
}
_rpd_follow() {
  _rpd_at=$1 _rpd_all=
  exec 8<>"$_rpd_dir/alive"
  exec 7<"$_rpd_dir/alive"
  exec 8>&-
  [ -n "$_rpd_now" ] || _rpd_now=$(date +%s)
  { read -r _rpd_began <"$_rpd_dir/began"; } 2>/dev/null || _rpd_began=$_rpd_now
  _rpd_life
  echo "following $((_rpd_now - _rpd_began)) $_rpd_life" >&2
  exec 6>&2 2>/dev/null
  if tail --pid=$$ -c 0 /dev/null; then
    ( read -r _rpd_line ) <&7 >/dev/null 6>&- &
    _rpd_waiter=$!
    exec 7<&-
    if [ -n "$2" ]; then
      tail -c "+$(($2 + 1))" -f --pid="$_rpd_waiter" -s 0.5 "$_rpd_dir/metrics" >&6 6>&- &
      _rpd_metrics=$!
    fi
    tail -c "+$((_rpd_at + 1))" -f --pid="$_rpd_waiter" -s 0.01 "$_rpd_dir/log" 6>&- &
    _rpd_tail=$!
    wait "$_rpd_waiter"
    if [ -e "$_rpd_dir/log" ]; then
      _rpd_all=$(($(wc -c <"$_rpd_dir/log")))
      if _rpd_has_read "$_rpd_tail" "$_rpd_all"; then kill "$_rpd_tail"; else _rpd_all=; fi
    fi
    wait "$_rpd_tail"
    # What it has not seen yet is fetched in another look.
    [ -z "$2" ] || { kill "$_rpd_metrics"; wait "$_rpd_metrics"; }
  else
    _rpd_flag=$_rpd_dir/.ended.$$ _rpd_seen=$2
    ( read -r _rpd_line; : >"$_rpd_flag" ) <&7 >/dev/null 6>&- &
    exec 7<&-
    while :; do
      if [ -e "$_rpd_flag" ]; then _rpd_last=1; else _rpd_last=; fi
      _rpd_size=$(($(wc -c <"$_rpd_dir/log")))
      if [ "$_rpd_size" -gt "$_rpd_at" ]; then
        tail -c "+$((_rpd_at + 1))" "$_rpd_dir/log" | head -c "$((_rpd_size - _rpd_at))" || exit 0
        _rpd_at=$_rpd_size
      fi
      _rpd_size=$(($(wc -c <"$_rpd_dir/metrics")))
      if [ -n "$2" ] && [ "$_rpd_size" -gt "$_rpd_seen" ]; then
        tail -c "+$((_rpd_seen + 1))" "$_rpd_dir/metrics" | head -c "$((_rpd_size - _rpd_seen))" >&6 || exit 0
        _rpd_seen=$_rpd_size
      fi
      [ -z "$_rpd_last" ] || break
      sleep 0.2 || sleep 1
    done
    rm -f "$_rpd_flag"
  fi
  exec 2>&6 6>&-
  if [ -n "$2" ]; then
    echo "$3" >&2
    [ ! -e "$_rpd_dir/metrics" ] || echo "metrics $(($(wc -c <"$_rpd_dir/metrics")))" >&2
  fi
  [ -d "$_rpd_dir" ] || { echo "gone $_rpd_life" >&2; return 0; }
  _rpd_code=lost _rpd_ooms=0 _rpd_end=
  [ ! -e "$_rpd_dir/exit" ] || read -r _rpd_code _rpd_ooms _rpd_end <"$_rpd_dir/exit"
  [ -e "$_rpd_dir/claim" ] || _rpd_code=unstarted
  _rpd_took=$((${_rpd_end:-$(date +%s)} - _rpd_began))
  for _rpd_file in /etc/environment /etc/profile /etc/bash.bashrc /etc/bashrc /etc/zsh/zshenv /etc/zshenv \
    /etc/security/pam_env.conf /etc/rp_environment "${HOME:-/root}"/.bashrc "${HOME:-/root}"/.profile \
    "${HOME:-/root}"/.bash_profile "${HOME:-/root}"/.zshenv "${HOME:-/root}"/.ssh/environment "${HOME:-/root}"/.ssh/rc
  do
    [ ! -e "$_rpd_file" ] || [ "$_rpd_file" -ot "$_rpd_dir/began" ] || { echo renew >&2; break; }
  done
  [ -n "$_rpd_all" ] || _rpd_all=$(($(wc -c <"$_rpd_dir/log")))
  echo "end $_rpd_code $_rpd_ooms $_rpd_all $_rpd_took" >&2
}
"""
)

_KILL = r"""
_rpd_tries() { _rpd_n=0; while [ "$_rpd_n" -lt "$1" ]; do
  eval "$2" && return 0; sleep 0.1 2>/dev/null || { sleep 1; _rpd_n=$((_rpd_n + 9)); }; _rpd_n=$((_rpd_n + 1)); done
  return 1; }
# No "--" before the group: dash and busybox take it for a number.
_rpd_signal() { kill "-$1" "-$_rpd_group" 2>/dev/null || kill "-$1" "$_rpd_group" 2>/dev/null; }
# A zombie has ended, even if a PID 1 that reaps nothing lets it stand there.
_rpd_ended() {
  kill -0 "-$_rpd_group" 2>/dev/null || return 0
  [ -r /proc/self/stat ] || return 1
  for _rpd_stat in /proc/[0-9]*/stat; do
    { read -r _rpd_line <"$_rpd_stat"; } 2>/dev/null || continue
    set -- ${_rpd_line##*) }
    if [ "$3" = "$_rpd_group" ] && [ "$1" != Z ]; then return 1; fi
  done
  return 0
}
_rpd_kill() {
  _rpd_tries 20 '[ -s "$_rpd_dir/group" ] || [ -e "$_rpd_dir/exit" ]'
  [ ! -e "$_rpd_dir/exit" ] || return 0
  read -r _rpd_group <"$_rpd_dir/group" || return 0
  _rpd_signal TERM
  _rpd_signal CONT
  if ! _rpd_tries "$1" _rpd_ended; then
    _rpd_signal KILL
    _rpd_tries "$2" _rpd_ended
  fi
  _rpd_tries 20 '[ -e "$_rpd_dir/exit" ]'
}
"""

_FACTS = frozenset({"gpu_name", "gpu_count", "driver", "cuda", "missing", "python", "uname"})
_LONGEST_FACT = 200

_PROBE = r"""
_rpd_limited() { if command -v timeout >/dev/null 2>&1; then timeout 10 "$@"; else "$@"; fi; }
_rpd_gpus=$(_rpd_limited nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null) || {
  case $_rpd_gpus in *'No devices'*) echo "gpu_count=0" ;; esac
  _rpd_gpus=
}
if [ -n "$_rpd_gpus" ]; then
  _rpd_first=$(printf '%s\n' "$_rpd_gpus" | head -n 1)
  echo "gpu_name=${_rpd_first%%,*}"
  echo "gpu_count=$(printf '%s\n' "$_rpd_gpus" | grep -c .)"
  echo "driver=${_rpd_first##*, }"
  echo "cuda=$(_rpd_limited nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9.]*\).*/\1/p' | head -n 1)"
fi
_rpd_missing=
for _rpd_tool in tar find xargs mktemp mkfifo head tail wc; do
  command -v "$_rpd_tool" >/dev/null 2>&1 || _rpd_missing="$_rpd_missing, $_rpd_tool"
done
_rpd_sums=
for _rpd_tool in sha256sum shasum openssl python3; do
  ! command -v "$_rpd_tool" >/dev/null 2>&1 || _rpd_sums=$_rpd_tool
done
[ -n "$_rpd_sums" ] || _rpd_missing="$_rpd_missing, sha256sum"
echo "missing=${_rpd_missing#, }"
_rpd_python=$(python3 --version 2>&1) || _rpd_python=$(python --version 2>&1) || _rpd_python=
echo "python=${_rpd_python#Python }"
echo "uname=$(uname -srm)"
"""
PROBE = f"{_LOAD_ENVIRONMENT}\n_rpd_main() {{ _rpd_load_pod\n{_PROBE}\n}}\n_rpd_main\n"
"""A script that prints the facts about a pod."""


@frozen
class _Report:
    """The result of one attempt to follow a command; ``code`` None: the supervisor is gone without an exit code.

    ``size`` and ``metrics`` are the sizes of the two files in bytes, ``seconds`` is the run time by the pod's
    clock, in whole seconds.
    """

    code: int | None
    size: int
    metrics: int
    seconds: int


def run(
    shell: Shell, command: Command, output: Output, interrupt: Interrupt, metrics: Output | None = None
) -> Completed:
    """Run ``command`` detached and follow it to its end, over as many connections as it takes.

    ``metrics`` gets each byte written to ``$RPD_METRICS`` once, on the same thread as ``output`` gets the
    log.

    If the command's folder exists on the pod already (an earlier driver started it), nothing is started and
    its log is followed from the first byte. A timeout counts from the start on the pod. Raise CommandTimeout,
    Interrupted (which clears the request), ConnectionLost, PodLost.
    """
    following = _Following(shell, command, output, interrupt, metrics=metrics)
    try:
        interrupt.check(command.text)
        return following.to_the_end()
    except DeadlinePassed:
        following.kill()
        raise CommandTimeout(command.text, command.timeout or 0.0) from None
    except Interrupted:
        # If there is no way back to the pod, its command ends when the pod is released.
        with contextlib.suppress(ConnectionLost):
            following.kill()
        raise Interrupted(f"interrupted: {command.text}") from None
    except ConnectionLost:
        interrupt.check(command.text)
        raise
    finally:
        interrupt.clear()


def attach(shell: Shell, key: str, offset: int, output: Output) -> Completed:
    """Follow the log of a command that another driver started, from byte ``offset`` to its end.

    Start nothing and end nothing. Raise ConnectionLost, PodLost (also if the pod does not know the command).
    """
    command = Command(key=key, text=f"the command {key}")
    following = _Following(shell, command, output, Interrupt(), started=True, offset=offset)
    return following.to_the_end()


def probe(shell: Shell) -> dict[str, str]:
    """Return facts about the pod, without those that are not available. Never raise RemoteError."""
    try:
        return facts(shell.exec(Program(PROBE, timeout=30.0)).stdout)
    except RemoteError:
        return {}


def facts(said: bytes) -> dict[str, str]:
    """Return the facts in the output of ``PROBE``."""
    pairs = (line.partition("=") for line in said.decode(errors="replace").splitlines())
    return {
        name: value.strip()[:_LONGEST_FACT] for name, _, value in pairs if name in _FACTS and value.strip()
    }


class Control:
    """Splits the standard error of a follower into rpd's lines and metrics.

    First come lines of rpd, the last of them ``following …``; then the bytes of the metrics up to ``mark``,
    which only rpd knows; then lines of rpd again. Without a mark there are only lines of rpd. ``began`` gets
    everything up to that line, ``metrics`` gets the bytes as they arrive.
    """

    def __init__(self, mark: str, began: Output, metrics: Output) -> None:
        self._end = f"{mark}\n".encode() if mark else b""
        self._began = began
        self._metrics = metrics
        self._has_begun = self._is_over = False
        self._withheld = b""
        self.said = b""
        """All lines of rpd so far."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raise TooMuch if rpd's part is larger than its few lines ever are."""
        if not self._has_begun:
            data = self._begin(data)
        if self._end and self._has_begun and not self._is_over:
            data = self._pass_on(data)
        self.said += data
        if len(self.said) > _MOST_SAID_BESIDE:
            raise TooMuch(f"a program on the pod wrote more than {_MOST_SAID_BESIDE >> 10} KiB to stderr")

    def _begin(self, data: bytes) -> bytes:
        """Look for the line that the follower has started; return the bytes after it."""
        said = self.said + data
        match = _FOLLOWING.search(said)
        if match is None:
            return data
        self._has_begun = True
        self.said = said[: match.end()]
        self._began(self.said)
        return said[match.end() :]

    def _pass_on(self, data: bytes) -> bytes:
        """Pass metrics on, except an end that may be the start of the mark; return the bytes after the mark."""
        data = self._withheld + data
        metrics, mark, rest = data.partition(self._end)
        self._withheld = b""
        if mark:
            self._is_over = True
        else:
            at = len(data) - _beginning_at_end(data, self._end)
            metrics, self._withheld = data[:at], data[at:]
        if metrics:
            self._metrics(metrics)
        return rest


def _beginning_at_end(data: bytes, word: bytes) -> int:
    """Return how many bytes at the end of ``data`` are the start of ``word``."""
    for length in range(min(len(data), len(word) - 1), 0, -1):
        if data.endswith(word[:length]):
            return length
    return 0


class _Following:
    """The state of following one command: how much of its log was read, and the facts about it so far."""

    def __init__(
        self,
        shell: Shell,
        command: Command,
        output: Output,
        interrupt: Interrupt,
        *,
        started: bool = False,
        offset: int = 0,
        metrics: Output | None = None,
    ) -> None:
        self._shell = shell
        self._command = command
        self._output = output
        self._metrics = metrics
        self._metrics_at = 0
        self._interrupt = self._asked = interrupt
        self._key = folder_name(command.key)
        self._began = uptime()
        self._started = started
        self._offset = offset
        self._life = ""
        """When PID 1 of the pod started, as the pod said when the command started; empty if unknown."""
        self._came_late = started
        self._tail = Tail()

    def to_the_end(self) -> Completed:
        """Follow until the exit code is known. Raise DeadlinePassed, Interrupted, ConnectionLost, PodLost."""
        fruitless = vain = looks = 0
        while True:
            before = self._read
            try:
                report = self._follow(self._left())
            except Disconnected as error:
                fruitless = 0 if before != self._read else fruitless + 1
                # Reconnecting works, but each new connection breaks before anything arrives on it.
                if fruitless > 20:
                    raise ConnectionLost(str(error)) from error
                self._shell.reconnect(self._interrupt)
                self._interrupt.wait(min(0.1 * fruitless, 2.0))
                continue
            is_cut = report.size > self._offset
            vain = vain + 1 if before == self._read else 0
            if is_cut and vain > _MOST_VAIN_LOOKS:
                raise RemoteError(
                    f"the pod reports a log of {report.size} bytes, but sends only {self._offset}: "
                    f"{self._command.text}"
                )
            looks += 1
            # Written after tail's last look, so look again, from that byte. The number of looks is
            # limited because a child in the background may write forever.
            if (is_cut or report.metrics > self._metrics_at) and looks < _MOST_LOOKS:
                self._interrupt.wait(min(0.05 * vain, 1.0))
                continue
            return Completed(
                command=self._command.text,
                exit_code=_KILLED if report.code is None else report.code,
                tail=self._tail.lines(),
                stdout=self._tail.text(),
                # A driver that joined late does not know when it ended; the pod does.
                seconds=float(report.seconds) if self._came_late else uptime() - self._began,
            )

    @property
    def _read(self) -> tuple[bool, int, int]:
        """The progress so far; it changes whenever anything new arrives."""
        return self._started, self._offset, self._metrics_at

    def kill(self) -> None:
        """End the process group (SIGTERM, grace, SIGKILL), and pass on the output meanwhile.

        A process that survives even SIGKILL (one that waits for a dead disk) is given up after a few seconds.
        """
        if not self._started:
            # It may have started and the answer was lost: ask the pod.
            self._shell.reconnect(self._asked)
            self._end_group()
            return
        self._interrupt = Interrupt()  # the request has been handled: the rest of the log is still wanted
        # On another thread: the output that the command writes while it ends is passed on here meanwhile.
        ending = begun(self._end_group_quietly, name="rpd-kill")
        try:
            self._patiently(lambda: self._follow(self._command.grace + _KILL_SECONDS + _DRAIN_SECONDS))
        finally:
            ending.join()

    def _end_group_quietly(self) -> None:
        # If the connection is gone for good, the thread that follows the log will see it.
        with contextlib.suppress(RemoteError):
            self._end_group()

    def _end_group(self) -> None:
        grace, last = round(self._command.grace * 10), round(_KILL_SECONDS * 10)
        script = _script(
            _FIND_FOLDER + _KILL, f"_rpd_find {self._key} || return 0", f"_rpd_kill {grace} {last}"
        )
        ending = Program(script, timeout=self._command.grace + _KILL_SECONDS + 10.0)
        self._patiently(lambda: self._shell.exec(ending))

    def _patiently(self, ask: Callable[[], object]) -> None:
        """Call ``ask``, reconnecting if necessary; a passed deadline is accepted."""
        for _ in range(3):
            try:
                ask()
            except Disconnected:
                self._shell.reconnect(self._asked)
            except (DeadlinePassed, TooMuch):
                return
            else:
                return

    def _left(self) -> float | None:
        timeout = self._command.timeout
        if timeout is None:
            return None
        left = timeout - (uptime() - self._began)
        # It may have ended in time during an outage, unseen: take one last look.
        return left if left > 0 else _LAST_LOOK_SECONDS

    def _follow(self, seconds: float | None) -> _Report:
        """Start the command unless it is known to have started, and pass its log on from the current offset."""
        mark = f"rpd-{os.urandom(16).hex()}"
        control = Control(mark if self._metrics is not None else "", self._note_start, self._take_metrics)
        program = Program(self._script(mark), timeout=seconds, interrupt=self._interrupt, errors=control.feed)
        stream = self._shell.open(program)
        try:
            while data := stream.read():
                self._offset += len(data)
                self._tail.add(data)
                self._output(data)
            ended = stream.finish()
            return self._report(control.said, replace(ended, stderr=control.said).reason)
        finally:
            with contextlib.suppress(RemoteError):
                stream.errors()  # collect output that arrived before a break
            stream.close()

    def _take_metrics(self, data: bytes) -> None:
        self._metrics_at += len(data)
        if self._metrics is not None:
            self._metrics(data)

    def _note_start(self, said: bytes) -> None:
        if not self._started and (match := _FOLLOWING.search(said)):
            self._started = True
            self._life = "" if match[2] == b"0" else match[2].decode()
            # Whole seconds on a clock that is not ours: only the age of another driver's command matters.
            age = int(match[1])
            if age > _SAME_DRIVER_SECONDS and uptime() - age < self._began:
                self._began = uptime() - age
                self._came_late = True

    def _report(self, control: bytes, reason: str) -> _Report:
        text = control.decode(errors="replace")
        if _RENEW.search(text):
            self._shell.renew()
        if gone := _GONE.search(text):
            raise self._gone(life=gone[1])
        if error := re.search(r"^error (.*)$", text, re.MULTILINE):
            raise RemoteError(f"{error[1][:_LONGEST_REASON]} ({reason}): {self._command.text}")
        end = _END.search(text)
        if end is None:
            raise Disconnected(f"the log could not be followed: {reason}")
        if end[1] == "unstarted":
            raise RemoteError(f"the command could not be started ({reason}): {self._command.text}")
        code = None if end[1] == "lost" else int(end[1])
        metrics = _METRICS.search(text)
        return _Report(
            code=code,
            size=int(end[3]),
            metrics=int(metrics[1]) if metrics else 0,
            seconds=max(0, int(end[4])),
        )

    def _gone(self, *, life: str) -> RemoteError:
        """Return the error for a missing command folder, judged by when PID 1 of the pod started."""
        if self._life == life:
            return RemoteError(
                f"the folder ~/.rpd/steps/{self._key} on the pod, which holds the log and the exit code of a command, "
                f"was removed while it ran: {self._command.text}. A job must not delete ~/.rpd on its pod"
            )
        return PodLost(f"the pod was restarted while the command ran: {self._command.text}")

    def _script(self, mark: str) -> str:
        at = "''" if self._metrics is None else self._metrics_at
        follow = f"_rpd_follow {self._offset} {at} {mark}"
        if self._started:
            lines = (f'_rpd_find {self._key} || {{ _rpd_life; echo "gone $_rpd_life" >&2; exit 3; }}', follow)
            return _script(_FIND_FOLDER + _FOLLOW, *lines)
        text = shlex.quote(self._command.before + self._command.text)
        supervise = shlex.quote(_SUPERVISE)
        return _script(
            _LOAD_ENVIRONMENT + _FIND_FOLDER + _PREPARE + _FOLLOW,
            "_rpd_umask=$(umask)",
            f"_rpd_prepare {self._key} {text} {supervise} {shlex.quote(_STEP_COMMAND)} "
            f"{shlex.quote(_metrics_module())}",
            f'if [ ! -e "$_rpd_dir/claim" ]; then {self._launch()}; fi',
            follow,
        )

    def _launch(self) -> str:
        """Return the lines that start the supervisor in its own session.

        It inherits the environment, secrets included, from this shell, which got them over standard input:
        they are in no file and no argument list.
        """
        cwd = "" if self._command.cwd is None else shlex.quote(self._command.cwd)
        enter = (
            f"cd -- {cwd} 2>/dev/null || _rpd_missing={cwd}" if cwd else 'cd -- "${HOME:-/}" 2>/dev/null || :'
        )
        variables = exports({**self._command.env, **self._command.secrets})
        return f"""
exec 9<>"$_rpd_dir/alive"
(
  umask "$_rpd_umask"
  _rpd_load_pod
  export RPD_LOG="$_rpd_dir/log" RPD_METRICS="$_rpd_dir/metrics" PATH="$PATH:${{_rpd_dir%/steps/*}}/bin"
  {variables}
  export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}${{_rpd_dir%/steps/*}}/python"
  _rpd_missing=
  {enter}
  if command -v setsid >/dev/null 2>&1; then exec setsid sh "$_rpd_dir/supervise" "$_rpd_dir" "$_rpd_missing"; fi
  trap '' HUP
  exec sh "$_rpd_dir/supervise" "$_rpd_dir" "$_rpd_missing"
) </dev/null >/dev/null 2>&1 &
exec 9>&-"""


@cache
def _metrics_module() -> str:
    """Return the Python module that jobs may import on a pod."""
    from importlib import resources  # no dry run needs it

    return (resources.files("rpd.remote") / "rpd_metrics.py").read_text(encoding="utf-8")


def folder_name(key: str) -> str:
    """Return ``key`` as a name that is safe unquoted, in sh and as a folder; different keys stay different."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", key).lstrip(".-")[:100]
    if safe == key and safe:
        return safe
    return f"{safe or 'step'}-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def exports(variables: Mapping[str, str]) -> str:
    """Return sh lines that export ``variables``. Raise RemoteError for a name or value no process can have."""
    for name, value in variables.items():
        if not is_variable_name(name):
            raise RemoteError(
                f"{name!r} is not a valid name of an environment variable: use letters, digits and _"
            )
        if "\0" in value:
            raise RemoteError(
                f"the environment variable {name} holds a NUL character, which environment variables cannot contain"
            )
    return "\n  ".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


class Tail:
    """The last 64 KB of a log, and its last lines."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._was_cut = False

    def add(self, data: bytes) -> None:
        """Take the next bytes of the log."""
        self._bytes += data
        if len(self._bytes) > 2 * _TAIL_BYTES:
            del self._bytes[:-_TAIL_BYTES]
            self._was_cut = True

    def text(self) -> str:
        """Return the kept text; bytes that are not UTF-8 are replaced."""
        text = self._bytes[-_TAIL_BYTES:].decode(errors="replace")
        if self._was_cut or len(self._bytes) > _TAIL_BYTES:
            # The start may be in the middle of a secret, which could not be recognized and masked any more.
            text = _TO_A_WHOLE_WORD.sub("", text, count=1)
        return text

    def lines(self) -> tuple[str, ...]:
        """Return the last lines as a terminal would show them (a carriage return restarts the line).

        If an earlier line reports that memory ran out, it comes first: launchers print a lot after it.
        """
        text = self.text().rstrip()
        every = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")] if text else []
        last = every[-TAIL_LINES:]
        if not any(map(is_sign, last)):
            earlier = [line for line in every[:-TAIL_LINES] if is_sign(line)]
            last = [*earlier[-1:], *last[-TAIL_LINES + 1 :]] if earlier else last
        return tuple(last)


def _script(functions: str, *lines: str) -> str:
    body = "\n".join(lines)
    # Inside a function that the last line calls: half a script is a syntax error and does nothing.
    return f"{functions}\n_rpd_main() {{\n{body}\n}}\n_rpd_main\n"

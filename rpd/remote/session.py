"""A person's session on a pod: the script that puts a shell or command into the job's directory and environment."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from rpd.remote.detached import SESSION_FUNCTIONS, exports, folder_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The surroundings of a job on its pod: the key of its command, its working folder, the variables set for it."""

    key: str = ""
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


# A running command's environment is complete in its process; that of PID 1 is the part every job gets.
_STAND = r"""
_rpd_stand() {
  _rpd_job=
  if [ -n "$1" ] && _rpd_find "$1" && [ ! -e "$_rpd_dir/exit" ]; then
    read -r _rpd_job <"$_rpd_dir/group" 2>/dev/null || _rpd_job=
  fi
  [ -z "$_rpd_job" ] || _rpd_load_environment "/proc/$_rpd_job/environ"
  _rpd_load_pod
  for _rpd_cwd in "$2" "${_rpd_job:+$(readlink "/proc/$_rpd_job/cwd" 2>/dev/null)}" /workspace "${HOME:-/}"; do
    [ -z "$_rpd_cwd" ] || ! cd -- "$_rpd_cwd" 2>/dev/null || break
  done
}
"""

# RunPod's images make ~/.bashrc set all variables of PID 1, PWD included: the shell would think it is
# elsewhere.
_STAND_AGAIN = """export PROMPT_COMMAND='cd "$(/bin/pwd -P)"; unset PROMPT_COMMAND'"""

_HAND_OVER = r"""
umask 077
for _rpd_base in /dev/shm "${HOME:-/root}" /tmp; do
  _rpd_file=$(mktemp "$_rpd_base/.rpd-XXXXXX" 2>/dev/null) && break
done
printf '%s' "$_rpd_script" >"$_rpd_file" && echo "$_rpd_file"
"""


def script(place: Place, command: str = "") -> str:
    """Return a sh script that becomes ``command`` (run by bash, else sh), or an interactive shell, at ``place``."""
    shell = "$(command -v bash || command -v sh)"
    begin = f'exec "{shell}" -c {shlex.quote(command)}' if command else f'{_STAND_AGAIN}\n  exec "{shell}"'
    key = shlex.quote(folder_name(place.key)) if place.key else "''"
    lines = (
        'rm -f -- "$0"',
        exports({**place.env, **place.secrets}) or ":",
        f"_rpd_stand {key} {shlex.quote(place.cwd)} 2>/dev/null",
        begin,
    )
    body = "\n  ".join(lines)
    return f"{SESSION_FUNCTIONS}{_STAND}\n_rpd_main() {{\n  {body}\n}}\n_rpd_main\n"


def hand_over(text: str) -> str:
    """Return a sh script that stores ``text`` in a file for its user alone (on tmpfs if it can), and prints where."""
    return f"_rpd_script={shlex.quote(text)}\n{_HAND_OVER}"

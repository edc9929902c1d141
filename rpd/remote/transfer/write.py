"""Writes one small file to the pod, atomically."""

from __future__ import annotations

import posixpath

from rpd.errors import TransferBroken, TransferError
from rpd.remote.shell import DeadlinePassed, Disconnected, Program, Shell, TooMuch, mended, with_arguments
from rpd.remote.transfer.paths import absolute
from rpd.remote.transfer.patience import SHORT_SECONDS

# $1 target, $2 its folder, $3 mode, $4 how many bytes standard input brings.
_WRITE = r"""
mkdir -p -- "$2" || exit 1
if [ -d "$1" ]; then echo "it is a folder" >&2; exit 1; fi
umask 077
_rpd_temp=$(mktemp -- "$2/.rpd-write.XXXXXX") || exit 1
if cat >"$_rpd_temp" && [ "$(($(wc -c <"$_rpd_temp")))" = "$4" ] && chmod "$3" "$_rpd_temp" &&
  mv -f -- "$_rpd_temp" "$1"
then exit 0; fi
rm -f -- "$_rpd_temp"
exit 1
"""


def write(shell: Shell, remote: str, data: bytes, *, mode: int = 0o644) -> None:
    """Write one file on the pod atomically, creating its folder. Raise TransferError, ConnectionLost, PodLost."""
    target = absolute(remote, "written")
    script = with_arguments(_WRITE, target, posixpath.dirname(target), f"{mode & 0o7777:o}", str(len(data)))
    program = Program(script, stdin=[data], timeout=SHORT_SECONDS)
    try:
        ended = mended(shell, lambda: shell.exec(program))
    except Disconnected as error:
        raise TransferBroken(f"{target} could not be written: {error}") from error
    except DeadlinePassed as error:
        raise TransferBroken(f"{target} could not be written: the pod is stuck: {error}") from error
    except TooMuch as error:
        raise TransferError(f"{target} could not be written: {error}") from error
    if ended.exit_code:
        raise TransferError(f"{target} could not be written: {ended.reason}")

"""Reads one small file of the pod into memory."""

from __future__ import annotations

from rpd.errors import MissingArtifact, TransferBroken, TransferError, UsageError
from rpd.remote.shell import (
    MOST_KEPT,
    DeadlinePassed,
    Disconnected,
    Program,
    Shell,
    TooMuch,
    mended,
    with_arguments,
)
from rpd.remote.transfer.paths import absolute
from rpd.remote.transfer.patience import SHORT_SECONDS

_MISSING, _FOLDER, _TOO_LARGE = 3, 4, 5

# $1 the file, $2 the most bytes it may have. If it grows meanwhile, it is cut there.
_READ = r"""
[ -e "$1" ] || exit 3
[ ! -d "$1" ] || exit 4
if [ -f "$1" ] && [ "$(($(wc -c <"$1")))" -gt "$2" ]; then exit 5; fi
head -c "$2" <"$1"
"""


def read(shell: Shell, remote: str, *, most: int) -> bytes:
    """Return the bytes of a file. Raise MissingArtifact, TransferError, UsageError for more than ``most`` bytes."""
    source = absolute(remote, "read")
    script = with_arguments(_READ, source, str(most))
    program = Program(script, timeout=SHORT_SECONDS, most=max(MOST_KEPT, most))
    try:
        ended = mended(shell, lambda: shell.exec(program))
    except (Disconnected, DeadlinePassed) as error:
        raise TransferBroken(f"{source} could not be read: {error}") from error
    except TooMuch as error:
        raise TransferError(f"{source} could not be read: {error}") from error
    if ended.exit_code == _MISSING:
        raise MissingArtifact(f"{source} does not exist on the pod")
    if ended.exit_code == _FOLDER:
        raise UsageError(f"pod.read: {source} is a folder; pod.pull fetches folders")
    if ended.exit_code == _TOO_LARGE:
        raise UsageError(
            f"pod.read: {source} is larger than {most:,} bytes: pass max_bytes=…, or fetch it with pod.pull"
        )
    if ended.exit_code:
        raise TransferError(f"{source} could not be read: {ended.reason}")
    return ended.stdout

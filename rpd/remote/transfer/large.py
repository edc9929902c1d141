"""Large files of an earlier pull: compares the checksums of their blocks, and fetches only the new ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rpd.remote.shell import MOST_KEPT, Program, Shell, with_arguments
from rpd.remote.transfer.patch import SUM_DIGITS, Blocks
from rpd.remote.transfer.paths import nul_ended
from rpd.remote.transfer.patience import STALL_SECONDS
from rpd.values.frozen import frozen

# $1 the folder; standard input: names (./…), each ended by NUL. Without Python the blocks are larger, since
# each takes several programs.
_BLOCKS = r"""
cd -- "$1" || exit 1
if command -v python3 >/dev/null 2>&1; then exec python3 -c '
import hashlib, os, sys
for name in sys.stdin.buffer.read().split(b"\0")[:-1]:
    try:
        with open(name, "rb") as file:
            status = os.fstat(file.fileno())
            left, block = status.st_size, 128 << 10
            while left > block * 4096:
                block *= 2
            print("FILE", block, "%o" % (status.st_mode & 0o777), int(status.st_mtime), left)
            while left and (data := file.read(min(block, left))):
                left -= len(data)
                print(hashlib.sha256(data).hexdigest()[:32])
    except OSError:
        print("FILE")
'; fi
exec xargs -0 sh -c '
for _rpd_file do
  _rpd_size=$(($(wc -c <"$_rpd_file"))) _rpd_units=1 _rpd_at=0
  while [ "$_rpd_size" -gt "$((_rpd_units * 268435456))" ]; do _rpd_units=$((_rpd_units * 2)); done
  echo "FILE $((_rpd_units * 1048576)) $(stat -c "%a %Y %s" -- "$_rpd_file")"
  while [ "$((_rpd_at * 1048576))" -lt "$_rpd_size" ]; do
    dd if="$_rpd_file" bs=1048576 skip="$_rpd_at" count="$_rpd_units" 2>/dev/null | sha256sum | cut -c 1-32
    _rpd_at=$((_rpd_at + _rpd_units))
  done
done' sh
"""
_MOST_BYTES = 160 << 10
"""Most bytes printed about one file."""
_FACTS = re.compile(r"FILE (\d{1,15}) ([0-7]{1,5}) (-?\d{1,11}) (\d{1,18})")
_SUM = re.compile(f"[0-9a-f]{{{SUM_DIGITS}}}")


@frozen(kw_only=False)
class Large:
    """A large file on the pod: the sums of its blocks, its permission bits and its time."""

    blocks: Blocks
    mode: int
    mtime: int


def large_files(shell: Shell, base: str, names: Sequence[str]) -> Mapping[str, Large]:
    """Return the pod's information on files below ``base``, without files that it has none on.

    Raise Disconnected, DeadlinePassed, TooMuch.
    """
    program = Program(
        with_arguments(_BLOCKS, base),
        stdin=[nul_ended(names)],
        stall=STALL_SECONDS,
        most=MOST_KEPT + _MOST_BYTES * len(names),
    )
    return read_large(shell.exec(program).stdout, names)


def read_large(said: bytes, names: Sequence[str]) -> Mapping[str, Large]:
    """Return the valid part of the pod's output: a paragraph for each of ``names``, in their order."""
    paragraphs: list[list[str]] = []
    for line in said.decode("ascii", "replace").splitlines():
        if line.startswith("FILE"):
            paragraphs.append([line])
        elif paragraphs:
            paragraphs[-1].append(line)
    if len(paragraphs) != len(names):
        return {}
    large = {}
    for name, (head, *sums) in zip(names, paragraphs, strict=True):
        facts = _FACTS.fullmatch(head)
        if facts is None or not all(map(_SUM.fullmatch, sums)):
            continue
        block, mode, mtime, size = int(facts[1]), int(facts[2], 8), int(facts[3]), int(facts[4])
        blocks = Blocks(size, block, sums)
        if blocks.is_sound():
            large[name] = Large(blocks, mode & 0o777 | 0o600, mtime)
    return large

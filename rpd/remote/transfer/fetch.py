"""Files being fetched from the pod, over as many connections as it takes, until each agrees with its sum."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rpd.errors import LocalTransferError, TransferBroken, TransferError
from rpd.remote.protocol import Progress
from rpd.remote.shell import TRIES, DeadlinePassed, Disconnected, Program, Shell, with_arguments
from rpd.remote.transfer.landing import Landing
from rpd.remote.transfer.listing import Listing
from rpd.remote.transfer.paths import nul_ended
from rpd.remote.transfer.patience import STALL_SECONDS
from rpd.remote.transfer.sums import SUM, parse_sums
from rpd.remote.transfer.untar import members

RESUMABLE_BYTES = 64 << 20
"""A file larger than that goes on where a broken connection cut it."""

_CHUNK = 1 << 20
_open = open
"""Bound now: a job may mock the built-in one, and what is fetched would be nowhere."""

# $1 the folder, $2 options for tar; standard input: names (./…), each ended by NUL. Sums are made while tar reads.
# xargs, because busybox's tar takes no list of names: it may make several archives, one after the other.
_FETCH = (
    r"""
cd -- "$1" || exit 1
umask 077
_rpd_temp=$(mktemp -d) || exit 1
trap 'rm -rf -- "$_rpd_temp"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$_rpd_temp/names"
"""
    + SUM
    + r"""
_rpd_sum <"$_rpd_temp/names" >"$_rpd_temp/sums" 2>"$_rpd_temp/errors" &
_rpd_sums=$!
_rpd_raw=
# GNU tar reads backslashes in names as escapes unless it is told not to.
if tar --version 2>/dev/null | grep -q GNU; then _rpd_raw=--no-unquote; fi
xargs -0 tar -c $_rpd_raw $2 -f - <"$_rpd_temp/names"
wait "$_rpd_sums"
{ cat "$_rpd_temp/errors"; echo SUMS; cat "$_rpd_temp/sums"; } >&2
exit 0
"""
)

# $1 the folder; standard input as above. The sums of files that were received before.
_SUMS = (
    r"""
cd -- "$1" || exit 1
"""
    + SUM
    + r"""
_rpd_sum 2>/dev/null
exit 0
"""
)

# $1 the folder, $2 the name, $3 from which byte on, counted from 1.
_REST = r"""
cd -- "$1" && exec tail -c "+$3" -- "$2"
"""


@dataclass(slots=True)
class _Partial:
    """A file that is being received: where to, how long it is to become, and what is here of it."""

    name: str
    target: str
    whole: int
    mode: int
    mtime: int
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class Fetching:
    """One pull under way."""

    def __init__(
        self,
        shell: Shell,
        source: str,
        landing: Landing,
        listing: Listing,
        progress: Progress | None,
        resumable: int = RESUMABLE_BYTES,
    ) -> None:
        self._shell = shell
        self._source = source
        self._listing = listing
        self._progress = progress
        self._landing = landing
        self._left_out: dict[str, str] = {}
        self._made: set[str] = set()
        self._resumable = resumable
        self._received = 0
        self._whole: dict[str, tuple[str, int]] = {}
        self._partial: _Partial | None = None
        self.kept_links: dict[str, str] = {}
        self.sums: dict[str, str] = {}
        self.bytes = 0
        self.new_name: str | None = None
        """What the only file of the listing is called here, if it is to have another name."""
        self.sums_path = self._landing.sums_path

    def fetch_all(self) -> None:
        """Fetch until each file is here with the sum the pod made; a file that is not, twice, is an error."""
        outside = self._sort_links()
        self._fetch(self._listing.files, "")
        self._fetch(outside, "-h")

    def _sort_links(self) -> list[str]:
        outside = []
        for name, link in self._listing.links.items():
            inner = self._listing.inner_target(name)
            if inner is not None:
                self.kept_links[name] = inner
            elif link.is_file:
                outside.append(name)
            else:
                self._left_out[name] = link.target
        return outside

    def _fetch(self, names: Sequence[str], options: str) -> None:
        wanted = [name for name in names if name not in self.sums]
        rounds = breaks = safe = 0
        reasons: dict[str, str] = {}
        while wanted:
            try:
                self._settle()
                wanted = [name for name in wanted if name not in self.sums]
                if wanted:
                    reasons = self._fetch_once(wanted, options)
                    rounds += 1
            except Disconnected as error:
                breaks = 1 if self._safe_bytes > safe else breaks + 1
                safe = self._safe_bytes
                if breaks > TRIES:
                    raise TransferBroken(f"{self._source} could not be fetched: {error}") from error
                self._shell.reconnect()
            except DeadlinePassed as error:
                raise TransferBroken(
                    f"{self._source} could not be fetched: the pod is stuck: {error}"
                ) from error
            wanted = [name for name in wanted if name not in self.sums]
            if wanted and rounds >= 2:
                shown = ", ".join(posixpath.join(self._listing.base, name) for name in wanted[:3])
                more = f" and {len(wanted) - 3} more" if len(wanted) > 3 else ""
                raise TransferError(
                    f"{self._source} is not here whole: {reasons.get(wanted[0], 'not readable')}: {shown}{more}"
                )

    @property
    def _safe_bytes(self) -> int:
        """How much a broken connection does not lose."""
        partial = self._partial.size if self._partial else 0
        return self.bytes + partial + sum(size for _, size in self._whole.values())

    def _settle(self) -> None:
        """Go on with the file a broken connection cut, and check what arrived whole over it. Raises Disconnected."""
        if self._partial is not None:
            self._resume(self._partial)
        if not self._whole:
            return
        script = with_arguments(_SUMS, self._listing.base)
        ended = self._shell.exec(Program(script, stdin=[nul_ended(self._whole)], stall=STALL_SECONDS))
        self._verify(list(self._whole), parse_sums(ended.stdout.decode("utf-8", "surrogateescape")), "")

    def _resume(self, partial: _Partial) -> None:
        script = with_arguments(_REST, self._listing.base, f"./{partial.name}", str(partial.size + 1))
        stream = self._shell.open(Program(script, stall=STALL_SECONDS))
        try:
            with _open(partial.target, "r+b") as file:
                file.truncate(partial.size)
                file.seek(partial.size)
                while partial.size <= partial.whole and (block := stream.read()):
                    self._take(block, file, partial)
            stream.finish()
        except OSError as error:
            raise LocalTransferError(f"{partial.target} cannot be written", error) from error
        finally:
            stream.close()
        self._partial = None
        if partial.size == partial.whole:
            self._received_whole(partial)

    def _fetch_once(self, names: Sequence[str], options: str) -> dict[str, str]:
        """Fetch ``names``; note those whose sums agree, and return why the others failed."""
        script = with_arguments(_FETCH, self._listing.base, options)
        stream = self._shell.open(Program(script, stdin=[nul_ended(names)], stall=STALL_SECONDS))
        expected = frozenset(names)
        try:
            # A stream that is cut ends early: what is missing is asked for again.
            with contextlib.suppress(tarfile.ReadError):
                for member, content in members(stream.read):
                    name = posixpath.normpath(member.name)
                    if name in expected:
                        self._extract(member, content, name)
            ended = stream.finish()
        finally:
            stream.close()
        if ended.exit_code:
            raise TransferError(f"{self._source} could not be fetched: {ended.reason}")
        self._partial = None  # cut by a file that became shorter, not by the connection
        complaints, _, sums = ended.stderr.decode("utf-8", "surrogateescape").partition("SUMS\n")
        return self._verify(names, parse_sums(sums), "; ".join(complaints.strip().splitlines()[-3:]))

    def _verify(self, names: Sequence[str], theirs: Mapping[str, str], complaints: str) -> dict[str, str]:
        """Note which of the files that arrived have the sums the pod made; return why the others failed."""
        reasons = {}
        for name in names:
            sha256, size = self._whole.pop(name, ("", 0))
            if not sha256 or name not in theirs:
                reasons[name] = complaints or "it vanished while it was read"
            elif sha256 != theirs[name]:
                reasons[name] = "it changed while it was read (its sha256 differs)"
            else:
                self.sums[name] = sha256
                self.bytes += size
        return reasons

    def _extract(self, member: tarfile.TarInfo, content: IO[bytes], name: str) -> None:
        target = f"{self._landing.folder}/{name}"
        folder = os.path.dirname(target)  # noqa: PTH120 - thousands of files: pathlib is slow
        partial = _Partial(name, target, member.size, member.mode & 0o777 | 0o600, int(member.mtime))
        try:
            if folder not in self._made:
                Path(folder).mkdir(parents=True, exist_ok=True)
                self._made.add(folder)
            with _open(target, "wb", buffering=0) as file:
                while partial.size < member.size:
                    self._take(content.read(_CHUNK), file, partial)
            self._received_whole(partial)
        except (Disconnected, tarfile.ReadError):
            self._partial = partial if partial.size > 0 and partial.whole > self._resumable else None
            raise
        except OSError as error:
            raise LocalTransferError(f"{target} cannot be written", error) from error

    def _take(self, block: bytes, file: IO[bytes], partial: _Partial) -> None:
        file.write(block)
        partial.digest.update(block)
        partial.size += len(block)
        self._received += len(block)
        if self._progress is not None:
            self._progress(self._received, 0)

    def _received_whole(self, partial: _Partial) -> None:
        os.chmod(partial.target, partial.mode)  # noqa: PTH101
        os.utime(partial.target, (partial.mtime, partial.mtime))
        self._whole[partial.name] = (partial.digest.hexdigest(), partial.size)

    def keep(self) -> None:
        """Move what is verified into ``local``, and note its sums."""
        listing, sums = self._listing, self.sums
        try:
            if self.new_name is not None:
                (name,) = listing.roots
                self._landing.rename(name, self.new_name)
                listing = Listing(base=listing.base, roots=[self.new_name], files=[self.new_name])
                sums = {self.new_name: sums[name]} if name in sums else {}
            self._landing.keep(listing, sums=sums, links=self.kept_links, left_out=self._left_out)
        except OSError as error:
            at = error.filename2 or error.filename
            raise LocalTransferError(
                f"{self._source} cannot be put into {self._landing.local}: {at}", error
            ) from error

"""A local tree sent to the pod: whole or as it was before, and only what is not there already."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rpd.errors import LocalTransferError, TransferBroken, TransferError, UsageError
from rpd.project.ignore import StagedFile, local_stamp, staging
from rpd.remote.protocol import Progress
from rpd.remote.shell import (
    MOST_KEPT,
    DeadlinePassed,
    Disconnected,
    Ended,
    Interrupt,
    Program,
    Shell,
    TooMuch,
    mended,
    with_arguments,
)
from rpd.remote.transfer import delta
from rpd.remote.transfer.archive import Archive
from rpd.remote.transfer.blocks import batched, gzipped
from rpd.remote.transfer.line_speed import Pace, SlowLine
from rpd.remote.transfer.paths import absolute
from rpd.remote.transfer.patience import SHORT_SECONDS, STALL_SECONDS
from rpd.values.step import Staged

# $1 target, $2 its folder, $3 gzip or nothing, $4 name of the tree's notes, $5 "file" or "folder": what comes. A folder
# never makes way for a file, nor a file for a folder (exit code 6). Where the stream holds no whole tree but
# what is other in it (drop, folders, count), the tree that is there is moved aside, changed there, and moved back; exit
# code 3 means that it could not be. Else what was there is moved aside for the new one.
RECEIVE = (
    delta.STATE
    + r"""
_rpd_temp= _rpd_new=
_rpd_clear() { rm -rf -- "$_rpd_temp" "$_rpd_new"; }
_rpd_fail() { echo "$1" >&2; _rpd_clear; exit "${2:-1}"; }
_rpd_target=$1 _rpd_notes=${HOME:-/root}/.rpd/staged _rpd_name=$4
_rpd_change() {
  # What is begun here is soon over, and better whole than stopped.
  trap '' HUP INT TERM
  mv -- "$_rpd_target" "$_rpd_temp/old" && (cd -- "$_rpd_temp/old" && xargs -0 rm -rf -- <"$_rpd_temp/drop") &&
  { cp -a -l -- "$_rpd_temp/tree/." "$_rpd_temp/old" 2>/dev/null || cp -a -- "$_rpd_temp/tree/." "$_rpd_temp/old"; } &&
  tar -x -p -o -f "$_rpd_temp/folders" -C "$_rpd_temp/old" &&
  [ "$(($(find "$_rpd_temp/old" -print0 | tr -cd '\000' | wc -c)))" = "$(cat "$_rpd_temp/count")" ] &&
  # Before anybody looks: a link less is a change to what both have in common.
  rm -rf -- "$_rpd_temp/tree" && mv -- "$_rpd_temp/old" "$_rpd_temp/tree"
}
_rpd_note() {
  [ -e "$_rpd_temp/list" ] && mkdir -p "$_rpd_notes" && _rpd_new=$(mktemp -d "$_rpd_notes/.new.XXXXXX") || return 0
  if _rpd_state "$_rpd_target" >"$_rpd_new/state" && mv -- "$_rpd_temp/note" "$_rpd_temp/list" "$_rpd_new"; then
    # Whole seconds: a change in this one could not be told from none.
    [ "$(head -c 1 "$_rpd_new/state")" = G ] || sleep 1
    rm -rf -- "$_rpd_notes/$_rpd_name" && mv -- "$_rpd_new" "$_rpd_notes/$_rpd_name"
  fi 2>/dev/null
  return 0
}
case ${HOME:-/root}/ in "$1"/*) _rpd_fail "it holds the home folder; name a folder below it" ;; esac
if [ "$5" = file ] && [ -d "$1" ]; then
  _rpd_fail "a folder is there; to put the file into it, end the path with a slash: $1/" 6
fi
if [ "$5" = folder ] && [ -e "$1" ] && [ ! -d "$1" ]; then
  _rpd_fail "a file is there, and a folder does not replace it; name another path" 6
fi
if [ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %d -- "$1" 2>/dev/null)" != "$(stat -c %d -- "$2" 2>/dev/null)" ]; then
  _rpd_fail "it is a mount point; name a folder below it"
fi
mkdir -p -- "$2" || exit 1
_rpd_temp=$(mktemp -d -- "$2/.rpd-put.XXXXXX") || exit 1
trap '_rpd_clear; exit 1' HUP INT TERM
tar -x -p -o $3 -f - -C "$_rpd_temp" || _rpd_fail "tar could not write it"
[ -e "$_rpd_temp/end" ] || _rpd_fail "the stream ended early" 5
if [ -e "$_rpd_temp/drop" ]; then _rpd_change || _rpd_fail "nothing can be kept" 3; fi
_rpd_tree=$_rpd_temp/tree
if [ -d "$_rpd_tree" ] || [ -d "$1" ]; then
  if [ -e "$1" ] || [ -L "$1" ]; then mv -f -- "$1" "$_rpd_temp/old" || _rpd_fail "what is there cannot be replaced"; fi
  mv -f -- "$_rpd_tree" "$1" || {
    [ ! -e "$_rpd_temp/old" ] || mv -f -- "$_rpd_temp/old" "$1"
    _rpd_fail "it could not be renamed into place"
  }
else
  mv -f -- "$_rpd_tree" "$1" || _rpd_fail "it could not be renamed into place"
fi
_rpd_note
_rpd_clear
exit 0
"""
)
_NOTHING_KEPT = 3
_CUT_SHORT = 5
_UNEXPECTED_END = re.compile(rb"unexpected e(?:nd|of)|short read", re.IGNORECASE)
"""How tar (GNU, busybox) and gzip say that a stream was cut, which they do before anybody looks for its end."""
_REFUSED = 6
_ROUNDS = 3
"""How often at most a file is sent that becomes shorter, or vanishes, while it is read."""
_MOST_NOTE_BYTES = 1024
"""For each file; names are seldom longer than 100 bytes, and stand in two lists or three."""


def put(
    shell: Shell,
    local: Path,
    remote: str,
    *,
    exclude: Sequence[str] = (),
    ignored: bool = False,
    interrupt: Interrupt | None = None,
    compress: bool | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Staged:
    """Send what is staged of ``local`` (see ``project.ignore``) so that ``remote`` (absolute) is exactly that.

    With ``ignored``, what git ignores is staged as well.

    It is unpacked beside ``remote`` and renamed: whole, or as it was before, or gone if the pod dies in the moment of
    the change. Of a tree that was sent before, only files are sent that changed since on either side (names, modes,
    contents here; sizes, times, inodes there). ``compress`` gzips the stream; None does so once the line turns out to
    be slow (below 20 MB/s by ``clock``, in seconds).

    A file that changes while it is read is read again. One that only grows, as a log does, then arrives as long as it
    was listed; ``changed`` of the answer names it. One that becomes shorter each time is an error. A folder on the pod
    is not replaced by a file, nor a file by a folder.

    Raises UsageError (``local`` does not exist, or something of the other kind is at ``remote``), TransferError,
    LocalTransferError (a file here cannot be read, or changes each time), ConnectionLost, PodLost and, after
    ``interrupt``, Interrupted.
    """
    target = absolute(remote, "written")
    sending = _Sending(shell, local, target, interrupt, progress)
    sending.compress, sending.pace = bool(compress), Pace(clock) if compress is None else None
    try:
        for again in range(_ROUNDS):
            sending.list_files(exclude, ignored=ignored)
            staged = mended(shell, sending.send, interrupt)
            if not sending.unsettled or (again and not sending.incomplete):
                return replace(staged, withheld=sending.withheld)
        raise LocalTransferError(
            f"{sending.incomplete[0]} changed while it was being sent; send it again when it is at rest"
        )
    except Disconnected as error:
        raise TransferBroken(f"{local} could not be sent to {target}: {error}") from error
    except DeadlinePassed as error:
        raise TransferBroken(f"{local} could not be sent to {target}: the pod is stuck: {error}") from error
    except TooMuch as error:
        raise TransferError(f"{local} could not be sent to {target}: {error}") from error


class _Sending:
    """One put: asks what is there, and sends what is not."""

    def __init__(
        self,
        shell: Shell,
        local: Path,
        target: str,
        interrupt: Interrupt | None,
        progress: Progress | None,
    ) -> None:
        self._shell = shell
        self._local = local
        self._files: Sequence[StagedFile] = ()
        self._target = target
        self._interrupt = interrupt
        self._progress = progress
        self._stamp = ""
        self._kind = ""
        self._notes = hashlib.sha256(target.encode()).hexdigest()[:20]
        self.compress = False
        self.pace: Pace | None = None
        self.withheld: tuple[str, ...] = ()
        """Files of keys and passwords that are not sent."""
        self.changed: dict[str, None] = {}
        """Files that changed while they were sent, in any round."""
        self.unsettled: Sequence[str] = ()
        """Those of the last round."""
        self.incomplete: Sequence[str] = ()
        """Those of the last round that were shorter than listed, or gone: what was sent in their place is no file."""

    def list_files(self, exclude: Sequence[str], *, ignored: bool = False) -> None:
        """Look at what is to be sent, as it is now. Raises UsageError."""
        try:
            found = staging(self._local, exclude, ignored=ignored)
        except OSError as error:
            raise LocalTransferError(f"{error.filename or self._local} cannot be read", error) from error
        self._files, self.withheld = found.files, found.withheld
        self._stamp = local_stamp(self._files)
        self._kind = "folder" if self._local.is_dir() else "file"
        self.unsettled = self.incomplete = ()

    def send(self) -> Staged:
        """Make the target what is here. Raises Disconnected, DeadlinePassed, TransferError, Interrupted."""
        script = with_arguments(delta.CHECK, self._target, self._notes, self._stamp)
        # The notes it answers with were made by this driver or another, of about as many files as there are here.
        most = MOST_KEPT + _MOST_NOTE_BYTES * len(self._files)
        program = Program(script, timeout=SHORT_SECONDS, interrupt=self._interrupt, most=most)
        word, _, rest = self._shell.exec(program).stdout.partition(b"\n")
        if word == b"SAME" and (same := self._as_noted(rest)):
            return same
        change = delta.NOTHING_KEPT
        if word == b"OTHER" and self._local.is_dir():
            change = delta.change_of(rest, self._target, self._files, most)
        return (self._send(change) if change.kept else None) or self._send() or self._refused()

    def _as_noted(self, note: bytes) -> Staged | None:
        """Return what was sent before, by the pod's note of it; None for a note that makes no sense."""
        try:
            match json.loads(note):
                case {"tree_sha256": str(tree_sha256), "files": int(files), "bytes": int(size)}:
                    return Staged(
                        remote=self._target,
                        tree_sha256=tree_sha256[:64],
                        files=files,
                        bytes=size,
                        changed=tuple(self.changed),
                    )
        except (ValueError, RecursionError):
            pass
        return None

    def _refused(self) -> Staged:
        raise TransferError(f"{self._local} could not be sent to {self._target}: the pod kept nothing of it")

    def _send(self, change: delta.Change = delta.NOTHING_KEPT) -> Staged | None:
        """Send all but what ``change`` keeps; return None if the pod cannot keep that."""
        archive = Archive(self._local, self._files, self._stamp, change, self._progress, self.pace)
        try:
            ended = self._stream(archive)
        except SlowLine:
            self.compress, self.pace = True, None
            archive = Archive(self._local, self._files, self._stamp, change, self._progress)
            ended = self._stream(archive)
        if ended.exit_code == _NOTHING_KEPT and change.kept:
            return None
        if ended.exit_code == _REFUSED:
            raise UsageError(f"{self._local} was not sent to {self._target}: {ended.reason}")
        if ended.exit_code:
            was_cut = ended.exit_code == _CUT_SHORT or _UNEXPECTED_END.search(ended.stderr)
            kind = TransferBroken if was_cut else TransferError
            raise kind(f"{self._local} could not be sent to {self._target}: {ended.reason}")
        self.unsettled, self.incomplete = archive.changed, archive.incomplete
        self.changed.update(dict.fromkeys(archive.changed))
        return Staged(remote=self._target, **archive.about(), changed=tuple(self.changed))

    def _stream(self, archive: Archive) -> Ended:
        script = with_arguments(
            RECEIVE,
            self._target,
            posixpath.dirname(self._target),
            "-z" if self.compress else "",
            self._notes,
            self._kind,
        )
        blocks = batched(gzipped(archive.blocks()) if self.compress else archive.blocks())
        return self._shell.exec(Program(script, stdin=blocks, stall=STALL_SECONDS, interrupt=self._interrupt))

"""Sends a local tree to the pod: completely or not at all, and only what is not there already."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from rpd.errors import LocalTransferError, RemoteError, TransferBroken, TransferError, UsageError
from rpd.project.ignore import StagedFile, local_stamp, staging
from rpd.remote.protocol import Progress
from rpd.remote.shell import (
    MOST_KEPT,
    Breaks,
    DeadlinePassed,
    Disconnected,
    Ended,
    Interrupt,
    Program,
    Shell,
    TooMuch,
    with_arguments,
)
from rpd.remote.transfer import delta
from rpd.remote.transfer.archive import Archive, Arrived
from rpd.remote.transfer.checksums import QUICK_SUM, SUM
from rpd.remote.transfer.inquiry import Inquiry
from rpd.remote.transfer.packing import UNPACK, Gauge, batched, framed, packed
from rpd.remote.transfer.paths import absolute
from rpd.remote.transfer.patience import STALL_SECONDS
from rpd.values.frozen import replace
from rpd.values.step import Staged

# $1 target, $2 its folder, $3 the form of the stream (frames, gzip or plain), $4 name of the tree's notes,
# $5 "file" or "folder": the kind of what is sent, $6 the folder where it is received, $7 number of earlier
# streams, $8 the file that new/rest continues, $9 seconds for which a cut stream is kept, $10 the name under
# which the last look at the tree was kept. A folder is never replaced by a file, nor a file by a folder (exit
# code 6). A plan assembles files from others that are there. If the stream holds only the changes to a tree
# (drop, folders, count), the existing tree is moved aside, changed there, and moved back; exit code 3 means
# that this or the plan failed. Otherwise the existing tree is moved aside for the new one.
RECEIVE = (
    delta.STATE
    + UNPACK
    + r"""
_rpd_temp=$6 _rpd_new= _rpd_tar=
_rpd_clear() { rm -rf -- "$_rpd_temp" "$_rpd_new" "$_rpd_notes/$_rpd_name/now.$_rpd_look"; }
_rpd_fail() { echo "$1" >&2; _rpd_clear; exit "${2:-1}"; }
_rpd_target=$1 _rpd_notes=${HOME:-/root}/.rpd/staged _rpd_name=$4 _rpd_turn=$7 _rpd_part=$8 _rpd_keep=$9 _rpd_look=${10}
_rpd_cut() {
  # What came stays for a while, to be gone on with: a beginning of the archive, all but its last file whole.
  [ -z "$_rpd_part" ] || [ ! -s "$_rpd_temp/new/rest" ] || cat "$_rpd_temp/new/rest" >>"$_rpd_temp/$_rpd_part"
  rm -rf -- "$_rpd_temp/new"
  (
    trap '' HUP INT
    sleep "$_rpd_keep"
    [ "$(cat "$_rpd_temp/turn" 2>/dev/null)" != "$_rpd_turn" ] || rm -rf -- "$_rpd_temp"
  ) </dev/null >/dev/null 2>&1 &
  echo "$1" >&2
  exit "$2"
}
_rpd_plan() { cd -- "$_rpd_temp" && . ./plan; }
_rpd_change() {
  # Without its look, another driver has sent the tree since: nothing is known of the files that were to stay.
  [ -e "$_rpd_notes/$_rpd_name/now.$_rpd_look" ] || return 1
  mv -- "$_rpd_target" "$_rpd_temp/old" && (cd -- "$_rpd_temp/old" && xargs -0 rm -rf -- <"$_rpd_temp/drop") &&
  { cp -a -l -- "$_rpd_temp/tree/." "$_rpd_temp/old" 2>/dev/null || cp -a -- "$_rpd_temp/tree/." "$_rpd_temp/old"; } &&
  tar -x -p -o -f "$_rpd_temp/folders" -C "$_rpd_temp/old" &&
  # First: a link less is a change to what both have in common.
  rm -rf -- "$_rpd_temp/tree" &&
  [ "$(($(find "$_rpd_temp/old" -print0 | tr -cd '\000' | wc -c)))" = "$(cat "$_rpd_temp/count")" ] &&
  mv -- "$_rpd_temp/old" "$_rpd_temp/tree"
}
_rpd_see_changes() {
  # After a small change the last look stays, and only what was changed is looked at, before and afterwards: so
  # whatever others do to the tree meanwhile will be seen as a change.
  [ -e "$_rpd_temp/was" ] && mv -- "$_rpd_notes/$_rpd_name/now.$_rpd_look" "$1/state" &&
    mv -- "$_rpd_temp/was" "$1" && _rpd_state_of "$_rpd_target" <"$_rpd_temp/paths" >"$1/is"
} 2>/dev/null
_rpd_see_all() { rm -f -- "$1/was" "$1/is" && _rpd_state "$_rpd_target" >"$1/state"; }
_rpd_continue() {
  # The list that is there may be another driver's by now.
  { read -r _rpd_stamp; } 2>/dev/null <"$1/note"
  [ "$_rpd_stamp" = "$(cat "$_rpd_temp/stamp")" ] || return 1
  _rpd_base=list
  [ ! -e "$1/more" ] || _rpd_base=base
  ln -- "$1/$_rpd_base" "$_rpd_new/base" 2>/dev/null || cp -- "$1/$_rpd_base" "$_rpd_new/base"
}
_rpd_note() {
  [ -e "$_rpd_temp/note" ] && mkdir -p "$_rpd_notes" && _rpd_new=$(mktemp -d "$_rpd_notes/.new.XXXXXX") || return 0
  _rpd_list=list
  if [ -e "$_rpd_temp/more" ]; then
    _rpd_list=more
    _rpd_continue "$_rpd_notes/$_rpd_name" || return 0
  fi
  if { _rpd_see_changes "$_rpd_new" || _rpd_see_all "$_rpd_new"; } &&
    mv -- "$_rpd_temp/note" "$_rpd_temp/$_rpd_list" "$_rpd_new"
  then
    # Whole seconds: a change in this one would look like none.
    [ -n "$_rpd_exact" ] || sleep 1
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
[ -e "$6" ] || mkdir -m 700 -- "$6" || exit 1
# Not by "wait": that waits for the whole pipeline, whose beginning may be reading from a line that is gone.
trap '[ -z "$_rpd_tar" ] || kill "$_rpd_tar" 2>/dev/null
  while [ -n "$_rpd_tar" ] && kill -0 "$_rpd_tar" 2>/dev/null; do sleep 0.1 2>/dev/null || sleep 1; done
  _rpd_cut "the stream ended early" 5' HUP INT TERM
echo "$7" >"$6/turn" && exec 6>"$6/pid" && echo "$$" >&6
for _rpd_old in new made plan drop count folders paths was note stamp list more end; do rm -rf -- "$6/$_rpd_old"; done
# In the background, so that the try that continues this stream can end it while it waits for a line that is gone.
exec 3<&0
case $3 in
# GNU tar reads more at once with this variable; others do not know it.
frames) _rpd_unpack <&3 | TAR_OPTIONS=-b128 tar -x -p -o -f - -C "$6" & ;;
gzip) tar -x -z -p -o -f - -C "$6" <&3 & ;;
*) tar -x -p -o -f - -C "$6" <&3 & ;;
esac
_rpd_tar=$!
wait "$_rpd_tar" || _rpd_cut "tar could not write it" 7
[ -e "$6/end" ] || _rpd_cut "the stream ended early" 5
# What is begun here is soon over, and better whole than stopped.
trap '' HUP INT TERM
if [ -e "$6/plan" ]; then (_rpd_plan) || _rpd_fail "nothing can be kept" 3; fi
if [ -e "$6/paths" ] && [ -n "$_rpd_exact" ]; then
  _rpd_state_of "$1" <"$6/paths" >"$6/was" || rm -f -- "$6/was"
fi
if [ -e "$6/drop" ]; then _rpd_change || _rpd_fail "nothing can be kept" 3; fi
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
# If the pod has no tool for sums, no file is assembled from others.
CHECKED = (
    SUM.replace("exit 4", ":")
    + QUICK_SUM
    + r"""
_rpd_check() { [ "$(printf 'made\0' | _rpd_quick_sum | head -c 64)" = "$1" ]; }
"""
)
# $1 the folder. Waits for its pid: the program that creates the folder may just be starting.
_DISCARD = (
    delta.STOP
    + r"""
_rpd_n=0
while [ ! -e "$1/pid" ] && [ "$_rpd_n" -lt 20 ]; do _rpd_nap; done
_rpd_stop "$1"
rm -rf -- "$1"
"""
)
KEEP_SECONDS = 900
"""Seconds for which a pod keeps the content of a cut stream; longer than a lost connection is retried."""
_FORMS = {"frames": framed, "gzip": packed, "plain": lambda blocks, _: blocks}
_NOTHING_KEPT = 3
_CUT_SHORT, _NOT_WRITTEN = 5, 7
_UNEXPECTED_END = re.compile(rb"unexpected e(?:nd|of)|short read", re.IGNORECASE)
"""Messages of tar (GNU, busybox) and gzip about a cut stream, which come before anybody looks for its end."""
_REFUSED = 6
_ROUNDS = 3
"""How often at most a file is sent that becomes shorter, or vanishes, while it is read."""
_DISCARD_SECONDS = 5.0


def put(
    shell: Shell,
    local: Path,
    remote: str,
    *,
    exclude: Sequence[str] = (),
    ignored: bool = False,
    interrupt: Interrupt | None = None,
    progress: Progress | None = None,
    keep: float = KEEP_SECONDS,
) -> Staged:
    """Send the staged files of ``local`` (see ``project.ignore``) so that ``remote`` (absolute) has exactly those.

    With ``ignored``, files that git ignores are staged as well.

    The tree is unpacked next to ``remote`` and renamed: complete, or as it was before, or absent if the pod dies at
    the moment of the change. If it was sent before, only files that changed since on either side are sent (names,
    modes and contents here; sizes, times and inodes there), and of large files only the parts that differ. The
    stream is compressed if the line is slow. If the connection breaks, bytes that arrived are not sent again; the
    pod keeps them for ``keep`` seconds.

    A file that changes while it is read is read again. A file that only grows, such as a log, arrives with the
    length it had when it was listed; ``changed`` of the result names it. A file that gets shorter each time is an
    error. A file never replaces a folder on the pod, nor a folder a file.

    Raise UsageError (``local`` does not exist, or ``remote`` is of the other kind), TransferError,
    LocalTransferError (a file here cannot be read, or changes each time), ConnectionLost, PodLost, and Interrupted
    after ``interrupt``.
    """
    target = absolute(remote, "written")
    sending = _Sending(shell, local, target, interrupt, progress, keep)
    try:
        for again in range(_ROUNDS):
            sending.list_files(exclude, ignored=ignored)
            staged = sending.send_all()
            if not sending.unsettled or (again and not sending.incomplete):
                return replace(staged, withheld=sending.withheld)
        raise LocalTransferError(
            f"{sending.incomplete[0]} changed while it was being sent; retry once nothing is writing to it"
        )
    except Disconnected as error:
        raise TransferBroken(f"{local} could not be sent to {target}: {error}") from error
    except DeadlinePassed as error:
        raise TransferBroken(f"{local} could not be sent to {target}: the pod is stuck: {error}") from error
    except TooMuch as error:
        raise TransferError(f"{local} could not be sent to {target}: {error}") from error
    finally:
        sending.close()


class _Sending:
    """One put: it asks the pod for the files there, and sends the rest."""

    def __init__(
        self,
        shell: Shell,
        local: Path,
        target: str,
        interrupt: Interrupt | None,
        progress: Progress | None,
        keep: float,
    ) -> None:
        self._shell = shell
        self._local = local
        self._files: Sequence[StagedFile] = ()
        self._target = target
        self._interrupt = interrupt
        self._progress = progress
        self._keep = keep
        self._stamp = ""
        self._inquiry: Inquiry | None = None
        """The question about what is there, while the files here are listed."""
        self._kind = ""
        self._notes = hashlib.sha256(target.encode()).hexdigest()[:20]
        self._gauge = Gauge()
        self._form = "frames"
        """The form of the stream that the pod can unpack."""
        self._folder = ""
        """The folder on the pod where the tree is received."""
        self._look = ""
        """The name of what the pod saw, if it is kept there for the note."""
        self._turn = 0
        """The number of streams sent there."""
        self._last: Archive | None = None
        """The last stream, while it is unknown whether it arrived."""
        self._safe = 0
        """Bytes of it that have arrived."""
        self.withheld: tuple[str, ...] = ()
        """Files of keys and passwords, which are not sent."""
        self.changed: dict[str, None] = {}
        """Files that changed while they were sent, in any round."""
        self.unsettled: Sequence[str] = ()
        """Those of the last round."""
        self.incomplete: Sequence[str] = ()
        """Those of the last round that were shorter than listed, or gone: zeros were sent in their place."""

    def list_files(self, exclude: Sequence[str], *, ignored: bool = False) -> None:
        """List the files to send, in their present state, while the pod looks at what is there. Raise UsageError."""
        self._inquire_ahead()
        try:
            listing = staging(self._local, exclude, ignored=ignored)
        except OSError as error:
            raise LocalTransferError(f"{error.filename or self._local} cannot be read", error) from error
        self._files, self.withheld = listing.files, listing.withheld
        self._stamp = local_stamp(self._files)
        self._kind = "folder" if self._local.is_dir() else "file"
        self.unsettled = self.incomplete = ()
        self._begin_anew()

    def _inquire_ahead(self) -> None:
        """Let the pod begin; if it cannot, it is asked again when the files are listed."""
        self._inquiry = None
        if os.path.lexists(self._local):
            with contextlib.suppress(Disconnected):
                self._inquiry = Inquiry(self._shell, self._target, self._notes, interrupt=self._interrupt)

    def close(self) -> None:
        """Ask no more, if the answer is not needed."""
        if self._inquiry is not None:
            self._inquiry.close()

    def _begin_anew(self) -> None:
        self._folder = posixpath.join(posixpath.dirname(self._target), f".rpd-put.{secrets.token_hex(8)}")
        self._turn, self._last, self._safe = 0, None, 0

    def send_all(self) -> Staged:
        """Send until the target is complete, over as many connections as it takes while each makes progress.

        Raise Disconnected, DeadlinePassed, TooMuch, TransferError, Interrupted.
        """
        breaks = Breaks()
        while True:
            try:
                return self._send_once()
            except Disconnected:
                if breaks.is_last(self._safe):
                    raise
                self._shell.reconnect(self._interrupt)
            except Exception:
                self._discard()
                raise

    def _discard(self) -> None:
        """Let the pod drop the received data; after a while it does so by itself."""
        if self._turn:
            program = Program(with_arguments(_DISCARD, self._folder), timeout=_DISCARD_SECONDS)
            with contextlib.suppress(RemoteError):
                self._shell.exec(program)

    def _send_once(self) -> Staged:
        inquiry, self._inquiry = self._inquiry, None
        if inquiry is None:
            cut = self._folder if self._last is not None else ""
            inquiry = Inquiry(self._shell, self._target, self._notes, cut, self._interrupt)
        self._look = inquiry.look
        # Its notes were made by this driver or another, for about as many files as there are here.
        most = MOST_KEPT + delta.most_note_bytes(self._files)
        word, _, rest = inquiry.answer(self._stamp, most).partition(b"\n")
        if word.startswith(delta.FORM):
            self._form = word.removeprefix(delta.FORM).decode(errors="replace")
            word, _, rest = rest.partition(b"\n")
        if word == b"SAME" and (same := self._as_noted(rest)):
            return same
        lists = delta.lists_in(rest, most) if word == b"OTHER" else {}
        arrived = self._arrived(lists.get("half", b""))
        change = delta.change_of(
            lists, self._target, self._files, is_folder=self._kind == "folder", most=most
        )
        if change.kept or change.patched or arrived.whole or arrived.parts:
            if staged := self._send(change, arrived):
                return staged
            self._begin_anew()
        return self._send() or self._refused()

    def _arrived(self, half: bytes) -> Arrived:
        """Return the part of the last stream that the pod says it has."""
        if self._last is None:
            return Arrived()
        sizes = delta.sizes_of(half, f"{self._folder}/tree")
        if self._kind == "file":
            sizes = {file.name: sizes[""] for file in self._files if "" in sizes}
        arrived = self._last.arrived(sizes)
        sizes_here = {file.name: file.size for file in self._files}
        self._safe = sum(sizes_here[name] for name in arrived.whole) + sum(arrived.parts.values())
        return arrived

    def _as_noted(self, note: bytes) -> Staged | None:
        """Return the result of an earlier put from the pod's note; None if the note makes no sense."""
        try:
            match json.loads(note):
                case {"tree_sha256": str(tree_sha256), "files": int(files), "bytes": int(size)}:
                    self._settle()
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

    def _settle(self) -> None:
        """Note changes during the last stream, now that it is known to have arrived."""
        if self._last is not None:
            self.unsettled, self.incomplete = self._last.changed, self._last.incomplete
            self.changed.update(dict.fromkeys(self._last.changed))

    def _refused(self) -> Staged:
        raise TransferError(f"{self._local} could not be sent to {self._target}: the pod stored nothing")

    def _send(self, change: delta.Change = delta.NOTHING_KEPT, arrived: Arrived = Arrived()) -> Staged | None:  # noqa: B008
        """Send everything that the pod lacks; return None if the pod could not keep the rest."""
        archive = Archive(self._local, self._files, self._stamp, change, self._progress, arrived)
        self._last = archive
        ended = self._stream(archive)
        if ended.exit_code not in (_CUT_SHORT, _NOT_WRITTEN):
            self._turn = 0  # nothing is left there to discard
        if ended.exit_code == _NOTHING_KEPT and (change.kept or change.patched or arrived.parts):
            return None
        if ended.exit_code == _REFUSED:
            raise UsageError(f"{self._local} was not sent to {self._target}: {ended.reason}")
        if ended.exit_code:
            was_cut = ended.exit_code == _CUT_SHORT or _UNEXPECTED_END.search(ended.stderr)
            kind = TransferBroken if was_cut else TransferError
            raise kind(f"{self._local} could not be sent to {self._target}: {ended.reason}")
        self._settle()
        self._last = None
        return Staged(remote=self._target, **archive.about(), changed=tuple(self.changed))

    def _stream(self, archive: Archive) -> Ended:
        script = with_arguments(
            CHECKED + RECEIVE,
            self._target,
            posixpath.dirname(self._target),
            self._form,
            self._notes,
            self._kind,
            self._folder,
            str(self._turn),
            archive.part_path,
            f"{self._keep:g}",
            self._look,
        )
        self._turn += 1
        blocks = batched(archive.blocks())
        program = Program(
            script,
            stdin=_FORMS.get(self._form, packed)(blocks, self._gauge),
            stall=STALL_SECONDS,
            interrupt=self._interrupt,
            under_way=self._gauge.under_way,
        )
        return self._shell.exec(program)

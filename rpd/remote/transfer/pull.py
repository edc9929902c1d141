"""Files of the pod fetched to this machine: checked by sums made there, and put into place once they agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rpd.errors import MissingArtifact, TransferError
from rpd.remote.protocol import Progress
from rpd.remote.shell import DeadlinePassed, Disconnected, Shell, TooMuch, mended
from rpd.remote.transfer.fetch import RESUMABLE_BYTES, Fetching
from rpd.remote.transfer.listing import list_files
from rpd.remote.transfer.paths import absolute, check_name
from rpd.remote.transfer.seen import Seen, facts_of
from rpd.values.step import Pulled


def pull(
    shell: Shell,
    remote: str,
    local: Path,
    *,
    within: Path | None = None,
    required: bool = True,
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
    resumable: int = RESUMABLE_BYTES,
    seen: Seen | None = None,
) -> Pulled | None:
    """Fetch a file, a folder or a glob (``*``, ``?``, ``[a-z]``) of the pod into the folder ``local``, checked.

    ``/w/results`` becomes ``local/results/…``, ``/w/log.txt`` becomes ``local/log.txt``, and a match of ``/w/*/m.json``
    keeps its path below ``/w``. A path that exists as written is not taken for a glob. Symbolic links that stay inside
    stay links; one that leads out to a file becomes that file; other links out are left out and named in the list of
    sums. ``exclude`` holds rules as in ``.gitignore``, relative to what is pulled. Nothing is ever written through a
    link that lies at or below ``within`` (default: ``local``), whoever made it: a link where a folder is to be makes
    room for the folder.

    The sums made on the pod are kept in ``<local>.sha256`` (those of earlier pulls too), for ``sha256sum -c`` in
    ``local``. Files of the same name are replaced; nothing else in ``local`` is touched. A file that changes while it
    is read is fetched once more. When the connection breaks, what arrived whole is not fetched again, and a file larger
    than ``resumable`` (bytes) goes on where it stopped. With ``seen``, files that an earlier pull fetched are left out
    while they look as they did then. Raises MissingArtifact, TransferError (after what could be verified is in place),
    ConnectionLost, PodLost.
    """
    source = absolute(remote, "pulled")
    try:
        listing = mended(shell, lambda: list_files(shell, source))
    except (Disconnected, DeadlinePassed, TooMuch) as error:
        raise TransferError(f"{source} could not be listed: {error}") from error
    if not listing.roots:
        if required:
            raise MissingArtifact(f"{source} does not exist on the pod")
        return None
    for name in (*listing.roots, *listing.folders, *listing.files, *listing.links):
        check_name(name)
    wanted = listing.without(exclude)
    fetching = Fetching(shell, source, local, within or local, wanted, progress, resumable)
    try:
        if seen is not None:
            seen.look(lambda names: facts_of(shell, wanted.base, names), wanted.files, local)
            fetching.sums.update(seen.unchanged)
            fetching.bytes += seen.unchanged_bytes
        fetching.fetch_all()
    finally:
        fetching.keep()
        if seen is not None:
            seen.note(fetching.sums, local)
    return Pulled(
        remote=source,
        local=local,
        files=len(fetching.sums) + len(fetching.kept_links),
        bytes=fetching.bytes,
        sha256_file=str(fetching.sums_path),
        verified=True,
        required=required,
    )

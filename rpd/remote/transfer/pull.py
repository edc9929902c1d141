"""Pulls files from the pod to this machine: verified by checksums made there, and put in place once they match."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rpd.errors import LocalTransferError, MissingArtifact, TransferBroken, TransferError
from rpd.remote.protocol import Intake, Progress
from rpd.remote.shell import DeadlinePassed, Disconnected, Shell, TooMuch, mended
from rpd.remote.transfer.fetch import RESUMABLE_BYTES, Fetching
from rpd.remote.transfer.listing import Listing, list_files
from rpd.remote.transfer.paths import absolute, check_names
from rpd.remote.transfer.pull_cache import Seen, facts_of
from rpd.remote.transfer.staging_folder import Landing
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
    intake: Intake = Intake(),  # noqa: B008 - frozen
) -> Pulled | None:
    """Fetch a file, a folder or a glob (``*``, ``?``, ``[a-z]``) of the pod into the folder ``local``, verified.

    ``/w/results`` becomes ``local/results/…``, ``/w/log.txt`` becomes ``local/log.txt``, and a match of
    ``/w/*/m.json`` keeps its path below ``/w``. A path that exists as written is not treated as a glob.
    Symbolic links that stay inside remain links; a link that leads out to a file becomes that file; other
    links that lead out are left out and named in the list of sums. ``exclude`` holds rules as in
    ``.gitignore``, relative to the pulled path. Nothing is ever written through a link at or below ``within``
    (default: ``local``), whatever created it: a link in the place of a folder is replaced by the folder.

    The sums computed on the pod are kept in ``<local>.sha256`` (with those of earlier pulls), for ``sha256sum
    -c`` in ``local``. Files of the same name are replaced; nothing else in ``local`` is touched. A file that
    changes while it is read is fetched again. If the connection breaks, files that arrived completely are not
    fetched again, and a file larger than ``resumable`` (bytes) is resumed. With ``seen``, files of an earlier
    pull are left out while they look unchanged. ``intake`` has further options, such as whether ``local`` may
    be the name of a file.

    Raise MissingArtifact, TransferError (after everything that could be verified is in place),
    LocalTransferError if this machine cannot store it, ConnectionLost, PodLost.
    """
    source = absolute(remote, "pulled")
    try:
        listing = mended(shell, lambda: list_files(shell, source, intake.since))
    except (Disconnected, DeadlinePassed) as error:
        raise TransferBroken(f"{source} could not be listed: {error}") from error
    except TooMuch as error:
        raise TransferError(f"{source} could not be listed: {error}") from error
    if not listing.roots:
        if required:
            raise MissingArtifact(f"{source} does not exist on the pod")
        return None
    check_names([*listing.roots, *listing.folders, *listing.files, *listing.links, *listing.others])
    if required and set(listing.roots) <= set(listing.others):
        raise MissingArtifact(f"{source} is a FIFO, socket or device: rpd pulls files, folders and links")
    if intake.contents and listing.is_one_folder:
        listing = listing.inside()
    new_name = None
    # The top folder itself is never the name of a file, even before it exists.
    if intake.as_file and local != within and _is_one_file(listing) and not local.is_dir():
        local, new_name, seen = local.parent, local.name, None
    for root in listing.roots:
        intake.take(local / (new_name or root), posixpath.join(listing.base, root))
    selected = listing.without(exclude)
    with _put_into(local, source):
        landing = Landing(local, within or local)
    fetching = Fetching(shell, source, landing, selected, progress, resumable)
    fetching.new_name = new_name
    try:
        if seen is not None:
            with _put_into(local, source):
                seen.look(
                    lambda names: facts_of(shell, selected.base, names, seen.format), selected.files, local
                )
            fetching.sums.update(seen.unchanged)
            fetching.bytes += seen.unchanged_bytes
        fetching.fetch_all()
    finally:
        fetching.keep()
        if seen is not None:
            with _put_into(local, source):
                seen.note(fetching.sums, local)
    return Pulled(
        remote=source,
        local=local / (new_name or ""),
        files=len(fetching.sums) + len(fetching.kept_links),
        bytes=fetching.bytes,
        sha256_file=str(fetching.sums_path),
        verified=True,
        required=required,
        older=tuple(str(local / (new_name or name)) for name in sorted(listing.older & fetching.sums.keys())),
        others=tuple(posixpath.join(selected.base, name) for name in sorted(selected.others)),
    )


@contextmanager
def _put_into(local: Path, source: str) -> Iterator[None]:
    """Turn an error of this machine into one that says which pull failed."""
    try:
        yield
    except OSError as error:
        raise LocalTransferError(f"cannot write {source} into {local}: {error.filename}", error) from error


def _is_one_file(listing: Listing) -> bool:
    return not listing.is_inside and len(listing.roots) == 1 and listing.roots[0] not in listing.folders

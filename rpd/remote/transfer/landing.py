"""Where a pull lands: a folder beside the one it is for, out of which what is verified is moved."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from rpd.remote.transfer.listing import Listing
from rpd.remote.transfer.paths import is_below
from rpd.remote.transfer.sums import note_sums

# Pulls of one node may end at the same time, and go to the same folder with one list of sums.
_KEEPING = threading.Lock()


class Landing:
    """The landing of one pull into ``local``; ``folder`` is where its files arrive."""

    def __init__(self, local: Path) -> None:
        self.local = local
        self.folder = Path(tempfile.mkdtemp(prefix=f".{local.name}.rpd-", dir=local.parent))
        self.sums_path = local.parent / f"{local.name}.sha256"

    def rename(self, name: str, new: str) -> None:
        """Give a file that arrived, if it did, another name. Raises OSError."""
        if os.path.lexists(self.folder / name):
            (self.folder / name).rename(self.folder / new)

    def keep(
        self,
        listing: Listing,
        *,
        sums: Mapping[str, str],
        links: Mapping[str, str],
        left_out: Mapping[str, str],
    ) -> None:
        """Move into ``local`` what is verified (has a sum) of a listing and the links, and note the sums.

        Nothing is left to land after that. Raises OSError.
        """
        try:
            self._complete(listing, sums, links)
            with _KEEPING:
                for root in listing.roots:
                    self._move(
                        root, [name for name in listing.folders if is_below(name, root)], (*sums, *links)
                    )
                note_sums(self.sums_path, sums, left_out)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _complete(self, listing: Listing, sums: Mapping[str, str], links: Mapping[str, str]) -> None:
        """Make the folder what ``local`` shall have: with folders and links, without what is not verified."""
        for name in (*listing.files, *listing.links):
            if name not in sums:
                (self.folder / name).unlink(missing_ok=True)
        for name in listing.folders:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, inner in links.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).symlink_to(inner)

    def _move(self, root: str, folders: list[str], names: tuple[str, ...]) -> None:
        """Move one root: at once if there is nothing of its name, else path by path."""
        source, target = self.folder / root, self.local / root
        if not os.path.lexists(source):
            return
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            return
        for name in folders:
            (self.local / name).mkdir(parents=True, exist_ok=True)
        for name in names:
            if is_below(name, root) and os.path.lexists(self.folder / name):
                (self.local / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).replace(self.local / name)

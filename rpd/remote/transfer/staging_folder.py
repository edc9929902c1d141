"""The folder where a pull lands: next to its target, into which verified files are moved.

Pods chose the names in both folders, and an earlier pull may have made links in the target. So every file is
placed through a ``Tree``, which follows no link.
"""

from __future__ import annotations

import secrets
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TypeVar

from rpd.disk.safe_tree import Tree
from rpd.errors import TransferError
from rpd.remote.transfer.checksums import note_sums
from rpd.remote.transfer.listing import Listing
from rpd.remote.transfer.patch import LEAST_BYTES

T = TypeVar("T")

# Pulls of one node may end at the same time and share a target folder with one list of sums.
_KEEPING = threading.Lock()


class Landing:
    """The landing folder of one pull into ``local``.

    ``within`` is ``local`` or a folder above it: everything below it was made by pulls, and no link there is
    followed. Raises OSError.
    """

    def __init__(self, local: Path, within: Path) -> None:
        within.mkdir(parents=True, exist_ok=True)
        self.local = local
        self._name = local.relative_to(within.parent).as_posix()
        self._sums = f"{self._name}.sha256"
        self.sums_path = within.parent / self._sums
        above, slash, last = self._name.rpartition("/")
        self._landing = f"{above}{slash}.{last}.rpd-{secrets.token_hex(6)}"
        self._begun: set[str] = set()
        self._tops: dict[str, bool] = {}
        """First part of a name to whether an earlier pull left anything there."""
        with ExitStack() as opened:
            self._tree = opened.enter_context(closing(Tree(within.parent)))
            self._tree.make_folder(self._name)
            self._tree.make_folder(self._landing, mode=0o700)
            self._there = opened.enter_context(closing(self._tree.below(self._landing)))
            self._open = opened.pop_all()

    def path(self, name: str) -> Path:
        """Return the place where a file arrives, for messages."""
        return self._there.path(name)

    def is_large(self, name: str) -> bool:
        """Return whether an earlier pull left a file of that name that is worth comparing."""
        top = name.partition("/")[0]
        if top not in self._tops:  # a first pull has nothing to compare: do not ask for each file
            self._tops[top] = self._tree.status(f"{self._name}/{top}") is not None
        status = self._tree.status(f"{self._name}/{name}") if self._tops[top] else None
        return status is not None and stat.S_ISREG(status.st_mode) and status.st_size >= LEAST_BYTES

    def earlier(self, name: str) -> BufferedReader:
        """Open the file that an earlier pull left. Raise OSError."""
        return self._tree.read(f"{self._name}/{name}")

    def begin(self, name: str) -> FileIO:
        """Open a file to be written from its start. Raise TransferError if it would hide another."""
        return self._made(name, self._there.create)

    def write(self, name: str, data: bytes, mode: int, mtime: int) -> None:
        """Write a complete file at once: ``begin`` and ``dress``, for many of them."""
        self._made(name, self._there.write, data, mode, mtime)

    def _made(self, name: str, make: Callable[..., T], *how: object) -> T:
        if name in self._begun:
            self._there.remove(name)
        try:
            made = make(name, *how)
        except FileExistsError:
            raise TransferError(
                f"{name!r} has the same name as another file of this pull, as far as the disk here can tell them "
                "apart (capitals, accents): rename one of them on the pod, or exclude it"
            ) from None
        self._begun.add(name)
        return made

    def go_on(self, name: str) -> FileIO:
        """Open a file that was begun before."""
        return self._there.change(name)

    def read(self, name: str) -> BufferedReader:
        """Open a file that arrived."""
        return self._there.read(name)

    def dress(self, name: str, file: FileIO, mode: int, mtime: int) -> None:
        """Set the permission bits and the time of a complete file."""
        self._there.dress(name, file, mode, mtime)

    def rename(self, name: str, new: str) -> None:
        """Rename a file, if it arrived. Raise OSError after removing the landing folder."""
        try:
            if self._there.status(name) is not None:
                self._there.move(name, self._there, new)
                self._begun = self._begun - {name} | {new}
        except OSError:
            self._leave()
            raise

    def keep(
        self,
        listing: Listing,
        *,
        sums: Mapping[str, str],
        links: Mapping[str, str],
        left_out: Mapping[str, str],
    ) -> None:
        """Move the verified files (those with a sum) of a listing and the links into ``local``, and note the sums.

        The landing folder is removed then. Raise OSError.
        """
        try:
            self._complete(listing, sums, links)
            folders = _by_root(listing, listing.folders)
            names = _by_root(listing, (*sums, *links))
            with _KEEPING:
                for root in listing.roots:
                    self._move(root, folders[root], names[root])
                note_sums(self._tree, self._sums, sums, left_out)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._tree.remove_all(self._landing)
        self._open.close()

    def _complete(self, listing: Listing, sums: Mapping[str, str], links: Mapping[str, str]) -> None:
        """Make the landing folder the image of ``local``: add folders and links, remove unverified files."""
        for name in self._begun - sums.keys():
            self._there.remove(name)
        for name in listing.folders:
            self._there.make_folder(name)
        for name, inner in links.items():
            self._there.link(name, inner)

    def _move(self, root: str, folders: list[str], names: list[str]) -> None:
        """Move one root: in one step if its name is free, else path by path."""
        if self._there.status(root) is None:
            return
        target = f"{self._name}/{root}"
        if self._tree.status(target) is None:
            self._there.move(root, self._tree, target)
            return
        for name in folders:
            self._tree.make_folder(f"{self._name}/{name}")
        for name in names:
            if self._there.status(name) is not None:
                self._there.move(name, self._tree, f"{self._name}/{name}")


def _by_root(listing: Listing, names: Iterable[str]) -> Mapping[str, list[str]]:
    by_root: dict[str, list[str]] = defaultdict(list)
    if len(listing.roots) == 1 and not listing.is_inside:
        by_root[listing.roots[0]].extend(names)
        return by_root
    for name in names:
        # Inside one folder, links may lead anywhere in it, so it is one root for them; but its entries are
        # moved singly.
        root = name.partition("/")[0] if listing.is_inside else listing.root_of(name)
        by_root[root].append(name)
    return by_root

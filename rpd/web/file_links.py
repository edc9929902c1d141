"""Links of a page to the files of a node: only those that are safe to follow, and pictures."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from rpd.disk.safe_tree import Tree
from rpd.values.report import NodeReport
from rpd.web.clean import Clean

MOST_FILES = 200
"""Files of one node that are listed."""
MOST_PICTURE_BYTES = 512 << 10
MOST_PICTURES_BYTES = 8 << 20
"""Of all pictures in one page."""
_DEEPEST = 12

SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
"""Kinds of pictures that are shown, by how their files begin. SVG is none of them: it is a document that can act."""
PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_TEXTS = {".txt", ".log", ".csv", ".tsv", ".json", ".jsonl", ".toml", ".yaml", ".yml", ".md"}
_PASSIVE = {*PICTURES, *_TEXTS, ".pdf", ".npz"}
"""Files that a browser shows or saves. Of any other, an HTML page above all, only the path is shown: it came from a
pod, and opened by its link it would be a program on your disk."""


def is_picture(data: bytes, kind: str) -> bool:
    """Return whether a file begins as its kind of picture does."""
    return data.startswith(SIGNATURES[kind]) and (kind != "image/webp" or data[8:12] == b"WEBP")


Address: TypeAlias = "Callable[[Path, str], str]"


def absolute(folder: Path, name: str) -> str:
    """Return the address of a file on this disk."""
    return (folder / name).absolute().as_uri()


def from_file(page: Path) -> Address:
    """Return a function that makes addresses relative to the page.

    Absolute ones if the page is not a regular file.
    """
    if page.exists() and not page.is_file():
        return absolute

    def address(folder: Path, name: str) -> str:
        try:
            return quote(Path(os.path.relpath(folder / name, page.parent)).as_posix())
        except ValueError:  # on another drive
            return absolute(folder, name)

    return address


class Gallery:
    """Lists the artifacts of nodes for one page; ``address`` makes one of a node's folder and a name below it."""

    def __init__(self, clean: Clean, address: Address) -> None:
        self._clean = clean
        self._address = address
        self._left = MOST_PICTURES_BYTES

    def artifacts(self, report: NodeReport) -> list[dict[str, Any]]:
        """Return the files below ``artifacts`` of a node, with their size, and a link or a picture where it may be."""
        folder = Path(report.folder)
        artifacts: list[dict[str, Any]] = []
        if not report.folder or not report.artifacts:
            return artifacts
        with suppress(OSError), closing(Tree(folder)) as tree:
            for name, size in _files(folder, "artifacts"):
                if len(artifacts) == MOST_FILES:
                    break
                artifacts.append(self._file(tree, folder, name, size))
        return artifacts

    def _file(self, tree: Tree, folder: Path, name: str, size: int) -> dict[str, Any]:
        fields: dict[str, Any] = {"name": self._clean.text(name.partition("/")[2]), "bytes": size}
        suffix = Path(name).suffix.lower()
        if suffix in _PASSIVE and self._clean.text(folder / name) == str(folder / name):
            fields["href"] = self._address(folder, name)
        kind = PICTURES.get(suffix)
        if kind is not None and size <= min(MOST_PICTURE_BYTES, self._left):
            with suppress(OSError), tree.read(name) as file:
                data = file.read(MOST_PICTURE_BYTES + 1)
                if len(data) <= MOST_PICTURE_BYTES and is_picture(data, kind):
                    fields["picture"] = f"data:{kind};base64,{base64.b64encode(data).decode()}"
                    self._left -= len(data)
        return fields


def _files(folder: Path, below: str, depth: int = 0) -> Iterator[tuple[str, int]]:
    """Yield the regular files below a folder, by their path in it, with their size; no link is followed."""
    try:
        with os.scandir(folder / below) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        name = f"{below}/{entry.name}"
        with suppress(OSError):
            if entry.is_file(follow_symlinks=False):
                yield name, entry.stat(follow_symlinks=False).st_size
            elif entry.is_dir(follow_symlinks=False) and depth < _DEEPEST:
                yield from _files(folder, name, depth + 1)

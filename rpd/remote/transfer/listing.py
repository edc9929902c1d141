"""The files, folders and links at a path or glob on the pod, by name."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec

from rpd.errors import TransferError
from rpd.remote.shell import Program, Shell, with_arguments
from rpd.remote.transfer.globs import glob_words, is_glob, split_glob
from rpd.remote.transfer.paths import is_below
from rpd.remote.transfer.patience import SHORT_SECONDS
from rpd.remote.transfer.start_marks import mark_path
from rpd.values.frozen import frozen

MOST_LISTED_BYTES = 64 << 20
MOST_LISTED = 1_000_000
"""Limit of a listing: a pod must not be able to fill this machine's memory."""

_MOST_FOLLOWED = 40
"""A link that leads through more links than this counts as a loop, as in Linux."""
_MOST_STEPS = 5_000_000
"""After this many steps through links in total, the remaining links count as leading out."""
_LONGEST_TARGET = 4096

# Names are ./name and end with NUL; a word that is not a name announces the kind of the names after it. GNU find
# says the kind of each name before it, in one letter, and goes through the tree only once. A link is followed by
# its target, after the kind of what that is. A file with exactly the time of the mark (_rpd_mark) is neither newer
# nor older for test, but "not newer" for find.
_LIST = r"""
cd -- "$1" 2>/dev/null || { printf 'END\0'; exit 0; }
_rpd_gnu=
if find --version 2>/dev/null | grep -q GNU; then _rpd_gnu=yes; fi
_rpd_list() {
  printf 'ROOT\0%s\0' "$1"
  if [ -d "$1" ] && [ -n "$_rpd_gnu" ]; then
    find "$1/" -type l -printf 'l%p\0%Y%l\0' -o -printf '%y%p\0'
    _rpd_older "$1/"
  elif [ -d "$1" ]; then
    printf 'FOLDERS\0'; find "$1/" -type d -print0
    printf 'FILES\0'; find "$1/" -type f -print0
    _rpd_older "$1/"
    printf 'LINKS\0'; find "$1/" -type l -exec sh -c 'for _rpd_link do
      if [ -f "$_rpd_link" ]; then _rpd_kind=f; else _rpd_kind=x; fi
      printf "%s\0%s%s\0" "$_rpd_link" "$_rpd_kind" "$(readlink "$_rpd_link")"
    done' sh {} +
    printf 'OTHERS\0'; find "$1/" ! -type d ! -type f ! -type l -print0
  elif [ -L "$1" ] && [ -f "$1" ]; then printf 'LINKS\0%s\0f%s\0' "$1" "$(readlink "$1")"
  elif [ -f "$1" ]; then printf 'FILES\0%s\0' "$1"; _rpd_older "$1"
  elif [ ! -L "$1" ]; then printf 'OTHERS\0%s\0' "$1"; fi
}
_rpd_older() {
  if [ -z "$_rpd_mark" ] || [ ! -e "$_rpd_mark" ]; then return; fi
  printf 'OLDER\0'; find "$1" -type f ! -newer "$_rpd_mark" -exec sh -c '
    _rpd_mark=$1; shift
    for _rpd_file do
      if [ "$_rpd_file" -ot "$_rpd_mark" ]; then printf "%s\0" "$_rpd_file"; fi
    done' sh "$_rpd_mark" {} +
}
"""


@frozen
class Link:
    """A symbolic link on the pod: its target, as written, and whether that leads to a file."""

    target: str
    is_file: bool


@dataclass(slots=True, kw_only=True)
class Listing:
    """The files at a path, by names relative to the folder of the roots."""

    base: str
    roots: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)
    older: set[str] = field(default_factory=set)
    """Files that are older than the given mark."""
    others: list[str] = field(default_factory=list)
    """FIFOs, sockets and devices, which are not fetched."""
    is_inside: bool = False
    """Whether this lists the inside of a folder: names are relative to it, and it is the root of all of them."""
    _folder_names: frozenset[str] | None = None
    _steps_left: int = _MOST_STEPS

    @property
    def is_one_folder(self) -> bool:
        """Whether the listing is one folder, rather than a file or the matches of a glob."""
        return len(self.roots) == 1 and self.roots[0] in self.folders

    def inside(self) -> Listing:
        """Return the contents of the one folder, by names relative to it."""
        (root,) = self.roots
        cut = len(root) + 1
        folders, files = (
            [name[cut:] for name in names if name != root] for names in (self.folders, self.files)
        )
        links = {name[cut:]: link for name, link in self.links.items()}
        return Listing(
            base=posixpath.join(self.base, root),
            roots=sorted({name.partition("/")[0] for name in (*folders, *files, *links)}),
            folders=folders,
            files=files,
            links=links,
            older={name[cut:] for name in self.older},
            others=[name[cut:] for name in self.others],
            is_inside=True,
        )

    def without(self, exclude: Sequence[str]) -> Listing:
        """Return the listing without matches of the rules (as in ``.gitignore``, relative to each root)."""
        if not exclude:
            return self
        spec = GitIgnoreSpec.from_lines(exclude)
        roots = frozenset(self.roots)

        def keep(name: str, end: str = "") -> bool:
            inner = name[len(self.root_of(name)) :].lstrip("/") or posixpath.basename(name)
            return not spec.match_file(inner + end)

        return Listing(
            base=self.base,
            roots=self.roots,
            folders=[
                name for name in self.folders if (name in roots and not self.is_inside) or keep(name, "/")
            ],
            files=[name for name in self.files if keep(name)],
            links={name: link for name, link in self.links.items() if keep(name)},
            others=[name for name in self.others if keep(name)],
            is_inside=self.is_inside,
        )

    def root_of(self, name: str) -> str:
        """Return the root that a name is or lies below; all roots have the same depth."""
        if self.is_inside:
            return ""
        if len(self.roots) == 1 and name.startswith(f"{self.roots[0]}/"):
            return self.roots[0]
        depth = self.roots[0].count("/") + 1
        return "/".join(name.split("/", depth)[:depth])

    def inner_target(self, name: str) -> str | None:
        """Return the target of a link as a relative path, if it is below the link's root; else None.

        The link is followed step by step through the links of the listing, as the system would: the text
        alone can mislead, since ``a/..`` is not here if ``a`` is a link. The returned path has no ``..``
        after a name, so that it stays inside whatever a later pull makes of the folders on its way.
        """
        root = self.root_of(name)
        end = None if name == root else self._end_of(name)
        if end is None or not is_below(end, root):
            return None
        return posixpath.relpath(f"/{end}", f"/{posixpath.dirname(name)}")

    def _end_of(self, name: str) -> str | None:
        """Return the end of a link as a name of this listing; a last part that is a link itself is not followed.

        Return None if it is outside, or if the link leads into a loop.
        """
        target = self._relative_target(name)
        if target is None:
            return None
        at = posixpath.dirname(name)
        left = target.split("/")[::-1]
        is_missing = False
        followed = 0
        while self._steps_left > 0:
            while left and left[-1] in ("", "."):
                left.pop()
            if not left:
                return at or None
            self._steps_left -= 1
            part = left.pop()
            if part == "..":
                if not at or is_missing:
                    return None
                at = posixpath.dirname(at)
                continue
            at = posixpath.join(at, part)
            if at in self.links and any(rest not in ("", ".") for rest in left):
                inner = self._relative_target(at)
                followed += 1
                if inner is None or followed > _MOST_FOLLOWED:
                    return None
                at, left = posixpath.dirname(at), [*left, *inner.split("/")[::-1]]
            else:
                is_missing = is_missing or not self._is_folder(at)
        return None

    def _relative_target(self, name: str) -> str | None:
        """Return a link's target as a path from the link's own folder; None if it leads out of ``base``."""
        target = self.links[name].target
        if not target or len(target) > _LONGEST_TARGET:
            return None
        if not target.startswith("/"):
            return target
        base = self.base if self.base.endswith("/") else f"{self.base}/"
        if not target.startswith(base):
            return None
        up = "../" * len(posixpath.dirname(name).split("/")) if posixpath.dirname(name) else ""
        return up + target[len(base) :]

    def _is_folder(self, name: str) -> bool:
        if self._folder_names is None:
            self._folder_names = frozenset(self.folders)
        return name in self._folder_names

    def check(self, requested: str, *, globbed: bool) -> None:
        """Refuse a listing that cannot be the answer to ``requested``, a name or a glob. Raise TransferError.

        Its names decide where files are written here.
        """
        for root in self.roots:
            if root != requested and not (globbed and _may_match(root, requested)):
                raise TransferError(f"the pod lists {root!r}, which was not requested: {requested!r}")
        roots = frozenset(self.roots)
        if not roots and (self.folders or self.files or self.links or self.others):
            raise TransferError("the pod lists files that were not requested")
        kinds: dict[str, str] = {}
        named = (
            ("folder", self.folders),
            ("file", self.files),
            ("link", self.links),
            ("device", self.others),
        )
        for kind, names in named:
            for name in names:
                if self.root_of(name) not in roots:
                    raise TransferError(f"the pod lists {name!r}, which is outside of the requested path")
                if kinds.setdefault(name, kind) != kind:
                    raise TransferError(f"the pod lists {name!r} both as a {kinds[name]} and as a {kind}")
        for folder, name in {name.rpartition("/")[0]: name for name in kinds}.items():
            if kinds.get(folder, "folder") != "folder":
                raise TransferError(f"the pod lists {name!r} below a {kinds[folder]}")


def list_files(shell: Shell, source: str, since: str = "") -> Listing:
    """Return the listing of ``source`` (absolute), and which files are older than the mark ``since``.

    Raise TransferError, Disconnected, DeadlinePassed.
    """
    base, pattern = split_glob(source)
    literal_base, literal = posixpath.split(source)
    lines = [f"_rpd_mark={mark_path(since) if since else ''}", _LIST]
    if pattern is None:
        lines.append(_list_literal(literal))
    else:
        # A file name may look like a glob.
        lines.append(
            f'if [ -e {shlex.quote(source)} ]; then printf "b\\0"; cd -- {shlex.quote(literal_base)} || exit 1; '
            f"{_list_literal(literal)}; else for _rpd_match in ./{glob_words(pattern)}; do "
            'if [ -e "$_rpd_match" ]; then _rpd_list "$_rpd_match"; fi; done; fi'
        )
    lines.append("printf 'END\\0'")
    script = with_arguments("\n".join(lines), base)
    ended = shell.exec(Program(script, timeout=SHORT_SECONDS * 5, most=MOST_LISTED_BYTES))
    if ended.stdout.count(b"\0") > MOST_LISTED:
        raise TransferError(
            f"{source} holds more than {MOST_LISTED:,} files: pull it in parts, or make one archive of it on the pod"
        )
    words = ended.stdout.decode("utf-8", "surrogateescape").split("\0")
    if words[-2:] != ["END", ""]:
        raise TransferError(f"{source} could not be listed: {ended.reason}")
    complaints = [
        line for line in ended.stderr.decode(errors="replace").splitlines() if line.startswith("find:")
    ]
    # Something that vanishes meanwhile is not there; something that cannot be read may be.
    if hidden := [line for line in complaints if "No such file" not in line]:
        raise TransferError(f"{source} could not be listed completely: {hidden[0]}")
    if words[0] == "b":
        base, words, pattern = literal_base, words[1:], None
    listing = _read_listing(base, words[:-2])
    listing.check(pattern or literal, globbed=pattern is not None)
    return listing


def _may_match(name: str, pattern: str) -> bool:
    """Return whether a glob may match ``name``: parts without a glob have to be equal."""
    parts, pattern_parts = name.split("/"), pattern.split("/")
    return len(parts) == len(pattern_parts) and all(
        part == pattern_part or is_glob(pattern_part)
        for part, pattern_part in zip(parts, pattern_parts, strict=True)
    )


def _list_literal(name: str) -> str:
    quoted = shlex.quote(f"./{name}")
    return f"if [ -e {quoted} ]; then _rpd_list {quoted}; fi"


_KINDS = {"d": "FOLDERS", "f": "FILES", "l": "LINKS"}


def _read_listing(base: str, words: Sequence[str]) -> Listing:
    listing = Listing(base=base)
    rest, kind = iter(words), ""
    for word in rest:
        if word[1:3] == "./":
            kind, word = _KINDS.get(word[0], "OTHERS"), word[1:]
        elif not word.startswith("./"):
            kind = word
            continue
        is_plain = "/." not in word[2:] and "//" not in word and len(word) > 2 and word[-1] != "/"
        name = word[2:] if is_plain and word[2] != "." else posixpath.normpath(word)
        if kind == "ROOT":
            listing.roots.append(name)
        elif kind == "FOLDERS":
            listing.folders.append(name)
        elif kind == "FILES":
            listing.files.append(name)
        elif kind == "OLDER":
            listing.older.add(name)
        elif kind == "OTHERS":
            listing.others.append(name)
        elif kind == "LINKS":
            target = next(rest, "")
            listing.links[name] = Link(target=target[1:], is_file=target.startswith("f"))
    return listing

"""What lies at a path or glob on the pod: files, folders and links by name."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec

from rpd.errors import TransferError
from rpd.remote.shell import Program, Shell, with_arguments
from rpd.remote.transfer.globs import glob_words, split_glob
from rpd.remote.transfer.marks import mark_path
from rpd.remote.transfer.paths import is_below
from rpd.remote.transfer.patience import SHORT_SECONDS

# Names are ./name and end with NUL; a word that is no name says what those after it are. Files of one moment with the
# mark (_rpd_mark) are neither newer nor older for test, but "not newer" for find.
_LIST = r"""
cd -- "$1" 2>/dev/null || { printf 'END\0'; exit 0; }
_rpd_list() {
  printf 'ROOT\0%s\0' "$1"
  if [ -d "$1" ]; then
    printf 'FOLDERS\0'; find "$1/" -type d -print0
    printf 'FILES\0'; find "$1/" -type f -print0
    _rpd_older "$1/"
    printf 'LINKS\0'; find "$1/" -type l -exec sh -c 'for _rpd_link do
      if [ -f "$_rpd_link" ]; then _rpd_kind=F; else _rpd_kind=x; fi
      printf "%s\0%s%s\0" "$_rpd_link" "$_rpd_kind" "$(readlink "$_rpd_link")"
    done' sh {} +
  elif [ -L "$1" ] && [ -f "$1" ]; then printf 'LINKS\0%s\0F%s\0' "$1" "$(readlink "$1")"
  elif [ -f "$1" ]; then printf 'FILES\0%s\0' "$1"; _rpd_older "$1"; fi
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link on the pod: where it points, as written, and whether that leads to a file."""

    target: str
    is_file: bool


@dataclass(slots=True, kw_only=True)
class Listing:
    """What is there, by names relative to the folder the roots are in."""

    base: str
    roots: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)
    older: set[str] = field(default_factory=set)
    """Files that are older than the mark that was given."""

    def without(self, exclude: Sequence[str]) -> Listing:
        """Return what the rules (as in ``.gitignore``, relative to each root) leave."""
        if not exclude:
            return self
        spec = GitIgnoreSpec.from_lines(exclude)

        def keep(name: str, end: str = "") -> bool:
            root = next((root for root in self.roots if is_below(name, root)), "")
            inner = name[len(root) :].lstrip("/") or posixpath.basename(name)
            return not spec.match_file(inner + end)

        return Listing(
            base=self.base,
            roots=self.roots,
            folders=[name for name in self.folders if name in self.roots or keep(name, "/")],
            files=[name for name in self.files if keep(name)],
            links={name: link for name, link in self.links.items() if keep(name)},
        )

    def inner_target(self, name: str) -> str | None:
        """Return the link's target as a relative path if it stays below the link's root, else None."""
        target = self.links[name].target
        absolute = posixpath.normpath(posixpath.join(self.base, posixpath.dirname(name), target))
        relative = posixpath.relpath(absolute, self.base)
        if name in self.roots:
            return None
        if not any(is_below(name, root) and is_below(relative, root) for root in self.roots):
            return None
        if not target.startswith("/"):
            return target
        return posixpath.relpath(absolute, posixpath.join(self.base, posixpath.dirname(name)))


def list_files(shell: Shell, source: str, since: str = "") -> Listing:
    """Return what is at ``source`` (absolute), and which of it is older than the mark ``since``.

    Raises TransferError, Disconnected, DeadlinePassed.
    """
    base, pattern = split_glob(source)
    literal_base, literal = posixpath.split(source)
    lines = [f"_rpd_mark={mark_path(since) if since else ''}", _LIST]
    if pattern is None:
        lines.append(_list_literal(literal))
    else:
        # A file may be called what looks like a glob.
        lines.append(
            f'if [ -e {shlex.quote(source)} ]; then printf "b\\0"; cd -- {shlex.quote(literal_base)} || exit 1; '
            f"{_list_literal(literal)}; else for _rpd_match in ./{glob_words(pattern)}; do "
            'if [ -e "$_rpd_match" ]; then _rpd_list "$_rpd_match"; fi; done; fi'
        )
    lines.append("printf 'END\\0'")
    script = with_arguments("\n".join(lines), base)
    ended = shell.exec(Program(script, timeout=SHORT_SECONDS * 5))
    words = ended.stdout.decode("utf-8", "surrogateescape").split("\0")
    if words[-2:] != ["END", ""]:
        raise TransferError(f"{source} could not be listed: {ended.reason}")
    complaints = [
        line for line in ended.stderr.decode(errors="replace").splitlines() if line.startswith("find:")
    ]
    # What vanishes while one looks is not there; what cannot be looked at may be.
    if hidden := [line for line in complaints if "No such file" not in line]:
        raise TransferError(f"{source} could not be listed whole: {hidden[0]}")
    if words[0] == "b":
        base, words = literal_base, words[1:]
    return _read_listing(base, words[:-2])


def _list_literal(name: str) -> str:
    quoted = shlex.quote(f"./{name}")
    return f"if [ -e {quoted} ]; then _rpd_list {quoted}; fi"


def _read_listing(base: str, words: Sequence[str]) -> Listing:
    listing = Listing(base=base)
    rest, kind = iter(words), ""
    for word in rest:
        if not word.startswith("./"):
            kind = word
            continue
        name = posixpath.normpath(word)
        if kind == "ROOT":
            listing.roots.append(name)
        elif kind == "FOLDERS":
            listing.folders.append(name)
        elif kind == "FILES":
            listing.files.append(name)
        elif kind == "OLDER":
            listing.older.add(name)
        elif kind == "LINKS":
            target = next(rest)
            listing.links[name] = Link(target=target[1:], is_file=target[0] == "F")
    return listing

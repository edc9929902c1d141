"""The staged local files: those that git would not ignore, in one fixed order.

Rules are read from ``.gitignore`` files (including those of the repository above the folder),
``.git/info/exclude``, then ``.rpdignore`` files, which have the last word in their folder. A rule in a deeper
folder wins over one above it; nothing below an ignored folder is looked at. Files that git tracks are never
ignored by its rules; ``.rpdignore`` and ``exclude`` apply to them too. Neither git nor a repository is
needed. Files of keys and passwords, tracked or not, are left out unless a rule names them. Run folders are
never staged.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rpd.errors import UsageError
from rpd.project.gitindex import git_folder, tracked_files
from rpd.project.keyfiles import is_key_file, is_key_folder
from rpd.user_text import read_text
from rpd.values.frozen import frozen
from rpd.values.mutable import fresh, mutable
from rpd.values.runfolder import is_run_folder

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NEVER_STAGED = frozenset({".git", "rpd-runs", ".rpd_cache", ".venv", "__pycache__"})
"""Names that are left out wherever they are."""

_LINES = 1000

RULE_FILES = (".gitignore", ".rpdignore")
"""Files of rules in a folder; what a later one says counts more."""


class Kind(StrEnum):
    """The kind of a staged path."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


_FILE, _FOLDER = Kind.FILE, Kind.FOLDER
"""Bound once: to look up a member of an enumeration takes long for something that is done for each file."""
_new = tuple.__new__
"""Makes one in half the time that its class takes."""


class StagedFile(NamedTuple):
    """One path to be sent: ``name`` is relative with ``/``, ``mode`` its permission bits, ``size`` in bytes.

    ``place`` is its local path. ``facts`` tell, without reading it, whether it is unchanged: its kind, the permission
    bits except of links, the target of a link, and of a file its size, times (ns) and inode, each after a space; these
    mean nothing on another machine.
    """

    name: str
    place: str
    kind: Kind
    mode: int
    size: int = 0
    target: str = ""
    mtime: int = 0
    facts: str = ""

    @property
    def path(self) -> Path:
        """The local path."""
        return Path(self.place)

    def is_now(self, status: os.stat_result) -> bool:
        """Return whether a file is unchanged since it was listed, judging by its current ``status``."""
        return _facts(status) == self.facts


@frozen
class Staging:
    """The staged files of a folder, and the key files in it that are not staged (see ``keyfiles``)."""

    files: list[StagedFile]
    withheld: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """The names that rules leave out; for a folder (``name/``) only its own name."""


def staged_files(root: Path, exclude: Sequence[str] = ()) -> list[StagedFile]:
    """Return the staged files of ``root``, as ``staging`` does."""
    return staging(root, exclude).files


def staging(root: Path, exclude: Sequence[str] = (), *, ignored: bool = False) -> Staging:
    """List the staged files of ``root``, a folder or one file, sorted by name; folders come before their contents.

    ``exclude`` holds further rules in the syntax of ``.gitignore``, relative to ``root``. With ``ignored``
    the rules of git do not count. Symbolic links are kept as links; sockets, devices and the like are left
    out, and so are files of keys and passwords unless a rule (``!NAME``) asks for them. Raise UsageError if
    ``root`` does not exist.
    """
    if not os.path.lexists(root):
        where = f" (relative to {Path.cwd()})" if not root.is_absolute() else ""
        raise UsageError(f"local path {root} does not exist{where}")
    if not root.is_dir():
        return Staging(files=[_named(root)])
    repository = _repository(root)
    outer = _outer_rules(root, repository) if repository and not ignored else ()
    last = (_Rules(base="", spec=_spec(exclude), is_git=False),) if exclude else ()
    tracked = _tracked(root, repository) if repository else frozenset()
    # If you send a folder of credentials by its name, you mean the files in it.
    rule_files = (".rpdignore",) if ignored else RULE_FILES
    walk = _Walk(last=last, tracked=tracked, rule_files=rule_files, withholds=not is_key_folder(root.name))
    walk.folder(str(root), "", outer, None)
    return Staging(
        files=walk.files,
        withheld=tuple(sorted(walk.withheld)),
        left_out=tuple(sorted(walk.left_out)),
    )


def tree_digest(entries: Iterable[tuple[StagedFile, str]]) -> str:
    """Return one sha256 for files with the sha256 of their contents: names, kinds, modes, link targets, contents."""
    return _digest_of(
        f"{file.name}\0{file.kind}\0{_octal(file.mode)}\0{file.target}\0{content}\0\n"
        for file, content in entries
    )


@cache
def _octal(mode: int) -> str:
    """Return permission bits as text; few differ, and to format those of each file takes half of a digest."""
    return f"{mode:o}"


def local_stamp(files: Iterable[StagedFile]) -> str:
    """Return one sha256 that changes when any of the files does, without reading them (as git and make decide)."""
    return _digest_of(f"{file.name}\0{file.facts}\0" for file in files)


def _digest_of(lines: Iterable[str]) -> str:
    """Return one sha256 of many short lines; they are joined, since each call costs more than it sums."""
    digest = hashlib.sha256()
    source = iter(lines)
    while some := "".join(islice(source, _LINES)):
        digest.update(some.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def content_digest(path: Path) -> str:
    """Return the sha256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@frozen
class _Rules:
    """The rules of one file; ``base`` is its folder, as a prefix of the names it decides on.

    For a folder above the root, ``above`` is the path from there to the root, and ``base`` is empty.
    ``is_git``: they do not hold for tracked files.
    """

    base: str
    spec: GitIgnoreSpec
    is_git: bool
    above: str = ""

    def decide(self, name: str) -> bool | None:
        """Return whether ``name`` (with a final ``/`` for a folder) is ignored; None if no rule matches it."""
        return self.spec.check_file(self.above + name[len(self.base) :]).include


def _decided(rules: Sequence[_Rules], name: str, *, is_tracked: bool) -> bool | None:
    """Return whether the rules ignore ``name``; None if none of them speaks of it."""
    for rule_set in reversed(rules):
        if is_tracked and rule_set.is_git:
            continue
        decision = rule_set.decide(name)
        if decision is not None:
            return decision
    return None


@mutable
class _Walk:
    """One walk over a tree: its tracked files, the rules with the last word, and the result so far.

    Paths are strings here: there may be thousands, and making a Path takes longer than looking at the file.
    """

    last: tuple[_Rules, ...]
    tracked: frozenset[str]
    rule_files: tuple[str, ...]
    withholds: bool
    files: list[StagedFile] = fresh(factory=list)
    withheld: list[str] = fresh(factory=list)
    left_out: list[str] = fresh(factory=list)

    def folder(self, place: str, prefix: str, rules: tuple[_Rules, ...], own: StagedFile | None) -> None:
        """Add the staged contents of the folder at ``place``; the names of its entries begin with ``prefix``.

        ``own`` is the folder itself, None for the root: a run folder is sent only if it is the root. Entries
        that vanish meanwhile are left out.
        """
        try:
            # Names below an open folder are found faster than whole paths.
            with _opened(place) as at, os.scandir(at) as scanned:
                entries = {entry.name: entry for entry in scanned}
                for never in NEVER_STAGED & entries.keys():
                    del entries[never]
                if own is not None:
                    if is_run_folder(os.path.basename(place), entries.keys()):  # noqa: PTH119
                        return
                    self.files.append(own)
                if not entries.keys().isdisjoint(self.rule_files):
                    rules = (*rules, *_own_rules(Path(place), prefix, names=self.rule_files))
                found = self._found(place, prefix, entries, (*rules, *self.last))
        except (FileNotFoundError, NotADirectoryError):
            if own is None:
                raise UsageError(f"local path {place} disappeared while it was read") from None
            return
        except OSError as error:
            raise UsageError(f"{place}: cannot be read, so it cannot be sent: {error.strerror}") from error
        for file in found:
            if file.kind is _FOLDER:
                self.folder(file.place, f"{file.name}/", rules, file)
            else:
                self.files.append(file)

    def _found(
        self, place: str, prefix: str, entries: Mapping[str, os.DirEntry[str]], rules: tuple[_Rules, ...]
    ) -> list[StagedFile]:
        """Return the entries of a folder that are staged, by name."""
        found = []
        withholds, decided = self.withholds, None
        for own_name in sorted(entries):  # there may be many: only a few steps for each
            entry = entries[own_name]
            own_place, name = f"{place}/{own_name}", prefix + own_name
            is_folder = entry.is_dir(follow_symlinks=False)
            if rules:
                rule_name = f"{name}/" if is_folder else name
                decided = _decided(rules, rule_name, is_tracked=rule_name in self.tracked)
                if decided:
                    self.left_out.append(rule_name)
                    continue
            is_file = not is_folder and entry.is_file(follow_symlinks=False)
            if not (is_folder or is_file or entry.is_symlink()):
                continue
            if withholds and decided is None:
                holds_keys = (
                    is_key_file(own_name, own_place) if is_file else is_folder and is_key_folder(own_name)
                )
                if holds_keys:
                    self.withheld.append(f"{name}/" if is_folder else name)
                    continue
            try:
                found.append(_staged(name, own_place, entry.stat(follow_symlinks=False)))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise UsageError(
                    f"{own_place}: cannot be read, so it cannot be sent: {error.strerror}"
                ) from error
        return found


@contextmanager
def _opened(place: str) -> Iterator[int | str]:
    """Open a folder, as a descriptor; on Windows, which has none of folders, it is the place itself."""
    if os.scandir not in os.supports_fd:
        yield place
        return
    at = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield at
    finally:
        os.close(at)


def _named(path: Path) -> StagedFile:
    """Return the file that the user named; a link is followed. Raise UsageError if it cannot be read."""
    try:
        return _staged(path.name, str(path), path.stat())
    except OSError as error:
        raise UsageError(f"local path {path}: {error.strerror}") from error


def _staged(name: str, place: str, status: os.stat_result) -> StagedFile:
    if stat.S_ISREG(status.st_mode):  # nearly all of them
        mode, size, mtime = status.st_mode & 0o777, status.st_size, int(status.st_mtime)
        return _new(StagedFile, (name, place, _FILE, mode, size, "", mtime, _facts(status)))
    is_link, is_folder = stat.S_ISLNK(status.st_mode), stat.S_ISDIR(status.st_mode)
    mode, target = status.st_mode & 0o777, os.readlink(place) if is_link else ""  # noqa: PTH115
    return StagedFile(
        name=name,
        place=place,
        kind=Kind.LINK if is_link else Kind.FOLDER if is_folder else Kind.FILE,
        mode=0o777 if is_link else mode,
        size=0 if is_link or is_folder else status.st_size,
        target=target,
        mtime=int(status.st_mtime),
        # A folder's times change with ignored files in it; its names are listed anyway.
        facts=f"l{target}" if is_link else f"d{mode:o}" if is_folder else _facts(status),
    )


def _facts(status: os.stat_result) -> str:
    """Return the facts on a file."""
    mode, size = _octal(status.st_mode & 0o777), status.st_size
    return f"f{mode} {size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _own_rules(
    folder: Path, base: str, above: str = "", names: Sequence[str] = RULE_FILES
) -> tuple[_Rules, ...]:
    rules = ((_read_rules(folder / name), name == ".gitignore") for name in names)
    return tuple(
        _Rules(base=base, spec=spec, above=above, is_git=is_git) for spec, is_git in rules if spec is not None
    )


def _read_rules(path: Path) -> GitIgnoreSpec | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None  # git, too, takes no rules from a folder; a FIFO would be waited for
        text = read_text(path, errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise UsageError(f"{path}: cannot read the rules for what is not sent: {error.strerror}") from error
    return _spec(text.splitlines())


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # loading it takes longer than most projects take to read

    return GitIgnoreSpec.from_lines(lines)


def _repository(root: Path) -> Path | None:
    absolute = root.absolute()
    return next((at for at in (absolute, *absolute.parents) if (at / ".git").exists()), None)


def _tracked(root: Path, repository: Path) -> frozenset[str]:
    """Return the tracked files below ``root``, relative to it, and their folders (with a final ``/``)."""
    prefix = "".join(f"{part}/" for part in root.absolute().relative_to(repository).parts)
    below = [name[len(prefix) :] for name in tracked_files(repository) if name.startswith(prefix)]
    return frozenset(below).union(f"{folder}/" for name in below for folder in _folders(name))


def _folders(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _outer_rules(root: Path, repository: Path) -> tuple[_Rules, ...]:
    """Return the rules above ``root`` in its repository, outermost first; none if they ignore ``root`` itself.

    Somebody who names an ignored folder (``data/``) wants it sent.
    """
    rules: list[_Rules] = []
    exclude = _read_rules(git_folder(repository) / "info" / "exclude")
    steps = root.absolute().relative_to(repository).parts
    whole = "".join(f"{step}/" for step in steps)
    if exclude is not None:
        rules.append(_Rules(base="", spec=exclude, above=whole, is_git=True))
    for depth in range(len(steps)):
        folder = repository.joinpath(*steps[:depth])
        rules += _own_rules(folder, "", above="".join(f"{step}/" for step in steps[depth:]))
    return () if _names_ignored(rules, steps) else tuple(rules)


def _names_ignored(rules: Sequence[_Rules], steps: Sequence[str]) -> bool:
    """Return whether the rules ignore the root they lead to, or a folder above it."""
    for depth in range(1, len(steps) + 1):
        below = len("".join(f"{step}/" for step in steps[depth:]))
        for rule_set in reversed(rules):
            name = rule_set.above[: len(rule_set.above) - below] if below else rule_set.above
            decision = rule_set.spec.check_file(name).include if name else None
            if decision is not None:
                if decision:
                    return True
                break
    return False

"""Arguments of the command line as targets: a path and, for a node id, the name in that file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rpd.errors import UsageError
from rpd.values.frozen import frozen


@frozen
class Target:
    """A folder, a file, or in a file the job (``train``) or node (``train[seed42]``) that one argument names.

    ``text`` is the argument as typed; ``name`` is empty for a whole path.
    """

    path: Path
    name: str = ""
    text: str = ""

    def within(self) -> Iterator[tuple[Path, str]]:
        """Yield path and name of every target that would include all of this one, and more."""
        job, bracket, _ = self.name.partition("[")
        if bracket:
            yield self.path, job
        if self.name:
            yield self.path, ""
        yield from ((folder, "") for folder in self.path.parents)

    def wants(self, job: str, node_name: str) -> bool:
        """Return whether this target includes the node ``node_name`` of the function ``job``."""
        if self.name in ("", job, node_name):
            return True
        # Ids contain characters beyond ASCII as escapes; users may type the characters themselves.
        return not self.name.isascii() and self.name.encode("unicode_escape") == node_name.encode(
            "unicode_escape"
        ).replace(b"\\\\", b"\\")


def read_targets(
    args: Sequence[str], *, deploypaths: Sequence[str], rootdir: Path, invocation_dir: Path
) -> tuple[Target, ...]:
    """Return the targets of ``args``; without any, those of ``deploypaths`` if rpd runs in the root folder.

    Raise UsageError that names every argument that does not exist.
    """
    texts = list(_expand_files(args, invocation_dir))
    if texts:
        return _parse_all(texts, invocation_dir)
    if deploypaths and invocation_dir == rootdir:
        return tuple(target for entry in deploypaths for target in _deploypath(entry, rootdir))
    return (Target(path=invocation_dir),)


def widest(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return the targets that no other one includes, in their order; of equal ones the first."""
    all_targets = {(target.path, target.name) for target in targets}
    kept = {
        (target.path, target.name): target
        for target in reversed(targets)
        if all_targets.isdisjoint(target.within())
    }
    return tuple(target for target in targets if kept.get((target.path, target.name)) is target)


def _expand_files(args: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield the arguments, with each ``@file`` replaced by the lines of that file."""
    for arg in args:
        if not arg.startswith("@"):
            yield arg
            continue
        from rpd.user_text import read_text  # few invocations name such a file

        try:
            text = read_text(folder / arg[1:])
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{arg}: cannot read arguments from this file: {error}") from error
        yield from (line.strip() for line in text.splitlines() if line.strip())


def _parse_all(texts: Sequence[str], folder: Path) -> tuple[Target, ...]:
    targets = []
    problems = []
    for text in texts:
        try:
            targets.append(parse_target(text, folder))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return tuple(targets)


def parse_target(text: str, folder: Path) -> Target:
    """Return the target of one argument, relative to ``folder``. Raise UsageError."""
    whole = absolute(text, folder)
    if _exists(whole):
        return Target(path=whole, text=text)
    base, bracket, case = text.partition("[")
    file, separator, name = base.partition("::")
    path = absolute(file, folder)
    if not _exists(path):
        by_name = f" (-k {text} selects nodes by their names)" if text.isidentifier() else ""
        raise UsageError(f"file or directory not found: {text}{by_name}")
    if not separator:
        raise UsageError(f"path cannot contain [] parametrization: {text}")
    if path.is_dir():
        raise UsageError(f"directory argument cannot contain :: : {text}")
    return Target(path=path, name=f"{name}{bracket}{case}", text=text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for any file
        return False


def absolute(text: str, folder: Path) -> Path:
    """Return ``text`` as an absolute path; ``..`` is resolved by name, links are kept."""
    return Path(os.path.normpath(folder / text))


def _deploypath(entry: str, rootdir: Path) -> Iterator[Target]:
    path = absolute(entry, rootdir)
    paths = [path] if path.exists() else sorted(rootdir.glob(entry))
    if not paths:
        raise UsageError(f"deploypaths: {entry!r} matches nothing in {rootdir}")
    yield from (Target(path=each, text=entry) for each in paths)

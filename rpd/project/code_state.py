"""Which code runs: commit, uncommitted changes and lock file of a project folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rpd.events import Events
from rpd.project.keyfiles import is_key_path
from rpd.project.owner import tidy
from rpd.redaction import Redactor
from rpd.threads import begun
from rpd.values.frozen import frozen, replace
from rpd.values.report import SourceRecord
from rpd.values.size import format_size

LOCK_FILES = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt")
GIT_SECONDS = 20.0
LARGEST_FILE = 1 << 20
"""Bytes. Git does not know a larger file for a reason: it is data, and no line of it was the code that ran."""
LARGEST_DIFF = 16 << 20
"""Bytes that the files of a saved diff may have in all."""


class Sources:
    """Source records of a run, one for each project folder; diffs are saved in the run folder. Thread-safe.

    Secrets in a diff are masked; a notice names the files that a diff leaves out, or says that it could not
    be saved. git is called with the environment of the moment this object is made, since jobs may change
    theirs.
    """

    def __init__(self, run_folder: Path, redactor: Redactor, events: Events) -> None:
        self._folder = run_folder
        self._redactor = redactor
        self._events = events
        self._git = Git()
        self._lock = threading.Lock()
        self._known: dict[Path, SourceRecord] = {}

    def of(self, project: Path) -> SourceRecord:
        """Return the record of the code in ``project``; its fields are empty outside git."""
        with self._lock:
            if project not in self._known:
                self._known[project] = self._read(project)
            return self._known[project]

    def read_ahead(self, projects: Iterable[Path]) -> None:
        """Begin to read the code as it is now, on a thread: by the time a node ends it may have been edited."""
        folders = list(dict.fromkeys(projects))
        begun(lambda: [self.of(project) for project in folders], name="rpd-source")

    def _read(self, project: Path) -> SourceRecord:
        plain = SourceRecord(lock_file_sha256=lock_file_sha256(project), lock_file=lock_file(project))
        try:
            changes = _Changes.of(project, self._folder.parent, self._git, self._redactor)
        except OSError as error:
            self._events.notice(f"cannot read the uncommitted changes of {project}: {error}")
            return plain
        if self._git.waits_in(project):  # a part of the changes would pass for all of them
            self._events.notice(f"git does not answer in {project}: the record of this run names no commit")
            return plain
        if changes is None:
            return plain
        record = replace(
            plain,
            git_sha=changes.sha,
            branch=changes.branch,
            author=author(project, self._git),
            dirty=changes.is_dirty,
            diff_left_out=changes.left_out,
        )
        if changes.left_out:
            self._events.notice(
                f"the saved diff of {project} leaves out {_in_short(changes.left_out)}: their content is not in the "
                "record of this run"
            )
        return replace(record, diff_file=self._save(changes.diff)) if changes.diff else record

    def _save(self, diff: bytes) -> str:
        name = f"source-{hashlib.sha256(diff).hexdigest()[:12]}.diff"
        try:
            (self._folder / name).write_bytes(self._redactor.raw(diff))
        except OSError as error:
            self._events.notice(
                f"cannot save the uncommitted changes in {self._folder / name}: {error.strerror}"
            )
            return ""
        return name


class Git:
    """The git of this machine, with the environment of the moment this object is made.

    One that did not answer in time, as on a network drive that is gone, is not asked again.
    """

    def __init__(self) -> None:
        self._program = shutil.which("git")
        self._environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        self._is_stuck = False

    def waits_in(self, folder: Path) -> bool:
        """Return whether git does not answer, or would wait for the writer of a pipe that is named like its rules."""
        places = (folder, *folder.parents)
        return self._is_stuck or any((place / ".gitignore").is_fifo() for place in places)

    def __call__(
        self, folder: Path, *arguments: str, stdin: bytes = b"", more: Mapping[str, str] | None = None
    ) -> bytes | None:
        """Return the output of ``git arguments`` in ``folder``; None if git is missing or fails."""
        if self._program is None:
            return None
        if self.waits_in(folder):
            return None
        import subprocess

        try:
            done = subprocess.run(
                [self._program, "-C", str(folder), *arguments],
                input=stdin,
                capture_output=True,
                timeout=GIT_SECONDS,
                check=False,
                env={**self._environ, **(more or {})},
            )
        except subprocess.TimeoutExpired:
            self._is_stuck = True
            return None
        except OSError:
            return None
        return done.stdout if done.returncode == 0 else None


@frozen
class _Changes:
    """The changes of a project folder since its commit, without rpd's own output."""

    sha: str
    branch: str
    is_dirty: bool
    diff: bytes
    left_out: tuple[str, ...]
    """Changed files that are not in the diff, each with the reason in parentheses."""

    @classmethod
    def of(cls, project: Path, runs_path: Path, git: Git, redactor: Redactor) -> _Changes | None:
        """Return the changes; None if the folder is not under git or has no commit."""
        below = ["--", ".", *_not_ours(project, runs_path)]
        sha, branch = _head(project, git)
        tracked = git(project, "diff", "HEAD", "--name-only", "--relative", "-z", *below) if sha else None
        if tracked is None:
            return None
        new = git(project, "ls-files", "--others", "--exclude-standard", "-z", *below) or b""
        status = git(project, "status", "--porcelain", *below)
        chosen, left_out = _choose(project, _names(tracked), _names(new), redactor)
        return cls(
            sha=sha,
            branch=branch,
            is_dirty=bool(status and status.strip()),
            diff=_diff(project, chosen, frozenset(_names(new)), git),
            left_out=left_out,
        )


def _not_ours(project: Path, runs_path: Path) -> list[str]:
    """Return the pathspec that leaves the runs folder out, also one that was made before it ignored itself."""
    if runs_path.is_relative_to(project) and runs_path != project:
        return [f":(exclude){runs_path.relative_to(project).as_posix()}"]
    return []


def _names(listed: bytes) -> list[str]:
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def _choose(
    project: Path, tracked: Sequence[str], new: Sequence[str], redactor: Redactor
) -> tuple[list[str], tuple[str, ...]]:
    """Return the changed files that belong in the diff, and those left out with the reason."""
    chosen, left_out, room = [], [], LARGEST_DIFF
    is_new = frozenset(new)
    for name in sorted({*tracked, *new}):
        size = _size(project / name)
        why = _why_not(project / name, name, size, redactor, may_be_large=name not in is_new)
        if not why and size > room:
            why = f"more than {format_size(LARGEST_DIFF)} of changes"
        if why:
            left_out.append(f"{name} ({why})")
        else:
            room -= size
            chosen.append(name)
    return chosen, tuple(left_out)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # deleted: the diff says so


def _why_not(path: Path, name: str, size: int, redactor: Redactor, *, may_be_large: bool) -> str:
    """Return why a changed file stays out of the diff; empty if it belongs in it."""
    if is_key_path(name):
        return "may hold secrets"
    if size > (LARGEST_DIFF if may_be_large else LARGEST_FILE):
        return format_size(size)
    try:
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    # git writes a binary file compressed, where no secret can be found and masked.
    return "holds a secret" if b"\0" in content and redactor.raw(content) != content else ""


def _diff(project: Path, names: Sequence[str], new: frozenset[str], git: Git) -> bytes:
    """Return the diff of the named files against the commit, those that git does not know yet as new ones."""
    if not names:
        return b""
    with _own_index(project, git) as place:
        added = [name for name in names if name in new]
        spec = ["--pathspec-from-file=-", "--pathspec-file-nul"]
        literal = {**place, "GIT_LITERAL_PATHSPECS": "1"}
        if added and git(project, "add", "-N", *spec, stdin=_listed(added), more=literal) is None:
            names = [name for name in names if name not in new]
        parts = (
            git(project, "diff", "HEAD", "--binary", "--", *batch, more=literal) for batch in _batches(names)
        )
        return b"".join(part for part in parts if part)


def _listed(names: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(name) + b"\0" for name in names)


def _batches(names: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Yield the names in lists that fit on a command line: `git diff` reads none from a file."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


@contextmanager
def _own_index(project: Path, git: Git) -> Iterator[dict[str, str]]:
    """Yield the environment in which git may note new files without touching the user's repository."""
    answer = git(
        project, "rev-parse", "--path-format=absolute", "--git-path", "index", "--git-path", "objects"
    )
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rpd-git-") as folder:
        index, _, objects = (os.fsdecode(answer) if answer else "").strip().partition("\n")
        own = Path(folder) / "index"
        if index and Path(index).is_file():
            # With its time, which tells git which files may have changed right after it.
            shutil.copy2(index, own)
        yield {
            "GIT_INDEX_FILE": str(own),
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
        }


def _in_short(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _head(project: Path, git: Git) -> tuple[str, str]:
    """Return the commit and the branch of a project folder; empty without one."""
    answer = git(project, "rev-parse", "HEAD", "--abbrev-ref", "HEAD") or b""
    sha, _, branch = answer.decode(errors="replace").strip().partition("\n")
    return sha, "" if branch == "HEAD" else branch


def author(project: Path, git: Git) -> str:
    """Return the author whom git would name in a commit in ``project``, as ``Name <address>``; empty if unset."""
    answer = git(project, "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT") or b""
    return tidy(answer.decode(errors="replace").rpartition(">")[0] + ">") if b">" in answer else ""


def state(project: Path) -> tuple[str, str, bool]:
    """Return commit and branch of a project folder, and whether it has changes; empty without a commit."""
    git = Git()
    sha, branch = _head(project, git)
    status = git(project, "status", "--porcelain", "--", ".") if sha else None
    return sha, branch, bool(status and status.strip())


def lock_file(project: Path) -> str:
    """Return the name of the project's lock file: the first of LOCK_FILES, empty without one."""
    return next((name for name in LOCK_FILES if (project / name).is_file()), "")


def lock_file_sha256(project: Path) -> str:
    """Return the sha256 of the project's lock file, empty without one."""
    name = lock_file(project)
    with suppress(OSError):  # it may be unreadable, or vanish meanwhile
        if name:
            return hashlib.sha256((project / name).read_bytes()).hexdigest()
    return ""

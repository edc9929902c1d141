"""Another tree: checks the project out at a commit, and collects the fingerprints of its nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import rpd
from rpd.errors import RpdError, UsageError
from rpd.values.frozen import frozen

SNAPSHOT = "--snapshot"
"""The flag with which rpd calls itself in the other tree."""
_GIT_SECONDS = 300.0
_DRY_RUN_SECONDS = 1800.0


@frozen
class OtherTree:
    """The nodes at a commit; ``errors`` of files that cannot be collected there."""

    ref: str
    commit: str
    fingerprints: Mapping[str, Mapping[str, str]]
    errors: tuple[str, ...] = ()


def other_tree(ref: str, folder: Path, flags: Sequence[str], args: Sequence[str]) -> OtherTree:
    """Return the nodes at ``ref``, collected from the same folder, with the same flags and arguments.

    Arguments that do not exist there are left out. Raise UsageError for a commit that git does not know here.
    """
    top = _top(folder)
    commit = _commit(ref, folder)
    with _checked_out(top, commit) as tree:
        there = tree / folder.relative_to(top)
        # A node that is named may be new; its file is asked for, and who asks picks the nodes.
        paths = dict.fromkeys(text.partition("::")[0] for text in args)
        present = [path for path in paths if (there / path).exists()]
        if not there.is_dir() or (args and not present):
            return OtherTree(ref=ref, commit=commit, fingerprints={})
        return _snapshot(ref, commit, there, flags, present)


def _snapshot(ref: str, commit: str, folder: Path, flags: Sequence[str], args: Sequence[str]) -> OtherTree:
    paths = [str(Path(rpd.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    words = [sys.executable, "-P", "-m", "rpd", "plan", SNAPSHOT, *flags, *args]
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DRY_RUN_SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout)
        return OtherTree(
            ref=ref, commit=commit, fingerprints=answer["fingerprints"], errors=tuple(answer["errors"])
        )
    except subprocess.TimeoutExpired:
        raise RpdError(f"{ref}: the dry run of its nodes took longer than {_DRY_RUN_SECONDS:g} s") from None
    except (ValueError, KeyError, TypeError):
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise RpdError(f"{ref}: cannot list its nodes there:\n{said}") from None


@contextmanager
def _checked_out(top: Path, commit: str) -> Iterator[Path]:
    """Yield a copy of the repository at a commit: a clone that borrows its objects, so that nothing of it changes."""
    with tempfile.TemporaryDirectory(prefix="rpd-plan-") as place:
        tree = Path(place).resolve() / top.name
        _git(top, "clone", "--quiet", "--shared", "--no-checkout", "--template=", str(top), str(tree))
        _git(tree, "checkout", "--quiet", "--detach", commit)
        yield tree


def _top(folder: Path) -> Path:
    text = _git(folder, "rev-parse", "--show-toplevel", may_fail=True)
    if not text:
        raise UsageError(f"--against: {folder} is not in a git repository")
    return Path(text).resolve()


def _commit(ref: str, folder: Path) -> str:
    commit = _git(
        folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", may_fail=True
    )
    if not commit:
        raise UsageError(
            f"--against {ref}: git has no such commit here; fetch it first (in GitHub's actions/checkout: "
            "fetch-depth: 0)"
        )
    return commit


def _git(folder: Path, *words: str, may_fail: bool = False) -> str:
    """Return the output of git, run without its hooks. Raise UsageError if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--against needs git: {error}") from None
    if done.returncode == 0:
        return done.stdout.decode(errors="surrogateescape").strip()
    if may_fail:
        return ""
    raise UsageError(f"git {words[0]}: {done.stderr.decode(errors='replace').strip()}")

"""The places of a run's files: every file and folder name that rpd chooses."""

from __future__ import annotations

import contextlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from rpd.errors import UsageError
from rpd.journal import journal
from rpd.journal.series import SERIES_FILE
from rpd.values.frozen import frozen
from rpd.values.late_pattern import late_pattern
from rpd.values.node import Node

LONGEST_NAME = 100
ARTIFACTS = "artifacts"
"""What was pulled, in the folder of a node."""
LATEST = "latest"
"""The pointer to the newest run, in the folder of runs."""
_RUN_ID = late_pattern(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_UNSAFE = late_pattern(r"[^A-Za-z0-9._=,+-]+")
_FAITHFUL = late_pattern(r"(?:\w+/)*\w+\.py::\w+(?:\[[\w.=,+-]*[\w=,+]\])?", re.ASCII)
_CAPITALISED = late_pattern("true|false|none")
"""Words that ids contain in Python's spelling: too common to need a hash each time."""


def folder_name(node_id: str) -> str:
    """Return a folder name for a node: readable, at most 100 characters, safe in every shell and on every system.

    If something had to be left out, or if only capitals may distinguish two ids (which some disks ignore), a
    hash of the id keeps it unique. Runs of ``_UNSAFE`` characters become one ``-``.
    """
    path, _, job = node_id.partition("::")
    plain = _UNSAFE.sub("-", f"{path.removesuffix('.py')}.{job}").strip("-.") or "node"
    if len(plain) <= LONGEST_NAME and _is_faithful(node_id):
        return plain
    import hashlib  # few names need it

    digest = hashlib.sha256(node_id.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9]}-{digest}"


def _is_faithful(node_id: str) -> bool:
    """Return whether the name alone identifies the id, even on a disk that ignores capitals.

    No part may contain or end in the separators of the name, and among ids that differ only in capitals, only
    the usual spelling counts.
    """
    usual = _CAPITALISED.sub(lambda name: name[0].capitalize(), node_id.lower())
    return node_id == usual and _FAITHFUL.fullmatch(node_id) is not None


def journal_paths(runs_path: Path) -> list[Path]:
    """Return the paths of the journals in a folder of runs, existing or not, the oldest first.

    Unreadable run folders are included: reporting that is left to the reader.
    """
    try:
        folders = [entry.path for entry in os.scandir(runs_path) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [Path(folder, journal.FILE_NAME) for folder in sorted(folders)]


def ignore_itself(run_folder: Path) -> None:
    """Make git ignore the folder of runs, which holds private keys.

    Only the run folder if users keep other files there.

    Raise OSError.
    """
    runs_path = run_folder.parent
    is_shared = not all(map(_is_ours, runs_path.iterdir()))
    rules = (run_folder if is_shared else runs_path) / ".gitignore"
    if not rules.exists():
        # Not opened exclusively: two runs that start at once write the same content.
        rules.write_text("*\n", encoding="utf-8")


def _is_ours(path: Path) -> bool:
    return _RUN_ID.fullmatch(path.name) is not None or path.name in (".gitignore", LATEST)


def _make_private(folder: Path, *, exist_ok: bool = False) -> None:
    """Create a folder for this user alone, whatever the umask is. Raise OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=exist_ok)
    folder.chmod(0o700)


@frozen(kw_only=False)
class RunFiles:
    """The folder of one run, created by and for this process alone."""

    folder: Path
    run_id: str

    @classmethod
    def create(cls, runs_path: Path) -> RunFiles:
        """Create a new run folder, named by the UTC second and a random part. Raise UsageError."""
        for _ in range(10):
            run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"
            folder = runs_path / run_id
            try:
                _make_private(folder)
                ignore_itself(folder)
            except FileExistsError:
                continue
            except OSError as error:
                raise UsageError(f"cannot create the run folder {folder}: {error.strerror}") from error
            files = cls(folder, run_id)
            files._point_latest()
            return files
        raise UsageError(f"cannot create a new run folder in {runs_path}")

    def _point_latest(self) -> None:
        """Point ``latest``, next to the run folder, to it: a link, or, without links, a file with its name.

        If several runs start at the same time, any of them is the latest. Another file of that name is left
        alone; a pointer that cannot be made is left out.
        """
        pointer = self.folder.parent / LATEST
        made = pointer.with_name(f".{LATEST}.{os.urandom(4).hex()}")
        try:
            if not os.path.lexists(pointer) or _is_pointer(pointer):
                # Made under another name and moved, so that ``latest`` is never missing.
                _make_pointer(made, self.run_id)
                made.replace(pointer)
        except OSError:
            with contextlib.suppress(OSError):
                made.unlink()

    def node(self, node: Node) -> NodeFiles:
        """Create and return the folder of one node."""
        folder = self.folder / folder_name(node.id)
        _make_private(folder, exist_ok=True)
        return NodeFiles(folder)

    @property
    def on_disk(self) -> Path | None:
        """The folder; None if nothing is written."""
        return self.folder

    @property
    def journal(self) -> Path:
        """Events of the run and of every pod."""
        return self.folder / journal.FILE_NAME

    @property
    def keys(self) -> Path:
        """The SSH key of the run."""
        return self.folder / ".ssh"

    @property
    def private_key(self) -> Path:
        """The private SSH key of the run."""
        return self.keys / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The host keys of the run's pods."""
        return self.folder / ".ssh" / "known_hosts"

    @property
    def emulator(self) -> Path:
        """The address of a local run's emulator, while the run lasts."""
        return self.folder / ".emulator.json"

    def forget_keys(self) -> None:
        """Remove the SSH key once no pod accepts it any more."""
        import shutil

        shutil.rmtree(self.keys, ignore_errors=True)


def _make_pointer(path: Path, run_id: str) -> None:
    try:
        path.symlink_to(run_id, target_is_directory=True)
    except (OSError, NotImplementedError):
        path.write_text(f"{run_id}\n", encoding="utf-8")


def _is_pointer(path: Path) -> bool:
    """Return whether ``path`` is a pointer made by rpd, not something of the user's. Raise OSError."""
    if path.is_symlink():
        return _RUN_ID.fullmatch(str(path.readlink())) is not None
    return path.is_file() and _RUN_ID.fullmatch(path.read_text(errors="replace").strip()) is not None


@frozen(kw_only=False)
class NodeFiles:
    """The folder of one node."""

    folder: Path

    @property
    def on_disk(self) -> Path | None:
        """The folder; None if nothing is written."""
        return self.folder

    @property
    def journal(self) -> Path:
        """Events of the node."""
        return self.folder / journal.FILE_NAME

    @property
    def output(self) -> Path:
        """Raw output of the node's commands, secrets masked."""
        return self.folder / "output.log"

    @property
    def telemetry(self) -> Path:
        """The load of the node's pods, one JSON object per line."""
        return self.folder / "metrics.jsonl"

    @property
    def series(self) -> Path:
        """The measurements of the node's commands, one JSON object per line."""
        return self.folder / SERIES_FILE

    @property
    def watchdog(self) -> Path:
        """The actions of the watchdogs of the node's pods, as far as they could report them."""
        return self.folder / "watchdog.log"

    @property
    def diagnosis(self) -> Path:
        """The processes on a pod whose command hung (mark ``timeout(silent=…)``)."""
        return self.folder / "diagnosis.log"

    @property
    def of_pods(self) -> Path:
        """Texts that the pods of the run reported about themselves."""
        return self.folder.parent / "pods"

    @property
    def checkpoints(self) -> Path:
        """Copies of the node's checkpoint folders."""
        return self.folder / "checkpoints"

    @property
    def artifacts(self) -> Path:
        """The pulled files."""
        return self.folder / ARTIFACTS


class DryRunFiles(RunFiles):
    """The folder of a dry run: it has a path, but is never created."""

    @classmethod
    def below(cls, runs_path: Path) -> DryRunFiles:
        """Return the folder that all dry runs name."""
        return cls(runs_path / "dry-run", "dryrun")

    def node(self, node: Node) -> NodeFiles:
        return DryNodeFiles(self.folder, node.name)

    @property
    def on_disk(self) -> None:
        return None


class DryNodeFiles(NodeFiles):
    """The folder of a node in a dry run; its path is computed only on request."""

    _place: tuple[Path, str]

    def __init__(self, runs: Path, name: str) -> None:
        object.__setattr__(self, "_place", (runs, name))

    @property
    def folder(self) -> Path:
        """Where it would be."""
        runs, name = self._place
        return runs / name

    @property
    def on_disk(self) -> None:
        return None

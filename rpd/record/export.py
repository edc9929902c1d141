"""Copies the artifacts of a past run: a folder for each node, and no existing file is replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from rpd.errors import UsageError
from rpd.journal.files import NodeFiles, folder_name
from rpd.values.report import NodeReport


def export(reports: Iterable[NodeReport], target: Path) -> list[Path]:
    """Copy the artifacts of each node into a separate folder below ``target``; return those folders.

    Links are copied as links: none is followed. Raise UsageError if ``target`` has content already, or cannot
    be written.
    """
    made = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        if next(target.iterdir(), None) is not None:
            raise UsageError(f"--export {target}: expected a new or empty folder, but there are files in it")
        for report in reports:
            artifacts = NodeFiles(Path(report.folder)).artifacts
            if artifacts.is_symlink() or not artifacts.is_dir():
                continue
            folder = target / folder_name(report.node.id)
            shutil.copytree(artifacts, folder, symlinks=True)
            made.append(folder)
    except FileExistsError:
        raise UsageError(f"--export {target}: expected a folder, but a file is there") from None
    except (OSError, shutil.Error) as error:
        done = f"; {len(made)} nodes were copied before that" if made else ""
        raise UsageError(f"--export {target}: cannot be written: {_why(error)}{done}") from error
    return made


def _why(error: OSError) -> str:
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        source, _, reason = error.args[0][0]
        return f"{source}: {reason}"
    return error.strerror or str(error)

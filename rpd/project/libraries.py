"""Tells the user's files from those of libraries."""

from __future__ import annotations

import os
import site
from functools import lru_cache
from pathlib import Path

import pluggy

_PACKAGE_FOLDERS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_OURS = str(Path(__file__).resolve().parents[1]) + os.sep


def is_library(file: str, rootdir: Path) -> bool:
    """Return whether ``file`` is library code (rpd, the standard library, installed packages) and not the user's."""
    if file.startswith((_OURS, "<frozen")) or any(name in file for name in _PACKAGE_FOLDERS):
        return True
    # If packages are installed into the project itself, that folder still is the user's.
    root = f"{rootdir}{os.sep}"
    return any(file.startswith(folder) and not root.startswith(folder) for folder in _folders())


@lru_cache(maxsize=1)
def _folders() -> tuple[str, ...]:
    """Return the folders of the standard library and of installed packages, with a separator at the end."""
    import sysconfig  # not at the top: most nodes raise nothing

    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    # ``pip install --target``, a zipped or a read-only layer: wherever our own dependencies came from.
    folders |= {str(Path(str(pluggy.__file__)).absolute().parents[1])}
    return tuple(folder for path in folders if path for folder in _both(path))


def _both(path: str) -> set[str]:
    """Return a folder as it is written and as it is, each with a separator at its end."""
    return {os.path.join(folder, "") for folder in (path, os.path.realpath(path))}  # noqa: PTH118

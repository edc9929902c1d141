"""The environment of this machine and a project, as far as it affects programs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w

import rpd
from rpd.project.code_state import lock_file, lock_file_sha256
from rpd.project.code_state import state as source_state
from rpd.values.safe_text import without_passwords

_PIP_SECONDS = 60.0


def capture(project: Path) -> dict[str, Any]:
    """Return python, platform, packages and source of ``project`` as tables.

    Packages are those of the project's virtual environment (``.venv``, ``venv`` or the active one), else of the
    python that runs rpd. Credentials in the addresses of packages are left out.
    """
    python = _python_of(project)
    sha, branch, dirty = source_state(project)
    return {
        "schema_version": 1,
        "captured": datetime.now(UTC).isoformat(timespec="seconds"),
        "rpd": rpd.__version__,
        "python": {"version": _version(python), "executable": str(python)},
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
            "platform": platform.platform(),
        },
        "source": {
            "folder": project.name,
            "git_sha": sha,
            "branch": branch,
            "dirty": dirty,
            "lock_file": lock_file(project),
            "lock_file_sha256": lock_file_sha256(project),
        },
        "packages": _packages(python),
    }


def dumps(facts: dict[str, Any]) -> str:
    """Return the facts as TOML."""
    return tomli_w.dumps(facts)


def _python_of(project: Path) -> Path:
    active = os.environ.get("VIRTUAL_ENV")
    folders = [project / ".venv", project / "venv", *([Path(active)] if active else [])]
    for folder in folders:
        for name in ("bin/python", "Scripts/python.exe"):
            if (folder / name).is_file():
                return folder / name
    return Path(sys.executable)


def _is_this(python: Path) -> bool:
    return python == Path(sys.executable)


def _version(python: Path) -> str:
    if _is_this(python):
        return platform.python_version()
    said = _say(python, "import platform; print(platform.python_version())")
    return said.strip()


# The names are asked of the interpreter itself: a virtual environment need not have pip.
_LIST = """
import importlib.metadata, json
print("\\n".join(f"{d.metadata['Name']}\\t{d.version}\\t{d.read_text('direct_url.json') or ''}".replace("\\n", " ")
    for d in importlib.metadata.distributions() if d.metadata["Name"]))
"""


def _packages(python: Path) -> dict[str, str]:
    """Return name to version; for packages installed from an address (an editable folder, git), with the address."""
    if _is_this(python):
        rows = [
            (package.metadata["Name"], package.version, package.read_text("direct_url.json") or "")
            for package in importlib.metadata.distributions()
            if package.metadata["Name"]
        ]
    else:
        split = (line.split("\t") for line in _say(python, _LIST).splitlines())
        rows = [(row[0], row[1], row[2]) for row in split if len(row) == 3]
    named = sorted(((name.lower(), version, url) for name, version, url in rows), reverse=True)
    return {
        name: f"{version} @ {_address(url)}" if url else version for name, version, url in reversed(named)
    }


def _address(direct_url: str) -> str:
    """Return the address in the text of a ``direct_url.json`` (PEP 610), with the commit it stood at."""
    try:
        document = json.loads(direct_url)
        commit = document.get("vcs_info", {}).get("commit_id", "")
        return without_passwords(str(document["url"])) + (f"@{commit}" if commit else "")
    except (ValueError, KeyError, AttributeError):
        return "unknown"


def _say(python: Path, code: str) -> str:
    try:
        done = subprocess.run(
            [str(python), "-c", code],
            cwd=python.parent,  # not the user's: ``-c`` imports from there first
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PIP_SECONDS,
            check=False,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout

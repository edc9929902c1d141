"""The Python environment of this machine that pods of the emulator see: a venv, a conda environment, any other."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rpd.emulator.errors import EmulatorError

_SECONDS = 60
_ASK = """
import json, os, sys
imports = [entry for entry in sys.path if entry and os.path.exists(entry)]
print(json.dumps([sys.version.split()[0], sys.prefix, sys.base_prefix, imports]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPython:
    """An environment: its version, the folder of its programs, and all that it imports from."""

    version: str
    programs: str
    shown: tuple[str, ...]


def look(given: str) -> OwnPython:
    """Return the environment of an interpreter, or of the folder that holds ``bin/python``. Raise EmulatorError."""
    path = Path(given).expanduser()
    interpreter = path / "bin" / "python" if path.is_dir() else path
    if not interpreter.exists():
        raise EmulatorError(
            f"--python {given}: expected a Python interpreter, or the folder of an environment (with bin/python in it)"
        )
    # Not resolved: a venv is recognised by the link.
    interpreter = Path(os.path.abspath(interpreter))  # noqa: PTH100
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            [str(interpreter), "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env=env,
            cwd="/",
            check=False,
        )
        version, prefix, base, imports = json.loads(done.stdout)
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired):
        raise EmulatorError(f"--python {given}: not a Python interpreter that runs here") from None
    roots = dict.fromkeys(os.path.realpath(folder) for folder in (prefix, base))
    own = dict.fromkeys((prefix, base, *roots))
    further = (entry for entry in imports if not any(_is_below(entry, folder) for folder in own))
    return OwnPython(version=version, programs=str(interpreter.parent), shown=(*own, *further))


def _is_below(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)

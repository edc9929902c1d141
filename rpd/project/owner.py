"""The owner of a run, its pods and its bill."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache, lru_cache

from rpd.values.late_pattern import late_pattern
from rpd.values.pod import OWNER_VARIABLE
from rpd.values.safe_text import plain

RUN_VARIABLE = "RPD_RUN"
"""The run that a pod was rented for, in the pod's environment."""
LONGEST = 100
_UNSENDABLE = late_pattern(r"[\s\ud800-\udfff]+")


def owner(environ: Mapping[str, str] | None = None) -> str:
    """Return ``RPD_OWNER``, else ``user@host``; one line of at most 100 characters that RunPod takes."""
    variables = os.environ if environ is None else environ
    return tidy(variables.get(OWNER_VARIABLE, "")) or _account()


def stamp(run_id: str) -> dict[str, str]:
    """Return the variables by which a pod says whose it is."""
    return {OWNER_VARIABLE: owner(), RUN_VARIABLE: run_id}


@lru_cache(maxsize=16)
def tidy(name: str) -> str:
    """Return the name of an owner in one line, without characters that terminals and APIs reject."""
    return _UNSENDABLE.sub(" ", plain(name)).strip()[:LONGEST]


@cache
def _account() -> str:
    return tidy(f"{_user()}@{host_name()}")


def host_name() -> str:
    """Return the name of this machine, as ``socket.gethostname`` does, without loading that."""
    if sys.platform != "win32":
        return os.uname().nodename
    import socket

    return socket.gethostname()


def _user() -> str:
    """Return the name of the user as ``getpass`` finds it, without loading that (and the terminal's settings)."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if name := os.environ.get(variable):
            return name
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (KeyError, ImportError):  # a container may have a user without a name; Windows has no such list
        return "unknown"

"""The owner of a run, its pods and its bill."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from functools import cache, lru_cache

from rpd.values.pod import OWNER_VARIABLE
from rpd.values.safe_text import plain

RUN_VARIABLE = "RPD_RUN"
"""The run that a pod was rented for, in the pod's environment."""
LONGEST = 100
_UNSENDABLE = re.compile(r"[\s\ud800-\udfff]+")


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
    import getpass  # as above: what only reads or tries should not pay for it

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may have a user without a name
        return "unknown"

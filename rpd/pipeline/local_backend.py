"""The emulator of a ``--local`` run as other terminals find it: its address, in the run folder while it lives."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.errors import ProvisioningError
from rpd.values.endpoint import Endpoint

ADDRESS = "RUNPOD_API_BASE_URL"
KEY = "RUNPOD_API_KEY"

if TYPE_CHECKING:
    from rpd.emulator.launch import Launched


@contextmanager
def exported(end: Endpoint) -> Iterator[None]:
    """Point everything in this process that speaks RunPod's API at it, as a user would: by the environment.

    That is for a process which is the run's alone. Others tell their own calls by ``Config.api``.
    """
    before = {name: os.environ.get(name) for name in (ADDRESS, KEY)}
    os.environ[ADDRESS], os.environ[KEY] = end.base_url, end.api_key
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def leave(end: Endpoint, path: Path) -> None:
    """Write it to a file that only this user can read. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"base_url": end.base_url, "api_key": end.api_key}, file)


def start_emulator(*, port: int = 0) -> Launched:
    """Start an emulator on ``port`` (0: any free one). Raises ProvisioningError if it does not start."""
    from rpd.emulator.errors import EmulatorError
    from rpd.emulator.launch import launch  # what talks HTTP is worth loading for --local only

    try:
        return launch(port=port)
    except EmulatorError as error:
        raise ProvisioningError(str(error)) from error


def find(path: Path) -> Endpoint | None:
    """Return what was left at ``path``, None where nothing of use is."""
    try:
        return Endpoint(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None

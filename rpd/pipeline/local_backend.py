"""The emulator of a ``--local`` run as other terminals find it: its address, in the run folder while it lives."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.config.config import RunSettings
from rpd.errors import ProvisioningError, UsageError
from rpd.user_text import read_text
from rpd.values.endpoint import Endpoint
from rpd.values.frozen import frozen

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
    """Write it to a file that only this user can read. Raise OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"base_url": end.base_url, "api_key": end.api_key}, file)


@frozen
class Machine:
    """The resources of this machine for an emulator's pods; None and False keep a plain emulator's defaults."""

    gpus: bool = False
    python: str | None = None
    pod_memory_mb: int | None = None
    pod_processes: int | None = None
    pod_disk_mb: int | None = None

    @property
    def is_asked_for(self) -> bool:
        """Whether it differs from a plain emulator's."""
        return self != Machine()


def machine_of(run: RunSettings, folder: Path) -> Machine:
    """Return the machine that a run, or ``rpd emulator``, gives its pods; a path is relative to ``folder``."""
    python = None if run.python is None else str(folder / Path(run.python).expanduser())
    return Machine(
        gpus=run.gpus,
        python=python,
        pod_memory_mb=run.pod_memory_mb,
        pod_processes=run.pod_processes,
        pod_disk_mb=run.pod_disk_mb,
    )


def start_emulator(*, port: int = 0, machine: Machine | None = None) -> Launched:
    """Start an emulator on ``port`` (0: any free one). Raise UsageError if ``machine`` is not available.

    Raise ProvisioningError if the emulator does not start.
    """
    own = machine or Machine()
    from rpd.emulator.errors import EmulatorError
    from rpd.emulator.launch import launch  # HTTP modules are worth loading for --local only

    try:
        return launch(
            port=port,
            gpus=own.gpus,
            python=own.python or "",
            pod_memory_mb=own.pod_memory_mb,
            pod_processes=own.pod_processes,
            pod_disk_mb=own.pod_disk_mb,
        )
    except EmulatorError as error:
        if str(error).startswith("--"):  # it names a flag of this command line
            raise UsageError(str(error)) from None
        raise ProvisioningError(str(error)) from error


def find(path: Path) -> Endpoint | None:
    """Return the endpoint stored at ``path``, None if there is none that can be used."""
    try:
        return Endpoint(**json.loads(read_text(path)))
    except (OSError, ValueError, TypeError):
        return None

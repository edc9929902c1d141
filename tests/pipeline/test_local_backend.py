"""The emulator of a ``--local`` run."""

from __future__ import annotations

import socket

import pytest

from rpd.errors import ProvisioningError
from rpd.pipeline.local_backend import start_emulator


def test_an_emulator_that_does_not_start_is_an_error_of_rpd() -> None:
    """The emulator has its own exception, which commands report as one of rpd's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ProvisioningError, match="exited with code 1 before it was ready"),
    ):
        start_emulator(port=taken.getsockname()[1])

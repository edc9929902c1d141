"""Errors of fabric, paramiko and sockets when a connection fails, and their wording."""

from __future__ import annotations

import contextlib
from typing import Any

import paramiko

FAILURES = (OSError, EOFError, paramiko.SSHException)
"""EOFError: the peer closed in mid-message."""


def reason(error: BaseException) -> str:
    """Return a foreign error in words for the user."""
    if isinstance(error, paramiko.AuthenticationException):
        return f"authentication failed: the pod does not accept the run's key ({str(error).rstrip('.')})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, EOFError):
        return "the other end closed the connection"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def close_quietly(closable: Any) -> None:
    """Close a channel or connection that may be broken."""
    with contextlib.suppress(*FAILURES):
        closable.close()

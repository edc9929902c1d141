"""Refusals: RunPod's no, in the texts and codes that its users report."""

from __future__ import annotations

STOCK_OUT = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)
STOCK_OUT_SPOT = (
    "There are no longer any instances available with the request specifications. Please try again later."
)
HOST_FULL = "There are not enough free GPUs on the host machine to start this pod."
LOCKED = "This pod is locked. Unlock it first."
HICCUP = "Something went wrong. Please try again later or contact support."


class Refusal(Exception):
    """RunPod says no: the message a client sees, and ``extensions.code``."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

"""Asks the pod about a tree that was sent before, and lets it look while the files here are still being listed."""

from __future__ import annotations

import secrets
from queue import SimpleQueue

from rpd.remote.shell import MOST_KEPT, Interrupt, Program, Shell, TooMuch, with_arguments
from rpd.remote.transfer import delta
from rpd.remote.transfer.patience import SHORT_SECONDS


class Inquiry:
    """``delta.CHECK`` on the pod, for ``target`` and its ``notes``; ``cut`` is the folder of a cut stream, or empty.

    Raises Disconnected, ConnectionLost.
    """

    def __init__(
        self, shell: Shell, target: str, notes: str, cut: str = "", interrupt: Interrupt | None = None
    ) -> None:
        self._input: SimpleQueue[bytes] = SimpleQueue()
        self.look = secrets.token_hex(4)
        """The name under which the pod keeps what it sees."""
        script = with_arguments(delta.CHECK, target, notes, cut, self.look)
        self._stream = shell.open(
            Program(script, stdin=iter(self._input.get, b""), interrupt=interrupt, most=MOST_KEPT)
        )

    def answer(self, stamp: str, most: int) -> bytes:
        """Return what CHECK prints, given the stamp of the tree here; at most ``most`` bytes.

        Raise Disconnected, DeadlinePassed, TooMuch, Interrupted.
        """
        said = bytearray()
        try:
            self._stream.extend(SHORT_SECONDS)
            self._input.put(stamp.encode() + b"\n")
            self._input.put(b"")
            while data := self._stream.read():
                said += data
                if len(said) > most:
                    raise TooMuch(f"the list of what was sent has more than {most >> 10} KiB")
            self._stream.finish()
        finally:
            self.close()
        return bytes(said)

    def close(self) -> None:
        """Ask no more."""
        self._input.put(b"")
        self._stream.close()

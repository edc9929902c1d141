"""A line between this machine and another on which every round trip takes long, so that they can be counted."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable

_PUBLIC_PORT = re.compile(rb'("publicPort": ?)([0-9]{5})')
_PIECE = 1 << 16
"""Bytes taken at once."""
_ROUNDING = 0.1
"""Of a round trip: times are sums of floats."""
_QUEUED = 8
"""Pieces that wait at the beginning of a line with a rate, or are under way."""


class DelayedLine:
    """Forwards connections; data arrives half a ``round_trip`` (seconds) later, either way.

    With a ``rate``, at most so many bytes a second get through each way, all connections together.
    A connection is made at once: over a real line it takes one round trip more. ``opened_at`` and
    ``answered_at`` hold, for each port, when it was first connected to, and when its last byte arrived at the
    client (monotonic).
    """

    def __init__(self, round_trip: float, rate: float | None = None) -> None:
        self.round_trip = round_trip
        self._rate = rate
        self._free_at = {"up": 0.0, "down": 0.0}
        """For each way, when what was taken so far will have left (monotonic)."""
        self.opened_at: dict[int, float] = {}
        self.answered_at: dict[int, float] = {}
        self._under_way: list[tuple[float, float]] = []
        """When anything was under way (monotonic), in order; no two of these times overlap."""
        self._ports: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def to(self, port: int, *, leads_to_pods: bool = False) -> int:
        """Return a port that leads to ``port``.

        ``leads_to_pods`` says that RunPod's API answers there: the ports of pods that it names then lead over this
        line, too.
        """
        return asyncio.run_coroutine_threadsafe(self._to(port, leads_to_pods), self._loop).result(30)

    def count(self, act: Callable[[], object]) -> int:
        """Return how many round trips ``act`` waits for: while anything is under way, and not while a machine is busy."""
        began = time.monotonic()
        act()
        ended = time.monotonic()
        under_way = sum(
            max(0.0, min(until, ended) - max(since, began)) for since, until in [*self._under_way]
        )
        return int(under_way / self.round_trip + _ROUNDING)

    def close(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def __enter__(self) -> DelayedLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _to(self, port: int, leads_to_pods: bool) -> int:
        if port not in self._ports:
            server = await asyncio.start_server(
                lambda reader, writer: self._serve(reader, writer, port, leads_to_pods), "127.0.0.1", 0
            )
            self._servers.append(server)
            self._ports[port] = server.sockets[0].getsockname()[1]
        return self._ports[port]

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, leads_to_pods: bool
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.opened_at.setdefault(port, time.monotonic())
        to_writer: asyncio.StreamWriter | None = None
        with contextlib.suppress(asyncio.CancelledError, OSError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(
                self._carry(reader, to_writer, "up"),
                self._carry(to_reader, writer, "down", port, leads_to_pods=leads_to_pods),
            )
        for each in (writer, to_writer):
            if each is not None:
                each.close()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        way: str,
        answers_of: int | None = None,
        *,
        leads_to_pods: bool = False,
    ) -> None:
        """Carry one direction: each piece arrives after the delay, in order."""
        # A slow line fills up, so the sender has to wait; a line that only delays holds all that is under way.
        waiting = asyncio.Queue[tuple[float, bytes]](maxsize=0 if self._rate is None else _QUEUED)

        async def deliver() -> None:
            is_gone = False
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                try:
                    if not data:
                        if writer.can_write_eof() and not is_gone:
                            writer.write_eof()
                        return
                    if answers_of is not None:
                        self.answered_at[answers_of] = time.monotonic()
                    if not is_gone:
                        writer.write(data)
                        await writer.drain()
                except OSError:
                    is_gone = True  # still take the rest, until the sender notices

        delivering = asyncio.ensure_future(deliver())
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_PIECE):
                    if leads_to_pods:
                        data = await self._with_own_ports(data)
                    await waiting.put((self._due(way, len(data)), data))
            await waiting.put((self._due(way, 0), b""))
            await delivering
        finally:
            delivering.cancel()

    def _due(self, way: str, size: int) -> float:
        """Send ``size`` more bytes on their way; return when they arrive (monotonic)."""
        now = time.monotonic()
        free_at = max(self._free_at[way], now) + (size / self._rate if self._rate else 0)
        self._free_at[way] = free_at
        due = free_at + self.round_trip / 2
        since, until = self._under_way[-1] if self._under_way else (now, -1.0)
        if now <= until:
            self._under_way[-1] = (since, max(until, due))
        else:
            self._under_way.append((now, due))
        return due

    async def _with_own_ports(self, data: bytes) -> bytes:
        """Return an answer of the API with the ports of pods replaced by such of this line; its length stays."""
        for public in {match[2] for match in _PUBLIC_PORT.finditer(data)}:
            port = b"%05d" % await self._to(int(public), False)
            data = re.sub(rb'("publicPort": ?)' + public, rb"\g<1>" + port, data)
        return data

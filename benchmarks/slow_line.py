"""A slow line in user space: a proxy that lets so many bytes a second through, so much later, and counts them.

It runs anywhere, needs no root and no queueing discipline, and whatever goes over it (rpd, ``rsync`` over ``ssh``) has
the same line. Bytes and round trips do not depend on how busy this machine is.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

MEGABIT = 1e6 / 8
OFFICE = (50 * MEGABIT, 0.040)
"""Bytes a second each way, and seconds there and back."""

_CHUNK = 16 << 10
_QUEUED = 256 << 10
"""Bytes that wait where the line begins, as in a router, beyond those under way."""
_BUFFER = 128 << 10
"""Bytes that the sockets of the proxy hold unseen."""


@dataclass(slots=True)
class Counts:
    """The traffic on a line: bytes to the server and back, connections, and waits for an answer of the server."""

    up: int = 0
    down: int = 0
    connections: int = 0
    round_trips: int = 0

    @property
    def bytes(self) -> int:
        """Both ways together."""
        return self.up + self.down


class SlowLine:
    """A line to ``host``:``port``; all connections share it. Without a ``rate`` it is as quick as this machine."""

    def __init__(
        self, port: int, *, host: str = "127.0.0.1", rate: float | None = None, round_trip: float = 0.0
    ) -> None:
        self._target = (host, port)
        self._rate = rate
        self._delay = round_trip / 2
        self._lock = threading.Lock()
        self._counts = Counts()
        self._free = {"up": 0.0, "down": 0.0}
        self._has_answered = True
        self._cut_after: int | None = None
        self._is_heard = True
        self._sockets: dict[socket.socket, bool] = {}
        """All that are open, and whether they lead to the server."""
        self._deaf: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._carrying: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def counts(self) -> Counts:
        """Return the counts since the last ``reset``."""
        with self._lock:
            return replace(self._counts)

    def reset(self) -> None:
        """Count from nothing."""
        with self._lock:
            self._counts = Counts()
            self._has_answered = True

    def cut_after(self, size: int, *, unheard: bool = False) -> None:
        """Break all connections, once, when so many more bytes (both ways together) have been taken.

        ``unheard``: the line breaks without a sign to the server, which keeps waiting.
        """
        with self._lock:
            self._cut_after = self._counts.bytes + size
            self._is_heard = not unheard

    def close(self) -> None:
        """Break everything, and listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        with self._lock:
            for one in self._deaf:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._is_heard = True
        self._break()
        for thread in self._carrying:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if self._rate is not None:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
                with self._lock:
                    self._sockets |= {client: False, server: True}
                    self._counts.connections += 1
                thread = threading.Thread(target=self._carry, args=(client, server), daemon=True)
                self._carrying.append(thread)
                thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        """Pass data on until both sides have ended."""
        threads = []
        for source, sink, way in ((client, server, "up"), (server, client, "down")):
            under_way = _UnderWay(_QUEUED + int((self._rate or 64e6) * self._delay))
            threads += [
                threading.Thread(target=self._take, args=(source, way, under_way), daemon=True),
                threading.Thread(target=self._give, args=(sink, way, under_way), daemon=True),
            ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with self._lock:
            for one in (client, server):
                self._sockets.pop(one, None)
                self._deaf.discard(one)
                one.close()

    def _take(self, source: socket.socket, way: str, under_way: _UnderWay) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            under_way.put(self._due(way, len(data)), data)

    def _due(self, way: str, size: int) -> float:
        """Count ``size`` bytes, and return when they arrive."""
        with self._lock:
            setattr(self._counts, way, getattr(self._counts, way) + size)
            if way == "up" and size and self._has_answered:
                self._counts.round_trips += 1
                self._has_answered = False
            begins = max(self._free[way], time.monotonic())
            self._free[way] = begins + (size / self._rate if self._rate else 0)
            due = self._free[way] + self._delay
            is_cut = self._cut_after is not None and self._counts.bytes >= self._cut_after
            if is_cut:
                self._cut_after = None
        if is_cut:
            self._break()
        return due

    def _give(self, sink: socket.socket, way: str, under_way: _UnderWay) -> None:
        data = b"-"
        while data:
            data = under_way.get()
            with contextlib.suppress(OSError):
                if data:
                    sink.sendall(data)
                elif sink not in self._deaf:
                    sink.shutdown(socket.SHUT_WR)
            if way == "down" and data:
                with self._lock:
                    self._has_answered = True

    def _break(self) -> None:
        with self._lock:
            broken, self._sockets = self._sockets, {}
            if not self._is_heard:
                self._deaf |= {one for one, is_server in broken.items() if is_server}
        for one in broken:
            if one not in self._deaf:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


class _UnderWay:
    """Pieces on their way with the time each arrives; at most so many bytes, so that a full line is felt."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._changed = threading.Condition()

    def put(self, due: float, data: bytes) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._left > 0)
            self._left -= len(data)
            self._pieces.append((due, data))
            self._changed.notify_all()

    def get(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._pieces)
            due, data = self._pieces.popleft()
        while (left := due - time.monotonic()) > 0:
            time.sleep(left)
        with self._changed:
            self._left += len(data)
            self._changed.notify_all()
        return data


class OtherProcess:
    """A line in another process, so that it does not share an interpreter with the measured code."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.port = port

    def ask(self, word: str, number: int = 0) -> Counts:
        """Let it ``count``, ``reset`` or ``cut``; return what it has counted."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word} {number}\n")
        self._process.stdin.flush()
        return Counts(**json.loads(self._process.stdout.readline()))


@contextmanager
def slow_line(port: int, rate: float | None, round_trip: float) -> Iterator[OtherProcess]:
    """Start a line to a local port in another process."""
    command = [sys.executable, __file__, str(port), str(rate or 0), str(round_trip)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield OtherProcess(process, int(process.stdout.readline()))
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


def _serve(port: int, rate: float, round_trip: float) -> None:
    line = SlowLine(port, rate=rate or None, round_trip=round_trip)
    print(line.port, flush=True)
    for asked in sys.stdin:
        word, number = asked.split()
        if word == "reset":
            line.reset()
        elif word == "cut":
            line.cut_after(int(number))
        counts = line.counts()
        print(json.dumps({name: getattr(counts, name) for name in Counts.__slots__}), flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))

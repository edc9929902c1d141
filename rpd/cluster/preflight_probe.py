"""Runs on a member, alone: python3 - RANK PORT SECONDS ADDRESS... It needs nothing but Python's library."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time

CHUNK = b"\0" * (1 << 20)
MEASURED_SECONDS = 0.15
MOST_BYTES = 512 << 20


def interface_of(address: str) -> str:
    """Return the name of the interface that has the address; empty if it cannot be determined."""
    if address.startswith("127."):
        return "lo"
    try:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for _, name in socket.if_nameindex():
                with contextlib.suppress(OSError):
                    request = struct.pack("256s", name.encode()[:15])
                    answer = fcntl.ioctl(probe.fileno(), 0x8915, request)  # SIOCGIFADDR
                    if socket.inet_ntoa(answer[20:24]) == address:
                        return name
    except (ImportError, OSError):
        pass
    return ""


def serve(listener: socket.socket, met: set[int], everybody: int) -> threading.Event:
    """Greet every member that connects, and count the bytes it sends."""

    def talk(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError, ValueError):
            peer.settimeout(10)
            word = peer.recv(8)
            if word[:1] == b"h":
                peer.sendall(b"y")
                met.add(int(word[1:]))
                if len(met) == everybody:
                    complete.set()
                return
            got = 0
            while True:
                data = peer.recv(1 << 20)
                if not data:
                    break
                got += len(data)
            peer.sendall(str(got).encode())

    complete = threading.Event()

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return complete


def reach(address: str, port: int, rank: int, until: float) -> bool:
    """Say hello to a member until it answers; return whether it did."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=3) as peer:
            peer.sendall(b"h%d" % rank)
            if peer.recv(1) == b"y":
                return True
        time.sleep(0.1)
    return False


def measure(address: str, port: int) -> float | None:
    """Return how fast a member takes bytes, in Gbit/s; None if it does not."""
    with (
        contextlib.suppress(OSError, ValueError),
        socket.create_connection((address, port), timeout=5) as peer,
    ):
        peer.sendall(b"b       ")
        began = time.monotonic()
        sent = 0
        while time.monotonic() - began < MEASURED_SECONDS and sent < MOST_BYTES:
            peer.sendall(CHUNK)
            sent += len(CHUNK)
        peer.shutdown(socket.SHUT_WR)
        got = int(peer.recv(32))
        return got * 8 / (time.monotonic() - began) / 1e9
    return None


def main() -> None:
    """Look for the other members, and report."""
    rank, port, seconds = map(int, sys.argv[1:4])
    addresses = sys.argv[4:]
    others = [place for place in range(len(addresses)) if place != rank]
    until = time.monotonic() + seconds
    met: set[int] = set()
    report: dict[str, object] = {"rank": rank, "reached": [], "interface": interface_of(addresses[rank])}
    try:
        listener = socket.create_server((addresses[rank], port), backlog=64)
    except OSError as error:
        report["error"] = str(error)
    else:
        complete = serve(listener, met, len(others))
        reached = [place for place in others if reach(addresses[place], port, rank, until)]
        report["reached"] = reached
        if len(reached) == len(others):
            report["gbps"] = measure(addresses[(rank + 1) % len(addresses)], port)
        # The others may still be looking for this one.
        complete.wait(max(0.0, until - time.monotonic()))
        time.sleep(2 * MEASURED_SECONDS)
    os.write(1, b"rpd-preflight %s\n" % json.dumps(report).encode())


if __name__ == "__main__":
    main()

"""The server of the live page: on this machine's loopback only, behind a token, reading and nothing else."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from rpd.disk.safe_tree import Tree
from rpd.errors import UsageError
from rpd.journal.files import NodeFiles
from rpd.web.document import VERSION, Document
from rpd.web.file_links import MOST_PICTURE_BYTES, PICTURES, is_picture
from rpd.web.live_runs import LiveLog, LiveRun, LiveRuns
from rpd.web.page import policy, render

LOOK_SECONDS = 0.7
"""How often files are looked at while somebody looks at the page."""
_SPARING = 4
"""For each second of looking, so many of rest."""
BEAT_SECONDS = 15.0
"""After so long without news a comment is sent, so that a page that has gone is noticed."""
_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """Serves ``runs`` at an address that holds ``token``."""

    def __init__(self, runs: LiveRuns, token: str, look_seconds: float = LOOK_SECONDS) -> None:
        self._runs = runs
        self._token = token
        self._look_seconds = look_seconds
        self._closing = asyncio.Event()

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        made = web.Application(middlewares=[self._guard])
        below = f"/{self._token}"
        made.router.add_get(f"{below}/", self._page, allow_head=False)
        made.router.add_get(f"{below}/runs", self._list, allow_head=False)
        made.router.add_get(f"{below}/run/{{run}}", self._run, allow_head=False)
        made.router.add_get(f"{below}/log/{{run}}/{{node}}", self._log, allow_head=False)
        made.router.add_get(f"{below}/file/{{run}}/{{node}}/{{name:.+}}", self._file, allow_head=False)
        made.on_shutdown.append(self._close)
        return made

    async def _close(self, _: web.Application) -> None:
        self._closing.set()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests without the token, and those made by a page of another site or under another host name."""
        token = request.path.split("/")[1]
        is_known = hmac.compare_digest(token.encode(errors="replace"), self._token.encode())
        is_own = _host(request.headers.get("Host", "")) in _HOSTS and _is_same(request)
        if not is_known or not is_own or request.method != "GET":
            return web.Response(
                status=403, text="rpd ui: open the address that it printed\n", headers=_HEADERS
            )
        try:
            response = await handler(request)
        except web.HTTPException as refused:
            refused.headers.update(_HEADERS)
            raise
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _page(self, _: web.Request) -> web.Response:
        document = Document(title="live").of([])
        text = render({**document, "version": VERSION, "live": True, "base": "."})
        return web.Response(
            text=text, content_type="text/html", headers={"Content-Security-Policy": policy(live=True)}
        )

    # --- streams ----------------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.StreamResponse:
        before: list[Any] = []
        is_first = True

        def look() -> list[tuple[str, Any]]:
            nonlocal before, is_first
            now = self._runs.listed()
            changed = is_first or now != before
            before, is_first = now, False
            return [("runs", now)] if changed else []

        return await self._stream(request, look, 3 * self._look_seconds)

    async def _run(self, request: web.Request) -> web.StreamResponse:
        run = LiveRun(self._folder(request))
        is_first = True

        def look() -> list[tuple[str, Any]]:
            nonlocal is_first
            if is_first:
                is_first = False
                return [("document", run.document())]
            changes = run.changes()
            return [] if changes is None else [("changed", changes)]

        return await self._stream(request, look, self._look_seconds)

    async def _log(self, request: web.Request) -> web.StreamResponse:
        folder = self._folder(request) / _plain_name(request.match_info["node"])
        log = LiveLog(NodeFiles(folder).output, Document())
        return await self._stream(request, log.look, self._look_seconds / 2)

    async def _stream(
        self, request: web.Request, look: Callable[[], list[tuple[str, Any]]], seconds: float
    ) -> web.StreamResponse:
        """Send the results of ``look``, as server-sent events, until the reader or the server goes."""
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        quiet = 0.0
        with suppress(ConnectionError):
            while not self._closing.is_set():
                started = time.monotonic()
                documents = await asyncio.to_thread(look)
                took = time.monotonic() - started
                for name, document in documents:
                    await response.write(f"event: {name}\ndata: {json.dumps(document)}\n\n".encode())
                quiet = 0.0 if documents else quiet + seconds
                if quiet >= BEAT_SECONDS:
                    await response.write(b": still here\n\n")
                    quiet = 0.0
                with suppress(TimeoutError):
                    # A run whose files take long to read is looked at less often.
                    await asyncio.wait_for(self._closing.wait(), max(seconds, _SPARING * took))
        return response

    # --- files ------------------------------------------------------------------------------------------------------

    async def _file(self, request: web.Request) -> web.Response:
        """Send a picture to be shown, any other file to be saved: it came from a pod and is not run here."""
        name = f"artifacts/{request.match_info['name']}"
        folder = self._folder(request) / _plain_name(request.match_info["node"])
        try:
            data = await asyncio.to_thread(_read, folder, name)
        except OSError:
            raise web.HTTPNotFound from None
        kind = PICTURES.get(Path(name).suffix.lower(), "")
        shown = kind if kind and is_picture(data, kind) else "application/octet-stream"
        headers = {"Content-Security-Policy": "default-src 'none'; sandbox"}
        if shown != kind:
            headers["Content-Disposition"] = "attachment"
        return web.Response(body=data, content_type=shown, headers=headers)

    def _folder(self, request: web.Request) -> Path:
        folder = self._runs.folder(request.match_info["run"])
        if folder is None:
            raise web.HTTPNotFound
        return folder


MOST_FILE_BYTES = 256 << 20
assert MOST_FILE_BYTES > MOST_PICTURE_BYTES


def _read(folder: Path, name: str) -> bytes:
    tree = Tree(folder)
    try:
        with tree.read(name) as file:
            return file.read(MOST_FILE_BYTES)
    finally:
        tree.close()


def _plain_name(name: str) -> str:
    """Return the name of a folder of a node. Raise HTTPNotFound for one that would lead elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise web.HTTPNotFound
    return name


def _host(header: str) -> str:
    """Return the name in a Host header; its port may be any, as over ``ssh -L``."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0].lower()


def _is_same(request: web.Request) -> bool:
    """Return whether the request comes from this site, according to the headers that browsers send."""
    site, mode = request.headers.get("Sec-Fetch-Site", ""), request.headers.get("Sec-Fetch-Mode", "")
    if site in ("cross-site", "same-site") and mode != "navigate":
        return False
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("Host")


async def serve(
    runs: LiveRuns,
    *,
    port: int = 0,
    ready: Callable[[str], object],
    token: str = "",
    look_seconds: float = LOOK_SECONDS,
) -> None:
    """Serve until cancelled; ``ready`` is called with the address once it can be opened.

    Raise UsageError for a port that is taken.
    """
    token = token or secrets.token_urlsafe(16)
    runner = web.AppRunner(
        Page(runs, token, look_seconds).application(),
        access_log=None,
        shutdown_timeout=1.0,
        handle_signals=False,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise UsageError(f"--port {port}: {why} (without --port any free one is taken)") from error
        bound = runner.addresses[0][1]
        ready(f"http://127.0.0.1:{bound}/{token}/")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()

"""The server: one HTTP address under which the emulated platform and its control endpoint answer."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from rpd.emulator import catalogue, machines, registry_server, views
from rpd.emulator.account import Account
from rpd.emulator.clusters import Clusters
from rpd.emulator.faults import API_KINDS, LIVE_KINDS, FaultBook, Rule
from rpd.emulator.graphql import Answer, Call, Caller, GraphqlFace
from rpd.emulator.guest.spec import Isolation
from rpd.emulator.machines import Limits, Machines
from rpd.emulator.own_gpus import OwnGpus, find
from rpd.emulator.own_python import look
from rpd.emulator.refusals import HICCUP, Refusal
from rpd.emulator.registry_server import RegistryServer
from rpd.emulator.rest_server import Quota, RestServer
from rpd.emulator.roles import ROLES

_SWEEP_SECONDS = 1.0
_BODY_BYTES = 4 << 20
_NOTICES = {
    Isolation.PLAIN: "This system has no namespaces: pods run as plain processes in a private folder, "
    "see the files of this machine, and have no separate /workspace.",
}
_HTML = "<html><head><title>{status}</title></head><body><h1>{status}</h1><p>cloudflare</p></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The share of this machine that pods get: its GPUs, a Python environment, and limits."""

    gpus: bool = False
    python: str = ""
    limits: Limits = field(default_factory=Limits)


class Emulator:
    """One emulated platform: account, machines, faces."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        boot_seconds: float,
        balance: float,
        api_key: str = "",
        isolation: str = "auto",
        own: Own | None = None,
    ) -> None:
        self._own = own or Own()
        self.faults = FaultBook()
        host, port = listener.getsockname()[:2]
        self.base_url = f"http://{host}:{port}"
        self.machines = Machines(
            faults=self.faults, boot_seconds=boot_seconds, base_url=self.base_url, isolation=isolation
        )
        self.machines.spawn_zygote()
        self.account = Account(
            clock=time.time, host=self.machines, faults=self.faults, balance=balance, api_key=api_key
        )
        self.machines.account = self.account
        self.machines.limits = self._own.limits
        self.machines.python = look(self._own.python) if self._own.python else None
        if self._own.gpus:
            self.account.own_gpus = OwnGpus(find())
        self.clusters = Clusters(self.account, self.faults, time.time, self.machines.has_networks)
        self._face = GraphqlFace(self.account, time.time, self.machines.delete_network_volume)
        self._requests = 0
        self._quota = Quota(time.time)
        self._registry = RegistryServer(self.account.images, f"{host}:{port}", self._count)
        self._rest = RestServer(
            account=self.account,
            clusters=self.clusters,
            faults=self.faults,
            machines=self.machines,
            clock=time.time,
            quota=self._quota,
            caller=self._owner_of,
            count=self._count,
        )

    @property
    def notices(self) -> list[str]:
        """Sentences a person should read."""
        plain = self.machines.isolation in _NOTICES
        limited = plain and self._own.limits != Limits()
        return [
            *([_NOTICES[self.machines.isolation]] if plain else []),
            *(["Without namespaces, pods have no limits of memory, processes and disk."] if limited else []),
            *([self.account.own_gpus.describe()] if self.account.own_gpus else []),
        ]

    def application(self) -> web.Application:
        """Return the HTTP application."""
        app = web.Application(client_max_size=_BODY_BYTES)
        app.router.add_post("/graphql", self._graphql)
        app.router.add_get(registry_server.MANIFESTS, self._registry.manifest)
        app.router.add_get(registry_server.BLOBS, self._registry.configuration)
        app.router.add_get(registry_server.TOKEN, self._registry.token)
        app.router.add_route("*", "/v2/{path:.*}", self._rest.respond)
        app.add_routes(
            [
                web.get("/_emulator/state", self._control(self._get_state)),
                web.get("/_emulator/faults", self._control(self._get_faults)),
                web.post("/_emulator/faults", self._control(self._inject)),
                web.delete("/_emulator/faults", self._control(self._clear)),
                web.post("/_emulator/balance", self._control(self._set_balance)),
                web.post("/_emulator/limits", self._control(self._set_limits)),
                web.post("/_emulator/role", self._control(self._set_role)),
                web.post("/_emulator/lock", self._control(self._lock_pod)),
                web.post("/_emulator/stock", self._control(self._set_stock)),
                web.post("/_emulator/images", self._control(self._add_image)),
                web.post("/_emulator/volumes", self._control(self._make_volume)),
                web.post("/_emulator/bill", self._control(self._write_bill)),
                web.post("/_emulator/settle", self._control(self._settle)),
            ]
        )
        return app

    async def sweep_for_ever(self) -> None:
        """Watch the balance."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self.account.sweep()

    # --- GraphQL ----------------------------------------------------------------------------------------------------

    def _caller(self, request: web.Request) -> Caller | None:
        """Return the sender of a request; None if its key is unknown."""
        key = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get(
            "api_key", ""
        )
        if not key:
            return Caller(anonymous=True)
        owner = self._owner_of(key)
        return None if owner is None else Caller(pod=owner or None)

    def _owner_of(self, key: str) -> str | None:
        """Return the id of the pod that has the key, empty for the account's own key, None for an unknown one."""
        if hmac.compare_digest(key.encode(), self.account.api_key.encode()):
            return ""
        return next((pod.id for pod in self.account.pods.values() if pod.api_key == key), None)

    def _count(self) -> None:
        self._requests += 1

    async def _graphql(self, request: web.Request) -> web.StreamResponse:
        self._count()
        caller = self._caller(request)
        if caller is None:
            return web.json_response({"error": "Unauthorized"}, status=401)
        wait = self._quota.wait()
        if wait is not None:
            return _too_many(wait, self._quota.headers(exhausted=True))
        self._quota.headers()  # counts it: GraphQL tells no limits
        try:
            call = self._face.read(json.loads(await request.read()))
        except ValueError:
            return web.json_response({"errors": [{"message": "Bad Request"}]}, status=400)
        if isinstance(call, Answer):
            return _json(call)
        rule = next((r for s in call.subjects if (r := self.faults.take(API_KINDS, s))), None)
        if rule is None:
            return _json(self._face.answer(call, caller))
        return await self._spoil(rule, request, lambda who: self._face.answer(call, who), caller, call)

    async def _spoil(
        self,
        rule: Rule,
        request: web.Request,
        execute: Callable[[Caller], Answer],
        caller: Caller,
        call: Call,
    ) -> web.StreamResponse:
        """Answer as a fault has it."""
        params = rule.params
        if rule.kind == "anonymous":
            return _json(execute(Caller(anonymous=True)))
        if rule.kind == "slow" and params["when"] == "before":
            await asyncio.sleep(params["seconds"])
            return _json(execute(caller))
        answer = execute(caller) if params.get("when") == "after" else Answer(200, {"data": None})
        match rule.kind:
            case "slow":
                await asyncio.sleep(params["seconds"])
                return _json(answer)
            case "unauthorized":
                return web.json_response({"error": "Unauthorized"}, status=401)
            case "forbidden-html":
                return _html(403)
            case "gone":
                return _html(410)
            case "server-error":
                return _html(params["status"])
            case "rate-limit":
                return _too_many(params["retry_after"])
            case "reset":
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=500)
            case _:
                message, code = params.get("message") or HICCUP, params.get("code", "INTERNAL_SERVER_ERROR")
                path = [call.subjects[0]["field"]]
                error = {"message": message, "path": path, "extensions": {"code": code}}
                return web.json_response({"errors": [error], "data": {path[0]: None}})

    # --- control ----------------------------------------------------------------------------------------------------

    def _control(self, action: Callable[[Any], Any]) -> Callable[[web.Request], Any]:
        """Return a handler that lets only the owner's key in and answers ``action``'s value as JSON."""

        async def handle(request: web.Request) -> web.Response:
            caller = self._caller(request)
            if caller is None or caller.anonymous or caller.pod is not None:
                return web.json_response({"error": "Unauthorized"}, status=401)
            body = await request.read()
            try:
                result = action(json.loads(body) if body else {})
                if asyncio.iscoroutine(result):
                    result = await result
            except (ValueError, KeyError, TypeError, Refusal) as error:
                return web.json_response({"error": str(error)}, status=400)
            return web.json_response(result)

        return handle

    def _get_state(self, _: Mapping[str, Any]) -> dict[str, Any]:
        account = self.account
        pods = [
            {
                "id": pod.id, "name": pod.order.name, "image": pod.order.image, "desired_status": pod.desired_status,
                "gpu": pod.order.gpu, "gpu_count": pod.gpu_count, "datacenter": pod.datacenter, "cloud": pod.cloud,
                "usd_per_hr": pod.cost_per_hr, "generation": pod.generation, "env": pod.env,
                "ports": list(pod.runtime.ports) if pod.runtime else None,
                "last_status_change": pod.last_status_change, "api_key": pod.api_key,
                **({"cluster": pod.membership.cluster, "rank": pod.membership.rank} if pod.membership else {}),
            }
            for pod in account.pods.values()
        ]  # fmt: skip
        volumes = [
            {"id": v.id, "name": v.name, "size": v.size, "datacenter": v.datacenter, "tier": v.tier}
            for v in account.volumes.values()
        ]
        return {
            "pods": pods, "clusters": [{"id": each.id, "name": each.name} for each in self.clusters.all()],
            "volumes": volumes, "registries": list(map(views.registry, account.registries.values())),
            "balance": account.balance, "spend_per_hr": account.spend_per_hr(),
            "folder": str(self.machines.folder), "isolation": self.machines.isolation, "requests": self._requests,
        }  # fmt: skip

    def _get_faults(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.faults.describe()

    def _inject(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        if values.get("kind") in LIVE_KINDS and values.get("on", "now") == "now":
            self.machines.strike_now(Rule.parse(values))
        else:
            self.faults.inject(values)
        return self.faults.describe()

    def _clear(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.faults.clear()
        return []

    def _set_balance(self, values: Mapping[str, Any]) -> dict[str, Any]:
        self.account.balance = float(values["usd"])
        return {"balance": self.account.balance}

    def _set_limits(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Set the account's limits: USD per hour, pods that run at once, and API calls.

        None: any number. ``calls`` is for each window of ``seconds``.

        ``member_ends`` is what a member of a cluster may end: ``itself``, the whole ``cluster``, or
        ``nothing``.
        """
        account = self.account
        if "calls" in values:
            self._quota.limit(values["calls"], int(values.get("seconds", 60)))
        account.spend_limit = float(values.get("usd_per_hr", account.spend_limit))
        account.pod_limit = values.get("pods", account.pod_limit)
        self.clusters.member_ends = str(values.get("member_ends", self.clusters.member_ends))
        return {"usd_per_hr": account.spend_limit, "pods": account.pod_limit}

    def _set_role(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if values["role"] not in ROLES:
            raise ValueError(f"role: expected one of {', '.join(ROLES)}, got {values['role']!r}")
        self.account.role = values["role"]
        return {"role": self.account.role}

    def _lock_pod(self, values: Mapping[str, Any]) -> dict[str, Any]:
        pod = self.account.find(values["pod"])
        pod.locked = bool(values.get("locked", True))
        return {"locked": pod.locked}

    def _set_stock(self, values: Mapping[str, Any]) -> dict[str, Any]:
        self.account.stock.set(values["gpu"], values["place"], int(values["free"]))
        return {"free": self.account.stock.free(values["gpu"], values["place"], "secure")}

    def _add_image(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"digest": self.account.images.add(values).digest}

    def _make_volume(self, values: Mapping[str, Any]) -> dict[str, Any]:
        place = values.get("datacenter") or next(
            place.id for place in catalogue.DATA_CENTERS.values() if place.storage and place.listed
        )
        volume = self.account.create_volume(
            values["name"], int(values["size"]), place, tier=values.get("tier", "")
        )
        return {"id": volume.id, "datacenter": volume.datacenter}

    def _write_bill(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Write a line of the bill, or with ``lag`` say how late (s) the bill is."""
        ledger = self.account.ledger
        if "lag" in values:
            ledger.lag = float(values["lag"])
            return {"lag": ledger.lag}
        return asdict(ledger.write(values, time.time()))

    async def _settle(self, _: Mapping[str, Any]) -> dict[str, Any]:
        await self.machines.settled()
        return {}


def _json(answer: Answer) -> web.Response:
    return web.json_response(answer.body, status=answer.status)


def _too_many(retry_after: float, headers: Mapping[str, str] | None = None) -> web.Response:
    retry = {"Retry-After": f"{retry_after:g}", **(headers or {})}
    return web.json_response({"message": "Too Many Requests"}, status=429, headers=retry)


def _html(status: int) -> web.Response:
    return web.Response(status=status, text=_HTML.format(status=status), content_type="text/html")


def serve(
    *,
    port: int = 0,
    balance: float = 100.0,
    boot_seconds: float = 0.3,
    linger: float | None = None,
    api_key: str = "",
    isolation: str = "auto",
    own: Own | None = None,
    announce: Callable[[dict[str, Any]], None],
) -> None:
    """Run an emulator on 127.0.0.1 until SIGINT or SIGTERM, then end every pod.

    ``announce`` is called once, with ``base_url``, ``api_key`` and ``notices``, when it serves. With ``linger`` (in
    seconds) it also ends that long after its standard input reached end of file. Raise OSError if ``port`` is taken.
    """
    with socket.create_server((machines.HOST, port), backlog=512) as listener:
        asyncio.run(_serve(listener, balance, boot_seconds, linger, api_key, isolation, own, announce))


class Doors:
    """Serves the API in the networks of clusters, too: one socket for each member."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self._sites: dict[str, web.SockSite] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, key: str, listener: socket.socket) -> None:
        """Serve the connections to ``listener``, until ``close``."""
        site = self._sites[key] = web.SockSite(self._runner, listener)
        self._begin(site.start())

    def close(self, key: str) -> None:
        """Serve there no longer."""
        site = self._sites.pop(key, None)
        if site is not None:
            self._begin(site.stop())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _serve(
    listener: socket.socket,
    balance: float,
    boot_seconds: float,
    linger: float | None,
    api_key: str,
    isolation: str,
    own: Own | None,
    announce: Callable[[dict[str, Any]], None],
) -> None:
    emulator = Emulator(
        listener, boot_seconds=boot_seconds, balance=balance, api_key=api_key, isolation=isolation, own=own
    )
    runner = web.AppRunner(emulator.application(), access_log=None, shutdown_timeout=1.0)
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    emulator.machines.when_broken = end.set
    doors = Doors(runner)
    emulator.machines.when_listening, emulator.machines.when_gone = doors.open, doors.close
    if linger is not None:
        _end_with_stdin(loop, linger, end)
    sweeper = loop.create_task(emulator.sweep_for_ever())
    try:
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await emulator.machines.open()
        announce(
            {"base_url": emulator.base_url, "api_key": emulator.account.api_key, "notices": emulator.notices}
        )
        await end.wait()
    finally:
        sweeper.cancel()
        await runner.cleanup()
        await emulator.machines.close()


def _end_with_stdin(loop: asyncio.AbstractEventLoop, linger: float, end: asyncio.Event) -> None:
    """Set ``end`` ``linger`` seconds after the pipe on standard input was closed."""
    descriptor = sys.stdin.fileno()

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            if not os.read(descriptor, 4096):
                loop.remove_reader(descriptor)
                loop.call_later(linger, end.set)

    os.set_blocking(descriptor, False)
    loop.add_reader(descriptor, read)

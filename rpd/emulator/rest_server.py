"""REST v2 over HTTP: who may ask, quotas, faults, problem+json, and the event stream of a log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from rpd.emulator.account import Account
from rpd.emulator.clusters import Clusters
from rpd.emulator.faults import API_KINDS, FaultBook, Rule
from rpd.emulator.machines import Machines
from rpd.emulator.refusals import HICCUP
from rpd.emulator.rest import Answer, Call, NotAllowed, RestFace, Route, route
from rpd.emulator.rest_body import Problem
from rpd.emulator.rest_logs import Entry, Log
from rpd.emulator.rest_pods import iso

_LOG_POLL_SECONDS = 0.1
_MOST_LINES = 5000
_HTML = "<html><head><title>{status}</title></head><body><h1>{status}</h1><p>cloudflare</p></body></html>"
_STATUS_OF_CODE = {
    "SUPPLY_CONSTRAINT": 400,
    "BAD_USER_INPUT": 400,
    "INSUFFICIENT_BALANCE": 402,
    "FORBIDDEN": 403,
    "POD_NOT_FOUND": 404,
}


_WINDOWS = (("minute", 6_000, 60), ("hour", 300_000, 3_600), ("day", 5_000_000, 86_400))


class Quota:
    """Counters of requests in windows of a minute, an hour and a day, for the rate limit headers.

    RunPod documents 60 a minute as an example; here there are more, and no call is refused until ``limit`` is
    called.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows = _WINDOWS
        self._refuses = False
        self._used: dict[str, tuple[int, int]] = {}

    def limit(self, calls: int | None, seconds: int) -> None:
        """Take so many calls in each window of ``seconds``, and refuse those above; None: as many as come."""
        self._refuses = calls is not None
        self._windows = _WINDOWS if calls is None else (("minute", calls, seconds), *_WINDOWS[1:])
        self._used.clear()

    def wait(self) -> int | None:
        """Return the seconds until the next call is taken; None if it is now."""
        name, most, seconds = self._windows[0]
        now = int(self._clock())
        window, used = self._used.get(name, (0, 0))
        if not self._refuses or window != now // seconds or used < most:
            return None
        return seconds - now % seconds

    def headers(self, *, exhausted: bool = False) -> dict[str, str]:
        """Count one request and return the headers that go with its answer."""
        now = int(self._clock())
        left = []
        for name, most, seconds in self._windows:
            window, used = now // seconds, self._used.get(name, (0, 0))
            count = used[1] + 1 if used[0] == window else 1
            self._used[name] = (window, count)
            remaining = 0 if exhausted and name == "minute" else max(0, most - count)
            left.append(f'"{name}";r={remaining};t={seconds - now % seconds}')
        policy = ", ".join(f'"{name}";q={most};w={seconds}' for name, most, seconds in self._windows)
        return {"RateLimit": ", ".join(left), "RateLimit-Policy": policy}


class RestServer:
    """The server of the REST face.

    ``caller`` returns the owner of the key of a request: ``""`` for the account, the id of a pod, None for a
    stranger.
    """

    def __init__(
        self,
        *,
        account: Account,
        clusters: Clusters,
        faults: FaultBook,
        machines: Machines,
        clock: Callable[[], float],
        quota: Quota,
        caller: Callable[[str], str | None],
        count: Callable[[], None],
    ) -> None:
        self._account = account
        self._face = RestFace(account, clusters, clock, machines.delete_network_volume)
        self._faults = faults
        self._machines = machines
        self._clock = clock
        self._caller = caller
        self._count = count
        self._quota = quota
        self._logs: dict[str, Log] = {}

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self._count()
        word, _, key = request.headers.get("Authorization", "").partition(" ")
        pod = self._caller(key) if word == "Bearer" and key else None
        if pod is None:
            return self._problem(Problem(401, "missing or invalid API key"), quota=False)
        wait = self._quota.wait()
        if wait is not None:
            limited = Problem(429, "rate limit exceeded for the minute window")
            return self._problem(limited, retry_after=wait)
        call = Call(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            body=await request.read(),
            pod=pod or None,
        )
        try:
            matched, item_id = route(call.method, call.path)
            rule = self._faults.take(API_KINDS, self._face.subject(matched, item_id, call))
            if rule is not None:
                return await self._spoil(rule, request, matched, item_id, call)
            return await self._answer(request, matched, item_id, call)
        except Problem as problem:
            return self._problem(problem)

    async def _answer(
        self, request: web.Request, matched: Route, item_id: str, call: Call
    ) -> web.StreamResponse:
        if matched.kind == "logs":
            return await self._stream(request, item_id, call)
        return self._json(self._face.answer(matched, item_id, call))

    def _json(self, answer: Answer) -> web.Response:
        headers = self._quota.headers()
        if answer.body is None:
            return web.Response(status=answer.status, headers=headers)
        return web.json_response(answer.body, status=answer.status, headers=headers)

    def _problem(
        self, problem: Problem, *, quota: bool = True, retry_after: float | None = None
    ) -> web.Response:
        body: dict[str, Any] = {
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": problem.detail,
        }
        if problem.errors:
            body["errors"] = list(problem.errors)
        headers = self._quota.headers(exhausted=problem.status == 429) if quota else {}
        if retry_after is not None:
            headers["Retry-After"] = f"{retry_after:g}"
        if isinstance(problem, NotAllowed):
            headers["Allow"] = problem.allow
        return web.Response(
            status=problem.status,
            text=json.dumps(body),
            content_type="application/problem+json",
            headers=headers,
        )

    # --- faults -----------------------------------------------------------------------------------------------------

    async def _spoil(
        self, rule: Rule, request: web.Request, matched: Route, item_id: str, call: Call
    ) -> web.StreamResponse:
        """Answer as a fault has it, before or after the call took effect."""
        params = rule.params
        acts = params.get("when") == "after" and matched.kind != "logs"
        answer = self._face.answer(matched, item_id, call) if acts else Answer(204)
        match rule.kind:
            case "slow":
                await asyncio.sleep(params["seconds"])
                return self._json(answer) if acts else await self._answer(request, matched, item_id, call)
            case "unauthorized" | "anonymous":
                return self._problem(Problem(401, "missing or invalid API key"), quota=False)
            case "forbidden-html":
                return _html(403)
            case "gone":
                return _html(410)
            case "server-error":
                return _html(params["status"])
            case "rate-limit":
                limited = Problem(429, "rate limit exceeded for the minute window")
                return self._problem(limited, retry_after=params["retry_after"])
            case "reset":
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=500)
            case _:
                code = params.get("code", "")
                return self._problem(Problem(_STATUS_OF_CODE.get(code, 500), params.get("message") or HICCUP))

    # --- logs -------------------------------------------------------------------------------------------------------

    async def _stream(self, request: web.Request, pod_id: str, call: Call) -> web.StreamResponse:
        """Send the lines wanted, then new ones as they come, until the client or the pod is gone."""
        self._check_log_call(pod_id, call)
        source = call.query.get("source")
        cursor = _cursor(request.headers.get("Last-Event-ID") or call.query.get("since"))
        log = self._logs.setdefault(pod_id, Log())
        self._refresh(pod_id, log)
        tail = int(call.query.get("tail", "100"))
        entries = log.after(source, cursor) if cursor else log.tail(source, tail)
        last = log.entries[-1].id if log.entries else ""
        headers = {
            **self._quota.headers(), "Content-Type": "text/event-stream", "Cache-Control": "no-cache",
            "Connection": "keep-alive", "X-Accel-Buffering": "no",
        }  # fmt: skip
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            while True:
                for entry in entries:
                    await response.write(_event(entry))
                if not self._refresh(pod_id, log):
                    return response
                await asyncio.sleep(_LOG_POLL_SECONDS)
                entries = log.after(source, last)
                last = log.entries[-1].id if log.entries else ""
        except ConnectionResetError:
            return response

    def _check_log_call(self, pod_id: str, call: Call) -> None:
        if call.pod not in (None, pod_id):
            raise Problem(403, "access denied")
        self._face.pod(pod_id)
        source, tail = call.query.get("source", "system"), call.query.get("tail", "100")
        if source not in ("container", "system"):
            raise Problem(422, "validation failed", ("query.source: expected one of container, system",))
        if not tail.isdigit() or int(tail) > _MOST_LINES:
            raise Problem(
                422, "validation failed", (f"query.tail: expected integer from 0 to {_MOST_LINES}",)
            )

    def _refresh(self, pod_id: str, log: Log) -> bool:
        """Read new lines; return whether the pod still exists."""
        try:
            pod = self._face.pod(pod_id)
        except Problem:
            self._logs.pop(pod_id, None)
            return False
        may_pull = self._account.may_pull(pod.order)
        log.refresh(pod, self._machines.log_file(pod_id), self._clock(), may_pull=may_pull)
        return True


def _cursor(text: str | None) -> str:
    """Return a time as ids of lines are written, empty for none. Raise Problem."""
    if not text:
        return ""
    try:
        return iso(datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise Problem(422, "validation failed", (f"since: expected date-time, got {text}",)) from None


def _event(entry: Entry) -> bytes:
    return f"id: {entry.id}\ndata: {json.dumps(entry.body())}\n\n".encode()


def _html(status: int) -> web.Response:
    return web.Response(status=status, text=_HTML.format(status=status), content_type="text/html")

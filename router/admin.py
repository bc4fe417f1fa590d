"""The admin listener: Caddy's ask, health, metrics, and why a host leads where it leads.

Nothing here asks who is calling: what may reach it is a matter of the address that it is bound to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from router.errors import API_METHOD_NOT_ALLOWED, INTERNAL_ERROR, NOT_FOUND, Problem
from router.observe.gathered import Figures
from router.observe.metrics import Metrics

CHECK_TIME = 1.0  # seconds for one check of readiness: less than a prober's own patience, three checks included

Check = Callable[[], Awaitable[str | None]]
Explain = Callable[[str], Awaitable[Mapping[str, Any]]]

_NO_STORE = {"Cache-Control": "no-store"}
_METHOD_NOT_ALLOWED = "method_not_allowed"

_log = structlog.get_logger("router.admin")


class Verdict(Protocol):
    """What the gate says."""

    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def retry_after(self) -> int | None: ...


Ask = Callable[[Sequence[str]], Awaitable[Verdict]]


class Admin:
    """The handlers.

    `ask` answers for all values of the `domain` parameter. A check of `checks` says what is wrong, or None; one that
    raises or takes longer than `check_time` seconds has failed too. What fails of `advice` is shown, and is no reason
    to send traffic elsewhere: the node is `degraded`, and ready. `facts` are shown beside the checks. `gather` gives the
    metrics of the node's other processes, where it has some.
    """

    def __init__(
        self,
        *,
        ask: Ask,
        metrics: Metrics,
        checks: Mapping[str, Check],
        explain: Explain,
        advice: Mapping[str, Check] | None = None,
        facts: Callable[[], Mapping[str, object]] = dict,
        gather: Callable[[], Awaitable[Iterable[Figures]]] | None = None,
        check_time: float = CHECK_TIME,
    ) -> None:
        self._check_time = check_time
        self._ask = ask
        self._metrics = metrics
        self._checks = dict(checks)
        self._advice = dict(advice or {})
        self._explain = explain
        self._facts = facts
        self._gather = gather

    def application(self) -> web.Application:
        """What a runner serves."""
        app = web.Application(middlewares=[_problems_as_json])
        app.router.add_route("*", "/ask", self._answer_ask)
        app.router.add_route("*", "/tls/ask", self._answer_ask)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._answer_metrics)
        app.router.add_get("/explain", self._answer_explain)
        return app

    async def _answer_ask(self, request: web.Request) -> web.Response:
        if request.method not in {"GET", "HEAD"}:
            self._metrics.count_ask(_METHOD_NOT_ALLOWED)
            return _empty(405, _METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        verdict = await self._ask(request.query.getall("domain", []))
        retry = {} if verdict.retry_after is None else {"Retry-After": str(verdict.retry_after)}
        return _empty(verdict.status, verdict.reason, retry)

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"}, headers=_NO_STORE)

    async def _readyz(self, _request: web.Request) -> web.Response:
        found = {name: await self._wrong(name, check) for name, check in self._checks.items()}
        ready = all(wrong is None for wrong in found.values())
        advice = {name: await self._wrong(name, check) for name, check in self._advice.items()}
        whole = all(wrong is None for wrong in advice.values())
        checks = {name: {"ok": wrong is None, "detail": wrong} for name, wrong in (found | advice).items()}
        status = "not_ready" if not ready else "ready" if whole else "degraded"
        document = {"status": status, "checks": checks, **self._facts()}
        return web.json_response(document, status=200 if ready else 503, headers=_NO_STORE)

    async def _wrong(self, name: str, check: Check) -> str | None:
        """What a check says, within its time."""
        try:
            async with asyncio.timeout(self._check_time):
                return await check()
        except TimeoutError:
            return f"no answer within {self._check_time:g} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is "not ready"
            _log.exception("a check of readiness failed", check=name)
            return type(error).__name__

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        others = None if self._gather is None else await self._gather()
        body, content_type = self._metrics.render(request.headers.get("Accept", ""), others)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _answer_explain(self, request: web.Request) -> web.Response:
        hosts = request.query.getall("host", [])
        if len(hosts) != 1 or not hosts[0]:
            return _problem(400, "missing_host", "Say which host: /explain?host=NAME, once.")
        return web.json_response(await self._explain(hosts[0]), headers=_NO_STORE)


def _empty(status: int, reason: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer to ask. With an empty body of known length Caddy, which reads none, can use the connection again."""
    return web.Response(status=status, headers={"X-Ask-Reason": reason, "Content-Length": "0", **(headers or {})})


def _problem(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    document = {"error": {"code": code, "message": message, "status": status}}
    return web.json_response(document, status=status, headers={**_NO_STORE, **(headers or {})})


def _of(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    return _problem(problem.status, problem.code, problem.message, headers)


@web.middleware
async def _problems_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _of(NOT_FOUND)
    except web.HTTPMethodNotAllowed as error:
        return _of(API_METHOD_NOT_ALLOWED, {"Allow": error.headers["Allow"]})
    except Exception:  # noqa: BLE001 - the last resort: a client gets JSON, the log gets the traceback
        _log.exception("a request to the admin listener failed", path=request.path)
        return _of(INTERNAL_ERROR)

"""The admin listener: Caddy's ask and its certificates, health, metrics, and why a host leads where it leads.

Only `/certificate` asks who is calling (`gate/peers.py`): what may reach the others is a matter of the address that the
listener is bound to.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from router.errors import API_METHOD_NOT_ALLOWED, INTERNAL_ERROR, NOT_FOUND, Problem
from router.gate.peers import Certificates, is_direct
from router.observe.exposition import wants_openmetrics
from router.observe.figures import Figures
from router.observe.loop_lag import timed
from router.observe.metrics import Metrics

CHECK_TIME = 1.0  # seconds for each check of readiness, all at once: less than a prober's own patience

Check = Callable[[], str | None]
Probe = Callable[[], Awaitable[str | None]]
Explain = Callable[[str], Awaitable[Mapping[str, Any]]]

_NO_STORE = {"Cache-Control": "no-store"}
_METHOD_NOT_ALLOWED = "method_not_allowed"
_MAX_ERROR = 200  # characters of a parser's error in the log; it quotes the request

_INDEX = {
    "listener": "admin",
    "links": {
        "/readyz": "whether this node should get traffic, and each check",
        "/livez": "whether this process answers at all",
        "/metrics": "metrics for Prometheus",
        "/explain?host=NAME": "where a host leads, why, and what the gate says",
        "/ask?domain=NAME": "whether Caddy may get a certificate for a name; it counts against the budgets",
        "/certificate?server_name=NAME": "the certificate and key that the router holds for a name: for Caddy on this machine",
    },
}

_log = structlog.get_logger("router.node.admin")


class Verdict(Protocol):
    """What the gate says."""

    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def retry_after(self) -> int | None: ...


Ask = Callable[[Sequence[str], str], Awaitable[Verdict]]


class Admin:
    """The handlers.

    `ask` answers for all values of the `domain` parameter, and the address of who asks. `certificates` are what `/certificate`
    gives out. A check of `checks` says what is wrong, or None. What fails
    of `advice` is shown, and is no reason to send traffic elsewhere: the node is `degraded`, and ready. `probes` are
    advice that has to wait for an answer. One that raises has failed too, and a probe that takes longer than
    `check_time` seconds. `facts` are shown beside the checks. `gather(exemplars)` gives the metrics of the node's other
    processes, where it has some.
    """

    def __init__(
        self,
        *,
        ask: Ask,
        certificates: Certificates,
        metrics: Metrics,
        checks: Mapping[str, Check],
        explain: Explain,
        advice: Mapping[str, Check] | None = None,
        probes: Mapping[str, Probe] | None = None,
        facts: Callable[[], Mapping[str, object]] = dict,
        gather: Callable[[bool], Awaitable[Iterable[Figures]]] | None = None,
        check_time: float = CHECK_TIME,
    ) -> None:
        self._check_time = check_time
        self._ask = ask
        self._certificates = certificates
        self._metrics = metrics
        self._render = timed("render_metrics", metrics.render, metrics)
        self._checks = dict(checks)
        self._advice = dict(advice or {})
        self._probes = dict(probes or {})
        self._explain = explain
        self._facts = facts
        self._gather = gather

    def application(self) -> web.Application:
        """What a runner serves."""
        app = web.Application(middlewares=[_problems_as_json])
        app.router.add_get("/", self._index)
        app.router.add_route("*", "/ask", self._answer_ask)
        app.router.add_route("*", "/tls/ask", self._answer_ask)
        app.router.add_get("/certificate", certificate_handler(self._certificates))
        app.router.add_get("/livez", _livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._answer_metrics)
        app.router.add_get("/explain", self._answer_explain)
        return app

    async def _answer_ask(self, request: web.Request) -> web.Response:
        if request.method not in {"GET", "HEAD"}:
            self._metrics.count("asks", _METHOD_NOT_ALLOWED)
            return _empty(405, _METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        caddy = self._certificates.named(_peer(request))
        verdict = await self._ask(_domains(request.query.items()), caddy)
        retry = {} if verdict.retry_after is None else {"Retry-After": str(verdict.retry_after)}
        return _empty(verdict.status, verdict.reason, retry)

    async def _index(self, _request: web.Request) -> web.Response:
        return _readable(_INDEX)

    async def _readyz(self, _request: web.Request) -> web.Response:
        document = await readiness_of(self._checks, self._advice, self._probes, self._facts, self._check_time)
        return web.json_response(document, status=503 if document["status"] == "not_ready" else 200, headers=_NO_STORE)

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        others = None if self._gather is None else await self._gather(wants_openmetrics(accept))
        body, content_type = self._render(accept, others)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _answer_explain(self, request: web.Request) -> web.Response:
        hosts = request.query.getall("host", [])
        if len(hosts) != 1 or not hosts[0]:
            return _problem(400, "missing_host", "Say which host: /explain?host=NAME, once.")
        return _readable(await self._explain(hosts[0]))


async def readiness_of(
    checks: Mapping[str, Check],
    advice: Mapping[str, Check],
    probes: Mapping[str, Probe],
    facts: Callable[[], Mapping[str, object]],
    check_time: float = CHECK_TIME,
) -> dict[str, Any]:
    """What `/readyz` says: see `Admin`."""
    # The probes all at once: the answer takes no longer than the slowest.
    probed = await asyncio.gather(*(_probed(name, probe, check_time) for name, probe in probes.items()))
    # Then everything else, in one turn of the loop: the status and the facts are of the same moment.
    blockers = {name: _checked(name, check) for name, check in checks.items()}
    advised = {name: _checked(name, check) for name, check in advice.items()}
    details = blockers | dict(zip(probes, probed, strict=True)) | advised
    ready = not any(blockers.values())
    status = "not_ready" if not ready else "degraded" if any(details.values()) else "ready"
    return {
        "status": status,
        "checks": {name: {"ok": detail is None, "detail": detail} for name, detail in details.items()},
        **facts(),
    }


async def _probed(name: str, probe: Probe, check_time: float) -> str | None:
    try:
        async with asyncio.timeout(check_time):
            return await probe()
    except TimeoutError:
        return f"no answer within {check_time:g} s"
    except Exception as error:  # noqa: BLE001 - any error is a failed check
        return _failed(name, error)


def _checked(name: str, check: Check) -> str | None:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - any error is a failed check
        return _failed(name, error)


def certificate_application(certificates: Certificates) -> web.Application:
    """What the listener at `certificate_bind` serves: `/certificate`, and `/livez` for who chooses between routers."""
    app = web.Application(middlewares=[_problems_as_json])
    app.router.add_get("/livez", _livez)
    app.router.add_get("/certificate", certificate_handler(certificates))
    return app


def certificate_handler(certificates: Certificates) -> Handler:
    """Answers `/certificate` as `gate/fast_path.py` does, to requests that look otherwise. Never an error."""

    async def answer(request: web.Request) -> web.Response:
        names, peer = request.query.getall("server_name", []), certificates.named(_peer(request))
        found = None
        if not certificates.authenticated and not is_direct(request.headers.items()):
            certificates.refuse(peer, "a proxy or a browser sent the request")
        elif request.method == "GET" and len(names) == 1:
            found = certificates.fetch(names[0], peer)
        if found is None:
            return web.Response(status=204)
        body = found.partition(b"\r\n\r\n")[2]
        return web.Response(body=body, content_type="application/pem-certificate-chain", headers=_NO_STORE)

    return answer


class ConnectionLog:
    """What aiohttp logs about connections to the admin listener: one line for a malformed request, since that is the
    client's fault, and the traceback for anything else."""

    def debug(self, *_args: object, **_options: object) -> None:
        """Nothing: a client that has gone is no event."""

    def exception(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        if isinstance(exc_info, HttpProcessingError | web.RequestPayloadError):
            _log.info("malformed request to the admin listener", error=str(exc_info)[:_MAX_ERROR])
        else:
            _log.error("admin connection failed", what=message % args, exc_info=exc_info)

    error = exception


async def _livez(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"}, headers=_NO_STORE)


def _peer(request: web.Request) -> object:
    return None if request.transport is None else request.transport.get_extra_info("peername")


def _readable(document: Mapping[str, Any]) -> web.Response:
    """JSON for people: indented."""
    return web.json_response(text=json.dumps(document, indent=2, ensure_ascii=False) + "\n", headers=_NO_STORE)


def _failed(name: str, error: Exception) -> str:
    """The detail of a check that raised: the error's type alone, as its text may hold a password."""
    _log.exception("readiness check failed", check=name)
    return type(error).__name__


def _domains(query: Iterable[tuple[str, str]]) -> Sequence[str]:
    """All values of the `domain` parameter. One that others might take for it stands beside it as a second one, and is
    refused as such: `Domain`, `domain[]`, or with spaces around."""
    alike = [(name, value) for name, value in query if name.strip().lower().removesuffix("[]") == "domain"]
    return [value for _, value in alike] if any(name == "domain" for name, _ in alike) else []


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
        _log.exception("admin request failed", path=request.path)
        return _of(INTERNAL_ERROR)

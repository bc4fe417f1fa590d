"""The admin listener, over HTTP on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs
from yarl import URL

from router.base.clock import ManualClock
from router.gate.peers import Certificates
from router.node.admin import Admin, Check, ConnectionLog, Probe
from router.observe.metrics import Metrics
from tests.support.held_table import HeldAnswers

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True)
class Said:
    status: int
    reason: str
    retry_after: int | None = None


class Parts:
    """An admin listener whose parts say what a test wants."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.verdict = Said(200, "issued")
        self.asked: list[Sequence[str]] = []
        self.checks: dict[str, Check] = {}
        self.advice: dict[str, Check] = {}
        self.probes: dict[str, Probe] = {}
        self.facts: dict[str, object] = {}
        self.explained: list[str] = []
        self.held = HeldAnswers({"box.zone.example": b"chain and key\n"})
        self.client: TestClient[Any, Any]
        self.application: web.Application

    async def start(self) -> None:
        admin = Admin(
            ask=self.ask,
            certificates=Certificates(self.held, metrics=self.metrics, clock=ManualClock()),
            metrics=self.metrics,
            checks=self.checks,
            advice=self.advice,
            probes=self.probes,
            facts=lambda: self.facts,
            explain=self.explain,
            check_time=0.02,
        )
        self.application = admin.application()
        self.client = TestClient(TestServer(admin.application()))
        await self.client.start_server()

    async def ask(self, domains: Sequence[str], caddy: str) -> Said:
        assert caddy == "loopback"
        self.asked.append(domains)
        return self.verdict

    async def explain(self, host: str) -> Mapping[str, Any]:
        if host == "bug":
            raise ZeroDivisionError
        self.explained.append(host)
        return {"host": host}


@pytest_asyncio.fixture
async def parts() -> AsyncIterator[Parts]:
    made = Parts()
    await made.start()
    yield made
    await made.client.close()


async def test_the_root_leads_to_everything(parts: Parts) -> None:
    """Somebody who opens the address sees what there is; every link but those with a parameter answers."""
    answer = await parts.client.get("/")
    assert answer.status == 200
    text = await answer.text()
    assert "\n  " in text
    for link in json.loads(text)["links"]:
        assert (await parts.client.get(link.partition("?")[0])).status in {200, 204, 400}, link


async def test_an_explanation_can_be_read(parts: Parts) -> None:
    """Indented, letters as they are."""
    answer = await parts.client.get("/explain", params={"host": "bücher.example"})
    assert await answer.text() == '{\n  "host": "bücher.example"\n}\n'


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GE T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_malformed_request_is_one_line_in_the_log(parts: Parts, request_: bytes) -> None:
    """400 (or 405, where the head was fine), and no traceback: it is the client's fault."""
    runner = web.AppRunner(parts.application, access_log=None, logger=ConnectionLog())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    with capture_logs() as logs:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(request_)
        answer = await reader.readuntil(b"\r\n")
        writer.close()
        await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ", b"HTTP/1.1 405 "))
    assert {line["event"] for line in logs} <= {"malformed request to the admin listener"}
    assert not any("exc_info" in line or len(line["error"]) > 200 for line in logs)
    await runner.cleanup()


HELD = "box.zone.example"


@pytest.mark.parametrize(
    "query", ["server_name=box.zone.example", "local_ip=%3A%3A1&server_name=box%2Ezone.example&x=y"]
)
async def test_a_certificate_that_is_held(parts: Parts, query: str) -> None:
    """As the fast path answers, to requests that look otherwise."""
    answer = await parts.client.get(URL(f"/certificate?{query}", encoded=True))
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.headers["Content-Type"] == "application/pem-certificate-chain"
    assert await answer.read() == b"chain and key\n"
    assert parts.held.fetched == [(HELD, "loopback")]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("server_name=other.example", {}),
        ("", {}),
        ("server_name=", {}),
        ("server_name=box.zone.example&server_name=box.zone.example", {}),
        ("server_name=box.zone.example", {"X-Forwarded-For": "127.0.0.1"}),
        ("server_name=box.zone.example", {"Via": "1.1 proxy"}),
        ("server_name=box.zone.example", {"Forwarded": "for=127.0.0.1"}),
        ("server_name=box.zone.example", {"Origin": "https://evil.example"}),
        ("server_name=box.zone.example", {"Sec-Fetch-Site": "same-origin"}),
        ("server_name=box.zone.example", {"Host": "rebound.evil.example"}),
        ("server_name=box.zone.example", {"Host": "10.0.0.7:8082"}),
    ],
)
async def test_no_certificate_is_never_an_error(parts: Parts, query: str, fields: dict[str, str]) -> None:
    """204 for what is not held, for what makes no sense, and for what was passed on or comes from a web page."""
    answer = await parts.client.get(f"/certificate?{query}", headers=fields)
    assert (answer.status, await answer.read()) == (204, b"")


async def test_who_looks_without_taking_gets_no_certificate(parts: Parts) -> None:
    """HEAD."""
    answer = await parts.client.head("/certificate", params={"server_name": HELD})
    assert (answer.status, parts.held.fetched) == (204, [])


@pytest.mark.parametrize("path", ["/ask", "/tls/ask"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("said", [Said(200, "issued"), Said(403, "suspended"), Said(503, "not_ready")])
async def test_ask(parts: Parts, path: str, method: str, said: Said) -> None:
    """Status and reason, and an empty body of known length, so that Caddy uses the connection again."""
    parts.verdict = said
    answer = await parts.client.request(method, path, params={"domain": "Shop.example"})
    assert answer.status == said.status
    assert answer.headers["X-Ask-Reason"] == said.reason
    assert answer.headers["Content-Length"] == "0"
    assert await answer.read() == b""
    assert parts.asked == [["Shop.example"]]


async def test_a_refusal_for_now_says_until_when(parts: Parts) -> None:
    """In seconds, for people: Caddy does not read it."""
    parts.verdict = Said(429, "budget_account", 90)
    answer = await parts.client.get("/ask?domain=x.org")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "90")


@pytest.mark.parametrize(
    ("query", "domains"),
    [
        ("", []),
        ("?domain=", [""]),
        ("?domain=a.org&domain=b.org", ["a.org", "b.org"]),
        ("?Domain=a.org", []),
        ("?x=1&domain=a.org", ["a.org"]),
        ("?domain=b%C3%BCcher.example", ["bücher.example"]),
        ("?domain=a%0Ab", ["a\nb"]),
        ("?domain=%FF", ["\ufffd"]),
    ],
)
async def test_the_gate_gets_every_value_of_the_parameter(parts: Parts, query: str, domains: list[str]) -> None:
    """It decides what none, two or strange ones mean."""
    await parts.client.get(f"/ask{query}")
    assert parts.asked == [domains]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"])
async def test_ask_takes_no_other_method(parts: Parts, method: str) -> None:
    """405 with the reason; nobody is asked."""
    answer = await parts.client.request(method, "/ask?domain=x.org", data=b"ignored")
    assert answer.status == 405
    assert answer.headers["X-Ask-Reason"] == "method_not_allowed"
    assert answer.headers["Allow"] == "GET, HEAD"
    assert await answer.read() == b""
    assert parts.asked == []
    assert b'miosa_router_asks_total{reason="method_not_allowed"} 1.0' in parts.metrics.render("")[0]


async def test_alive(parts: Parts) -> None:
    """Whatever the checks of readiness say."""
    answer = await parts.client.get("/livez")
    assert (answer.status, await answer.json()) == (200, {"status": "alive"})


async def test_ready_when_every_check_finds_nothing() -> None:
    """Each check by its name."""
    parts = Parts()

    async def answers() -> None:
        return None

    parts.checks.update(serving=lambda: None)
    parts.probes.update(store=answers)
    await parts.start()
    answer = await parts.client.get("/readyz")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    nothing = {"ok": True, "detail": None}
    assert await answer.json() == {"status": "ready", "checks": {"serving": nothing, "store": nothing}}
    assert (await parts.client.head("/readyz")).status == 200
    await parts.client.close()


async def test_each_check_that_finds_something_fails_or_hangs_is_named() -> None:
    """An error's text stays in the log: it may hold a password. The other checks are still asked."""
    parts = Parts()

    async def broken() -> str | None:
        raise ConnectionError("postgresql://router:hunter2@db refused")

    async def hanging() -> str | None:
        await asyncio.Event().wait()
        return None

    def mistaken() -> str | None:
        raise ZeroDivisionError

    parts.checks.update(resolver=lambda: None, draining=lambda: "the process is stopping")
    parts.probes.update(store=broken, disk=hanging)
    parts.advice.update(clock=mistaken)
    await parts.start()
    with capture_logs() as logs:
        answer = await parts.client.get("/readyz")
        document = await answer.json()
    await parts.client.close()
    assert (answer.status, document["status"]) == (503, "not_ready")
    assert document["checks"] == {
        "resolver": {"ok": True, "detail": None},
        "draining": {"ok": False, "detail": "the process is stopping"},
        "store": {"ok": False, "detail": "ConnectionError"},
        "disk": {"ok": False, "detail": "no answer within 0.02 s"},
        "clock": {"ok": False, "detail": "ZeroDivisionError"},
    }
    assert [(line["event"], line["check"]) for line in logs] == [
        ("readiness check failed", "store"),
        ("readiness check failed", "clock"),
    ]


async def test_status_and_facts_are_of_one_moment() -> None:
    """What changes while a probe waits shows in both."""
    parts = Parts()
    redis: list[str] = []

    async def goes_meanwhile() -> None:
        await asyncio.sleep(0)
        redis.append("Redis is away")
        parts.facts["by"] = "store"

    parts.facts["by"] = "bus"
    parts.advice.update(redis=lambda: redis[0] if redis else None)
    parts.probes.update(store=goes_meanwhile)
    await parts.start()
    document = await (await parts.client.get("/readyz")).json()
    await parts.client.close()
    assert (document["status"], document["by"]) == ("degraded", "store")


@pytest.mark.parametrize(
    ("serving", "redis", "status", "word"),
    [
        (None, None, 200, "ready"),
        (None, "Redis is away", 200, "degraded"),
        ("draining", "Redis is away", 503, "not_ready"),
    ],
)
async def test_ready_though_something_helpful_is_away(
    serving: str | None, redis: str | None, status: int, word: str
) -> None:
    """What the node can do without is shown, and sends no traffic away."""
    parts = Parts()
    parts.checks.update(serving=lambda: serving)
    parts.advice.update(redis=lambda: redis)
    await parts.start()
    answer = await parts.client.get("/readyz")
    document = await answer.json()
    await parts.client.close()
    assert (answer.status, document["status"]) == (status, word)
    assert document["checks"]["redis"] == {"ok": redis is None, "detail": redis}


async def test_metrics_in_the_format_that_is_asked_for(parts: Parts) -> None:
    """Text, or OpenMetrics."""
    answer = await parts.client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "miosa_router_build_info" in await answer.text()
    answer = await parts.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (await answer.text()).endswith("# EOF\n")


async def test_explain(parts: Parts) -> None:
    """The document, as it is."""
    answer = await parts.client.get("/explain", params={"host": "x.org:443"})
    assert (answer.status, await answer.json()) == (200, {"host": "x.org:443"})


@pytest.mark.parametrize("query", ["", "?host=", "?host=a&host=b"])
async def test_explain_needs_one_host(parts: Parts, query: str) -> None:
    """400, and how to ask."""
    answer = await parts.client.get(f"/explain{query}")
    assert answer.status == 400
    assert (await answer.json())["error"]["code"] == "missing_host"
    assert parts.explained == []


@pytest.mark.parametrize("path", ["/ask/", "/api/v1/domains", "/metrics/x"])
async def test_other_paths_are_not_found(parts: Parts, path: str) -> None:
    """404 as JSON."""
    answer = await parts.client.get(path)
    assert (answer.status, answer.content_type) == (404, "application/json")
    assert (await answer.json())["error"]["code"] == "not_found"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/explain"])
async def test_other_methods_are_not_allowed(parts: Parts, path: str) -> None:
    """405 as JSON, with those that are."""
    answer = await parts.client.post(path, data=b"x")
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}
    assert (await answer.json())["error"]["code"] == "method_not_allowed"


async def test_a_bug_is_logged_and_answered(parts: Parts) -> None:
    """500 as JSON; the traceback is in the log only."""
    with capture_logs() as logs:
        answer = await parts.client.get("/explain?host=bug")
    assert (answer.status, (await answer.json())["error"]["code"]) == (500, "internal_error")
    assert "ZeroDivision" not in json.dumps(await answer.json())
    assert [line["event"] for line in logs] == ["admin request failed"]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("domain=a.org", ["a.org"]),
        ("x=1&domain=a.org", ["a.org"]),
        ("domain=%61.org", ["a.org"]),
        ("domain=", [""]),
        ("", []),
        ("Domain=a.org", []),
        ("domain[]=a.org", []),
        ("domain=a.org&domain=a.org", ["a.org", "a.org"]),
        ("domain=a.org&domain=b.org", ["a.org", "b.org"]),
        ("domain=a.org&%64omain=b.org", ["a.org", "b.org"]),
        ("domain=a.org&domain=", ["a.org", ""]),
        ("domain&domain=a.org", ["", "a.org"]),
        ("domain=a.org&Domain=b.org", ["a.org", "b.org"]),
        ("domain[]=b.org&domain=a.org", ["b.org", "a.org"]),
        ("domain=a.org&%20domain=b.org", ["a.org", "b.org"]),
        ("domain=a.org;domain=b.org", ["a.org;domain=b.org"]),
    ],
)
async def test_what_is_taken_for_the_name_asked_about(parts: Parts, query: str, asked: list[str]) -> None:
    """Every spelling of it that anything between Caddy and us might read counts: two are refused, none is missing."""
    await parts.client.get(URL(f"/ask?{query}", encoded=True))
    assert parts.asked == [asked]

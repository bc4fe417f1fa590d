"""Request records over the API: pages, conditions, numbers, and the stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio

from router.api import streams
from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.records import request_logs
from router.records.kept import KeptRecords
from router.records.record import Row, gap
from router.records.request_logs import RequestLogs
from router.records.totals import MINUTE, Counting
from router.routes.records import Kind
from router.tenancy.ownership import Ownership
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.request_records import row
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams look often."""
    monkeypatch.setattr(request_logs, "POLL", 0.02)
    monkeypatch.setattr(streams, "CHECK_EVERY", 0.05)


class Shop:
    """A deployment of Acme's, and what is recorded of it."""

    def __init__(self, acme: Account, deployment_id: str, kept: KeptRecords, clock: ManualClock) -> None:
        self.id = deployment_id
        self.path = f"/api/v1/deployments/{deployment_id}"
        self.tenant = UUID(acme.tenant.id).bytes
        self._resource = UUID(deployment_id).bytes
        self._kept = kept
        self._clock = clock

    @property
    def now(self) -> int:
        return int(self._clock.now().timestamp() * 1e6)

    def row(self, number: int, **changes: Any) -> Row:
        values = {"tenant": self.tenant, "resource": self._resource, "at": self.now, **changes}
        return row(number, **values)

    async def visit(self, *ids: str, **changes: Any) -> None:
        """Record requests with these ids."""
        await self._kept.append([self.row(n, request_id=one, **changes) for n, one in enumerate(ids)], [])

    async def count(self, durations: Sequence[int], *, route: str = "GET /", status: int = 200, at: int = 0) -> None:
        """Count requests that took so many microseconds each."""
        counting = Counting()
        for duration in durations:
            counting.add(self.tenant, self._resource, at or self.now, route, "--", status, 1, 10, duration)
        await self._kept.append([], counting.take_changed(0))

    async def lose(self, lost: int) -> None:
        await self._kept.append([gap(self.tenant, 0, self._resource, lost, self.now)], [])


@pytest_asyncio.fixture
async def shop(services: Services, acme: Account, kept: KeptRecords, clock: ManualClock) -> Shop:
    deployment = await services.deployments.create(acme.tenant.id, "Shop", ownership=Ownership(), slug="shop")
    return Shop(acme, deployment.id, kept, clock)


async def ids(api: ApiClient, path: str, **params: str) -> list[str]:
    answer = await api("GET", path, params=params)
    assert answer.status == 200, answer.body
    return [one["request_id"] for one in answer.json["data"]["items"]]


async def test_a_record_as_it_is_shown(api: ApiClient, shop: Shop) -> None:
    """With its ending in words, and whose fault it was."""
    version = "9a1f7d5e-5a43-4d1c-8f43-1b2c3d4e5f60"
    trace = "0af7651916cd43dd8448eb211c80319c"
    details = f"7 1234 -1 10000 30000 500000 1 1 203.0.113.0/24 bad_backend_response {version} {trace}"
    await shop.visit("a", status=502, ending="BH", fault=2, details=details, method="POST", path="/cart")
    (item,) = (await api("GET", f"{shop.path}/request-logs")).json["data"]["items"]
    assert int(item.pop("id")) > 0
    assert item == {
        "type": "request",
        "ended_at": "2026-01-01T00:00:00.000Z",
        "resource_id": shop.id,
        "request_id": "a",
        "host": "shop.miosa.app",
        "method": "POST",
        "path": "/cart",
        "status": 502,
        "ending": "BH",
        "ending_text": "the backend closed the connection or sent something else than a response: 502",
        "fault": "application",
        "error": "bad_backend_response",
        "bytes_in": 7,
        "bytes_out": 1234,
        "duration_ms": 250.0,
        "first_byte_ms": None,
        "queue_ms": 10.0,
        "dial_ms": 30.0,
        "wake_ms": 500.0,
        "cold_start": True,
        "tunnel": False,
        "captured": False,
        "replay": False,
        "client_network": "203.0.113.0/24",
        "version_id": version,
        "trace_id": trace,
        "represents": 1,
        "lost": 0,
    }


async def test_pages(api: ApiClient, shop: Shop) -> None:
    """A cursor leads to older ones, whatever comes meanwhile; the last page has none."""
    await shop.visit(*"abcde")
    first = (await api("GET", f"{shop.path}/request-logs?limit=3")).json["data"]
    assert [one["request_id"] for one in first["items"]] == ["e", "d", "c"]
    await shop.visit("f")
    second = (await api("GET", f"{shop.path}/request-logs?limit=3&cursor={first['next_cursor']}")).json["data"]
    assert [one["request_id"] for one in second["items"]] == ["b", "a"]
    assert second["next_cursor"] is None


async def test_conditions(api: ApiClient, shop: Shop, clock: ManualClock) -> None:
    """Each by the name that the documentation gives it."""
    path = f"{shop.path}/request-logs"
    await shop.visit("old")
    clock.advance(60)
    await shop.visit("bad", status=503, ending="EA", fault=1)
    await shop.visit("slow", total=2_000_000, method="PUT", path="/api/x", host="www.example.com")
    assert await ids(api, path, status="503") == await ids(api, path, status="5xx") == ["bad"]
    assert await ids(api, path, ending="EA") == await ids(api, path, fault="edge") == ["bad"]
    assert await ids(api, path, method="PUT") == await ids(api, path, path_contains="/api/") == ["slow"]
    assert await ids(api, path, min_duration_ms="2000") == await ids(api, path, host="WWW.example.com") == ["slow"]
    assert await ids(api, path, until="2026-01-01T00:00:30Z") == await ids(api, path, request_id="old") == ["old"]
    assert await ids(api, path, since="2026-01-01T00:00:30Z") == ["slow", "bad"]
    assert await ids(api, "/api/v1/request-logs", resource_id=shop.id, status="5xx") == ["bad"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "6xx"),
        ("status", "20"),
        ("ending", "ZZ"),
        ("fault", "app"),
        ("method", "get"),
        ("cursor", "x"),
        ("cursor", "9" * 19),
        ("min_duration_ms", "1.5"),
        ("since", "yesterday"),
        ("host", "a..b"),
        ("limit", "0"),
    ],
)
async def test_conditions_that_are_none(api: ApiClient, shop: Shop, name: str, value: str) -> None:
    """A typing error is told, and not taken for a condition that nothing meets."""
    answer = await api("GET", f"{shop.path}/request-logs", params={name: value})
    assert (answer.status, list(answer.fields)) == (422, [name])


async def test_a_domain_shows_its_own_host(api: ApiClient, services: Services, shop: Shop) -> None:
    """Whatever other hosts its resource has."""
    domain = await services.custom_domains.register(shop.id, "www.example.com")
    await shop.visit("there", host="www.example.com")
    await shop.visit("elsewhere")
    path = f"/api/v1/custom-domains/{domain.id}/request-logs"
    assert await ids(api, path) == ["there"]
    assert (await api("GET", path, params={"host": "shop.miosa.app"})).status == 422


async def test_machines_show_theirs(api: ApiClient, services: Services, acme: Account, kept: KeptRecords) -> None:
    """Sandboxes and computers as deployments; by the other's path there is nothing."""
    for kind, noun, other in ((Kind.SANDBOX, "sandboxes", "computers"), (Kind.COMPUTER, "computers", "sandboxes")):
        machine = await services.resources.create(kind, acme.tenant.id, ownership=Ownership())
        tenant, resource = UUID(acme.tenant.id).bytes, UUID(machine.id).bytes
        await kept.append([row(0, tenant=tenant, resource=resource, request_id=noun)], [])
        assert await ids(api, f"/api/v1/{noun}/{machine.id}/request-logs") == [noun]
        assert (await api("GET", f"/api/v1/{other}/{machine.id}/request-logs")).status == 404


async def test_all_of_a_tenant_needs_its_key(api: ApiClient, services: Services, acme: Account, shop: Shop) -> None:
    """A workspace's key sees its own resources by their paths, and not what the whole tenant has."""
    await shop.visit("a")
    _, key = await services.keys.create(acme.tenant.id, scope=KeyScope.WORKSPACE, scope_id=acme.default.id)
    assert (await api("GET", "/api/v1/request-logs", key=key)).status == 403
    assert (await api("GET", f"{shop.path}/request-logs", key=key)).status == 200
    assert (await api("GET", f"{shop.path}/request-logs", key=acme.workspace_key)).status == 403
    assert await ids(api, "/api/v1/request-logs") == ["a"]


async def test_rates_and_durations(api: ApiClient, shop: Shop, clock: ManualClock) -> None:
    """Of the last hour, whole and by the minute; percentiles are right to three per cent."""
    clock.advance(7230)
    await shop.count([n * 1000 for n in range(1, 91)])
    await shop.count([10_000_000] * 10, status=500)
    await shop.count([5_000], at=shop.now - 3 * MINUTE, status=404)
    await shop.count([1_000_000], at=shop.now - 61 * MINUTE)
    data = (await api("GET", f"{shop.path}/observability")).json["data"]
    assert {name: data[name] for name in ("requests", "errors", "client_errors", "bytes_in", "bytes_out")} == {
        "requests": 101,
        "errors": 10,
        "client_errors": 1,
        "bytes_in": 101,
        "bytes_out": 1010,
    }
    assert data["error_rate"] == pytest.approx(10 / 101, abs=1e-6)
    assert data["latency_ms"]["p50"] == pytest.approx(50, rel=0.03)
    assert data["latency_ms"]["p90"] == pytest.approx(90, rel=0.03)
    assert data["latency_ms"]["p95"] == pytest.approx(10_000, rel=0.03)
    assert [(one["at"], one["requests"]) for one in data["series"]] == [
        ("2026-01-01T01:57:00Z", 1),
        ("2026-01-01T02:00:00Z", 100),
    ]


async def test_rates_of_a_whole_tenant(
    api: ApiClient,
    services: Services,
    acme: Account,
    shop: Shop,
    globex: Account,
    kept: KeptRecords,
    clock: ManualClock,
) -> None:
    """Over all its resources, or of one, in steps that are told; nobody else's, whatever is asked for. A narrower key has the numbers of
    its deployments."""
    clock.advance(7230)
    other = await services.deployments.create(acme.tenant.id, "Desk", ownership=Ownership(), slug="desk")
    theirs = await services.deployments.create(globex.tenant.id, "Theirs", ownership=Ownership(), slug="theirs")
    await shop.count([1000] * 3)
    await Shop(acme, other.id, kept, clock).count([9000], at=shop.now - 3 * MINUTE, status=500)
    await Shop(globex, theirs.id, kept, clock).count([1000] * 50)

    async def numbers(**params: str) -> Any:
        answer = await api("GET", "/api/v1/observability", params=params)
        assert answer.status == 200, answer.body
        return answer.json["data"]

    found = await numbers()
    assert (found["requests"], found["errors"], found["resource_id"], found["step_seconds"]) == (4, 1, None, 60)
    assert found["latency_ms"]["p99"] == pytest.approx(9, rel=0.03)
    assert [(one["at"], one["requests"]) for one in found["series"]] == [
        ("2026-01-01T01:57:00Z", 1),
        ("2026-01-01T02:00:00Z", 3),
    ]
    assert (await numbers(since="2025-12-31T02:01:00Z"))["step_seconds"] == 720
    assert (await numbers(resource_id=other.id))["requests"] == 1
    assert (await numbers(resource_id=theirs.id))["requests"] == 0
    assert (await numbers(resource_id=globex.tenant.id))["requests"] == 0
    assert (await api("GET", "/api/v1/observability", key=acme.workspace_key)).status == 403
    services.request_logs._kept = None
    answer = await api("GET", "/api/v1/observability")
    assert (answer.status, answer.code) == (501, "not_served_here")


async def test_rates_by_route(api: ApiClient, shop: Shop) -> None:
    """The busiest first."""
    await shop.count([1000] * 3, route="GET /a")
    await shop.count([1000] * 5, route="GET /users/:id", status=500)
    data = (await api("GET", f"{shop.path}/routes", params={"until": "2026-01-01T00:05:00Z"})).json["data"]
    assert [(one["route"], one["requests"], one["error_rate"]) for one in data["routes"]] == [
        ("GET /users/:id", 5, 1.0),
        ("GET /a", 3, 0.0),
    ]


async def test_lines(api: ApiClient, shop: Shop) -> None:
    """The newest last, as many as were asked for."""
    await shop.visit("a", path="/1")
    await shop.visit("b", path="/2")
    await shop.lose(7)
    lines = (await api("GET", f"{shop.path}/logs?lines=2")).json["data"]["lines"]
    assert lines == [
        "2026-01-01T00:00:00.000Z 200 -- GET shop.miosa.app/2 250.0ms in=0 out=1234",
        "2026-01-01T00:00:00.000Z 7 records are missing here",
    ]


async def test_where_nothing_is_recorded(api: ApiClient, services: Services, shop: Shop, clock: ManualClock) -> None:
    """It says so: an empty list would look like no traffic."""
    await shop.visit("a")
    services.request_logs._kept = None
    for path in ("request-logs", "request-logs/stream", "observability", "routes", "logs"):
        answer = await api("GET", f"{shop.path}/{path}")
        assert (answer.status, answer.code) == (501, "not_served_here"), path


# Streams.


class Heard:
    """A stream, read event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def event(self) -> tuple[str, str, Any]:
        """The next event: its id, its name, its data."""
        found: dict[str, str] = {}
        async with asyncio.timeout(10):
            while True:
                line = (await self.response.content.readline()).decode()
                assert line, "the stream has ended"
                if line == "\n" and "data" in found:
                    return found["id"], found["event"], json.loads(found["data"])
                name, _, value = line.rstrip("\n").partition(": ")
                found[name] = value

    async def end(self) -> bytes:
        """What still comes until it ends."""
        async with asyncio.timeout(10):
            return await self.response.content.read()


@asynccontextmanager
async def listening(api: ApiClient, path: str, *, key: str | None = None, last: str = "") -> AsyncIterator[Heard]:
    headers = {"Authorization": f"Bearer {key or api.key}"} | ({"Last-Event-ID": last} if last else {})
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{api.port}{path}", headers=headers) as response,
    ):
        assert response.status == 200, await response.read()
        assert await response.content.readline() == b"retry: 2000\n"
        yield Heard(response)


async def test_records_as_they_come(api: ApiClient, shop: Shop) -> None:
    """From when one listens, and none of another resource; gaps under their own name."""
    await shop.visit("before")
    async with listening(api, f"{shop.path}/request-logs/stream") as stream:
        await shop.visit("other", resource=UUID(int=77).bytes)
        await shop.visit("a", "b")
        first, second = await stream.event(), await stream.event()
        assert [(name, data["request_id"]) for _, name, data in (first, second)] == [("request", "a"), ("request", "b")]
        await shop.lose(3)
        _, name, data = await stream.event()
        assert (name, data["lost"]) == ("gap", 3)
        await shop.visit("after")
        assert (await stream.event())[2]["request_id"] == "after"


async def test_a_listener_comes_again(api: ApiClient, shop: Shop) -> None:
    """Last-Event-ID goes on behind that event; what is no id of ours begins now."""
    await shop.visit("a", "b", "c")
    path = f"{shop.path}/request-logs/stream"
    async with listening(api, path, last="0") as stream:
        last, _, data = await stream.event()
        assert data["request_id"] == "a"
    async with listening(api, path, last=last) as stream:
        assert [(await stream.event())[2]["request_id"] for _ in range(2)] == ["b", "c"]
    async with listening(api, path, last="nonsense") as stream:
        await shop.visit("d")
        assert (await stream.event())[2]["request_id"] == "d"


async def test_conditions_narrow_a_stream(api: ApiClient, shop: Shop) -> None:
    """The same as a page's."""
    async with listening(api, f"{shop.path}/request-logs/stream?status=5xx") as stream:
        await shop.visit("good")
        await shop.visit("bad", status=500)
        assert (await stream.event())[2]["request_id"] == "bad"


async def test_a_revoked_key_hears_no_more(api: ApiClient, services: Services, acme: Account, shop: Shop) -> None:
    """The stream ends within seconds, and nothing is sent after that."""
    made, key = await services.keys.create(acme.tenant.id)
    async with listening(api, f"{shop.path}/request-logs/stream", key=key) as stream:
        await shop.visit("a")
        assert (await stream.event())[2]["request_id"] == "a"
        await services.keys.revoke(made.id)
        rest = await stream.end()
        assert b"data:" not in rest


async def test_a_deployment_that_is_gone_ends_its_stream(api: ApiClient, services: Services, shop: Shop) -> None:
    """Who may see it is asked again and again."""
    async with listening(api, f"{shop.path}/request-logs/stream") as stream:
        await services.deployments.delete(shop.id)
        await stream.end()


async def test_a_tenant_has_so_many_streams(api: ApiClient, services: Services, shop: Shop, globex: Account) -> None:
    """One more is refused until one has ended; another tenant has its own."""
    services.request_logs._listeners_per_tenant = 1
    path = "/api/v1/request-logs/stream"
    async with listening(api, path):
        refused = await api("GET", path)
        assert (refused.status, refused.code) == (429, "rate_limited")
        async with listening(api, path, key=globex.key):
            pass
    await eventually(lambda: not services.request_logs._listeners, "both streams have ended")
    async with listening(api, path):
        pass


async def test_silence_has_a_heartbeat(api: ApiClient, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that proxies in between keep the connection, and a client that has gone is noticed."""
    monkeypatch.setattr(streams, "HEARTBEAT", 0.05)
    async with listening(api, f"{shop.path}/request-logs/stream") as stream:
        async with asyncio.timeout(10):
            beats = [await stream.response.content.readuntil(b": nothing new\n\n") for _ in range(3)]
        assert len(beats) == 3


async def test_a_client_that_has_gone_is_noticed(api: ApiClient, services: Services, shop: Shop) -> None:
    """Its place is free again."""
    async with listening(api, f"{shop.path}/request-logs/stream"):
        assert services.request_logs._listeners == {shop.tenant: 1}
    await eventually(lambda: not services.request_logs._listeners, "the stream has ended")


async def test_a_store_that_is_away_for_a_moment(
    api: ApiClient, services: Services, shop: Shop, kept: KeptRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream waits for it, and misses nothing. What is stored meanwhile is seen only once it is back, whichever look was under way
    when it went."""
    async with listening(api, f"{shop.path}/request-logs/stream") as stream:
        find, failed, back = kept.find, [], asyncio.Event()

        async def away(*words: Any, **options: Any) -> Any:
            if not back.is_set():
                failed.append(words)
                raise request_logs.StoreUnavailableError("away")
            return await find(*words, **options)

        monkeypatch.setattr(kept, "find", away)
        await eventually(lambda: failed, "no earlier look is under way any more")
        await shop.visit("a")
        looked = len(failed)
        await eventually(lambda: len(failed) >= looked + 3, "it is looked for while the store is away")
        back.set()
        assert (await stream.event())[2]["request_id"] == "a"


async def test_periods_are_whole_minutes(clock: ManualClock) -> None:
    """The last hour by default, with the minute that goes on."""
    clock.advance(90.5)
    period = RequestLogs(None, clock).period(None, None)
    assert (period.until - period.since) // MINUTE == 61
    assert period.until % MINUTE == period.since % MINUTE == 0

"""What is sent of a captured request, and what keeps it from being sent."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.base.secret_box import SecretBox
from router.errors import RouterError, StoreUnavailableError
from router.records import replays
from router.records.captures import Capture, CaptureCodec
from router.records.kept import KeptRecords
from router.records.masking import Masks
from router.records.record import Record
from router.records.replays import Changes, Replays, order_of
from router.records.request_logs import RequestLogs
from tests.support.request_records import ACME, SHOP, MemoryKept, row, sent, told
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

CODEC = CaptureCodec(Masks(), SecretBox())
RECORD = Record(*row(details="0 0 0 0 0 0 4 1   "))
PLAIN: dict[str, Any] = {
    "target": "/a?b=1",
    "headers": [["Host", "x", False], ["Accept", "*/*", False], ["Content-Length", "2", False]],
    **sent(b"hi"),
}


def capture(**request: Any) -> Capture:
    return CODEC.masked(told(request={**PLAIN, **request}))


def order(changes: Changes | None = None, **request: Any) -> Mapping[str, Any]:
    return order_of(RECORD, capture(**request), changes or Changes(), "192.0.2.1")


def refusal(changes: Changes | None = None, **request: Any) -> RouterError:
    with pytest.raises(RouterError) as caught:
        order(changes, **request)
    return caught.value


async def test_what_is_sent() -> None:
    """The method, target, headers and body as they were, to the host that was recorded; what belongs to the hop is left out."""
    found = dict(order())
    assert found.pop("request_id").startswith("replay-")
    assert b64decode(found.pop("body")) == b"hi"
    assert found == {
        "original": "req-0",
        "tenant": str(ACME),
        "resource": str(SHOP),
        "host": "shop.miosa.app",
        "client": "192.0.2.1",
        "scheme": "https",
        "method": "POST",
        "target": "/a?b=1",
        "headers": [["Accept", "*/*"]],
    }


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"upgrade": True}, "upgrade"),
        ({"target_cut": True}, "path and query"),
        ({"target": "/msk_live_abcdefgh"}, "path has a key"),
        ({"headers": [["A", "b", True]]}, "header A"),
        ({"headers": [["", "", True]]}, "more headers"),
        ({"body_whole": False, "body_size": 99}, "body of 99 bytes only 2"),
    ],
    ids=["upgrade", "target", "path", "header", "headers", "body"],
)
async def test_what_lacks_something(request_: dict[str, Any], why: str) -> None:
    """It is refused, with what is missing, whatever is given."""
    error = refusal(Changes({"a": "c"}, {}, "body"), **request_)
    assert error.problem.status == 409
    assert why in error.message


async def test_what_was_masked_is_given_anew() -> None:
    """Or left out; without either it is refused, and what is missing is named."""
    body = json.dumps({"password": "x"}).encode()
    request: dict[str, Any] = {
        "target": "/a?token=x&b=1&api%5Fkey=y",
        "headers": [["Cookie", "x", False], ["Authorization", "x", False], ["Content-Type", "application/json", False]],
        **sent(body),
    }
    error = refusal(**request)
    assert error.problem.status == 422
    assert error.fields.keys() == {"headers.cookie", "headers.authorization", "query.token", "query.api_key", "body"}
    changes = Changes({"cookie": "c=1", "authorization": None}, {"token": "a b&c", "api_key": None}, "{}")
    found = order(changes, **request)
    assert found["target"] == "/a?token=a%20b%26c&b=1&"
    assert found["headers"] == [["Content-Type", "application/json"], ["cookie", "c=1"]]
    assert b64decode(found["body"]) == b"{}"


async def test_a_key_inside_a_value_or_without_a_name_is_given_anew() -> None:
    """A request in which `***` stands for it is not what was sent."""
    request = {"target": "/a?q=msk_abcdefgh.x&msk_ijklmnop&b=1"}
    error = refusal(**request)
    assert error.fields.keys() == {"query.q", "query.msk_***"}
    found = order(Changes({}, {"q": "a.x", "msk_***": "b"}), **request)
    assert found["target"] == "/a?q=a.x&b&b=1"


async def test_nothing_else_may_be_changed() -> None:
    """A replay is the request that was: only what opens a private preview may come to it."""
    error = refusal(Changes({"accept": "text/html", "x-new": "a"}, {"b": "2"}, "other"))
    assert error.fields.keys() == {"headers.accept", "headers.x-new", "query.b", "body"}
    found = order(Changes({"x-miosa-preview-token": "mpt_a", "authorization": "Bearer b"}))
    assert ["x-miosa-preview-token", "mpt_a"] in found["headers"]
    assert ["authorization", "Bearer b"] in found["headers"]


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "\0", "ж", "x" * 8193])
async def test_values_that_are_none(value: str) -> None:
    """They would be another request."""
    assert refusal(Changes({"authorization": value})).fields.keys() == {"headers.authorization"}


class Kept(MemoryKept):
    """Has the captured record, and at once that of each replay."""

    async def find(self, where: Any, **_: Any) -> list[Record]:
        return [RECORD._replace(id=7, request_id=where.request_id)]

    async def capture(self, *_: Any) -> Any:
        return CODEC.stored(told(request=PLAIN))


class Proxy:
    """A carrier; `answer` is what it tells."""

    def __init__(self) -> None:
        self.orders: list[Mapping[str, Any]] = []
        self.answer: Any = {"refused": "", "in_time": True, "status": 0, "ending": "EA", "error": "x", "response": None}
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        self.orders.append(order)
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        found: Mapping[str, Any] = self.answer
        return found


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def service(proxy: Proxy | None, clock: ManualClock, kept: KeptRecords | None = None) -> Replays:
    return Replays(RequestLogs(kept or Kept(), clock, codec=CODEC), clock, codec=CODEC, carrier=proxy)


async def failed(replayed: Any) -> RouterError:
    with pytest.raises(RouterError) as caught:
        await replayed
    return caught.value


async def test_what_became_of_it(proxy: Proxy, clock: ManualClock) -> None:
    """With the id of its record, and its response without secrets."""
    proxy.answer |= {
        "status": 200,
        "response": {"status": 200, "headers": [["Set-Cookie", "hush", False]], **sent(b"hi")},
    }
    done = await service(proxy, clock).send(RECORD, Changes(), client="192.0.2.1")
    assert (done.record_id, done.status, done.ending) == (7, 200, "EA")
    assert done.request_id == proxy.orders[0]["request_id"]
    assert done.response is not None
    assert done.response.headers[0].value == "***"


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        ({"refused": "elsewhere"}, 409, "another resource"),
        ({"refused": "malformed", "why": "x"}, 409, "pass on"),
        ({"refused": "draining"}, 503, "restart"),
        (ConnectionError("away"), 503, "No process"),
        (TimeoutError(), 503, "No process"),
    ],
    ids=["elsewhere", "malformed", "draining", "away", "late"],
)
async def test_what_was_not_sent(proxy: Proxy, clock: ManualClock, answer: Any, status: int, why: str) -> None:
    """Said why."""
    proxy.answer = answer
    error = await failed(service(proxy, clock).send(RECORD, Changes(), client=""))
    assert error.problem.status == status
    assert why in error.message


async def test_so_many_a_minute(proxy: Proxy, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each tenant; one that was refused before it was sent does not count."""
    monkeypatch.setattr(replays, "PER_MINUTE", 2)
    service_ = service(proxy, clock)
    await failed(service_.send(RECORD, Changes(body="x"), client=""))
    for _ in range(2):
        await service_.send(RECORD, Changes(), client="")
        clock.advance(10)
    error = await failed(service_.send(RECORD, Changes(), client=""))
    assert (error.problem.status, error.retry_after) == (429, 41)
    await service_.send(RECORD._replace(tenant=SHOP.bytes), Changes(), client="")
    clock.advance(41)
    await service_.send(RECORD, Changes(), client="")
    assert len(proxy.orders) == 4


async def test_so_many_at_once(proxy: Proxy, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all tenants."""
    monkeypatch.setattr(replays, "_AT_ONCE", 1)
    proxy.gate.clear()
    service_ = service(proxy, clock)
    first = asyncio.create_task(service_.send(RECORD, Changes(), client=""))
    await eventually(lambda: proxy.orders, "the first is under way")
    assert (await failed(service_.send(RECORD, Changes(), client=""))).problem.status == 429
    proxy.gate.set()
    await first
    await service_.send(RECORD, Changes(), client="")


async def test_one_tenant_leaves_places_to_others(proxy: Proxy, clock: ManualClock) -> None:
    """A program that never answers holds its own tenant's replays up, and nobody else's."""
    proxy.gate.clear()
    service_ = service(proxy, clock)
    slow = [asyncio.create_task(service_.send(RECORD, Changes(), client="")) for _ in range(2)]
    await eventually(lambda: len(proxy.orders) == 2, "the tenant's two are under way")
    assert (await failed(service_.send(RECORD, Changes(), client=""))).problem.status == 429
    other = asyncio.create_task(service_.send(RECORD._replace(tenant=SHOP.bytes), Changes(), client=""))
    await eventually(lambda: len(proxy.orders) == 3, "another tenant's is under way, too")
    proxy.gate.set()
    await asyncio.gather(*slow, other)
    await service_.send(RECORD, Changes(), client="")


async def test_tenants_are_forgotten_after_a_minute(
    proxy: Proxy, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was refused a place and has sent nothing."""
    monkeypatch.setattr(replays, "_MAX_TENANTS", 2)
    monkeypatch.setattr(replays, "_AT_ONCE", 1)
    proxy.gate.clear()
    service_ = service(proxy, clock)
    first = asyncio.create_task(service_.send(RECORD, Changes(), client=""))
    await eventually(lambda: proxy.orders, "the first is under way")
    await failed(service_.send(RECORD._replace(tenant=SHOP.bytes), Changes(), client=""))
    proxy.gate.set()
    await first
    await service_.send(RECORD._replace(tenant=b"3" * 16), Changes(), client="")
    assert len(proxy.orders) == 2


async def test_a_store_that_is_away_after_the_request_was_sent(proxy: Proxy, clock: ManualClock) -> None:
    """What became of it is told all the same: whoever hears of an error would send it again."""

    class Away(Kept):
        async def find(self, where: Any, **_: Any) -> list[Record]:
            raise StoreUnavailableError("down")

    done = await service(proxy, clock, Away()).send(RECORD, Changes(), client="")
    assert (done.record_id, done.ending) == (None, "EA")


async def test_a_node_without_traffic(clock: ManualClock) -> None:
    """Says that it is one."""
    assert (await failed(service(None, clock).send(RECORD, Changes(), client=""))).problem.status == 501


async def test_a_record_that_is_late(proxy: Proxy, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for in the list, by the request's id."""
    monkeypatch.setattr(replays, "_RECORD_TIME", 0.05)
    monkeypatch.setattr(replays, "_LOOK_EVERY", 0.01)

    class Late(Kept):
        async def find(self, where: Any, **_: Any) -> list[Record]:
            return []

    done = await service(proxy, clock, Late()).send(RECORD, Changes(), client="")
    assert done.record_id is None

"""Request records for tests. Every field can be replaced."""

import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from router.errors import StoreUnavailableError
from router.observe.ended_exchange import Finished
from router.records.captures import StoredCapture
from router.records.counters import Counters
from router.records.record import Record, RecordFilter, Row
from router.records.totals import Totals
from router.routes.route import Route
from tests.support.ended import ended, route

ACME, GLOBEX = uuid.UUID(int=1), uuid.UUID(int=2)
SHOP, DESK = uuid.UUID(int=11), uuid.UUID(int=12)


def led(resource: uuid.UUID = SHOP, tenant: uuid.UUID = ACME, **changes: Any) -> Route:
    """The route to a resource of a tenant."""
    found = route()
    assert found.resource is not None
    found.resource = replace(found.resource, id=str(resource), tenant_id=str(tenant), **changes)
    return found


def exchange(**changes: Any) -> Finished:
    """A GET of Acme's shop that has ended."""
    return ended(**{"route": led(), **changes})


def row(number: int = 0, **changes: Any) -> Row:
    """A record that is to be stored."""
    values: dict[str, Any] = {
        "tenant": ACME.bytes,
        "id": number,
        "resource": SHOP.bytes,
        "at": 1_700_000_000_000_000,
        "request_id": f"req-{number}",
        "host": "shop.miosa.app",
        "method": "GET",
        "path": "/index.html",
        "status": 200,
        "ending": "--",
        "fault": 0,
        "total": 250_000,
        "details": "0 1234 100000 0 0 0 0 1 203.0.113.0/24  ",
    }
    return tuple(Record(**values | changes))  # type: ignore[return-value]  # it has exactly these fields


def told(**changes: Any) -> dict[str, Any]:
    """What the proxy tells of an exchange that it has captured: a login whose password has to be masked. `request` and `response` are merged."""
    body = {"body_size": 0, "body_whole": True, "body": ""}
    request = {
        "method": "POST",
        "target": "/login?next=/&token=hush",
        "target_cut": False,
        "scheme": "https",
        "version": 1,
        "headers": [["Host", "shop.miosa.app", False], ["Cookie", "hush", False], *_length(_LOGIN)],
        "upgrade": False,
        **body,
        **sent(_LOGIN),
    }
    response = {"status": 200, "headers": [["Content-Type", "text/plain", False]], **body, **sent(b"welcome")}
    values = {
        "tenant": str(ACME),
        "resource": str(SHOP),
        "request_id": "req-0",
        "host": "shop.miosa.app",
        "at": 1_700_000_000.0,
        "request": {**request, **changes.pop("request", {})},
        "response": {**response, **changes.pop("response", {})},
    }
    return values | changes


def sent(body: bytes) -> dict[str, Any]:
    """A whole body, as the proxy tells it."""
    return {"body": b64encode(body).decode(), "body_size": len(body), "body_whole": True}


_LOGIN = b'{"user": "ada", "password": "hush"}'


def _length(body: bytes) -> list[list[Any]]:
    return [["Content-Type", "application/json", False], ["Content-Length", str(len(body)), False]]


def totals(minute: int, **changes: Any) -> Totals:
    """Numbers of one minute."""
    values: dict[str, Any] = {
        "tenant": ACME.bytes,
        "resource": SHOP.bytes,
        "minute": minute,
        "route": "GET /",
        "part": 1,
        "requests": 5,
        "errors": 1,
        "client_errors": 2,
        "received": 10,
        "sent": 20,
        "histogram": b"",
    }
    return Totals(**values | changes)


class MemoryKept:
    """records.kept.KeptRecords, which is away when a test says so."""

    def __init__(self) -> None:
        self.records: list[Row] = []
        self.numbers: list[Totals] = []
        self.captures: list[StoredCapture] = []
        self.pruned = 0
        self.forgotten: list[bytes] = []
        self.away = False

    async def append(self, records: Sequence[Row], totals: Sequence[Totals]) -> None:
        if self.away:
            raise StoreUnavailableError("it is away")
        self.records += records
        self.numbers += totals

    async def find(self, where: RecordFilter, **where_else: int | None) -> list[Record]:
        raise AssertionError(f"nobody reads {where} {where_else}")

    async def count(self, where: RecordFilter, *, after: int, before: int) -> int:
        raise AssertionError(f"nobody counts {where} {after} {before}")

    async def newest(self) -> int:
        return len(self.records)

    async def totals(self, tenant: bytes, resource: bytes, since: int, until: int) -> list[Totals]:
        raise AssertionError(f"nobody reads {tenant!r} {resource!r} {since} {until}")

    async def counters(self, tenant: bytes) -> list[Counters]:
        raise AssertionError(f"nobody reads {tenant!r}")

    async def keep(self, captures: Sequence[StoredCapture]) -> None:
        if self.away:
            raise StoreUnavailableError("it is away")
        self.captures += captures

    async def capture(self, tenant: bytes, resource: bytes, request_id: str, at: int) -> StoredCapture | None:
        raise AssertionError(f"nobody reads {tenant!r} {resource!r} {request_id} {at}")

    async def forget(self, tenant: bytes, resource: bytes, now: int) -> None:
        raise AssertionError(f"nobody deletes {tenant!r} {resource!r} {now}")

    async def forget_tenant(self, tenant: bytes) -> None:
        self.forgotten.append(tenant)

    async def prune(self, now: int) -> None:
        self.pruned = now

    async def close(self) -> None:
        self.away = True

    def lost(self) -> Mapping[bytes, int]:
        """What gaps say, by resource."""
        return {one[2]: int(one[12].split(" ")[7]) for one in self.records if not one[9]}

"""How many transactions a call takes: the one that knows its key, and one for all the rest."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from router.domains.lookup import RecordType
from router.node.services import Services
from router.routes.records import Kind
from router.store import Store
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient
from tests.support.database import on_both
from tests.support.memory_dns import MemoryLookup

pytestmark = [pytest.mark.asyncio, on_both]


@contextmanager
def transactions() -> Iterator[list[str]]:
    """How each transaction of this process ends, meanwhile."""
    ended: list[str] = []

    def commit(_connection: sa.Connection) -> None:
        ended.append("commit")

    def rollback(_connection: sa.Connection) -> None:
        ended.append("rollback")

    sa.event.listen(sa.Engine, "commit", commit)
    sa.event.listen(sa.Engine, "rollback", rollback)
    try:
        yield ended
    finally:
        sa.event.remove(sa.Engine, "commit", commit)
        sa.event.remove(sa.Engine, "rollback", rollback)


async def made(services: Services, account: Account, kind: Kind) -> Resource:
    return await services.resources.create(
        kind, account.tenant.id, ownership=Ownership(project_id=account.project.id), slug=f"{kind}-1"
    )


async def post(api: ApiClient, path: str, key: str = "", **body: object) -> Answered:
    return await api("POST", path, json=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})


async def test_expose(api: ApiClient, acme: Account, services: Services) -> None:
    """The caller's key is read; all the rest is one transaction. The same again with the same key reads, too."""
    sandbox = await made(services, acme, Kind.SANDBOX)
    path = f"/api/v1/sandboxes/{sandbox.id}/expose"
    await post(api, path, port=5173)  # notes that the caller's key is in use, once a minute
    with transactions() as ended:
        first = await post(api, path, "one", port=8000)
    assert first.status == 200
    assert ended == ["rollback", "commit"]
    again = await post(api, path, "one", port=8000)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.body == first.body


async def test_register_and_verify(
    api: ApiClient, acme: Account, services: Services, dns: MemoryLookup, store: Store
) -> None:
    """A check of DNS lies between two transactions, never in one."""
    computer = await made(services, acme, Kind.COMPUTER)
    path = "/api/v1/custom-domains"
    await post(api, path, computer_id=computer.id, domain="first.example.com")
    with transactions() as ended:
        registered = await post(api, path, computer_id=computer.id, domain="app.example.com")
    assert registered.status == 201
    assert ended == ["rollback", "commit"]
    dns.put("app.example.com", RecordType.CNAME, "verify.miosa.ai")
    dns.put("verify.miosa.ai", RecordType.A, "192.0.2.1")
    with transactions() as ended:
        verified = await post(api, f"{path}/{registered.json['data']['id']}/verify")
    assert (verified.status, verified.json["data"]["status"]) == (200, "verified")
    assert ended == ["rollback", "commit", "commit"]


async def test_a_refusal_is_stored_without_the_change(api: ApiClient, acme: Account, services: Services) -> None:
    """What a service undoes is undone, and the refusal is the response to the same request from then on."""
    computer = await made(services, acme, Kind.COMPUTER)
    path, wanted = "/api/v1/custom-domains", {"computer_id": computer.id, "domain": "app.example.com"}
    await post(api, path, **wanted)
    first, again = [await post(api, path, "one", **wanted) for _ in range(2)]
    assert (first.status, again.status) == (409, 409)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await api("GET", path)).json["page"]["total"] == 1


@pytest.mark.parametrize("path", ["/api/v1/sandboxes", "/api/v1/custom-domains", "/api/v1/sandboxes/{id}"])
async def test_reading(api: ApiClient, acme: Account, services: Services, path: str) -> None:
    """What a page shows is read as of one instant."""
    sandbox = await made(services, acme, Kind.SANDBOX)
    path = path.format(id=sandbox.id)
    await api("GET", path)
    with transactions() as ended:
        assert (await api("GET", path)).status == 200
    assert ended == ["rollback", "rollback"]

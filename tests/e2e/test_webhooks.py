"""Webhooks from running nodes to a receiver that checks what it is sent: in order, and none is lost to a death."""

import asyncio
import hashlib
import hmac
import json
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.backends import Backend, Visit
from tests.support.ports import free_port
from tests.support.router import Router
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

TAKEN_OVER_WITHIN = 40.0  # seconds: the lease of one that was killed outlives it by fifteen

SETTINGS = {"backend_networks": "10.0.0.0/8", "webhooks__private_networks": "127.0.0.0/8"}


@dataclass
class Receiver:
    """Notes what comes, each with a signature that was right. While it is `stuck` it answers nothing."""

    secret: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    stuck: asyncio.Event | None = None

    async def __call__(self, visit: Visit) -> None:
        body = b"".join([piece async for piece in visit.body()])
        stamp, _, signature = (visit.header(b"miosa-signature") or b"").partition(b",v1=")
        signed = stamp.removeprefix(b"t=") + b"." + body
        assert signature.decode() == hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
        self.got.append(json.loads(body))
        self.deliveries.append((visit.header(b"miosa-delivery") or b"").decode())
        if self.stuck is not None:
            await self.stuck.wait()
        await visit.answer(b"", b"204 No Content")

    def told(self, fqdn: str) -> list[str]:
        """The types of the events about a domain, each once, in the order in which it came first."""
        return list(dict.fromkeys(event["type"] for event in self.got if event["data"].get("fqdn") == fqdn))


@dataclass
class Customer:
    """Somebody with a key at a node's API, and a computer to register domains for."""

    session: aiohttp.ClientSession
    node: Router
    key: str
    computer: str

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        async with self.session.request(
            method,
            f"http://127.0.0.1:{self.node.api_port}/api/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.key}"},
        ) as answer:
            shown = await answer.json()
            assert answer.status < 300, shown
            return shown["data"]

    async def domain(self, fqdn: str) -> str:
        registered = await self.ask("POST", "/custom-domains", {"domain": fqdn, "computer_id": self.computer})
        return str(registered["id"])


async def customer_of(node: Router, session: aiohttp.ClientSession) -> Customer:
    def create() -> tuple[str, str]:
        tenant_id = node.tenant("Acme")
        key = node.key(tenant_id)
        computer = "0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11"
        node.internal("PUT", f"/resources/{computer}", {"kind": "computer", "slug": "desk", "tenant_id": tenant_id})
        return key, computer

    key, computer = await asyncio.to_thread(create)
    return Customer(session, node, key, computer)


async def test_events_reach_a_receiver(tmp_path: Path) -> None:
    """From a change in the API to the receiver within two seconds or so, with all that was said of it."""
    receiver = Receiver()
    router = Router(tmp_path, **SETTINGS)
    async with Backend(receiver) as backend, aiohttp.ClientSession() as session:
        await asyncio.to_thread(router.__enter__)
        try:
            customer = await customer_of(router, session)
            url = f"http://127.0.0.1:{backend.port}/in"
            webhook = await customer.ask("POST", "/webhooks", {"url": url, "event_types": ["domain.*"]})
            receiver.secret = webhook["secret"]
            domain_id = await customer.domain("app.example.com")
            await eventually(lambda: receiver.got, "the event came", 5.0)
            (event,) = receiver.got
            assert event == await customer.ask("GET", f"/events/{event['id']}")
            assert (event["type"], event["domain_id"]) == ("domain.registered", domain_id)
            await customer.ask("POST", f"/webhooks/{webhook['id']}/test")
            await eventually(lambda: receiver.got[-1]["type"] == "webhook.test", "the test came", 5.0)
            shown = await customer.ask("GET", f"/webhooks/{webhook['id']}/deliveries")
            assert [one["event_type"] for one in shown] == ["webhook.test", "domain.registered"]
            assert webhook["secret"] not in router.output
            own = f"http://127.0.0.1:{router.admin_port}/livez"
            refused = await customer.ask("POST", "/webhooks", {"url": url, "event_types": ["*"]})
            async with session.patch(
                f"http://127.0.0.1:{router.api_port}/api/v1/webhooks/{refused['id']}",
                json={"url": own},
                headers={"Authorization": f"Bearer {customer.key}"},
            ) as answer:
                assert (answer.status, await answer.json())[0] == 422
        finally:
            await asyncio.to_thread(router.__exit__, None, None, None)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
async def test_a_node_that_ends_while_it_delivers(tmp_path: Path, how: signal.Signals) -> None:
    """Another goes on where it was: every event comes, those of a domain in their order, none in two versions."""
    receiver = Receiver()
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    url = f"sqlite:///{tmp_path / 'router.db'}"
    first = Router(folders[0], database_url=url, **SETTINGS)
    second = Router(folders[1], database_url=url, internal_token=first.token, roles="api,admin,jobs", **SETTINGS)
    names = [f"n{number}.example.com" for number in range(6)]
    async with Backend(receiver) as backend, aiohttp.ClientSession() as session:
        await asyncio.to_thread(first.__enter__)
        try:
            customer = await customer_of(first, session)
            to = {"url": f"http://127.0.0.1:{backend.port}/in", "event_types": ["domain.*"]}
            receiver.secret = (await customer.ask("POST", "/webhooks", to))["secret"]
            receiver.stuck = asyncio.Event()
            for fqdn in names:
                await customer.ask("DELETE", f"/custom-domains/{await customer.domain(fqdn)}")
            await eventually(lambda: receiver.got, "the first node delivers", 10.0)
            await asyncio.to_thread(second.__enter__)
            first.process.signal(how)
            await asyncio.to_thread(first.process.wait)
            receiver.stuck.set()
            receiver.stuck = None
            everything = {name: ["domain.registered", "domain.removed"] for name in names}
            await eventually(
                lambda: {name: receiver.told(name) for name in names} == everything, "all came", TAKEN_OVER_WITHIN
            )
            by_delivery: dict[str, set[str]] = {}
            for delivery, event in zip(receiver.deliveries, receiver.got, strict=True):
                by_delivery.setdefault(delivery, set()).add(event["id"])
            assert len(by_delivery) == 2 * len(names)
            assert all(len(ids) == 1 for ids in by_delivery.values())
        finally:
            for node in (first, second):
                await asyncio.to_thread(node.__exit__, None, None, None)


async def test_nothing_is_lost_while_nobody_is_there(tmp_path: Path) -> None:
    """A receiver that was down for a while has everything in the end, and so has one whose sender was."""
    receiver, port = Receiver(), free_port()
    router = Router(tmp_path, **SETTINGS)
    async with aiohttp.ClientSession() as session:
        await asyncio.to_thread(router.__enter__)
        try:
            customer = await customer_of(router, session)
            to = {"url": f"http://127.0.0.1:{port}/in", "event_types": ["domain.*"]}
            webhook = await customer.ask("POST", "/webhooks", to)
            receiver.secret = webhook["secret"]
            await customer.domain("app.example.com")
            deliveries = f"/webhooks/{webhook['id']}/deliveries"
            await eventually(lambda: "webhook sent" in router.output, "it was tried")
            (failed,) = await customer.ask("GET", deliveries)
            assert (failed["state"], failed["last_error"]) == ("pending", "it refuses connections")
            router.process.signal(signal.SIGKILL)
            await asyncio.to_thread(router.process.wait)
            await asyncio.to_thread(router.start)
            async with Backend(receiver) as backend:
                await customer.ask("PATCH", f"/webhooks/{webhook['id']}", {"url": f"http://127.0.0.1:{backend.port}/"})
                await eventually(lambda: receiver.got, "it came", TAKEN_OVER_WITHIN)
            assert receiver.deliveries == [failed["id"]]
        finally:
            await asyncio.to_thread(router.__exit__, None, None, None)

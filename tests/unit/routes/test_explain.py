"""Why a host leads where it leads."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.base.preview_secrets import digest
from router.routes.chain import Decision
from router.routes.error_notes import ErrorNote, ErrorNotes
from router.routes.explain import Explainer
from router.routes.host_notes import HostNote, HostNotes
from router.routes.records import Endpoint, State
from router.routes.resolver import Resolver
from router.routes.wakes import Wake
from router.settings import Cache
from tests.support.access import plain, policies, secret
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, claim, name, resource, zone

pytestmark = pytest.mark.asyncio

SHOP = resource("shop", endpoint=Endpoint("10.0.3.7", "boot-1", {5173: 45173}))

KEYS = [
    "asked",
    "host",
    "readings",
    "keys",
    "steps",
    "decision",
    "source",
    "remembered",
    "endpoint",
    "host_mode",
    "access",
    "wake",
    "scheme",
    "protocol",
    "hints",
    "errors",
    "gate",
]


@dataclass(frozen=True)
class Said:
    status: int
    reason: str


class Parts:
    """An explainer and what it explains."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.records = MemoryRecords()
        self.records.put(SHOP, name("shop.org", SHOP), zone("acme.dev", claim("tenant", "acme")))
        self.resolver = Resolver(
            self.records, platform_domain=PLATFORM, reserved_ports=frozenset({22}), limits=Cache(), clock=self.clock
        )
        self.asked: list[tuple[str, str]] = []
        self.notes, self.errors = HostNotes(), ErrorNotes()
        self.explainer = Explainer(
            resolver=self.resolver, gate=self.gate, clock=self.clock, notes=self.notes, errors=self.errors
        )

    def gate(self, host: str, decision: Decision) -> Said:
        self.asked.append((host, decision.reason))
        return Said(200, "first_issue")


@pytest_asyncio.fixture
async def parts() -> AsyncIterator[Parts]:
    made = Parts()
    yield made
    await made.resolver.close()


async def test_everything_about_a_host(parts: Parts) -> None:
    """CertificateReader, keys, steps, decision, endpoint, the gate: the whole document, fit for JSON."""
    found = await parts.explainer.explain("5173-Shop.Sandbox.Acme.DEV:443")
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "asked": "5173-Shop.Sandbox.Acme.DEV:443",
        "host": "5173-shop.sandbox.acme.dev",
        "readings": [{"zone": "acme.dev", "slug": "shop", "port": 5173}],
        "keys": ["name:5173-shop.sandbox.acme.dev", "zone:acme.dev", "slug:shop"],
        "steps": [
            {
                "key": "name:5173-shop.sandbox.acme.dev",
                "found": False,
                "source": "memory",
                "outcome": "no custom domain of this name",
            },
            {
                "key": "zone:acme.dev",
                "found": True,
                "source": "memory",
                "outcome": "the tenant preview domain contains the resource",
            },
            {
                "key": "slug:shop",
                "found": True,
                "source": "memory",
                "outcome": "served: port 5173 of this sandbox",
            },
        ],
        "decision": {
            "level": "tenant",
            "reason": "served",
            "status": None,
            "error": None,
            "zone": "acme.dev",
            "port": 5173,
            "redirect_to": None,
            "resource": {
                "id": "id-of-shop",
                "kind": "sandbox",
                "slug": "shop",
                "state": "running",
                "suspended": False,
                "tenant_id": "acme",
                "workspace_id": "acme-w1",
                "project_id": "acme-p1",
                "version": 1,
            },
        },
        "source": "memory",
        "remembered": None,
        "endpoint": {"address": "10.0.3.7", "port": 45173, "generation": "boot-1"},
        "host_mode": "auto",
        "access": None,
        "wake": "off",
        "scheme": "http",
        "protocol": "http1",
        "hints": [],
        "errors": [],
        "gate": {"status": 200, "reason": "first_issue"},
    }
    assert parts.asked == [("5173-shop.sandbox.acme.dev", "served")]


async def test_what_was_seen_of_a_port(parts: Parts) -> None:
    """How its program is spoken to, what would help it, and what was refused: of this port, and its hints of this boot."""
    parts.records.put(replace(SHOP, schemes={5173: "https"}, protocols={5173: "h2c"}))
    parts.notes.add(HostNote(SHOP.id, "shop", 5173, "boot-1", "vite"))
    parts.notes.add(HostNote(SHOP.id, "shop", 3000, "boot-0", "django"))
    parts.errors.add(ErrorNote(SHOP.id, 5173, "headers_too_large", None, "Cookie has 70,000 bytes.", 0.0, 86400.5, 3))
    found = await parts.explainer.explain("5173-shop.sandbox.miosa.app")
    assert (found["scheme"], found["protocol"]) == ("https", "h2c")
    assert [hint.partition(" ")[0] for hint in found["hints"]] == ["Vite"]
    assert found["errors"] == [
        {
            "code": "headers_too_large",
            "reason": None,
            "message": "Cookie has 70,000 bytes.",
            "count": 3,
            "first_at": "1970-01-01T00:00:00Z",
            "last_at": "1970-01-02T00:00:00Z",
        }
    ]
    other = await parts.explainer.explain("shop.miosa.app")
    assert (other["scheme"], other["protocol"], other["hints"], other["errors"]) == ("http", "http1", [], [])


async def test_what_the_cache_remembers_stands_beside_it(parts: Parts) -> None:
    """With the time that it has left; asking does not change it."""
    await parts.resolver.resolve(b"shop.org")
    parts.clock.advance(10.0)
    remembered = (await parts.explainer.explain("shop.org"))["remembered"]
    assert (remembered["level"], remembered["source"], remembered["expires_in"]) == ("exact", "memory", 50.0)
    assert remembered["agrees"] is True
    assert len(parts.resolver) == 1


async def test_a_change_that_has_not_arrived_is_seen(parts: Parts) -> None:
    """The cache says one thing, the source another: also where only the address differs."""
    await parts.resolver.resolve(b"shop.org")
    moved = replace(SHOP, endpoint=Endpoint("10.0.3.8", "boot-2"))
    parts.records.put(moved, name("shop.org", moved))
    found = await parts.explainer.explain("shop.org")
    assert found["endpoint"]["address"] == "10.0.3.8"
    assert found["remembered"]["agrees"] is False


async def test_a_host_that_is_not_served_has_no_endpoint(parts: Parts) -> None:
    """And the answer that its visitors get."""
    asleep = replace(SHOP, state=State.STOPPED)
    parts.records.put(asleep)
    found = await parts.explainer.explain("shop.miosa.app")
    assert (found["decision"]["reason"], found["decision"]["status"], found["decision"]["error"]) == (
        "stopped",
        503,
        "stopped",
    )
    assert found["endpoint"] is None


@pytest.mark.parametrize(
    ("host", "reason", "status"),
    [
        ("absent.miosa.app", "no_such_resource", 404),
        ("else.example", "unknown_host", 404),
        ("22-shop.sandbox.miosa.app", "reserved_port", 404),
        ("9999-shop.sandbox.miosa.app", "port_not_exposed", 404),
    ],
)
async def test_why_not(parts: Parts, host: str, reason: str, status: int) -> None:
    """The reason, where visitors are only told that there is nothing."""
    found = await parts.explainer.explain(host)
    assert (found["decision"]["reason"], found["decision"]["status"]) == (reason, status)
    assert found["steps"]


@pytest.mark.parametrize("host", ["", "a b", "x.org:99999", "ü.org", "x.org\n", "\ud800"])
async def test_a_malformed_host_is_explained_too(parts: Parts, host: str) -> None:
    """What is wrong with it; the source is not asked."""
    found = await parts.explainer.explain(host)
    assert list(found) == KEYS
    assert (found["host"], found["keys"], found["readings"], found["remembered"]) == (None, [], [], None)
    assert (found["decision"]["reason"], found["decision"]["status"]) == ("invalid_host", 400)
    assert found["steps"][0]["key"] == "host"
    assert parts.records.fetches == 0


async def test_the_store_may_be_down(parts: Parts) -> None:
    """Then the steps say so, and what is remembered is still there."""
    await parts.resolver.resolve(b"shop.org")
    parts.records.down = True
    found = await parts.explainer.explain("shop.org")
    assert list(found) == KEYS
    assert (found["decision"]["reason"], found["source"]) == ("resolver_unavailable", "none")
    assert [(step["key"], step["source"]) for step in found["steps"]] == [("*", "none")]
    assert found["steps"][0]["outcome"] == "the source did not answer: switched off"
    assert found["remembered"]["reason"] == "served"
    assert found["remembered"]["agrees"] is False
    assert found["keys"] == ["name:shop.org", "zone:org", "slug:shop"]


async def test_addresses_are_no_hosts_of_ours(parts: Parts) -> None:
    """Well-formed, and nothing."""
    found = await parts.explainer.explain("[::1]:8080")
    assert (found["host"], found["readings"], found["decision"]["reason"]) == ("[::1]", [], "unknown_host")


async def test_whose_visit_wakes_it(parts: Parts) -> None:
    """As the resource has it; nothing where the host leads to none."""
    parts.records.put(resource("sleepy", state=State.PAUSED, wake=Wake.AUTHORISED))
    found = await parts.explainer.explain("sleepy.miosa.app")
    assert (found["wake"], found["decision"]["error"]) == ("authorised", "stopped")
    assert (await parts.explainer.explain("absent.miosa.app"))["wake"] is None


async def test_who_may_open_it(parts: Parts) -> None:
    """The policy of a port that is not public, and of its secrets nothing that says what they are; a change that has not
    arrived shows."""
    shop = resource(
        policies=policies(
            secret("ci", until=5.0), visibility="tenant", generation=3, networks=("10.0.0.0/8",), identity=True
        )
    )
    parts.records.put(shop)
    await parts.resolver.resolve(b"shop.miosa.app")
    found = await parts.explainer.explain("shop.miosa.app")
    assert found["access"] == {
        "visibility": "tenant",
        "generation": 3,
        "until": None,
        "hide": False,
        "networks": ["10.0.0.0/8"],
        "cors": "passthrough",
        "origins": [],
        "identity": True,
        "login": False,
        "issuers": [],
        "secrets": [{"id": "ci", "kind": "program", "until": 5.0, "revoked": False, "used": False}],
    }
    assert digest(plain("ci")) not in json.dumps(found)
    assert found["remembered"]["agrees"] is True
    parts.records.put(replace(shop, policies=policies(secret("ci", until=5.0, revoked=True))))
    assert (await parts.explainer.explain("shop.miosa.app"))["remembered"]["agrees"] is False

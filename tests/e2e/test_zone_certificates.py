"""Certificates of whole zones, with real parts: the router as a process with its own responder, Pebble, and a name server to
which customers delegate."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from router.domains.lookup import RecordType
from tests.support.acme_proxy import ari_id, problem
from tests.support.waiting import until
from tests.support.zones import ACME_ZONE, Fleet, Tenant, fleet

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

ZONE = "preview.yourcompany.com"
PROMISED = 60.0  # seconds from a zone's records to its certificate


async def told(story: Callable[[Fleet], None], folder: Path, **options: Any) -> None:
    async with fleet(folder, **options) as one:
        await asyncio.to_thread(story, one)


def names_of(zone: str) -> list[str]:
    return sorted((f"*.{zone}", f"*.sandbox.{zone}"))


def held(one: Fleet, zone: str = ZONE) -> tuple[str, str] | None:
    """Serial number and chain of the certificate that the store has."""
    rows = one.rows("SELECT serial, chain FROM held_certificates WHERE domain = ? AND removed_at IS NULL", zone)
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


def certificate(one: Fleet, zone: str = ZONE, *, within: float = PROMISED) -> tuple[str, str]:
    """The same, when it is there."""
    until(lambda: held(one, zone), f"a certificate of {zone}", within)
    found = held(one, zone)
    assert found is not None
    return found


def state_of(one: Fleet, zone: str = ZONE) -> str | None:
    """Of its newest order."""
    rows = one.rows("SELECT state FROM acme_orders WHERE domain = ? ORDER BY opened_at DESC LIMIT 1", zone)
    return str(rows[0][0]) if rows else None


def named(chain: str) -> str:
    """What the authority calls it."""
    return ari_id(x509.load_pem_x509_certificate(chain.encode()))


def public_key(chain: str) -> bytes:
    key = x509.load_pem_x509_certificate(chain.encode()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def keys_left(one: Fleet) -> int:
    """Private keys in the store that belong to no held certificate and no open order."""
    ((left,),) = one.rows("SELECT count(*) FROM acme_orders WHERE closed_at IS NOT NULL AND sealed_key IS NOT NULL")
    return int(left)


def ready(one: Fleet, name: str = "Acme", zone: str = ZONE) -> Tenant:
    """A tenant whose zone leads to us and is delegated."""
    tenant = one.tenant(name)
    tenant.set_zone(zone)
    one.delegate(zone)
    one.look_again()
    return tenant


async def test_a_zone_has_its_certificate_within_a_minute_of_its_records(tmp_path: Path) -> None:
    """Nobody has to visit, and nothing has to be asked for: the API says which records, and then that they work."""

    def story(one: Fleet) -> None:
        tenant = one.tenant("Acme")
        shown = tenant.set_zone(ZONE)
        wanted = [record for record in shown["records"] if record["purpose"] == "certificate"]
        assert sorted(record["fqdn"] for record in wanted) == [
            f"_acme-challenge.{ZONE}",
            f"_acme-challenge.sandbox.{ZONE}",
        ]
        assert len({record["expected"] for record in wanted}) == 1
        assert wanted[0]["expected"].rstrip(".").endswith(f".{ACME_ZONE}")
        assert one.proxy.placed == []
        one.delegate(ZONE)
        begun = time.monotonic()
        serial, _ = certificate(one)
        assert time.monotonic() - begun < PROMISED
        assert one.proxy.placed == [names_of(ZONE)]
        shown = tenant.zone()["certificate"]
        assert (shown["mode"], shown["status"], shown["serial"]) == ("wildcard", "issued", serial)
        assert sorted(shown["names"]) == names_of(ZONE)
        assert [event["data"]["fqdn"] for event in tenant.events("certificate.issued")] == [ZONE]
        assert keys_left(one) == 0

    await told(story, tmp_path)


async def test_a_zone_without_its_records_costs_nothing(tmp_path: Path) -> None:
    """Looked at, and nothing is ordered; nor where one of both is missing, or leads to somebody else's."""

    def story(one: Fleet) -> None:
        bare, half, astray = (one.tenant(name) for name in ("Bare", "Half", "Astray"))
        zones = {"bare-customer.com": bare, "half-customer.com": half, "astray-customer.com": astray}
        for zone, tenant in zones.items():
            tenant.set_zone(zone)
        one.delegate("half-customer.com")
        one.dns.remove("_acme-challenge.sandbox.half-customer.com")
        for name in ("astray-customer.com", "sandbox.astray-customer.com"):
            one.dns.put(f"_acme-challenge.{name}", RecordType.CNAME, f"{'a' * 32}.{ACME_ZONE}")
        for tenant in zones.values():
            tenant.verify()
        ready(one)
        certificate(one)
        assert one.proxy.placed == [names_of(ZONE)]
        found = dict(one.rows("SELECT domain, state FROM delegations"))
        assert found == {
            "bare-customer.com": "missing",
            "half-customer.com": "missing",
            "astray-customer.com": "elsewhere",
            ZONE: "present",
        }
        shown = bare.zone()["certificate"]
        assert shown["mode"] == "per_host"
        assert shown["advice"]

    await told(story, tmp_path)


async def test_a_certificate_of_seconds_is_renewed(tmp_path: Path) -> None:
    """Before its end, by an order that says which one it replaces; the new one has another key."""

    def story(one: Fleet) -> None:
        ready(one)
        first, chain = certificate(one)
        until(lambda: (held(one) or ("", ""))[0] not in {first, ""}, "it is renewed", 40.0)
        _, other = certificate(one)
        assert len(one.proxy.placed) >= 2
        orders = [asked.payload for asked in one.proxy.asked if asked.resource == "newOrder"]
        assert orders[0].get("replaces") is None
        assert orders[1]["replaces"] == named(chain)
        assert public_key(chain) != public_key(other)
        assert keys_left(one) == 0

    await told(story, tmp_path, validity=24)


async def test_the_authority_wants_a_certificate_renewed_at_once(tmp_path: Path) -> None:
    """Because it is going to revoke it: where it is asked again it says so, and the certificate is renewed long before its
    end."""

    def story(one: Fleet) -> None:
        ready(one)
        first, chain = certificate(one)
        asked = "SELECT 1 FROM held_certificates WHERE ari_at > datetime('now', '+1 hour')"
        until(lambda: one.rows(asked), "the authority was asked", 20.0)
        now = datetime.now(UTC)
        one.proxy.set_window(named(chain), now - timedelta(hours=2), now - timedelta(hours=1))
        # What a day does: the authority is asked again, and a certificate so old may be renewed at its word.
        one.write("UPDATE held_certificates SET ari_at = created_at, created_at = datetime(created_at, '-1 day')")
        until(lambda: (held(one) or ("", ""))[0] not in {first, ""}, "it is renewed", 40.0)
        assert one.proxy.placed == [names_of(ZONE)] * 2

    await told(story, tmp_path)


async def test_a_zone_that_is_given_up(tmp_path: Path) -> None:
    """Its key and chain are gone at once, from the store and from the node; and an order that is under way leads to nothing."""

    def story(one: Fleet) -> None:
        tenant = ready(one)
        certificate(one)
        until(lambda: one.router.get_admin(f"/certificate?server_name=app.{ZONE}")[0] == 200, "served", 10.0)
        assert tenant.call("DELETE", "/tenant/preview-domain")[0] == 200
        ((chain, key),) = one.rows("SELECT chain, sealed_key FROM held_certificates WHERE domain = ?", ZONE)
        assert (chain, key) == ("", "")
        until(lambda: one.router.get_admin(f"/certificate?server_name=app.{ZONE}")[0] == 204, "not served", 5.0)

        other = "other-customer.com"
        held_up = one.proxy.hold("finalize", f"*.{other}")
        tenant.set_zone(other)
        one.delegate(other)
        tenant.verify()
        assert held_up.arrived.wait(30)
        assert tenant.call("DELETE", "/tenant/preview-domain")[0] == 200
        held_up.go_on.set()
        until(lambda: state_of(one, other) == "abandoned", "the order is abandoned", 20.0)
        until(lambda: one.rows("SELECT txt FROM acme_orders WHERE domain = ?", other) == [("[]",)], "withdrawn", 20.0)
        assert held(one, other) is None
        assert keys_left(one) == 0

    await told(story, tmp_path)


async def test_a_zone_that_another_tenant_gets(tmp_path: Path) -> None:
    """The records that the first one left behind open nothing: the new owner has a token of their own, and a certificate with
    another key when their own records are there."""

    def story(one: Fleet) -> None:
        acme = ready(one)
        first, chain = certificate(one)
        assert acme.call("DELETE", "/tenant/preview-domain")[0] == 200
        globex = one.tenant("Globex")
        globex.set_zone(ZONE)
        until(
            lambda: one.rows("SELECT state FROM delegations WHERE domain = ?", ZONE) == [("elsewhere",)],
            "looked at",
            30.0,
        )
        assert held(one) is None
        assert one.proxy.placed == [names_of(ZONE)]
        one.delegate(ZONE)
        globex.verify()
        second, other = certificate(one)
        assert second != first
        assert public_key(chain) != public_key(other)
        assert not acme.events("certificate.issued")[1:]

    await told(story, tmp_path)


async def test_an_authority_that_is_down_and_one_that_has_enough(tmp_path: Path) -> None:
    """The zone waits, its owner is told of the limit, and gets the certificate when the authority is there again."""

    def story(one: Fleet) -> None:
        one.proxy.reply("newOrder", problem(429, "rateLimited", "too many certificates", Retry_After="2"))
        one.proxy.reply("newOrder", problem(500, "serverInternal"))
        tenant = ready(one)
        certificate(one)
        assert len(tenant.events("certificate.rate_limited")) == 1
        assert not tenant.events("certificate.failed")
        assert one.proxy.placed == [names_of(ZONE)]

    await told(story, tmp_path)


# kill -9 at each step of an order.

# What is held up, so that an order stays in its state; where the authority has done it, its answer never arrives.
HELD_UP: dict[str, tuple[str, dict[str, Any], str]] = {
    "placing.com": ("newOrder", {}, "placing"),
    "placing-done.com": ("newOrder", {"done": True}, "placing"),
    "published.com": ("challenge", {}, "published"),
    "published-done.com": ("challenge", {"done": True}, "published"),
    "answered.com": ("order", {"skip": 1}, "answered"),  # the first one is asked for to answer it
    "finalizing.com": ("finalize", {}, "finalizing"),
    "finalizing-done.com": ("finalize", {"done": True}, "finalizing"),
    "fetching.com": ("certificate", {}, "finalizing"),
}


async def test_killed_in_the_midst_of_orders_in_every_state(tmp_path: Path) -> None:
    """A successor goes on with each: every zone gets its certificate, by one order at the authority, and no key is left behind."""

    def story(one: Fleet) -> None:
        one.proxy.reply("newOrder", problem(429, "rateLimited", Retry_After="600"))
        ready(one, "planned.com", "planned.com")
        for zone in (*HELD_UP, "placed.com"):
            one.tenant(zone).set_zone(zone)
        nowhere = one.target("placed.com")
        one.dns.put(nowhere, RecordType.TXT, "old")  # so the values are not published
        until(lambda: one.proxy.count("newOrder"), "the authority was asked", 30.0)
        holds = {zone: one.proxy.hold(what, f"*.{zone}", **how) for zone, (what, how, _) in HELD_UP.items()}
        for zone in (*HELD_UP, "placed.com"):
            one.delegate(zone)
        one.look_again()
        for zone, hold in holds.items():
            assert hold.arrived.wait(25), zone
        # What the authority was told to look at it has seen: who would answer it is about to be killed.
        names = one.proxy.paths_of("*.published-done.com", "authorization")
        proved = [f"authz {path.rpartition('/')[2]} set VALID" for path in names]
        until(lambda: any(line in one.pebble.process.output for line in proved), "a name is proved", 20.0)
        states = {zone: state for zone, (_, _, state) in HELD_UP.items()}
        states |= {"planned.com": "planned", "placed.com": "placed"}
        assert dict(one.rows("SELECT domain, state FROM acme_orders")) == states

        one.kill()
        for hold in holds.values():
            hold.go_on.set()
        one.dns.remove(nowhere)
        for zone in states:
            certificate(one, zone)
        assert sorted(one.proxy.placed) == sorted(map(names_of, states))
        assert one.pebble.issued == len(states)
        assert one.rows("SELECT count(*) FROM acme_orders WHERE state != 'issued'") == [(0,)]
        assert keys_left(one) == 0

    await told(story, tmp_path)


@pytest.mark.deep
@pytest.mark.timeout(1800)
async def test_fifty_kills(tmp_path: Path) -> None:
    """Whatever state any of ten zones' orders is in: no zone is lost, none is ordered twice, no key is left behind."""

    def story(one: Fleet) -> None:
        states = ("planned", "placing", "placed", "published", "answered", "finalizing")
        zones: list[str] = []
        for number in range(50):
            zone, state = f"zone{number}-customer.com", states[number % len(states)]
            tenant = one.tenant(f"Tenant {number}")
            tenant.set_zone(zone)
            one.delegate(zone)
            tenant.call("POST", "/tenant/preview-domain/verify")
            zones.append(zone)
            until(lambda zone=zone, state=state: state_of(one, zone) in {state, "issued"}, f"{zone} {state}", 60.0)
            one.kill()
        for zone in zones:
            certificate(one, zone)
        assert sorted(one.proxy.placed) == sorted(map(names_of, zones))
        assert one.pebble.issued == len(zones)
        assert keys_left(one) == 0

    await told(story, tmp_path, proxy_delay=0.1)

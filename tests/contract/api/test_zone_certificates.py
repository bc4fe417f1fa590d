"""A preview domain's certificate for all of its hosts, as the API shows it."""

from datetime import timedelta

import pytest

from router.base.clock import ManualClock
from router.certificates.delegation import challenge_names
from router.certificates.held import Origin, upload_name
from router.certificates.order import OrderState
from router.domains.lookup import RecordType
from router.errors import VALIDATION_FAILED, RouterError
from router.node.services import build_services
from router.outbound.health import HttpHealthCheck
from router.routes.records import Scope
from router.settings import Settings, load
from router.store import Store
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account, open_account
from tests.support.api import ApiClient
from tests.support.held_certificates import a_held, an_order
from tests.support.memory_dns import MemoryFetch, MemoryLookup

pytestmark = pytest.mark.asyncio

PATH = "/api/v1/tenant/preview-domain"
ZONE = "preview.acme.example.com"


@pytest.fixture
def settings() -> Settings:
    return load(
        environ={
            "MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "MIOSA_ROUTER_BACKEND_NETWORKS": "10.0.0.0/8",
            "MIOSA_ROUTER_ACME_ZONE": "acme.miosa.ai",
        }
    )


async def test_the_zone_of_the_challenges_is_the_platforms(
    store: Store, settings: Settings, clock: ManualClock
) -> None:
    """Wherever it lies: nobody else has a name in it."""
    apart = settings.model_copy(update={"acme_zone": "challenges.example.net"})
    async with HttpHealthCheck() as probe:
        opened = build_services(store, apart, clock, lookup=MemoryLookup(), fetch=MemoryFetch(), probe=probe)
        acme = await open_account(opened, "Acme")
        for name in ("challenges.example.net", "a.challenges.example.net"):
            with pytest.raises(RouterError) as caught:
                await opened.preview_domains.set(Scope.TENANT, acme.tenant.id, name)
            assert caught.value.problem is VALIDATION_FAILED
        await opened.publishing.close()


async def test_the_records_to_delegate(api: ApiClient, store: Store, dns: MemoryLookup, clock: ManualClock) -> None:
    """From the moment when the domain is set: not required, with what they bring; `verify` looks at them at once."""
    shown = (await api("PUT", PATH, json={"preview_domain": ZONE})).json
    async with store.read() as tx:
        delegation = await tx.delegations.get(ZONE)
    assert delegation is not None
    target = f"{delegation.token}.acme.miosa.ai"
    wanted = [one for one in shown["records"] if one["purpose"] == "certificate"]
    assert [(one["name"], one["type"], one["value"], one["required"], one["status"]) for one in wanted] == [
        ("_acme-challenge", "CNAME", target, False, "pending"),
        ("_acme-challenge.sandbox", "CNAME", target, False, "pending"),
    ]
    certificate = shown["certificate"]
    assert (certificate["mode"], certificate["status"], certificate["names"]) == ("per_host", "not_delegated", [])
    assert target in certificate["advice"]
    for name in challenge_names(ZONE):
        dns.put(name, RecordType.CNAME, target)
    clock.advance(60)
    shown = (await api("POST", f"{PATH}/verify")).json
    assert [one["status"] for one in shown["records"] if one["purpose"] == "certificate"] == ["valid", "valid"]
    assert (shown["certificate"]["status"], shown["certificate"]["advice"]) == ("pending", None)
    cleared = (await api("DELETE", PATH)).json
    assert cleared["certificate"] is None


async def test_an_authority_that_is_away_is_named(
    api: ApiClient, store: Store, clock: ManualClock, acme: Account
) -> None:
    """The customer reads who can't be reached, and when it goes on."""
    await api("PUT", PATH, json={"preview_domain": ZONE})
    now = clock.now()
    async with store.begin() as tx:
        delegation = await tx.delegations.get(ZONE)
        assert delegation is not None
        error = {"kind": "unreachable", "code": "unreachable", "detail": "it refuses connections", "tries": 1}
        waits = an_order(
            ZONE,
            now,
            acme.tenant.id,
            token=delegation.token,
            state=OrderState.PLACING,
            error=error,
            next_at=now + timedelta(minutes=10),
        )
        await tx.acme_orders.add(waits)
    shown = (await api("GET", PATH)).json["certificate"]
    assert shown["last_error"] == "The certificate authority can't be used now: it refuses connections"
    assert shown["next_attempt_at"] is not None


async def test_a_lost_delegation_says_when_the_certificate_ends(
    api: ApiClient, store: Store, clock: ManualClock, acme: Account
) -> None:
    """It is served until then, so the advice is not what delegating would bring but what has to be put back."""
    await api("PUT", PATH, json={"preview_domain": ZONE})
    async with store.begin() as tx:
        await tx.held_certificates.put(a_held(ZONE, clock.now(), acme.tenant.id))
    shown = (await api("GET", PATH)).json["certificate"]
    assert (shown["mode"], shown["status"]) == ("wildcard", "issued")
    assert shown["advice"].startswith(
        f"The certificate of all hosts of {ZONE} ends at {shown['not_after']} and can't be renewed"
    )


async def test_a_delegation_whose_caa_is_not_answered(api: ApiClient, store: Store, dns: MemoryLookup) -> None:
    """The advice does not speak of challenge names where both are right."""
    await api("PUT", PATH, json={"preview_domain": ZONE})
    async with store.read() as tx:
        delegation = await tx.delegations.get(ZONE)
    assert delegation is not None
    for name in challenge_names(ZONE):
        dns.put(name, RecordType.CNAME, f"{delegation.token}.acme.miosa.ai")
    dns.fail("example.com")
    shown = (await api("POST", f"{PATH}/verify")).json
    assert [one["status"] for one in shown["records"] if one["purpose"] == "certificate"] == ["valid", "valid"]
    assert shown["certificate"]["status"] == "not_delegated"
    assert shown["certificate"]["advice"].startswith(
        "The records are there, but name servers do not answer for the CAA"
    )


async def test_how_the_certificate_stands(api: ApiClient, store: Store, clock: ManualClock, acme: Account) -> None:
    """Why there is none and when the next try is; then what it is, and the owner's own beside it. Never a key."""
    await api("PUT", PATH, json={"preview_domain": ZONE})
    now, tenant_id = clock.now(), acme.tenant.id
    async with store.begin() as tx:
        delegation = await tx.delegations.get(ZONE)
        assert delegation is not None
        error = {"kind": "failed", "code": "caa", "detail": "CAA record for acme.example.com prevents issuance"}
        failed = an_order(
            ZONE,
            now,
            tenant_id,
            token=delegation.token,
            state=OrderState.FAILED,
            error=error,
            next_at=now + timedelta(minutes=10),
            closed_at=now,
        )
        await tx.acme_orders.add(failed)
    shown = (await api("GET", PATH)).json["certificate"]
    assert (shown["status"], shown["last_error"]) == ("failed", error["detail"])
    assert shown["next_attempt_at"] == "2026-01-01T00:10:00Z"
    async with store.begin() as tx:
        await tx.held_certificates.put(a_held(ZONE, now, tenant_id))
        own = a_held(upload_name(ZONE), now, tenant_id, origin=Origin.UPLOADED, serial="0b", names=(f"*.{ZONE}",))
        await tx.held_certificates.put(own)
    answer = await api("GET", PATH)
    shown = answer.json["certificate"]
    assert (shown["mode"], shown["status"], shown["serial"]) == ("wildcard", "issued", "0a")
    assert shown["names"] == [f"*.{ZONE}", f"*.sandbox.{ZONE}"]
    assert (shown["uploaded"]["serial"], shown["uploaded"]["names"]) == ("0b", [f"*.{ZONE}"])
    assert "key of" not in str(answer.json)
    clock.advance(76 * 86400)
    assert (await api("GET", PATH)).json["certificate"]["status"] == "expiring"

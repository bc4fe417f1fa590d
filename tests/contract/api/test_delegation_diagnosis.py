"""What the API says of a zone's delegation, with the store's own tokens: those of other tenants, and of earlier owners, open nothing."""

import pytest

from router.base.clock import ManualClock
from router.domains.lookup import RecordType
from router.node.services import Services
from router.routes.records import Scope
from router.settings import Settings, load
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.memory_dns import MemoryLookup

pytestmark = pytest.mark.asyncio

ZONE, PATH = "preview.example.com", "/api/v1/tenant/preview-domain"
ACME = "acme.miosa.ai"
NAMES = (f"_acme-challenge.{ZONE}", f"_acme-challenge.sandbox.{ZONE}")


@pytest.fixture
def settings() -> Settings:
    return load(environ={"MIOSA_ROUTER_ACME_ZONE": ACME, "MIOSA_ROUTER_BACKEND_NETWORKS": "10.0.0.0/8"})


@pytest.fixture
def dns() -> MemoryLookup:
    lookup = MemoryLookup()
    lookup.put("example.com", RecordType.SOA, "ns.example.com")
    lookup.put("proxy.miosa.ai", RecordType.A, "192.0.2.1")
    for wildcard in ("*", "*.sandbox"):
        lookup.put(f"{wildcard}.{ZONE}", RecordType.CNAME, "proxy.miosa.ai")
    return lookup


async def codes(api: ApiClient) -> list[str]:
    return [finding["code"] for finding in (await api("GET", f"{PATH}/diagnose")).json["data"]["findings"]]


async def test_a_delegation(
    api: ApiClient, services: Services, acme: Account, dns: MemoryLookup, clock: ManualClock
) -> None:
    """Each finding with the record to add, which is this zone's own; with both in place nothing is left to say."""
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, ZONE)
    await api("POST", f"{PATH}/check")
    found = (await api("GET", f"{PATH}/diagnose")).json["data"]
    advice = next(finding for finding in found["findings"] if finding["code"] == "delegation_missing")
    assert (found["healthy"], advice["severity"]) == (True, "info")
    records = advice["records"]
    assert [(one["action"], one["type"], one["name"]) for one in records] == [("add", "CNAME", name) for name in NAMES]
    assert [one["host"] for one in records] == ["_acme-challenge.preview", "_acme-challenge.sandbox.preview"]
    (target,) = {one["value"] for one in records}
    assert target.endswith(f".{ACME}")
    dns.put(NAMES[0], RecordType.CNAME, target)
    clock.advance(10)
    assert await codes(api) == ["delegation_partial"]
    dns.put(NAMES[1], RecordType.CNAME, target)
    dns.put("example.com", RecordType.CAA, '0 issue "letsencrypt.org"', '0 issuewild ";"')
    clock.advance(10)
    assert await codes(api) == ["caa_forbids_wildcard"]
    dns.put("example.com", RecordType.CAA)
    clock.advance(10)
    assert await codes(api) == ["all_right"]


async def test_what_an_earlier_owner_left_behind(
    api: ApiClient, services: Services, acme: Account, globex: Account, dns: MemoryLookup, clock: ManualClock
) -> None:
    """The zone has another token with its new owner: the old records, and another account's, open nothing."""
    await services.preview_domains.set(Scope.TENANT, globex.tenant.id, ZONE)
    theirs = (await services.diagnoses.preview_domain(Scope.TENANT, globex.tenant.id)).findings
    (advice,) = (finding for finding in theirs if finding.code == "delegation_missing")
    for record in advice.records:
        dns.put(record.name, RecordType.CNAME, record.value)
    await services.preview_domains.clear(Scope.TENANT, globex.tenant.id)
    clock.advance(31 * 86_400)
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, ZONE)
    await api("POST", f"{PATH}/check")
    found = (await api("GET", f"{PATH}/diagnose")).json["data"]["findings"]
    assert [finding["code"] for finding in found] == ["delegation_of_another"] * 2
    (target,) = {record["value"] for finding in found for record in finding["records"]}
    assert target.endswith(f".{ACME}")
    assert target != advice.records[0].value

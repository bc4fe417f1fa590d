"""What the API says is wrong with a domain."""

from datetime import timedelta
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.domains.certificates import Certificate, CertificateStatus
from router.domains.diagnosis.diagnoser import Diagnoses
from router.domains.lookup import RecordType
from router.errors import CONFLICT, RATE_LIMITED, RouterError
from router.node.services import Services
from router.routes.records import Kind, Scope
from router.settings import Ca
from router.store import Store
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.checks import verify_custom
from tests.support.memory_dns import MemoryLookup
from tests.support.world import World

pytestmark = pytest.mark.asyncio

APP, ZONE = "app.example.com", "preview.example.com"
A, CNAME, SOA = RecordType.A, RecordType.CNAME, RecordType.SOA


@pytest.fixture
def dns() -> MemoryLookup:
    lookup = MemoryLookup()
    lookup.put("example.com", SOA, "ns.example.com")
    for target in ("verify.miosa.ai", "proxy.miosa.ai"):
        lookup.put(target, A, "192.0.2.1")
    return lookup


async def test_a_domain_without_a_record(api: ApiClient, services: Services, acme: Account) -> None:
    """In each place where it is: what is wrong, and the record to add."""
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, slug="desk", name="Desk")
    domain = await services.custom_domains.register(computer.id, APP)
    answer = await api("GET", f"/api/v1/computers/{computer.id}/domains/{domain.id}/diagnose")
    assert (answer.status, answer.json) == (
        200,
        {
            "data": {
                "domain": APP,
                "status": "pending",
                "healthy": False,
                "checked_at": "2026-01-01T00:00:00Z",
                "findings": [
                    {
                        "code": "nothing_there",
                        "severity": "error",
                        "message": f"app.example.com has no address yet. Add a CNAME to {domain.token}.verify.miosa.ai.",
                        "records": [
                            {
                                "action": "add",
                                "type": "CNAME",
                                "name": APP,
                                "host": "app",
                                "value": f"{domain.token}.verify.miosa.ai",
                            }
                        ],
                        "docs_url": "https://login.miosa.app/errors#nothing_there",
                    }
                ],
            }
        },
    )


async def test_once_in_ten_seconds(api: ApiClient, services: Services, acme: Account, clock: ManualClock) -> None:
    """Whichever way it is asked for; then it is asked afresh."""
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, slug="desk", name="Desk")
    domain = await services.custom_domains.register(computer.id, APP)
    paths = [
        f"/api/v1/custom-domains/{domain.id}/diagnose",
        f"/api/v1/computers/{computer.id}/domains/{domain.id}/diagnose",
    ]
    assert (await api("GET", paths[0])).status == 200
    clock.advance(3)
    for path in paths:
        early = await api("GET", path)
        assert (early.status, early.code, early.headers["Retry-After"]) == (429, RATE_LIMITED.code, "7")
    clock.advance(7)
    assert (await api("GET", paths[1])).status == 200


async def test_another_resources_domain(api: ApiClient, services: Services, acme: Account) -> None:
    """A nested path knows its own domains only."""
    made = [
        await services.resources.create(Kind.COMPUTER, acme.tenant.id, slug=slug, name=slug)
        for slug in ("desk", "other")
    ]
    domain = await services.custom_domains.register(made[0].id, APP)
    assert (await api("GET", f"/api/v1/computers/{made[1].id}/domains/{domain.id}/diagnose")).status == 404


def codes(document: Any) -> list[str]:
    return [finding["code"] for finding in document["data"]["findings"]]


async def test_a_preview_domain(
    api: ApiClient, services: Services, acme: Account, dns: MemoryLookup, clock: ManualClock
) -> None:
    """Its wildcards, and the hosts of some resources that lie in its scope."""
    path = "/api/v1/tenant/preview-domain/diagnose"
    assert (await api("GET", path)).status == 404
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, ZONE)
    await services.resources.create(
        Kind.SANDBOX, acme.tenant.id, slug="box", name="Box", exposed_ports=frozenset({5173})
    )
    dns.put(f"*.{ZONE}", CNAME, "proxy.miosa.ai")
    dns.put(f"other.sandbox.{ZONE}", CNAME, "proxy.miosa.ai")
    assert codes((await api("GET", path)).json) == ["wildcard_missing"]
    dns.put(f"*.sandbox.{ZONE}", CNAME, "proxy.miosa.ai")
    dns.put(f"5173-box.sandbox.{ZONE}", A, "198.51.100.9")
    clock.advance(10)
    hidden = await api("GET", path)
    assert codes(hidden.json) == ["wildcard_hidden"]
    assert hidden.json["data"]["findings"][0]["records"] == [
        {
            "action": "delete",
            "type": "A",
            "name": f"5173-box.sandbox.{ZONE}",
            "host": "5173-box.sandbox.preview",
            "value": "198.51.100.9",
        }
    ]
    clock.advance(10)
    assert codes((await api("GET", path, params={"host": f"other.sandbox.{ZONE}"})).json) == [
        "not_verified",
        "all_right",
    ]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("elsewhere.example", f"must end with .{ZONE}"),
        (ZONE, f"must end with .{ZONE}"),
        ("*", "must be one host name; wildcards are not allowed"),
    ],
)
async def test_hosts_that_are_not_under_it(
    api: ApiClient, services: Services, acme: Account, host: str, words: str
) -> None:
    """Nobody is told of other people's DNS."""
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, ZONE)
    answer = await api("GET", "/api/v1/tenant/preview-domain/diagnose", params={"host": host})
    assert (answer.status, answer.fields) == (422, {"host": [words]})


async def test_scopes_have_their_own(api: ApiClient, services: Services, acme: Account) -> None:
    """A workspace's and a project's; where there is none, 404."""
    workspace, _ = await services.workspaces.create(acme.tenant.id, name="Clinic")
    project = await services.projects.create(acme.tenant.id, workspace_id=workspace.id, name="Site")
    of_workspace, of_project = f"/api/v1/workspaces/{workspace.id}", f"/api/v1/projects/{project.id}"
    for path in (of_workspace, of_project):
        assert (await api("GET", f"{path}/preview-domain/diagnose")).status == 404
    await services.preview_domains.set(Scope.WORKSPACE, workspace.id, "clinic.example.com")
    await services.preview_domains.set(Scope.PROJECT, project.id, "site.example.com")
    for path, domain in ((of_workspace, "clinic.example.com"), (of_project, "site.example.com")):
        answer = await api("GET", f"{path}/preview-domain/diagnose")
        assert (answer.json["data"]["domain"], codes(answer.json)) == (domain, ["nothing_there", "nothing_there"])
    _, key = await services.keys.create(acme.tenant.id, scope=KeyScope.PROJECT, scope_id=project.id)
    assert (await api("GET", f"{of_workspace}/preview-domain/diagnose", key=key)).status == 403
    assert (await api("GET", "/api/v1/tenant/preview-domain/diagnose", key=key)).status == 403


async def test_any_name(services: Services, acme: Account, store: Store) -> None:
    """A custom domain, a preview domain, a host under the nearest one, and what is nobody's."""
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, ZONE)
    project = acme.project.id
    await services.preview_domains.set(Scope.PROJECT, project, f"inner.{ZONE}")
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, slug="desk", name="Desk")
    await services.custom_domains.register(computer.id, APP)
    found = {}
    for name in (APP, f"box.inner.{ZONE}", ZONE, "nobody.example.com"):
        diagnosis = await services.diagnoses.name(name)
        found[name] = (diagnosis.domain, diagnosis.status)
    assert found == {
        APP: (APP, "pending"),
        f"box.inner.{ZONE}": (f"inner.{ZONE}", "pending_dns"),
        ZONE: (ZONE, "pending_dns"),
        "nobody.example.com": ("nobody.example.com", None),
    }


async def test_the_platform_s_own_zone(world: World, clock: ManualClock) -> None:
    """Where the router orders its certificate, its names are no strangers: the operator is told where its records are shown, and none
    that customers need."""
    common: Any = {"checker": world.checker(), "verify_target": "verify.miosa.ai", "proxy_target": "proxy.miosa.ai"}
    diagnoses = Diagnoses(world.store, world.dns, clock, ca=Ca(), docs_url="", platform="miosa.app", **common)
    for name in ("miosa.app", "box.sandbox.miosa.app"):
        diagnosis = await diagnoses.name(name)
        (finding,) = diagnosis.findings
        assert (finding.code, diagnosis.healthy, finding.records) == ("platform_zone", True, ())
        assert "`miosa-router domains delegation miosa.app`" in finding.message
    strange = (await diagnoses.name("notmiosa.app")).findings
    assert "not_registered" in [finding.code for finding in strange]


async def test_certificates(
    services: Services, acme: Account, store: Store, dns: MemoryLookup, clock: ManualClock
) -> None:
    """What keeps a domain from its certificate is said with it."""
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, slug="desk", name="Desk")
    domain = await services.custom_domains.register(computer.id, APP)
    await verify_custom(services, domain.id)
    dns.put(APP, CNAME, "verify.miosa.ai")
    later = clock.now() + timedelta(hours=1)
    found = {}
    for status in (CertificateStatus.RATE_LIMITED, CertificateStatus.FAILED, CertificateStatus.ISSUED):
        certificate = Certificate(host=APP, status=status, last_error="no jitter", retry_at=later, domain_id=domain.id)
        async with store.begin() as tx:
            await tx.certificates.put(certificate)
        found[status] = [finding.code for finding in (await services.diagnoses.custom_domain(domain.id)).findings]
        clock.advance(10)
    assert found == {
        CertificateStatus.RATE_LIMITED: ["certificate_rate_limited"],
        CertificateStatus.FAILED: ["certificate_failed"],
        CertificateStatus.ISSUED: ["all_right"],
    }


async def test_a_name_as_it_stands_for_a_tenant(services: Services, acme: Account, globex: Account) -> None:
    """What somebody else has registered, or lies in their zone, is held by another."""
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, slug="desk", name="Desk")
    await services.custom_domains.register(computer.id, APP)
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, ZONE)
    found = {
        (name, account.tenant.slug): [
            finding.code for finding in (await services.diagnoses.name(name, account.tenant.id)).findings
        ]
        for name, account in ((APP, globex), (f"box.{ZONE}", globex), ("new.example.com", globex))
    }
    assert found == {
        (APP, "globex"): ["held_by_another", "nothing_there"],
        (f"box.{ZONE}", "globex"): ["held_by_another", "nothing_there"],
        ("new.example.com", "globex"): ["nothing_there", "not_registered"],
    }
    assert (await services.diagnoses.name(f"x.{ZONE}", acme.tenant.id)).status == "pending_dns"


async def test_one_s_own_inside_another_s(
    services: Services, acme: Account, globex: Account, dns: MemoryLookup, clock: ManualClock
) -> None:
    """Whoever has shown a name in another's zone to be theirs is told of it as of any other."""
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, ZONE)
    desk = await services.resources.create(Kind.COMPUTER, globex.tenant.id, slug="desk", name="Desk")
    name = f"app.{ZONE}"
    with pytest.raises(RouterError) as refused:
        await services.custom_domains.register(desk.id, name)
    beside: Any = refused.value.beside["claim"]
    dns.put(f"_miosa-challenge.{name}", RecordType.TXT, beside["records"][0]["expected"])
    clock.advance(10)
    await services.custom_domains.register(desk.id, name)
    assert (await services.diagnoses.name(name, globex.tenant.id)).status == "pending"


async def test_a_claim(
    services: Services, acme: Account, globex: Account, dns: MemoryLookup, clock: ManualClock
) -> None:
    """Whoever has claimed a name is told which record proves it, and when it is there."""
    desks = [
        await services.resources.create(Kind.COMPUTER, account.tenant.id, slug=slug, name="Desk")
        for account, slug in ((acme, "desk"), (globex, "other"))
    ]
    await services.custom_domains.register(desks[0].id, APP)
    dns.put(APP, CNAME, "verify.miosa.ai")
    with pytest.raises(RouterError) as refused:
        await services.custom_domains.register(desks[1].id, APP)
    assert refused.value.problem is CONFLICT
    held, proof = (await services.diagnoses.name(APP, globex.tenant.id)).findings
    assert (held.code, proof.code) == ("held_by_another", "challenge_missing")
    (record,) = proof.records
    assert (record.name, record.host) == (f"_miosa-challenge.{APP}", "_miosa-challenge.app")
    dns.put(record.name, RecordType.TXT, record.value)
    clock.advance(10)
    assert [finding.code for finding in (await services.diagnoses.name(APP, globex.tenant.id)).findings] == [
        "held_by_another"
    ]

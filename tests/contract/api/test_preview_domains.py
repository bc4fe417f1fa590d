"""Preview domains as their pages show them: of the tenant, of workspaces, of projects."""

import asyncio
from typing import Any

import miosa
import pytest

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.domains.lookup import RecordType
from router.node.services import Services
from router.routes.records import Kind
from router.tenancy.ownership import Ownership
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient
from tests.support.memory_dns import MemoryLookup

pytestmark = pytest.mark.asyncio

TENANT = "/api/v1/tenant/preview-domain"
TAKEN = "has already been taken"
ZONE = "program.drsmithclinic.com"


def of_workspace(workspace_id: str) -> str:
    return f"/api/v1/workspaces/{workspace_id}/preview-domain"


def of_project(project_id: str) -> str:
    return f"/api/v1/projects/{project_id}/preview-domain"


def paths(account: Account) -> dict[str, str]:
    return {
        "tenant": TENANT,
        "workspace": of_workspace(account.workspace.id),
        "project": of_project(account.project.id),
    }


def point(dns: MemoryLookup, zone: str, *names: str, target: str = "proxy.miosa.ai") -> None:
    for name in names or ("*", "*.sandbox"):
        dns.put(f"{name}.{zone}", RecordType.CNAME, target)


async def put(api: ApiClient, path: str, domain: str, **options: Any) -> Answered:
    return await api("PUT", path, json={"preview_domain": domain}, **options)


async def effective(api: ApiClient, path: str) -> tuple[str | None, str]:
    shown = (await api("GET", path)).json
    return shown["preview_domain"], shown["effective_domain"]


@pytest.mark.parametrize("scope", ["tenant", "workspace", "project"])
async def test_page_put(api: ApiClient, acme: Account, scope: str) -> None:
    """The page's request answers with the page's object, without an envelope, and so does GET."""
    answer = await put(api, paths(acme)[scope], ZONE)
    assert answer.status == 200
    ids = {"tenant": acme.tenant.id, "workspace": acme.workspace.id, "project": acme.project.id}
    expected = {
        "scope": scope,
        "id": ids[scope],
        "preview_domain": ZONE,
        "effective_domain": ZONE,
        "status": "pending_dns",
        "dns_status": "pending",
        "url_examples": {
            "default_preview": f"https://<slug>.{ZONE}",
            "port_preview": f"https://3000-<slug>.sandbox.{ZONE}",
            "deployment": f"https://<deployment-slug>.{ZONE}",
        },
    }
    assert answer.json | expected == answer.json
    assert [(item["type"], item["name"], item["value"], item["status"]) for item in answer.json["records"]] == [
        ("CNAME", "*", "proxy.miosa.ai", "pending"),
        ("CNAME", "*.sandbox", "proxy.miosa.ai", "pending"),
    ]
    assert [item["fqdn"] for item in answer.json["records"]] == [f"*.{ZONE}", f"*.sandbox.{ZONE}"]
    shown = [(item["purpose"], item["host"], item["expected"], item["checked_at"]) for item in answer.json["records"]]
    assert shown == [
        ("routing", "*.program", "proxy.miosa.ai", None),
        ("routing", "*.sandbox.program", "proxy.miosa.ai", None),
    ]
    assert (await api("GET", paths(acme)[scope])).json == answer.json


@pytest.mark.parametrize("scope", ["tenant", "workspace", "project"])
async def test_nothing_configured(api: ApiClient, acme: Account, scope: str) -> None:
    """Then the platform's domain holds, and there is nothing to verify."""
    shown = (await api("GET", paths(acme)[scope])).json
    assert (shown["preview_domain"], shown["effective_domain"]) == (None, "miosa.app")
    assert (shown["status"], shown["dns_status"], shown["records"]) == ("not_configured", "not_configured", [])
    assert shown["url_examples"]["default_preview"] == "https://<slug>.miosa.app"
    for method in ("GET", "POST"):
        assert (await api(method, f"{paths(acme)[scope]}/verify")).status == 404


async def test_precedence_and_inheritance(api: ApiClient, acme: Account) -> None:
    """Project, workspace, tenant, platform: the nearest that is set holds, as soon as it is set; clearing falls back."""
    tenant, workspace, project = paths(acme).values()
    await put(api, tenant, "acme.example")
    assert await effective(api, workspace) == (None, "acme.example")
    assert await effective(api, project) == (None, "acme.example")
    await put(api, workspace, "clinic.example")
    assert await effective(api, project) == (None, "clinic.example")
    await put(api, project, "site.example")
    assert await effective(api, project) == ("site.example", "site.example")
    assert await effective(api, workspace) == ("clinic.example", "clinic.example")
    assert await effective(api, of_workspace(acme.default.id)) == (None, "acme.example")
    cleared = await api("DELETE", project)
    assert cleared.status == 200
    assert (cleared.json["preview_domain"], cleared.json["effective_domain"]) == (None, "clinic.example")
    await api("DELETE", workspace)
    assert await effective(api, project) == (None, "acme.example")
    await api("DELETE", tenant)
    for path in (tenant, workspace, project):
        assert await effective(api, path) == (None, "miosa.app")
    assert (await api("DELETE", tenant)).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("scope", ["tenant", "workspace", "project"])
async def test_page_verify(
    api: ApiClient, acme: Account, dns: MemoryLookup, clock: ManualClock, scope: str, method: str
) -> None:
    """Once both wildcards lead to us the domain is verified, and stays so; both methods do the same."""
    path = paths(acme)[scope]
    await put(api, path, ZONE)
    point(dns, ZONE)
    clock.advance(60)
    answer = await api(method, f"{path}/verify")
    assert answer.status == 200
    shown = answer.json
    assert (shown["status"], shown["dns_status"], shown["verified"]) == ("verified", "verified", True)
    assert shown["verified_at"] == "2026-01-01T00:01:00Z"
    assert [(item["status"], item["observed"]) for item in shown["records"]] == [("valid", ["proxy.miosa.ai"])] * 2
    assert (await api("GET", path)).json == shown
    clock.advance(60)
    again = (await api(method, f"{path}/verify")).json
    assert {name for name in shown if again[name] != shown[name]} == {"records", "checked_at", "next_check_at"}


async def test_dns_provider(api: ApiClient, dns: MemoryLookup) -> None:
    """As for custom domains; a scope without a domain of its own has none."""
    assert (await api("GET", TENANT)).json["dns_provider"] is None
    put = await api("PUT", TENANT, json={"preview_domain": "preview.yourcompany.com"})
    assert put.json["dns_provider"] is None
    dns.put("preview.yourcompany.com", RecordType.NS, "ns1.dreamhost.com")
    assert (await api("POST", f"{TENANT}/check")).json["dns_provider"]["id"] == "dreamhost"
    assert (await api("GET", TENANT)).json["dns_provider"]["id"] == "dreamhost"


async def test_both_records_are_needed(api: ApiClient, dns: MemoryLookup, clock: ManualClock) -> None:
    """`*` alone covers both, until `*.sandbox` exists and says something else; `*.sandbox` alone covers no slug."""
    await put(api, TENANT, ZONE)
    point(dns, ZONE, "*.sandbox")
    shown = (await api("GET", f"{TENANT}/verify")).json
    assert (shown["status"], shown["dns_status"]) == ("pending_dns", "missing")
    assert [(item["status"], item["reason"]) for item in shown["records"]] == [("missing", "nxdomain"), ("valid", None)]
    assert (await api("GET", TENANT)).json == shown
    point(dns, ZONE, "*")
    point(dns, ZONE, "*.sandbox", target="elsewhere.example")
    clock.advance(10)
    shown = (await api("GET", f"{TENANT}/verify")).json
    assert (shown["status"], shown["dns_status"]) == ("pending_dns", "wrong")
    assert [item["status"] for item in shown["records"]] == ["valid", "wrong"]
    assert shown["records"][1]["observed"] == ["elsewhere.example"]


async def test_a_bad_look_takes_nothing_down(api: ApiClient, dns: MemoryLookup, clock: ManualClock) -> None:
    """A verified domain whose records are gone is told so, and goes on routing: one look is not enough."""
    await put(api, TENANT, ZONE)
    point(dns, ZONE)
    await api("POST", f"{TENANT}/verify")
    dns.remove(f"*.{ZONE}")
    clock.advance(10)
    shown = (await api("POST", f"{TENANT}/verify")).json
    assert (shown["status"], shown["dns_status"], shown["verified"]) == ("verified", "missing", True)
    point(dns, ZONE)
    clock.advance(10)
    assert (await api("POST", f"{TENANT}/verify")).json["dns_status"] == "verified"


async def test_not_knowing_changes_nothing(api: ApiClient, dns: MemoryLookup, clock: ManualClock) -> None:
    """Name servers that fail: told for this look, with the reason, and not kept."""
    await put(api, TENANT, ZONE)
    point(dns, ZONE)
    before = (await api("POST", f"{TENANT}/verify")).json
    dns.put(f"*.{ZONE}", RecordType.CNAME, "edge.agency.example")
    dns.fail("edge.agency.example", "timeout")
    clock.advance(10)
    shown = (await api("POST", f"{TENANT}/verify")).json
    assert (shown["status"], shown["dns_status"], shown["verified"]) == ("verified", "unknown", True)
    assert [(item["status"], item["reason"]) for item in shown["records"]] == [("unknown", "timeout"), ("valid", None)]
    after = (await api("GET", TENANT)).json
    assert {name for name in before if after[name] != before[name]} == {"checked_at", "next_check_at"}


@pytest.mark.parametrize("scope", ["tenant", "workspace", "project"])
async def test_error_too_soon(api: ApiClient, acme: Account, clock: ManualClock, scope: str) -> None:
    """One look in ten seconds, whichever way it is asked for."""
    path = paths(acme)[scope]
    await put(api, path, ZONE)
    for first, second in (("GET /verify", "POST /check"), ("POST /check", "POST /verify")):
        clock.advance(10)
        method, _, word = first.partition(" ")
        assert (await api(method, path + word)).status == 200
        method, _, word = second.partition(" ")
        answer = await api(method, path + word)
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (429, "checked_just_now", "10")


async def test_another_domain_starts_anew(api: ApiClient, dns: MemoryLookup) -> None:
    """What was found out belongs to the domain it was found out about; the same one again keeps it."""
    await put(api, TENANT, ZONE)
    point(dns, ZONE)
    verified = (await api("POST", f"{TENANT}/verify")).json
    assert (await put(api, TENANT, ZONE.upper())).json == verified
    other = (await put(api, TENANT, "preview.yourcompany.com")).json
    assert (other["status"], other["dns_status"], other["verified_at"]) == ("pending_dns", "pending", None)


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("", "can't be blank"),
        ("com", "must be fully qualified, such as app.example.com"),
        ("*.yourcompany.com", "must be one host name; wildcards are not allowed"),
        ("192.0.2.7", "must be a domain name, not an IP address"),
        ("co.uk", "is a public suffix"),
        ("vercel.app", "is a public suffix"),
        ("miosa.ai", "must not be miosa.ai or end with it"),
        ("preview.miosa.app", "must not be miosa.app or end with it"),
        (f"{'a' * 60}.{'b' * 60}.{'c' * 60}.com", "should be at most 181 character(s)"),
    ],
)
async def test_error_domain(api: ApiClient, domain: str, words: str) -> None:
    """What is no domain, or nobody's, or the platform's; and there must be room for the hosts below it."""
    answer = await put(api, TENANT, domain)
    assert (answer.status, answer.code, answer.fields) == (422, "VALIDATION_FAILED", {"preview_domain": [words]})
    for body in ({}, {"preview_domain": None}, {"preview_domain": 5}):
        assert (await api("PUT", TENANT, json=body)).status == 422


@pytest.mark.parametrize(
    "domain", ["globex.example", "preview.globex.example", "a.preview.globex.example", "sandbox.preview.globex.example"]
)
async def test_zones_of_two_tenants_do_not_nest(
    api: ApiClient, globex: Account, domain: str, clock: ManualClock
) -> None:
    """At, above or under another tenant's, verified or not: their wildcards would pass for each other's, for 30 days after
    they are gone too."""
    assert (await put(api, TENANT, "preview.globex.example", key=globex.key)).status == 200
    answer = await put(api, TENANT, domain)
    assert (answer.status, answer.json["error"]["message"]) == (409, TAKEN)
    assert answer.fields == {"preview_domain": [TAKEN]}
    assert (await api("GET", TENANT)).json["preview_domain"] is None
    assert (await put(api, TENANT, "other.globex.example")).status == 200
    await api("DELETE", TENANT, key=globex.key)
    assert (await put(api, TENANT, domain)).status == 409
    clock.advance(30 * 86400 + 1)
    assert (await put(api, TENANT, domain)).status == 200


@pytest.mark.parametrize("domain", ["globex.example", "app.globex.example", "a.app.globex.example"])
async def test_zones_stay_clear_of_other_tenants_custom_domains(
    api: ApiClient, globex: Account, services: Services, domain: str, clock: ManualClock
) -> None:
    """At, above or under one that is registered, until 30 days after it was removed."""
    computer = await services.resources.create(Kind.COMPUTER, globex.tenant.id)
    custom = await services.custom_domains.register(computer.id, "app.globex.example")
    assert (await put(api, TENANT, domain)).status == 409
    assert (await put(api, TENANT, "notapp.globex.example")).status == 200
    await services.custom_domains.remove(custom.id)
    clock.advance(30 * 86400 + 1)
    assert (await put(api, TENANT, domain)).status == 200


async def test_a_tenant_s_own_may_nest(api: ApiClient, acme: Account, services: Services) -> None:
    """Scopes of one tenant may share a domain or nest, and lie around its custom domains."""
    ownership = Ownership(project_id=acme.project.id)
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=ownership)
    await services.custom_domains.register(computer.id, "app.acme.example")
    tenant, workspace, project = paths(acme).values()
    for path, domain in ((tenant, "acme.example"), (workspace, "clinic.acme.example"), (project, "acme.example")):
        assert (await put(api, path, domain)).status == 200


async def test_a_workspace_that_is_another_tenant_s(api: ApiClient, acme: Account, globex: Account) -> None:
    """403 for another tenant's workspace, 404 for one that does not exist, as the page says; never what it has."""
    path = of_workspace(acme.workspace.id)
    await put(api, path, ZONE)
    for method, where in (("GET", path), ("PUT", path), ("DELETE", path), ("GET", f"{path}/verify")):
        options = {"json": {"preview_domain": "x.globex.example"}} if method == "PUT" else {}
        answer = await api(method, where, key=globex.key, **options)
        assert (answer.status, answer.json["error"]["message"]) == (403, "forbidden")
        assert (await api(method, where, key=None, **options)).status == 401
    missing = await api("GET", of_workspace(new_id()))
    assert (missing.status, missing.json["error"]["message"]) == (404, "workspace not found")
    assert await effective(api, path) == (ZONE, ZONE)


async def test_a_project_that_is_another_tenant_s(api: ApiClient, acme: Account, globex: Account) -> None:
    """As one that does not exist."""
    path = of_project(acme.project.id)
    await put(api, path, ZONE)
    for method, where in (("GET", path), ("PUT", path), ("DELETE", path), ("POST", f"{path}/verify")):
        options = {"json": {"preview_domain": "x.globex.example"}} if method == "PUT" else {}
        answer = await api(method, where, key=globex.key, **options)
        assert answer.status == 404
        assert ZONE.encode() not in answer.body
    assert await effective(api, path) == (ZONE, ZONE)


async def test_narrower_keys(api: ApiClient, acme: Account) -> None:
    """A workspace's key sets its own workspace's and its projects' domains, a project's key its project's alone."""
    tenant, workspace, project = paths(acme).values()
    allowed = {
        acme.workspace_key: {tenant: 403, workspace: 200, project: 200, of_workspace(acme.default.id): 403},
        acme.project_key: {tenant: 403, workspace: 403, project: 200, of_project(acme.default_project.id): 403},
    }
    for key, statuses in allowed.items():
        for path, status in statuses.items():
            assert (await api("GET", path, key=key)).status == status
            assert (await put(api, path, "acme.example", key=key)).status == status


async def test_a_repeated_request_changes_nothing(api: ApiClient) -> None:
    """The stored answer comes back, even where the domain has changed since."""
    headers = {"Idempotency-Key": new_id()}
    first = await put(api, TENANT, ZONE, headers=headers)
    await api("DELETE", TENANT)
    second = await put(api, TENANT, ZONE, headers=headers)
    assert (second.status, second.body, second.headers["Idempotent-Replayed"]) == (200, first.body, "true")
    assert await effective(api, TENANT) == (None, "miosa.app")


async def test_client(client: miosa.Miosa, dns: MemoryLookup, clock: ManualClock) -> None:
    """`tenant.preview_domain`, method by method, with what its documentation names."""

    def walk() -> None:
        domain = client.tenant.preview_domain
        assert domain.get()["effective_domain"] == "miosa.app"
        shown = domain.set(ZONE)
        assert (shown["domain"], shown["cname_target"], shown["verified_at"]) == (ZONE, "proxy.miosa.ai", None)
        assert domain.verify()["verified"] is False
        point(dns, ZONE)
        clock.advance(10)
        verified = domain.verify()
        assert (verified["verified"], verified["target"], len(verified["records"])) == (True, "proxy.miosa.ai", 2)
        domain.delete()
        assert domain.get()["preview_domain"] is None

    await asyncio.to_thread(walk)


async def test_async_client(async_client: miosa.AsyncMiosa, dns: MemoryLookup) -> None:
    """The same of the client's asynchronous half."""
    domain = async_client.tenant.preview_domain
    assert (await domain.set(ZONE))["status"] == "pending_dns"
    point(dns, ZONE)
    assert (await domain.verify())["status"] == "verified"
    assert (await domain.get())["dns_status"] == "verified"
    await domain.delete()
    assert (await domain.get())["status"] == "not_configured"

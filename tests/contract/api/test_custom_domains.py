"""Custom domains as their page shows them: of computers, of deployments, and flat."""

import asyncio
import re
from typing import Any

import miosa
import pytest
import pytest_asyncio
from miosa.errors import MiosaError, NotFoundError, ValidationError
from miosa.resources.custom_domains import AsyncCustomDomains, CustomDomains

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.domains.lookup import RecordType
from router.node.services import Services
from router.routes.records import Kind, NameRecord, Scope
from router.store import Store
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient
from tests.support.memory_dns import MemoryFetch, MemoryLookup

pytestmark = pytest.mark.asyncio

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
TAKEN = "has already been taken"
FQDN = "app.yourcompany.com"

# The page's record, and what it adds for the clients.
RECORD = {
    "id",
    "computer_id",
    "deployment_id",
    "tenant_id",
    "workspace_id",
    "project_id",
    "fqdn",
    "status",
    "verification_target",
    "verified_at",
    "tls_issued_at",
    "external_workspace_id",
    "external_user_id",
    "external_project_id",
    "created_at",
    "updated_at",
}


async def hold(services: Services, account: Account, kind: Kind = Kind.COMPUTER, **details: Any) -> Resource:
    """A new computer or deployment in the account's own workspace and project."""
    ownership = Ownership(workspace_id=account.workspace.id, project_id=account.project.id)
    return await services.resources.create(kind, account.tenant.id, ownership=ownership, **details)


@pytest_asyncio.fixture
async def computer(services: Services, acme: Account) -> Resource:
    return await hold(
        services,
        acme,
        external_workspace_id="clinic_123",
        external_user_id="dr-smith-456",
        external_project_id="project_789",
    )


@pytest_asyncio.fixture
async def deployment(services: Services, acme: Account) -> Resource:
    return await hold(services, acme, Kind.DEPLOYMENT, name="program")


@pytest.fixture
def path(computer: Resource) -> str:
    return f"/api/v1/computers/{computer.id}/domains"


def message(answer: Answered) -> str:
    return str(answer.json["error"]["message"])


async def register(api: ApiClient, path: str, name: str = FQDN, **fields: Any) -> dict[str, Any]:
    answer = await api("POST", path, json={"domain": name, **fields})
    assert answer.status == 201, answer.body
    data: dict[str, Any] = answer.json["data"]
    return data


# The page, from its top to its end.


async def test_page_register(api: ApiClient, path: str, computer: Resource, acme: Account) -> None:
    """The page's request answers 201 with the page's record, owned and attributed as the computer is."""
    answer = await api("POST", path, json={"domain": FQDN})
    assert answer.status == 201
    assert set(answer.json) == {"data"}
    record = answer.json["data"]
    assert set(record) >= RECORD
    expected = {
        "computer_id": computer.id,
        "deployment_id": None,
        "tenant_id": acme.tenant.id,
        "workspace_id": acme.workspace.id,
        "project_id": acme.project.id,
        "fqdn": FQDN,
        "status": "pending",
        "verification_target": "verify.miosa.ai",
        "verified_at": None,
        "tls_issued_at": None,
        "external_workspace_id": "clinic_123",
        "external_user_id": "dr-smith-456",
        "external_project_id": "project_789",
    }
    assert record | expected == record
    assert re.fullmatch(TIME, record["created_at"])
    assert record["updated_at"] == record["created_at"]
    assert FQDN in record["instructions"]
    assert "verify.miosa.ai" in record["instructions"]


async def test_page_register_for_a_deployment(api: ApiClient, services: Services, acme: Account) -> None:
    """It inherits workspace, project and attribution from the deployment."""
    program = await hold(services, acme, Kind.DEPLOYMENT, name="program", external_workspace_id="clinic_123")
    record = await register(api, f"/api/v1/deployments/{program.id}/domains", "program.drsmithclinic.com")
    assert (record["computer_id"], record["deployment_id"]) == (None, program.id)
    assert (record["workspace_id"], record["project_id"]) == (acme.workspace.id, acme.project.id)
    assert record["external_workspace_id"] == "clinic_123"


async def test_page_list(api: ApiClient, path: str, dns: MemoryLookup) -> None:
    """The list of a computer has exactly `data` and `total`, the newest first."""
    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    record = await register(api, path)
    await api("POST", f"{path}/{record['id']}/verify")
    answer = await api("GET", path)
    assert answer.status == 200
    assert set(answer.json) == {"data", "total"}
    assert answer.json["total"] == 1
    (shown,) = answer.json["data"]
    assert set(shown) >= RECORD
    assert (shown["id"], shown["fqdn"], shown["status"]) == (record["id"], FQDN, "verified")
    assert re.fullmatch(TIME, shown["verified_at"])
    assert shown["tls_issued_at"] is None


async def test_page_verify(api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock) -> None:
    """Once the CNAME is there the domain is verified, with the time of it."""
    record = await register(api, path)
    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    clock.advance(3600)
    answer = await api("POST", f"{path}/{record['id']}/verify")
    assert answer.status == 200
    verified = answer.json["data"]
    assert (verified["id"], verified["fqdn"], verified["status"]) == (record["id"], FQDN, "verified")
    assert verified["verified_at"] == "2026-01-01T01:00:00Z"
    assert (await api("GET", f"{path}/{record['id']}")).json["data"] == verified


async def test_page_remove(api: ApiClient, path: str) -> None:
    """The answer is the page's three fields; afterwards the domain is gone, and its name is free."""
    record = await register(api, path)
    answer = await api("DELETE", f"{path}/{record['id']}")
    assert answer.status == 200
    assert answer.json == {"data": {"id": record["id"], "fqdn": FQDN, "status": "removed"}}
    assert (await api("GET", path)).json == {"data": [], "total": 0}
    assert (await api("GET", f"{path}/{record['id']}")).status == 404
    assert (await api("DELETE", f"{path}/{record['id']}")).status == 404
    assert (await api("POST", f"{path}/{record['id']}/verify")).status == 404
    again = await register(api, path)
    assert again["id"] != record["id"]
    removed = (await api("GET", path, params={"status": "removed"})).json["data"]
    assert [item["id"] for item in removed] == [record["id"]]


async def test_page_flat(api: ApiClient, computer: Resource, deployment: Resource) -> None:
    """The flat surface registers for either, lists by either, and removes."""
    flat = "/api/v1/custom-domains"
    for_computer = await register(api, flat, computer_id=computer.id)
    for_deployment = await register(api, flat, "www.yourcompany.com", deployment_id=deployment.id)
    assert (for_computer["computer_id"], for_deployment["deployment_id"]) == (computer.id, deployment.id)
    listed = await api("GET", flat)
    assert listed.json["page"] == {"page": 1, "page_size": 20, "total": 2}
    of_computer = await api("GET", flat, params={"computer_id": computer.id})
    assert [item["id"] for item in of_computer.json["data"]] == [for_computer["id"]]
    of_deployment = await api("GET", flat, params={"deployment_id": deployment.id})
    assert [item["id"] for item in of_deployment.json["data"]] == [for_deployment["id"]]
    assert (await api("GET", flat, params={"computer_id": deployment.id})).json["data"] == []
    answer = await api("DELETE", f"{flat}/{for_computer['id']}")
    assert answer.json == {"data": {"id": for_computer["id"], "fqdn": FQDN, "status": "removed"}}


# What is refused.


async def test_error_taken(api: ApiClient, path: str, globex: Account, services: Services) -> None:
    """A name is registered once on the whole platform, however it is spelled and whoever has it."""
    await register(api, path)
    theirs = await hold(services, globex)
    for key, where in ((str(api.key), path), (globex.key, f"/api/v1/computers/{theirs.id}/domains")):
        answer = await api("POST", where, key=key, json={"domain": "APP.YourCompany.com."})
        assert (answer.status, message(answer)) == (409, TAKEN)
        assert answer.fields == {"domain": [TAKEN]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "can't be blank"),
        ("localhost", "must be fully qualified, such as app.example.com"),
        ("*.yourcompany.com", "must be one host name; wildcards are not allowed"),
        ("https://yourcompany.com", "is not a valid hostname"),
        ("yourcompany.com:8443", "is not a valid hostname"),
        ("-a.yourcompany.com", "is not a valid hostname"),
        ("a_b.yourcompany.com", "is not a valid hostname"),
        ("192.0.2.7", "must be a domain name, not an IP address"),
        ("2001:db8::7", "must be a domain name, not an IP address"),
        ("[2001:db8::7]", "must be a domain name, not an IP address"),
        (f"{'a' * 64}.com", "is not a valid hostname"),
        (f"{'a.' * 130}com", "must be at most 253 characters"),
        ("co.uk", "is a public suffix"),
        ("github.io", "is a public suffix"),
        ("miosa.ai", "must not be miosa.ai or end with it"),
        ("app.miosa.ai", "must not be miosa.ai or end with it"),
        ("shop.miosa.app", "must not be miosa.app or end with it"),
    ],
)
async def test_error_name(api: ApiClient, path: str, name: str, words: str) -> None:
    """Nobody can register what is no host name, nobody's, everybody's or the platform's."""
    answer = await api("POST", path, json={"domain": name})
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert answer.fields == {"domain": [words]}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"domain": ["can't be blank"]}),
        ({"domain": None}, {"domain": ["can't be blank"]}),
        ({"domain": 5}, {"domain": ["is invalid"]}),
        ({"fqdn": 5}, {"fqdn": ["is invalid"]}),
        ({"domain": FQDN, "external_user_id": 5}, {"external_user_id": ["is invalid"]}),
    ],
)
async def test_error_body(api: ApiClient, path: str, body: dict[str, Any], fields: dict[str, list[str]]) -> None:
    """Every wrong field is named."""
    answer = await api("POST", path, json=body)
    assert (answer.status, answer.fields) == (422, fields)


async def test_error_already_verified(api: ApiClient, path: str, dns: MemoryLookup) -> None:
    """Verifying twice is a conflict, told without another look at DNS."""
    dns.put(FQDN, RecordType.CNAME, "proxy.miosa.ai")
    record = await register(api, path)
    assert (await api("POST", f"{path}/{record['id']}/verify")).status == 200
    asked = len(dns.asked)
    answer = await api("POST", f"{path}/{record['id']}/verify")
    assert (answer.status, message(answer)) == (409, "domain is already verified")
    assert len(dns.asked) == asked


async def test_error_cname_not_found(api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock) -> None:
    """Missing or elsewhere: told with what is there and what should be; the domain goes on waiting."""
    record = await register(api, path)
    dns.put("yourcompany.com", RecordType.SOA, "ns.yourcompany.com hostmaster.yourcompany.com 1 3600 600 86400 60")
    answer = await api("POST", f"{path}/{record['id']}/verify")
    assert (answer.status, answer.code, message(answer)) == (422, "cname_not_found", "CNAME not found")
    own = record["records"][0]["expected"]
    assert own.endswith(".verify.miosa.ai")
    needed = {"type": "CNAME", "name": FQDN, "host": "app", "value": own}
    assert answer.fields == {"fqdn": [f"{FQDN} has no address yet. Add a CNAME to {own}."]}
    assert answer.json["error"]["records"] == [{"action": "add"} | needed]
    dns.put(FQDN, RecordType.CNAME, "pages.elsewhere.example")
    clock.advance(10)
    answer = await api("POST", f"{path}/{record['id']}/verify")
    assert (answer.status, message(answer)) == (422, "CNAME not found")
    assert answer.fields == {
        "fqdn": [f"{FQDN} leads to pages.elsewhere.example, which does not exist. Change its CNAME to {own}."]
    }
    assert answer.json["error"]["records"] == [{"action": "change"} | needed]
    shown = (await api("GET", f"{path}/{record['id']}")).json["data"]
    assert (shown["status"], shown["dns_status"], shown["updated_at"]) == ("pending", "wrong", record["updated_at"])


async def test_error_unknown(api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock) -> None:
    """Name servers that fail say nothing about the domain: nothing changes, and a later try may work."""
    record = await register(api, path)
    dns.fail(FQDN)
    answer = await api("POST", f"{path}/{record['id']}/verify")
    assert (answer.status, answer.code) == (422, "dns_unknown")
    assert answer.headers["Retry-After"] == "60"
    shown = (await api("GET", f"{path}/{record['id']}")).json["data"]
    assert (shown["dns_status"], shown["checked_at"]) == ("unknown", "2026-01-01T00:00:00Z")
    looked = {"dns_status", "checked_at", "next_check_at"}
    assert {name for name in record if record[name] != shown[name]} <= looked
    dns.fail(FQDN, None)
    clock.advance(10)
    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    assert (await api("POST", f"{path}/{record['id']}/verify")).status == 200


async def test_error_flat_holder(api: ApiClient, computer: Resource, deployment: Resource) -> None:
    """Exactly one computer or deployment, which exists and is one."""
    flat = "/api/v1/custom-domains"
    both = await api("POST", flat, json={"domain": FQDN, "computer_id": computer.id, "deployment_id": deployment.id})
    assert (both.status, both.fields) == (422, {"deployment_id": ["can't be given with computer_id"]})
    neither = await api("POST", flat, json={"domain": FQDN})
    assert (neither.status, set(neither.fields)) == (422, {"computer_id", "deployment_id"})
    for wrong in ({"computer_id": deployment.id}, {"deployment_id": computer.id}, {"computer_id": new_id()}):
        assert (await api("POST", flat, json={"domain": FQDN, **wrong})).status == 404
    assert (await api("POST", flat, json={"domain": FQDN, "computer_id": "web-1"})).status == 422
    neither = await api("GET", flat, params={"computer_id": computer.id, "deployment_id": deployment.id})
    assert neither.json["data"] == []


# Looking, and what is shown of it.


async def test_records(api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock) -> None:
    """What to add where, and what was found there; before the first look that is pending."""
    record = await register(api, path)
    routing, ownership = record["records"]
    expected = {
        "purpose": "routing",
        "type": "CNAME",
        "name": FQDN,
        "fqdn": FQDN,
        "host": "app",
        "expected": f"{ownership['expected']}.verify.miosa.ai",
        "value": f"{ownership['expected']}.verify.miosa.ai",
        "required": True,
        "observed": [],
        "status": "pending",
        "reason": None,
        "checked_at": None,
        "alternative": None,
        "warning": None,
    }
    assert routing == expected
    shown = {name: ownership[name] for name in ("purpose", "type", "name", "host", "required", "status")}
    assert shown == {
        "purpose": "ownership",
        "type": "TXT",
        "name": f"_miosa-challenge.{FQDN}",
        "host": "_miosa-challenge.app",
        "required": False,
        "status": "pending",
    }
    assert re.fullmatch(r"[0-9a-f]{32}", ownership["expected"])
    dns.put(FQDN, RecordType.A, "198.51.100.7")
    dns.put("verify.miosa.ai", RecordType.A, "192.0.2.1")
    clock.advance(5)
    await api("POST", f"{path}/{record['id']}/verify")
    (listed,) = (await api("GET", path)).json["data"]
    routing, other = listed["records"]
    assert (routing["status"], routing["observed"], routing["reason"]) == ("wrong", ["198.51.100.7"], "other_addresses")
    assert routing["checked_at"] == listed["checked_at"] == "2026-01-01T00:00:05Z"
    assert (other["status"], other["observed"]) == ("missing", [])


async def test_dns_provider(api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock) -> None:
    """Where the records are entered and how, once a look has seen whose name servers the zone has; another look that can't
    tell keeps it."""
    record = await register(api, path)
    assert record["dns_provider"] is None
    dns.put("yourcompany.com", RecordType.NS, "ns37.domaincontrol.com", "ns38.domaincontrol.com")
    checked = (await api("POST", f"{path}/{record['id']}/check")).json["data"]
    assert checked["dns_provider"] == {
        "id": "godaddy",
        "name": "GoDaddy",
        "panel_url": "https://dcc.godaddy.com/control/portfolio",
        "host_field": "Name",
        "value_field": "Value",
        "apex": "@",
        "apex_record": None,
        "hint": "It adds the domain to the name by itself: type only the part in front of it.",
    }
    dns.fail("yourcompany.com", "timeout")
    dns.fail(FQDN, "timeout")
    clock.advance(10)
    checked = (await api("POST", f"{path}/{record['id']}/check")).json["data"]
    assert (checked["dns_status"], checked["dns_provider"]["id"]) == ("unknown", "godaddy")


async def test_records_of_an_apex(api: ApiClient, path: str) -> None:
    """No CNAME may stand there, and its label is the provider's word for the domain itself."""
    record = await register(api, path, "yourcompany.co.uk")
    assert [(one["type"], one["host"]) for one in record["records"]] == [("ALIAS", "@"), ("TXT", "_miosa-challenge")]


async def test_flattened(api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock) -> None:
    """The target's addresses are as good as the CNAME; an address more is not."""
    record = await register(api, path, "yourcompany.com")
    dns.put("verify.miosa.ai", RecordType.A, "203.0.113.7")
    dns.put("yourcompany.com", RecordType.A, "203.0.113.7")
    dns.put("yourcompany.com", RecordType.AAAA, "2001:db8::7")
    assert (await api("POST", f"{path}/{record['id']}/verify")).status == 422
    dns.put("yourcompany.com", RecordType.AAAA)
    clock.advance(10)
    verified = (await api("POST", f"{path}/{record['id']}/verify")).json["data"]
    assert (verified["status"], verified["method"]) == ("verified", "address")


async def test_behind_a_cdn(
    api: ApiClient, path: str, dns: MemoryLookup, web: MemoryFetch, clock: ManualClock, store: Store
) -> None:
    """Its addresses hide ours: the TXT record and a request that reaches us show both together that it leads here."""
    record = await register(api, path)
    verify = f"{path}/{record['id']}/verify"
    token = record["records"][1]["expected"]
    found = (await store.records.fetch([f"name:{FQDN}"]))[f"name:{FQDN}"]
    assert isinstance(found, NameRecord)
    assert found.challenge is not None
    assert found.challenge[0] == token
    proof = found.challenge[1]
    assert proof.encode() not in (await api("GET", f"{path}/{record['id']}")).body

    dns.put(FQDN, RecordType.A, "104.16.0.1")
    web.put(FQDN, 200, proof)
    assert (await api("POST", verify)).status == 422  # anybody could send our visitors on
    assert web.asked == []
    dns.put(f"_miosa-challenge.{FQDN}", RecordType.TXT, "v=spf1 -all", token)
    for status, body, code in (
        (200, token, "not_through_to_us"),
        (200, "", "not_through_to_us"),
        (404, "not here", "not_through_to_us"),
        (None, "", "cdn_silent"),
    ):
        web.put(FQDN, status, body)
        clock.advance(10)
        answer = await api("POST", verify)
        assert (answer.status, message(answer)) == (422, "CNAME not found")
        assert answer.json["error"]["reason"] == code
    assert set(web.asked) == {(FQDN, f"/.well-known/miosa-challenge/{token}")}
    web.put(FQDN, 200, f"{proof}\n")
    clock.advance(10)
    verified = (await api("POST", verify)).json["data"]
    assert (verified["status"], verified["method"]) == ("verified", "proxied")
    assert [one["status"] for one in verified["records"]] == ["valid", "valid"]
    # What the CDN answers while it is in trouble takes nothing down.
    for status in (None, 403, 429, 500, 522):
        web.put(FQDN, status)
        clock.advance(10)
        checked = (await api("POST", f"{path}/{record['id']}/check")).json["data"]
        assert (checked["status"], checked["dns_status"]) == ("verified", "unknown")


async def test_check(api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock) -> None:
    """Looks in any state, and answers with what is so then."""
    record = await register(api, path)
    check = f"{path}/{record['id']}/check"
    checked = await api("POST", check)
    assert (checked.status, checked.json["data"]["status"], checked.json["data"]["dns_status"]) == (
        200,
        "pending",
        "missing",
    )
    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    for _ in range(2):
        clock.advance(10)
        data = (await api("POST", check)).json["data"]
        assert (data["status"], data["dns_status"], data["method"]) == ("verified", "verified", "cname")
    dns.put(FQDN, RecordType.CNAME, "elsewhere.example")
    clock.advance(10)
    data = (await api("POST", check)).json["data"]
    assert (data["status"], data["dns_status"]) == ("verified", "wrong")


@pytest.mark.parametrize("words", [("verify", "verify"), ("verify", "check"), ("check", "check"), ("check", "verify")])
async def test_error_too_soon(api: ApiClient, path: str, clock: ManualClock, words: tuple[str, str]) -> None:
    """One look in ten seconds for each domain, whichever way it is asked for; another domain's is another matter."""
    record, other = await register(api, path), await register(api, path, "www.yourcompany.com")
    await api("POST", f"{path}/{record['id']}/{words[0]}")
    clock.advance(3.5)
    again = await api("POST", f"{path}/{record['id']}/{words[1]}")
    assert (again.status, again.code, again.headers["Retry-After"]) == (429, "checked_just_now", "7")
    assert (await api("POST", f"{path}/{other['id']}/{words[1]}")).status != 429
    clock.advance(6.5)
    assert (await api("POST", f"{path}/{record['id']}/{words[1]}")).status != 429


async def test_asking_begins_the_schedule_anew(
    api: ApiClient, path: str, services: Services, clock: ManualClock
) -> None:
    """Whoever has waited for days and asks is looked at again soon."""
    record = await register(api, path)
    clock.advance(6 * 86400)
    shown = (await api("POST", f"{path}/{record['id']}/check")).json["data"]
    assert shown["next_check_at"] == "2026-01-07T00:01:03Z"
    waiting = (await services.custom_domains.get(record["id"])).check
    assert (waiting.checks, waiting.waiting_since) == (1, clock.now())


# Names.


@pytest.mark.parametrize("given", ["bücher.example", "BÜCHER.Example", "xn--bcher-kva.example"])
async def test_internationalized_names(api: ApiClient, path: str, given: str) -> None:
    """Either form may be sent; the A-label is what is registered, with its reading beside it."""
    record = await register(api, path, given)
    assert (record["fqdn"], record["fqdn_unicode"]) == ("xn--bcher-kva.example", "bücher.example")
    assert (await api("POST", path, json={"domain": "bücher.example"})).status == 409


async def test_fqdn_is_domain(api: ApiClient, path: str) -> None:
    """The clients call the field so."""
    answer = await api("POST", path, json={"fqdn": FQDN})
    assert (answer.status, answer.json["data"]["fqdn"]) == (201, FQDN)
    both = await api("POST", path, json={"fqdn": "c.yourcompany.com", "domain": "b.yourcompany.com"})
    assert (both.status, both.json["data"]["fqdn"]) == (201, "b.yourcompany.com")


async def test_names_inside_another_tenant_s_preview_domain(
    api: ApiClient, path: str, services: Services, globex: Account
) -> None:
    """Their wildcard records would pass for this name's, so it is theirs, verified or not."""
    await services.preview_domains.set(Scope.TENANT, globex.tenant.id, "preview.globex.example")
    for name in ("preview.globex.example", "login.preview.globex.example", "a.b.sandbox.preview.globex.example"):
        answer = await api("POST", path, json={"domain": name})
        assert (answer.status, message(answer)) == (409, TAKEN)
    assert (await api("POST", path, json={"domain": "www.globex.example"})).status == 201


async def test_names_inside_one_s_own_preview_domain(
    api: ApiClient, path: str, services: Services, acme: Account
) -> None:
    """Those are the tenant's to give."""
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, "preview.acme.example")
    assert (await api("POST", path, json={"domain": "shop.preview.acme.example"})).status == 201


# Redirects, lists, repeats.


async def test_redirect_policy(api: ApiClient, deployment: Resource) -> None:
    """Set when the domain is added, changed later, and refused where it means nothing."""
    path = f"/api/v1/deployments/{deployment.id}/domains"
    www = await register(api, path, "www.yourcompany.com", redirect_policy="www_to_apex", redirect_status=301)
    assert (www["redirect_policy"], www["redirect_status"]) == ("www_to_apex", 301)
    apex = await register(api, path, "yourcompany.com")
    assert (apex["redirect_policy"], apex["redirect_status"]) == ("none", 308)
    patched = await api("PATCH", f"{path}/{www['id']}", json={"redirect_status": 302})
    assert (patched.json["data"]["redirect_policy"], patched.json["data"]["redirect_status"]) == ("www_to_apex", 302)
    circle = await api("PATCH", f"{path}/{apex['id']}", json={"redirect_policy": "apex_to_www"})
    assert (circle.status, list(circle.fields)) == (422, ["redirect_policy"])
    for wrong in ({"redirect_policy": "up"}, {"redirect_status": 303}, {"redirect_status": "301"}):
        answer = await api("POST", path, json={"domain": "b.yourcompany.com", **wrong})
        assert (answer.status, list(answer.fields)) == (422, list(wrong))


async def test_lists_are_filtered_and_paged(api: ApiClient, path: str, deployment: Resource) -> None:
    """By attribution, by state, and in pages."""
    for number in range(3):
        await register(api, path, f"n{number}.yourcompany.com", external_user_id=f"user-{number}")
    page = await api("GET", path, params={"page": "2", "page_size": "2"})
    assert (len(page.json["data"]), page.json["total"]) == (1, 3)
    found = await api("GET", path, params={"external_user_id": "user-1"})
    assert [item["fqdn"] for item in found.json["data"]] == ["n1.yourcompany.com"]
    assert (await api("GET", path, params={"status": "verified"})).json["total"] == 0
    assert (await api("GET", path, params={"status": "sleeping"})).status == 422
    listed = await api("GET", f"/api/v1/deployments/{deployment.id}/domains")
    assert listed.json == {"data": [], "page": {"page": 1, "page_size": 20, "total": 0}}


async def test_a_repeated_request_registers_once(api: ApiClient, path: str) -> None:
    """With one Idempotency-Key the second answer is the first's, not a conflict with itself."""
    headers = {"Idempotency-Key": new_id()}
    first = await api("POST", path, json={"domain": FQDN}, headers=headers)
    second = await api("POST", path, json={"domain": FQDN}, headers=headers)
    assert (first.status, second.status, second.body) == (201, 201, first.body)
    assert second.headers["Idempotent-Replayed"] == "true"


# Who may.


async def test_another_tenant_sees_nothing(
    api: ApiClient, path: str, computer: Resource, deployment: Resource, globex: Account, services: Services
) -> None:
    """Every endpoint answers as if the domain, the computer and the deployment had never been."""
    record = await register(api, path)
    theirs = await hold(services, globex)
    of_deployment = f"/api/v1/deployments/{deployment.id}/domains"
    calls: list[tuple[str, str]] = [
        ("POST", path),
        ("GET", path),
        ("POST", of_deployment),
        ("GET", of_deployment),
        ("GET", f"/api/v1/custom-domains/{record['id']}"),
        ("POST", f"/api/v1/custom-domains/{record['id']}/verify"),
        ("POST", f"/api/v1/custom-domains/{record['id']}/check"),
        ("DELETE", f"/api/v1/custom-domains/{record['id']}"),
    ]
    for base in (path, of_deployment, f"/api/v1/computers/{theirs.id}/domains"):
        calls += [
            ("GET", f"{base}/{record['id']}"),
            ("DELETE", f"{base}/{record['id']}"),
            ("POST", f"{base}/{record['id']}/verify"),
            ("POST", f"{base}/{record['id']}/check"),
        ]
    calls.append(("PATCH", f"{of_deployment}/{record['id']}"))
    for method, where in calls:
        bodies = {"POST": {"domain": "free.example.com"}, "PATCH": {"redirect_policy": "www_to_apex"}}
        options = {"json": bodies[method]} if method in bodies else {}
        answer = await api(method, where, key=globex.key, **options)
        assert answer.status == 404, f"{method} {where}"
        assert FQDN.encode() not in answer.body
        assert (await api(method, where, key=None, **options)).status == 401
    flat = {"domain": "free.example.com", "computer_id": computer.id}
    assert (await api("POST", "/api/v1/custom-domains", key=globex.key, json=flat)).status == 404
    listed = await api("GET", "/api/v1/custom-domains", key=globex.key, params={"computer_id": computer.id})
    assert listed.json["data"] == []
    assert (await api("GET", f"{path}/{record['id']}")).json["data"] == record


async def test_narrower_keys(api: ApiClient, acme: Account, services: Services, path: str) -> None:
    """A workspace's or a project's key works inside it; outside it is refused, and lists leave the rest out."""
    elsewhere = await services.resources.create(Kind.COMPUTER, acme.tenant.id)
    outside = f"/api/v1/computers/{elsewhere.id}/domains"
    other = await register(api, outside, "other.yourcompany.com")
    for number, key in enumerate((acme.workspace_key, acme.project_key)):
        inside = await api("POST", path, key=key, json={"domain": f"n{number}.yourcompany.com"})
        assert inside.status == 201
        listed = await api("GET", "/api/v1/custom-domains", key=key)
        assert {item["workspace_id"] for item in listed.json["data"]} == {acme.workspace.id}
        for method, where in (("GET", outside), ("DELETE", f"{outside}/{other['id']}")):
            assert (await api(method, where, key=key)).status == 403
        assert (await api("DELETE", f"/api/v1/custom-domains/{other['id']}", key=key)).status == 403


async def test_a_domain_belongs_to_one_path(api: ApiClient, path: str, services: Services, acme: Account) -> None:
    """Under another computer of the same tenant it is not found."""
    record = await register(api, path)
    other = await hold(services, acme)
    assert (await api("GET", f"/api/v1/computers/{other.id}/domains/{record['id']}")).status == 404
    assert (await api("DELETE", f"/api/v1/computers/{other.id}/domains/{record['id']}")).status == 404


# The official client.


def walk_computer(client: miosa.Miosa, computer_id: str, dns: MemoryLookup, clock: ManualClock) -> None:
    domains = CustomDomains(client._transport, computer_id)
    domain = domains.register(FQDN)
    assert (domain.fqdn, domain.status, domain.verification_target) == (FQDN, "pending", "verify.miosa.ai")
    assert domain.computer_id == computer_id
    assert domain.instructions
    with pytest.raises(ValidationError, match="CNAME not found"):
        domains.verify(domain.id)
    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    clock.advance(10)
    assert domains.verify(domain.id).status == "verified"
    assert [item.verified_at is not None for item in domains.list()] == [True]
    with pytest.raises(MiosaError, match="domain is already verified") as caught:
        domains.verify(domain.id)
    assert caught.value.status_code == 409
    domains.delete(domain.id)
    assert domains.list() == []


async def test_client_of_a_computer(
    client: miosa.Miosa, computer: Resource, dns: MemoryLookup, clock: ManualClock
) -> None:
    """`computer.domains`, method by method."""
    await asyncio.to_thread(walk_computer, client, computer.id, dns, clock)


def walk_deployment(client: miosa.Miosa, deployment_id: str, dns: MemoryLookup) -> None:
    domains = client.deployments.domains(deployment_id)
    added = domains.add(
        "www.yourcompany.com",
        redirect_policy="www_to_apex",
        external_workspace_id="clinic_123",
        external_user_id="dr-smith-456",
        external_project_id="project_789",
        idempotency_key=new_id(),
    )
    assert (added["fqdn"], added["redirect_policy"]) == ("www.yourcompany.com", "www_to_apex")
    assert added["external_user_id"] == "dr-smith-456"
    dns.put("www.yourcompany.com", RecordType.CNAME, "verify.miosa.ai")
    assert domains.verify(added["id"])["status"] == "verified"
    assert [item["id"] for item in domains.list(external_workspace_id="clinic_123")] == [added["id"]]
    assert domains.list(external_workspace_id="clinic_456") == []
    domains.delete(added["id"])
    with pytest.raises(NotFoundError):
        domains.delete(added["id"])


async def test_client_of_a_deployment(client: miosa.Miosa, deployment: Resource, dns: MemoryLookup) -> None:
    """`deployments.domains(id)`, method by method."""
    await asyncio.to_thread(walk_deployment, client, deployment.id, dns)


def walk_flat(client: miosa.Miosa, computer_id: str) -> None:
    created = client.custom_domains.create(fqdn=FQDN, computer_id=computer_id)
    assert created["computer_id"] == computer_id
    assert [item["id"] for item in client.custom_domains.list(computer_id=computer_id)] == [created["id"]]
    client.custom_domains.delete(created["id"])
    assert client.custom_domains.list() == []


async def test_client_flat(client: miosa.Miosa, computer: Resource) -> None:
    """`custom_domains`, method by method."""
    await asyncio.to_thread(walk_flat, client, computer.id)


async def test_async_client(
    async_client: miosa.AsyncMiosa, computer: Resource, deployment: Resource, dns: MemoryLookup
) -> None:
    """The same of the client's asynchronous half."""
    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    domains = AsyncCustomDomains(async_client._transport, computer.id)
    domain = await domains.register(FQDN)
    assert (await domains.verify(domain.id)).status == "verified"
    assert [item.id for item in await domains.list()] == [domain.id]
    await domains.delete(domain.id)
    of_deployment = async_client.deployments.domains(deployment.id)
    added = await of_deployment.add(FQDN, redirect_policy="apex_to_www")
    assert (await of_deployment.verify(added["id"]))["status"] == "verified"
    assert [item["id"] for item in await of_deployment.list()] == [added["id"]]
    await of_deployment.delete(added["id"])
    created = await async_client.custom_domains.create(domain=FQDN, deployment_id=deployment.id)
    assert [item["id"] for item in await async_client.custom_domains.list()] == [created["id"]]
    await async_client.custom_domains.delete(created["id"])


async def test_verify_tells_what_is_wrong(api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock) -> None:
    """Each in a sentence of its own, with where `diagnose` is; what was seen is in the records afterwards."""
    record = await register(api, path)
    verify = f"{path}/{record['id']}/verify"
    dns.put("verify.miosa.ai", RecordType.A, "192.0.2.1")
    diagnose = f"/api/v1/custom-domains/{record['id']}/diagnose"

    async def told() -> tuple[str, str]:
        clock.advance(10)
        answer = await api("POST", verify)
        assert (answer.status, answer.json["error"]["diagnose"]) == (422, diagnose)
        assert answer.fields["fqdn"]
        return answer.code, message(answer)

    dns.put(FQDN, RecordType.A, "192.0.2.1")
    dns.put(FQDN, RecordType.AAAA, "2001:db8::bad")
    code, said = await told()
    assert code == "cname_not_found"
    assert said.startswith(f"{FQDN} leads to us, and also to 2001:db8::bad, which is not ours")
    dns.put(FQDN, RecordType.AAAA)
    dns.put(FQDN, RecordType.A, "192.0.2.1", "198.51.100.1", "198.51.100.2")
    assert "leads to us, and also to 198.51.100.1, 198.51.100.2, which is not ours" in (await told())[1]
    dns.remove(FQDN)
    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai", "elsewhere.example.net")
    assert "has 2 CNAME records" in (await told())[1]
    dns.differ(FQDN, RecordType.CNAME, ["verify.miosa.ai"], ["old.example.net"])
    code, said = await told()
    assert code == "dns_unknown"
    assert "don't agree: ns1.example.net says verify.miosa.ai, ns2.example.net says old.example.net" in said
    shown = (await api("GET", f"{path}/{record['id']}")).json["data"]
    assert (shown["dns_status"], shown["records"][0]["observed"]) == (
        "propagating",
        ["old.example.net", "verify.miosa.ai"],
    )
    dns.put(FQDN, RecordType.CNAME)
    dns.fail(FQDN, "refused")
    assert "they refused (REFUSED)" in (await told())[1]


async def test_verify_asks_for_a_proof(
    api: ApiClient, path: str, dns: MemoryLookup, clock: ManualClock, globex: Account, services: Services
) -> None:
    """Where another account has a name of the same domain: the reason, the sentence, the records; then the proof is enough."""
    record = await register(api, path)
    theirs = await hold(services, globex)
    await api(
        "POST",
        f"/api/v1/computers/{theirs.id}/domains",
        key=globex.key,
        json={"domain": "other.yourcompany.com"},
    )
    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    verify = f"{path}/{record['id']}/verify"
    answer = await api("POST", verify)
    assert (answer.status, answer.code) == (422, "proof_needed")
    proof = answer.json["error"]["proof"]
    own = record["records"][0]["expected"]
    token = record["records"][1]["expected"]
    assert proof["reason"] == "domain_used_by_another_account"
    assert [(one["type"], one["expected"], one["required"]) for one in proof["records"]] == [
        ("CNAME", own, True),
        ("TXT", token, True),
    ]
    assert own in message(answer)
    shown = (await api("GET", f"{path}/{record['id']}")).json["data"]
    assert (shown["status"], shown["dns_status"], shown["proof_needed"]) == ("pending", "unproven", proof["reason"])
    clock.advance(10)
    found = (await api("GET", f"/api/v1/custom-domains/{record['id']}/diagnose")).json["data"]["findings"]
    assert "domain_used_by_another_account" in [finding["code"] for finding in found]
    dns.put(FQDN, RecordType.CNAME, own)
    verified = (await api("POST", verify)).json["data"]
    assert (verified["status"], verified["dns_status"], verified["proof_needed"]) == ("verified", "verified", None)

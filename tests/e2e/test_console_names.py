"""The console's pages of names: custom domains from adding one to its removal, preview domains on their scopes, and why a host leads where it leads."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.domains.lookup import RecordType
from tests.support.console import Bench, Customer, bench_of
from tests.support.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

HOSTILE = "<svg onload=document.title='owned'>"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    settings = {  # certificates of whole zones: nobody is at the authority, and nothing is ordered before a zone is delegated
        "acme_zone": "acme.miosa.test",
        "acme_directory": f"https://127.0.0.1:{free_port()}/dir",
        "acme_dns_bind": f"127.0.0.1:{free_port()}",
        "acme_dns_names": "ns1.miosa.test",
    }
    async with bench_of(tmp_path_factory.mktemp("console"), **settings) as bench:
        yield bench


async def test_a_domain_from_adding_to_removing(bench: Bench) -> None:
    """The empty list says what to do; the records are there to copy; what is wrong is said, with the record to change; once DNS is right
    it is verified; it goes when its name was typed."""
    deployment = bench.customer.call("POST", "/deployments", {"name": HOSTILE})
    bench.dns.put("www.yourcompany.com", RecordType.CNAME, "elsewhere.yourcompany.com")
    bench.dns.put("elsewhere.yourcompany.com", RecordType.A, "192.0.2.9")
    await bench.log_in()
    await bench.go("/domains", "Domains")
    await bench.check_page("domains-empty")
    await bench.activate("Add your first domain")
    await bench.says("Add a domain", "dialog h2")
    await bench.type("no domain")
    await bench.press("Enter")
    await bench.says("Domain ", "dialog .field-error")
    await bench.check_page("domains-add")
    await bench.tab.evaluate("document.activeElement.select()")
    await bench.type("www.yourcompany.com")
    await bench.press("Enter")
    await bench.shows("www.yourcompany.com")
    await bench.says("DNS records", "main h2")
    assert await bench.tab.evaluate("document.title") == "www.yourcompany.com – MIOSA console"
    (found,) = bench.customer.call("GET", "/custom-domains")
    record = found["records"][0]
    await bench.says(record["value"], "main td")
    await bench.says("Change CNAME", ".finding")
    await bench.activate("Check now")
    await bench.says("The diagnosis says what to do", ".toast")
    await bench.check_page("domain-wrong")
    bench.dns.put("www.yourcompany.com", RecordType.CNAME, record["value"])
    await bench.activate("Check now")
    await bench.says("www.yourcompany.com is verified", ".toast")
    await bench.says("domain.verified", "main td")
    await bench.check_page("domain-verified")
    await bench.activate("Upload a certificate")
    await bench.type("no certificate")
    await bench.activate("Upload")
    await bench.says("ertificate", "dialog .field-error, dialog .notice.bad")
    await bench.check_page("domain-upload")
    await bench.press("Escape")
    await bench.activate("Make a request (CSR)")
    await bench.says("BEGIN CERTIFICATE REQUEST", "dialog pre")
    await bench.activate("Done")
    await bench.go("/domains", "Domains")
    await bench.check_page("domains")
    await bench.activate("www.yourcompany.com")
    await bench.shows("www.yourcompany.com")
    await bench.activate("Remove domain…")
    await bench.says("Remove www.yourcompany.com?", "dialog h2")
    await bench.type("www")
    await bench.activate("Remove domain")
    await bench.says("Type www.yourcompany.com to go on", "dialog .field-error")
    await bench.type(".yourcompany.com")
    await bench.check_page("domain-remove")
    await bench.activate("Remove domain")
    await bench.shows("Domains")
    await bench.says("No domains yet", "main h2")
    assert bench.customer.call("GET", f"/custom-domains?deployment_id={deployment['id']}") == []


async def test_a_domain_that_another_account_has(bench: Bench) -> None:
    """It can't be taken; the record that shows whose it is can be copied."""
    deployment = bench.customer.call("POST", "/deployments", {"name": "claimed"})
    other = await asyncio.to_thread(Customer, bench.router, "Globex")
    theirs = other.call("POST", "/deployments", {"name": "theirs"})
    found = other.call("POST", "/custom-domains", {"domain": "www.contested.com", "deployment_id": theirs["id"]})
    bench.dns.put("www.contested.com", RecordType.CNAME, found["records"][0]["value"])
    await asyncio.to_thread(other.call, "POST", f"/custom-domains/{found['id']}/verify")
    await bench.log_in()
    await bench.go("/domains", "Domains")
    await bench.activate("Add domain")
    await bench.says("Add a domain", "dialog h2")
    await bench.type("www.contested.com")
    await bench.press("Enter")
    await bench.says("www.contested.com is another account's", "dialog h2")
    await bench.says("TXT", "dialog td")
    await bench.check_page("domain-claimed")
    await bench.press("Escape")
    bench.customer.call("DELETE", f"/deployments/{deployment['id']}")
    await bench.go(f"/domains/{found['id']}", "Domain")
    await bench.says("No domain with id", "main .notice.bad")
    await bench.says("Request id", "main .notice.bad")
    await bench.says("What this means and what to do", "main .notice.bad a[href]")
    await bench.check_page("domain-not-found")


async def test_preview_domains(bench: Bench) -> None:
    """Each scope says what holds and why; setting, verifying and clearing one, by the keyboard."""
    workspace = bench.customer.call("POST", "/workspaces", {"name": HOSTILE})
    project = bench.customer.call("POST", "/projects", {"name": "Site", "workspace_id": workspace["id"]})
    await bench.log_in()
    await bench.go("/preview-domains", "Preview domains")
    await bench.says("the platform's: none is set", "main .badge")
    await bench.check_page("preview-domains-empty")
    await bench.activate("Set a preview domain")
    await bench.type("preview.yourcompany.com")
    await bench.press("Enter")
    await bench.says("preview.yourcompany.com", "main h2")
    await bench.says("set here", "main .badge")
    zone = bench.customer.call("GET", "/tenant/preview-domain")
    await bench.says("One certificate for all hosts", "main td")
    await bench.says("delegate the two challenge names", "main .notice.info")
    assert [record["name"] for record in zone["records"] if record["purpose"] == "certificate"]
    for record in (one for one in zone["records"] if one["purpose"] != "certificate"):
        kind = RecordType.CNAME if record["type"] == "CNAME" else RecordType.TXT
        bench.dns.put(record["fqdn"], kind, record["value"])
    await bench.activate("Verify now")
    await bench.says("preview.yourcompany.com is verified", ".toast")
    await bench.tab.until("!document.querySelector('main [aria-busy]')")
    await bench.check_page("preview-domains-verified")
    await bench.go(f"/preview-domains?scope=project:{project['id']}", "Preview domains")
    await bench.says("inherited from the organization", "main .badge")
    bench.customer.call(
        "PUT", f"/workspaces/{workspace['id']}/preview-domain", {"preview_domain": "team.yourcompany.com"}
    )
    await bench.go("/", "Acme")
    await bench.go(f"/preview-domains?scope=project:{project['id']}", "Preview domains")
    await bench.says(f"inherited from workspace {HOSTILE}", "main .badge")
    await bench.check_page("preview-domains-inherited")
    await _claim(bench)
    await bench.go("/", "Acme")
    await bench.go("/preview-domains", "Preview domains")
    await bench.activate("Clear…")
    await bench.type("preview.yourcompany.com")
    await bench.activate("Clear preview domain")
    await bench.says("No preview domain of its own", "main h2")
    assert bench.customer.call("GET", "/tenant/preview-domain")["preview_domain"] is None
    assert await bench.tab.evaluate("document.title") != "owned"


async def _claim(bench: Bench) -> None:
    """A preview domain that another account has is not set; what shows whose it is can be copied."""
    other = await asyncio.to_thread(Customer, bench.router, "Initech")
    theirs = other.call("PUT", "/tenant/preview-domain", {"preview_domain": "preview.contested.org"})
    for record in (one for one in theirs["records"] if one["purpose"] == "routing"):
        bench.dns.put(record["fqdn"], RecordType.CNAME, record["alternative"])
    await asyncio.to_thread(other.call, "POST", "/tenant/preview-domain/verify")
    await bench.activate("Set a preview domain")
    await bench.says("Set a preview domain", "dialog h2")
    await bench.type("preview.contested.org")
    await bench.press("Enter")
    await bench.says("preview.contested.org is another account's", "dialog h2")
    await bench.says("TXT", "dialog td")
    await bench.press("Escape")


async def test_explaining_a_host(bench: Bench) -> None:
    """A pasted address is enough; what is not the customer's is said to be nobody's of theirs."""
    bench.router.register(bench.customer.tenant_id, "shop", 1)
    await bench.log_in()
    await bench.go("/explain", "Explain a host")
    await bench.check_page("explain-empty")
    await bench.fill("Host", "https://shop.miosa.test/a?b=c")
    await bench.press("Enter")
    await bench.says("A program serves it.", "main p")
    await bench.says("sandbox shop", "main dd")
    assert (await bench.tab.evaluate("location.hash")) == "#/explain?host=shop.miosa.test"
    await bench.check_page("explain")
    await bench.go("/", "Acme")
    await bench.go("/explain?host=shop.miosa.test", "Explain a host")  # a link that a colleague was sent
    await bench.says("A program serves it.", "main p")
    await bench.fill("Host", "www.example.com")
    await bench.press("Enter")
    await bench.says("No host of that name is yours.", "main .notice.bad")
    await bench.fill("Host", HOSTILE)
    await bench.press("Enter")
    await bench.says("Host ", "main .field-error")


async def test_a_key_of_a_project(bench: Bench) -> None:
    """It has the pages that it may use, with what it reaches; nothing is a dead end."""
    workspace = bench.customer.call("POST", "/workspaces", {"name": "Clinic"})
    project = bench.customer.call("POST", "/projects", {"name": "Portal", "workspace_id": workspace["id"]})
    key = bench.customer.call("POST", "/api-keys", {"name": "portal", "scope": f"project:{project['id']}"})
    await bench.log_in(key["key"])
    await bench.says("project Portal", ".who")
    assert "API keys" not in await bench.text("nav#navigation")
    for path, heading in (("/domains", "Domains"), ("/preview-domains", "Preview domains"), ("/webhooks", "Webhooks")):
        await bench.go(path, heading)
        assert await bench.tab.evaluate("document.querySelector('main .notice.bad')?.innerText ?? null") is None, path
    await bench.activate("Create webhook")
    await bench.says("Create a webhook", "dialog h2")
    await bench.press("Escape")
    await bench.go("/preview-domains", "Preview domains")
    await bench.says("inherited from the workspace, the organization or the platform", "main .badge")
    await bench.go("/domains", "Domains")
    await bench.activate("Add domain")
    await bench.says("Nothing to lead to yet", "dialog h2")
    await bench.check_page("project-key", widths=(360,))
    key = bench.customer.call("POST", "/api-keys", {"name": "clinic", "scope": f"workspace:{workspace['id']}"})
    await bench.log_in(key["key"])
    await bench.says("workspace Clinic", ".who")
    await bench.go("/preview-domains", "Preview domains")
    await bench.says("inherited from the organization or the platform", "main .badge")


# What Domain Connect's part of the API answers where the provider has our templates (test_domain_connect.py), in the place of null.
LINKED = """const real = window.fetch; window.fetch = async (...given) => {
  const answer = await real(...given);
  return new Response((await answer.text()).replace('"apply_url":null', `"apply_url":${JSON.stringify(%s)}`), answer);
}; 0"""


async def test_the_dns_provider(bench: Bench) -> None:
    """What its form calls the fields of a record, and where it is; the link that sets the records, which leads to a web page or nowhere."""
    deployment = bench.customer.call("POST", "/deployments", {"name": "hinted"})
    found = bench.customer.call(
        "POST", "/custom-domains", {"domain": "www.hinted.com", "deployment_id": deployment["id"]}
    )
    bench.dns.put("hinted.com", RecordType.NS, "ns01.domaincontrol.com", "ns02.domaincontrol.com")
    await asyncio.to_thread(bench.customer.call, "POST", f"/custom-domains/{found['id']}/check")
    await bench.log_in()
    await bench.go(f"/domains/{found['id']}", "www.hinted.com")
    await bench.says("GoDaddy", "main .notice.info a")
    await bench.check_page("domain-provider")
    for link, leads in (("https://dns.godaddy.test/apply?sig=1", True), ("javascript:document.title='owned'", False)):
        await bench.log_in()
        await bench.tab.evaluate(LINKED % json.dumps(link))
        await bench.go(f"/domains/{found['id']}", "www.hinted.com")
        await bench.says("Set the records at GoDaddy", "main .notice.info a")
        assert await bench.tab.evaluate("document.querySelector('main .notice.info a.button').href") == (
            link if leads else ""
        )
    await bench.check_page("domain-connect", widths=(360,))

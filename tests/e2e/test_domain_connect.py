"""DNS in one click, as a customer does it: the link beside the records, the provider that sets them, the page that they come back to,
and the domain that is verified by itself."""

import asyncio
import html
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from router.domains.lookup import RecordType
from tests.support.authority import Authority
from tests.support.connect_provider import ConnectProvider, visit
from tests.support.links import PEM
from tests.support.nameserver import NameServer
from tests.support.router import Router
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

PROVIDER = "domainconnect.dns-provider.example"
ZONE, APP, PREVIEW = "yourcompany.com", "app.yourcompany.com", "preview.yourcompany.com"
EDGE = "192.0.2.1"
OUTSIDE = "127.0.0.2"  # where the provider is: it stands for the Internet
SOON = 25.0  # seconds: less than the minute that a new domain waits for its first check


class Customer:
    """One tenant's calls."""

    def __init__(self, router: Router) -> None:
        self._router = router
        tenant = router.tenant("Acme")
        self._key = router.key(tenant)
        self.deployment = router.register(tenant, "shop", 1, kind="deployment")

    def call(self, method: str, path: str, body: object = None) -> Any:
        return self._router.call(self._key, method, path, body)

    def link(self, path: str) -> str:
        """The link of a domain, once it is known."""
        until(lambda: self.call("GET", path)["apply_url"] is not None, "the provider is found", SOON)
        return str(self.call("GET", path)["apply_url"])


def follow(router: Router, link: str, authority: Authority) -> str:
    """A browser: it goes to the provider, where its owner agrees, and back to us; what it shows then."""
    status, location = visit(link, OUTSIDE, authority)
    assert status == 302
    status, headers, body = router.send(urllib.request.Request(location))
    assert status == 200
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert b"<script" not in body
    return html.unescape(body.decode())


def set_up(router: Router, server: NameServer, folder: Path) -> dict[str, Any]:
    """What an operator publishes: the public key, and the templates."""
    key = router.command("domain-connect", "public-key")
    server.put(key["name"], RecordType.TXT, *key["values"])
    written = router.command("domain-connect", "templates", str(folder), "--provider-name", "Miosa")
    read = [json.loads(Path(file).read_text(encoding="utf-8")) for file in written["files"]]
    assert {one["providerName"] for one in read} == {"Miosa"}
    return {one["serviceId"]: one for one in read}


def story(router: Router, server: NameServer, provider: ConnectProvider, authority: Authority, folder: Path) -> None:
    provider.templates |= set_up(router, server, folder)
    customer = Customer(router)
    domains = f"/deployments/{customer.deployment}/domains"
    for name in (APP, ZONE):
        domain = customer.call("POST", domains, {"domain": name})
        assert (domain["status"], domain["apply_url"]) == ("pending", None)
        path = f"{domains}/{domain['id']}"
        assert f"{name}: we are checking" in follow(router, customer.link(path), authority)
        until(lambda path=path: customer.call("GET", path)["status"] == "verified", "it is verified by itself", SOON)
        assert customer.call("GET", path)["apply_url"] is None
    zone = "/tenant/preview-domain"
    customer.call("PUT", zone, {"preview_domain": PREVIEW})
    assert customer.call("POST", f"{zone}/check")["apply_url"] is not None  # a check waits a moment for the provider
    assert f"{PREVIEW}: we are checking" in follow(router, customer.link(zone), authority)
    until(lambda: customer.call("GET", zone)["verified"], "it is verified by itself", SOON)
    assert provider.refusals == []
    wrong = urllib.request.Request(f"http://127.0.0.1:{router.api_port}/domain-connect/return?state=x")
    status, headers, body = router.send(wrong)
    assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"not valid" in body
    assert router.send(urllib.request.Request(wrong.full_url, method="POST"))[0] == 405


@pytest.mark.timeout(180)
async def test_records_in_one_click(tmp_path: Path) -> None:
    """A host, the top of a zone and a preview domain: nobody asks for a check, and all are verified."""
    authority = Authority()
    trusted, key = tmp_path / "ca.pem", tmp_path / "connect.pem"
    trusted.write_text(authority.pem, encoding="utf-8")
    key.write_bytes(PEM)
    async with NameServer() as server:
        for target in ("verify.miosa.ai", "proxy.miosa.ai"):
            for name in (target, f"*.{target}"):
                server.put(name, RecordType.A, EDGE)
        async with ConnectProvider(
            PROVIDER, server, {}, authority.server(tmp_path, PROVIDER), address=OUTSIDE
        ) as provider:
            provider.host_zone(ZONE)
            router = Router(
                tmp_path,
                dns_servers=server.server,
                rates__workspace=100_000,
                webhooks__private_networks=f"{OUTSIDE}/32",
                backend_networks="127.0.0.1/32",
                domain_connect__provider_id="miosa.ai",
                domain_connect__key_file=key,
                domain_connect__key_domain="domainconnect.miosa.ai",
                domain_connect__addresses=EDGE,
            )
            router.environment["MIOSA_ROUTER_DOMAIN_CONNECT__RETURN_URL"] = (
                f"http://127.0.0.1:{router.api_port}/domain-connect/return"
            )
            router.environment["SSL_CERT_FILE"] = str(trusted)

            def run() -> None:
                with router:
                    story(router, server, provider, authority, tmp_path / "templates")

            await asyncio.to_thread(run)

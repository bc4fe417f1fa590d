"""The table of DNS providers: who is known by which name servers, and what every row has to fulfil."""

from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docs.dns_providers import page
from router.domains.dns_providers import PROVIDERS, DnsProvider, provider_noted, provider_of
from router.domains.names import registered_domain

ROOT = Path(__file__).parents[3]

# Each provider's own sites: a link elsewhere could lead customers, and what they type, to somebody else.
SITES = {
    "aws": "amazon.com",
    "azure": "azure.com",
    "bluehost": "bluehost.com",
    "cloudflare": "cloudflare.com",
    "digitalocean": "digitalocean.com",
    "dnsimple": "dnsimple.com",
    "dreamhost": "dreamhost.com",
    "gandi": "gandi.net",
    "godaddy": "godaddy.com",
    "google": "google.com",
    "hetzner": "hetzner.com",
    "hostinger": "hostinger.com",
    "hover": "hover.com",
    "ionos": "ionos.com",
    "linode": "linode.com",
    "name_com": "name.com",
    "namecheap": "namecheap.com",
    "ovh": "ovh.com",
    "porkbun": "porkbun.com",
    "squarespace": "squarespace.com",
    "strato": "strato.de",
    "transip": "transip.nl",
    "vercel": "vercel.com",
    "wix": "wix.com",
}


@pytest.mark.parametrize(
    ("servers", "provider"),
    [
        (["dana.ns.cloudflare.com", "rick.ns.cloudflare.com"], "cloudflare"),
        (["NS37.DomainControl.com.", "ns38.domaincontrol.com."], "godaddy"),
        (["ns-1.awsdns-00.com", "ns-1024.awsdns-00.org", "ns-512.awsdns-00.net", "ns-1536.awsdns-00.co.uk"], "aws"),
        (["dns1.registrar-servers.com", "dns2.registrar-servers.com"], "namecheap"),
        (["ns1045.ui-dns.de", "ns1045.ui-dns.biz"], "ionos"),
        (["hydrogen.ns.hetzner.com", "helium.ns.hetzner.de"], "hetzner"),
        (["curitiba.ns.porkbun.com", "maceio.ns.porkbun.com"], "porkbun"),
        (["ns1dqr.name.com"], "name_com"),
        # One that is nobody's known beside those of a provider: a secondary, or a server that was forgotten.
        (["ns-12-a.gandi.net", "ns.example.net"], "gandi"),
        (["ns1.digitalocean.com", "dana.ns.cloudflare.com"], None),
        (["ns.example.net"], None),
        # A name that only ends with the same letters, or has the suffix in front.
        (["ns.notdomaincontrol.com"], None),
        (["domaincontrol.com.example.net"], None),
        (["ns-1.awsdns-00.com.evil.com", "ns.awsdns-.com", "ns.awsdns-a.b.com"], None),
        ([], None),
    ],
)
def test_whose_name_servers_they_are(servers: list[str], provider: str | None) -> None:
    """By how their names end, whole labels only; where they belong to two, it is not known where the records are changed."""
    found = provider_of(servers)
    assert (None if found is None else found.id) == provider


def test_what_a_check_noted() -> None:
    """Before the first check, and where that could not tell, no provider is known."""
    noted = {"zone": "example.com", "name_servers": ["ns1.dreamhost.com"]}
    assert provider_noted(noted) == provider_of(["ns1.dreamhost.com"])
    assert provider_noted(None) is None
    assert provider_noted({"records": []}) is None


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)
def test_every_row(provider: DnsProvider) -> None:
    """Its link is https and leads to the provider's own site, and what to type is a form that the docs explain."""
    link = urlsplit(provider.panel_url)
    assert link.scheme == "https"
    assert registered_domain(link.hostname or "") == SITES[provider.id]
    assert provider.apex in {"@", ""}
    assert provider.apex_record in {None, "ALIAS", "ANAME", "CNAME"}
    assert provider.host_field
    assert provider.value_field
    assert provider.hint is None or provider.hint.endswith(".")
    assert all(provider_of([f"ns1.{suffix.replace('*', '12')}"]) is provider for suffix in provider.suffixes)


def test_the_table() -> None:
    """At least fifteen, in the order of their ids, and no suffix twice."""
    ids = [provider.id for provider in PROVIDERS]
    assert len(ids) >= 15
    assert ids == sorted(ids)
    assert max(Counter(suffix for provider in PROVIDERS for suffix in provider.suffixes).values()) == 1


def test_the_page_is_current() -> None:
    """docs/dns-providers.md is what `make docs` writes."""
    assert (ROOT / "docs" / "dns-providers.md").read_text(encoding="utf-8") == page(), "run `make docs`"

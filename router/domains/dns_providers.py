"""DNS providers that many customers have: how each calls the fields of a record, and what it wants typed there. Pure data.

A provider is known by the names of a zone's name servers, as the last check saw them. `docs/dns-providers.md` is made from
this table by `make docs`. To add one: a row here, then `make docs`; `tests/unit/domains/test_dns_providers.py` says what a row has to
fulfil.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from router.domains.checks.name_servers import noted_name_servers

_ANY_LABEL = "[a-z0-9-]+"  # what `*` stands for in a suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsProvider:
    """One provider.

    `suffixes` are how the names of its name servers end; a `*` is a part of one label. `panel_url` is where its customers change DNS
    records. `host_field` and `value_field` are what its form calls the name and the value of a record. `apex` is what is
    typed as the name for the domain itself: `@`, or nothing. `apex_record` is the type of the record that leads the domain itself
    to another name there; None where that takes A and AAAA records. `hint` is a sentence on what goes wrong there most often.
    """

    id: str
    name: str
    suffixes: tuple[str, ...]
    panel_url: str
    host_field: str
    value_field: str
    apex: str
    apex_record: str | None = None
    hint: str | None = None


_DOT = "A value without a dot at its end has the domain added to it: end the target with a dot."
_RELATIVE = "It adds the domain to the name by itself: type only the part in front of it."
_OWN_RESOURCES = "Its alias records lead to its own services only: for the domain itself use A and AAAA records."

PROVIDERS: tuple[DnsProvider, ...] = (
    DnsProvider(
        id="aws",
        name="Amazon Route 53",
        suffixes=("awsdns-*.com", "awsdns-*.net", "awsdns-*.org", "awsdns-*.co.uk"),
        panel_url="https://console.aws.amazon.com/route53/v2/hostedzones",
        host_field="Record name",
        value_field="Value",
        apex="",
        hint=_OWN_RESOURCES,
    ),
    DnsProvider(
        id="azure",
        name="Azure DNS",
        suffixes=("azure-dns.com", "azure-dns.net", "azure-dns.org", "azure-dns.info"),
        panel_url="https://portal.azure.com/#browse/Microsoft.Network%2FdnsZones",
        host_field="Name",
        value_field="Alias",
        apex="@",
        hint=_OWN_RESOURCES,
    ),
    DnsProvider(
        id="bluehost",
        name="Bluehost",
        suffixes=("bluehost.com",),
        panel_url="https://my.bluehost.com/",
        host_field="Host Record",
        value_field="Points To",
        apex="@",
        hint=_RELATIVE,
    ),
    DnsProvider(
        id="cloudflare",
        name="Cloudflare",
        suffixes=("ns.cloudflare.com",),
        panel_url="https://dash.cloudflare.com/?to=/:account/:zone/dns/records",
        host_field="Name",
        value_field="Target",
        apex="@",
        apex_record="CNAME",
        hint="Switch the proxy off for the record (DNS only, the grey cloud) until its certificate is there.",
    ),
    DnsProvider(
        id="digitalocean",
        name="DigitalOcean",
        suffixes=("digitalocean.com",),
        panel_url="https://cloud.digitalocean.com/networking/domains",
        host_field="Hostname",
        value_field="Is an alias of",
        apex="@",
        hint=_DOT,
    ),
    DnsProvider(
        id="dnsimple",
        name="DNSimple",
        suffixes=("dnsimple.com", "dnsimple-edge.com", "dnsimple-edge.net", "dnsimple-edge.org", "dnsimple-edge.io"),
        panel_url="https://dnsimple.com/dashboard",
        host_field="Name",
        value_field="Content",
        apex="",
        apex_record="ALIAS",
    ),
    DnsProvider(
        id="dreamhost",
        name="DreamHost",
        suffixes=("dreamhost.com",),
        panel_url="https://panel.dreamhost.com/",
        host_field="Host",
        value_field="Points to",
        apex="",
        apex_record="ALIAS",
    ),
    DnsProvider(
        id="gandi",
        name="Gandi",
        suffixes=("gandi.net",),
        panel_url="https://admin.gandi.net/domain/",
        host_field="Name",
        value_field="Hostname",
        apex="@",
        apex_record="ALIAS",
        hint=_DOT,
    ),
    DnsProvider(
        id="godaddy",
        name="GoDaddy",
        suffixes=("domaincontrol.com",),
        panel_url="https://dcc.godaddy.com/control/portfolio",
        host_field="Name",
        value_field="Value",
        apex="@",
        hint=_RELATIVE,
    ),
    DnsProvider(
        id="google",
        name="Google Cloud DNS",
        suffixes=("googledomains.com",),
        panel_url="https://console.cloud.google.com/net-services/dns/zones",
        host_field="DNS name",
        value_field="Canonical name",
        apex="",
        apex_record="ALIAS",
        hint="A domain that was bought at Google Domains has its records at Squarespace now, on the same name servers.",
    ),
    DnsProvider(
        id="hetzner",
        name="Hetzner",
        suffixes=("ns.hetzner.com", "ns.hetzner.de", "first-ns.de", "second-ns.de", "second-ns.com"),
        panel_url="https://console.hetzner.com/",
        host_field="Name",
        value_field="Value",
        apex="@",
        hint=_DOT,
    ),
    DnsProvider(
        id="hostinger",
        name="Hostinger",
        suffixes=("dns-parking.com",),
        panel_url="https://hpanel.hostinger.com/domains",
        host_field="Name",
        value_field="Target",
        apex="@",
        apex_record="CNAME",
        hint="A CNAME at the domain itself is shown as ALIAS once it is saved, and works.",
    ),
    DnsProvider(
        id="hover",
        name="Hover",
        suffixes=("hover.com",),
        panel_url="https://www.hover.com/control_panel",
        host_field="Hostname",
        value_field="Target name",
        apex="@",
        hint=_RELATIVE,
    ),
    DnsProvider(
        id="ionos",
        name="IONOS",
        suffixes=("ui-dns.com", "ui-dns.org", "ui-dns.biz", "ui-dns.de"),
        panel_url="https://my.ionos.com/domains",
        host_field="Host name",
        value_field="Points to",
        apex="@",
        hint=_RELATIVE,
    ),
    DnsProvider(
        id="linode",
        name="Akamai Cloud (Linode)",
        suffixes=("linode.com",),
        panel_url="https://cloud.linode.com/domains",
        host_field="Hostname",
        value_field="Alias to",
        apex="",
    ),
    DnsProvider(
        id="name_com",
        name="Name.com",
        suffixes=("name.com",),
        panel_url="https://www.name.com/account/domain",
        host_field="Host",
        value_field="Answer",
        apex="",
        apex_record="ANAME",
        hint=_RELATIVE,
    ),
    DnsProvider(
        id="namecheap",
        name="Namecheap",
        suffixes=("registrar-servers.com",),
        panel_url="https://ap.www.namecheap.com/domains/list/",
        host_field="Host",
        value_field="Value",
        apex="@",
        apex_record="ALIAS",
        hint="Delete the parking page's records of the same name first. It adds the domain to the host by itself.",
    ),
    DnsProvider(
        id="ovh",
        name="OVHcloud",
        suffixes=("ovh.net", "ovh.ca", "anycast.me"),
        panel_url="https://www.ovh.com/manager/",
        host_field="Sub-domain",
        value_field="Target",
        apex="",
        hint=_DOT,
    ),
    DnsProvider(
        id="porkbun",
        name="Porkbun",
        suffixes=("porkbun.com",),
        panel_url="https://porkbun.com/account/domainsSpeedy",
        host_field="Host",
        value_field="Answer",
        apex="",
        apex_record="ALIAS",
        hint="A new domain has an ALIAS and a wildcard CNAME to its parking page: delete them first.",
    ),
    DnsProvider(
        id="squarespace",
        name="Squarespace",
        suffixes=("squarespacedns.com",),
        panel_url="https://account.squarespace.com/domains",
        host_field="Host",
        value_field="Data",
        apex="@",
        apex_record="ALIAS",
        hint="Its presets can't be edited: add the record under the custom records, and delete a preset that is in the way.",
    ),
    DnsProvider(
        id="strato",
        name="STRATO",
        suffixes=("rzone.de",),
        panel_url="https://www.strato.de/apps/CustomerService",
        host_field="Subdomain",
        value_field="CNAME-Record",
        apex="",
        hint="A CNAME is set in the DNS settings of a subdomain, which is made first, and its target ends with a dot.",
    ),
    DnsProvider(
        id="transip",
        name="TransIP",
        suffixes=("transip.net", "transip.nl", "transip.eu"),
        panel_url="https://www.transip.nl/cp/",
        host_field="Name",
        value_field="Value",
        apex="@",
        apex_record="ALIAS",
        hint=_DOT,
    ),
    DnsProvider(
        id="vercel",
        name="Vercel",
        suffixes=("vercel-dns.com",),
        panel_url="https://vercel.com/dashboard/domains",
        host_field="Name",
        value_field="Value",
        apex="@",
        apex_record="ALIAS",
    ),
    DnsProvider(
        id="wix",
        name="Wix",
        suffixes=("wixdns.net",),
        panel_url="https://manage.wix.com/account/domains",
        host_field="Host name",
        value_field="Value",
        apex="",
        hint=_RELATIVE,
    ),
)


def provider_noted(detail: Mapping[str, Any] | None) -> DnsProvider | None:
    """Who has a domain's zone, by what the last check of the domain noted."""
    noted = noted_name_servers(detail)
    return None if noted is None else provider_of(noted.servers)


def provider_of(name_servers: Iterable[str]) -> DnsProvider | None:
    """Whose these name servers are; None where that is not known, or they belong to several."""
    found = {provider.id: provider for server in name_servers if (provider := _of(server)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def _of(server: str) -> DnsProvider | None:
    name = server.lower().rstrip(".")
    return next((provider for pattern, provider in _patterns() if pattern.search(name)), None)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[re.Pattern[str], DnsProvider], ...]:
    return tuple(
        (re.compile(rf"(?:^|\.){re.escape(suffix).replace(re.escape('*'), _ANY_LABEL)}$"), provider)
        for provider in PROVIDERS
        for suffix in provider.suffixes
    )
